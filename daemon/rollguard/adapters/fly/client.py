"""Fly's three interfaces: the Machines API, GraphQL, and REST for releases. Sends once, never again."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

from rollguard.adapters.fly import opaque
from rollguard.adapters.http import excerpt, status_error
from rollguard.adapters.secrets import authorization, read_secret, token_parts
from rollguard.core.signals import SecretRef
from rollguard.errors import BadAnswer, Conflict, GuardError, Refused, Unavailable
from rollguard.ports import HttpAnswer, Transport

MACHINES_URL = "https://api.machines.dev"
API_URL = "https://api.fly.io"
BODY_BYTES_MAX = 8 << 20
TIMEOUT_S = 15.0

_REFUSED_CODES = frozenset(
    {"UNAUTHORIZED", "FORBIDDEN", "NOT_FOUND", "UNPROCESSABLE", "BAD_REQUEST", "UNAUTHENTICATED"}
)
"""Of GraphQL errors. Any other code may be the server's own trouble: wait and ask again."""

_TEXTS: tuple[tuple[str, type[GuardError]], ...] = (  # what a 4xx really means, where the status does not tell
    ("concurrent update in progress", Conflict),
    ("lease currently held by", Conflict),
    ("could not reserve resource", Refused),
    ("insufficient resources", Refused),
    ("insufficient_capacity", Refused),
    ("deploys to this host are temporarily disabled", Refused),
)


class FlyClient:
    """One app's credentials and the addresses of the platform.

    Addresses come from ``FLY_FLAPS_BASE_URL``, ``FLY_API_BASE_URL`` and ``FLY_UIEX_BASE_URL``, as for flyctl. The
    token is read at each request. Every error names the request, the status and Fly's own request ID.
    """

    def __init__(self, transport: Transport, token: SecretRef, environ: Mapping[str, str]) -> None:
        self._transport = transport
        self._token = token
        self._environ = environ
        self.machines_url = (environ.get("FLY_FLAPS_BASE_URL") or MACHINES_URL).rstrip("/")
        self._graphql_url = (environ.get("FLY_API_BASE_URL") or API_URL).rstrip("/") + "/graphql"
        self._rest_url = (environ.get("FLY_UIEX_BASE_URL") or API_URL).rstrip("/")

    async def machines(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Any = None,
        nonce: str | None = None,
        timeout_s: float = TIMEOUT_S,
        welcome: tuple[int, ...] = (),
    ) -> HttpAnswer:
        """One Machines API call; ``path`` starts with ``/v1``. A status in ``welcome`` is no error either."""
        macaroons, others = token_parts(self._secret())
        headers = {"Authorization": f"FlyV1 {','.join(macaroons)}" if macaroons else f"Bearer {','.join(others)}"}
        if nonce is not None:
            headers["fly-machine-lease-nonce"] = nonce
        url = self.machines_url + path + (f"?{urlencode(query)}" if query else "")
        return await self._send(method, url, path, headers, body, timeout_s, welcome)

    async def rest(self, method: str, path: str, body: Any) -> HttpAnswer:
        """One REST call; always ``Bearer`` with every token, macaroons too."""
        macaroons, others = token_parts(self._secret())
        headers = {"Authorization": f"Bearer {','.join(macaroons + others)}"}
        return await self._send(method, self._rest_url + path, path, headers, body, TIMEOUT_S, ())

    async def graphql(self, query: str, variables: Mapping[str, Any]) -> Mapping[str, Any]:
        """The ``data`` of an answer; errors inside a 200 are raised. Numbers are ``opaque.Number``."""
        request = f"POST /graphql {query.partition('(')[0].strip()}"
        headers = {"Authorization": authorization(self._secret())}
        body = {"query": query, "variables": dict(variables)}
        answer = await self._send(
            "POST", self._graphql_url, request.removeprefix("POST "), headers, body, TIMEOUT_S, ()
        )
        document = opaque.load(answer.body, request)
        if not isinstance(document, dict):
            raise BadAnswer(f"not an object: {request}")
        if document.get("errors"):
            raise _graphql_error(document["errors"], f"{request}{_request_id(answer)}")
        if not isinstance(document.get("data"), dict):
            raise BadAnswer(f"no data: {request}{_request_id(answer)}")
        data: Mapping[str, Any] = document["data"]
        return data

    async def _send(
        self,
        method: str,
        url: str,
        path: str,
        headers: Mapping[str, str],
        body: Any,
        timeout_s: float,
        welcome: tuple[int, ...],
    ) -> HttpAnswer:
        sent = dict(headers) | {"Accept": "application/json"}
        content = None
        if body is not None:
            sent["Content-Type"] = "application/json"
            content = opaque.dump(body)
        answer = await self._transport.request(
            method, url, headers=sent, body=content, timeout_s=timeout_s, max_bytes=BODY_BYTES_MAX
        )
        if 200 <= answer.status < 300 or answer.status in welcome:
            return answer
        raise _error(answer, f"{method} {path}")

    def _secret(self) -> str:
        return read_secret(self._token, self._environ)


def segment(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="")


def _error(answer: HttpAnswer, request: str) -> GuardError:
    said = _said(answer.body)
    error = status_error(answer, request, said)
    if 400 <= answer.status < 500 and not isinstance(error, Unavailable):
        for text, kind in _TEXTS:
            if text in said:
                return kind(str(error))
    return error


def _said(body: bytes) -> str:
    """The error text of an answer in any of Fly's shapes, bounded."""
    text = body[:2000].decode(errors="replace")
    try:
        document = json.loads(body[:65536])
    except (ValueError, RecursionError):
        return excerpt(text)
    if not isinstance(document, dict):
        return excerpt(text)
    words = [document.get("message") or document.get("error"), document.get("status")]
    return excerpt(", ".join(str(word) for word in words if word and word != "unknown"))


def _graphql_error(errors: Any, request: str) -> GuardError:
    first = errors[0] if isinstance(errors, list) and isinstance(errors[0], dict) else {}
    extensions = first.get("extensions")
    code = str(extensions.get("code", "")) if isinstance(extensions, dict) else ""
    message = f"{excerpt(str(first.get('message', 'an error without a message')))} ({excerpt(code, 40)}): {request}"
    return Refused(message) if code in _REFUSED_CODES else Unavailable(message)


def _request_id(answer: HttpAnswer) -> str:
    request_id = excerpt(answer.headers.get("fly-request-id", ""), 80)
    return f" (fly-request-id {request_id})" if request_id else ""
