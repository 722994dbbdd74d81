"""Fly's three interfaces: the Machines API, GraphQL, and REST for releases. Sends once, never again."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from rollguard.adapters.fly import opaque, saying
from rollguard.adapters.fly.budget import ONE_MACHINE, USUAL, Budget, Limit
from rollguard.adapters.http import traced
from rollguard.adapters.secrets import authorization, read_secret, token_parts
from rollguard.core.signals import SecretRef
from rollguard.errors import Unavailable
from rollguard.ports import HttpAnswer, Transport, is_acting

MACHINES_URL = "https://api.machines.dev"
API_URL = "https://api.fly.io"
BODY_BYTES_MAX = 8 << 20
TIMEOUT_S = 15.0
_ONE_MACHINE = re.compile(r"GET /v1/apps/[^/]+/machines/[^/]+")


@dataclass(frozen=True, slots=True)
class Answer:
    """A welcome answer. ``request`` names what was asked, with Fly's own ID of it, for every error about it."""

    status: int
    body: bytes
    request: str


class FlyClient:
    """One app's credentials and the addresses of the platform.

    Addresses come from ``FLY_FLAPS_BASE_URL``, ``FLY_API_BASE_URL`` and ``FLY_UIEX_BASE_URL``, as for flyctl. The
    token is read at each request. Every error names the request, the status and Fly's own request ID.

    Machines API calls keep to Fly's rate limits: each waits for its turn, at most as long as for its answer; what is
    asked outside ``ports.acting`` leaves a reserve. Only writes always count as acting.
    """

    def __init__(self, transport: Transport, token: SecretRef, environ: Mapping[str, str]) -> None:
        self._transport = transport
        self._token = token
        self._environ = environ
        self._budget = Budget(_limit_of)
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
    ) -> Answer:
        """One Machines API call; ``path`` starts with ``/v1``. A status in ``welcome`` is no error either.

        A 404 is welcome only in Fly's own words: anybody on the way may say that there is no such page.
        """
        macaroons, others = token_parts(self._secret())
        headers = {"Authorization": f"FlyV1 {','.join(macaroons)}" if macaroons else f"Bearer {','.join(others)}"}
        if nonce is not None:
            headers["fly-machine-lease-nonce"] = nonce
        url = self.machines_url + path + (f"?{urlencode(query)}" if query else "")
        await self._turn(f"{method} {path}", timeout_s)
        return await self._send(method, url, path, headers, body, timeout_s, welcome)

    async def rest(self, method: str, path: str, body: Any) -> Answer:
        """One REST call; always ``Bearer`` with every token, macaroons too."""
        macaroons, others = token_parts(self._secret())
        headers = {"Authorization": f"Bearer {','.join(macaroons + others)}"}
        return await self._send(method, self._rest_url + path, path, headers, body, TIMEOUT_S, ())

    async def graphql(self, query: str, variables: Mapping[str, Any]) -> Answer:
        """One GraphQL query; errors inside a 200 are raised. Whether there is ``data`` is for the reader to see."""
        what = f"/graphql {query.partition('(')[0].strip()}"
        headers = {"Authorization": authorization(self._secret())}
        body = {"query": query, "variables": dict(variables)}
        answer = await self._send("POST", self._graphql_url, what, headers, body, TIMEOUT_S, ())
        if b'"errors"' in answer.body:
            saying.check_graphql(opaque.load(answer.body, answer.request), answer.request)
        return answer

    async def _turn(self, action: str, timeout_s: float) -> None:
        """Wait until Fly's rate limit lets this one through. Raises ``Unavailable`` when that takes too long."""
        now = asyncio.get_running_loop().time
        acting, give_up_at = is_acting() or not action.startswith("GET "), now() + timeout_s
        while (wait_s := self._budget.take(action, now(), acting=acting)) > 0:
            if now() + wait_s > give_up_at:
                raise Unavailable(f"not sent, to keep to the rate limit: {action}", retry_after_s=wait_s)
            await asyncio.sleep(wait_s)

    async def _send(
        self,
        method: str,
        url: str,
        path: str,
        headers: Mapping[str, str],
        body: Any,
        timeout_s: float,
        welcome: tuple[int, ...],
    ) -> Answer:
        sent = dict(headers) | {"Accept": "application/json"}
        content = None
        if body is not None:
            sent["Content-Type"] = "application/json"
            content = opaque.dump(body)
        answer = await self._transport.request(
            method, url, headers=sent, body=content, timeout_s=timeout_s, max_bytes=BODY_BYTES_MAX
        )
        return self._welcome(answer, f"{method} {path}", welcome)

    def _welcome(self, answer: HttpAnswer, request: str, welcome: tuple[int, ...]) -> Answer:
        if answer.status == 429:
            hint_s = self._budget.refused(request, asyncio.get_running_loop().time())
            error = saying.error_of(answer, request)
            raise Unavailable(str(error), retry_after_s=getattr(error, "retry_after_s", None) or hint_s)
        self._budget.admitted(request)
        stranger = answer.status == 404 and not saying.is_flys(answer.body)
        if 200 <= answer.status < 300 or (answer.status in welcome and not stranger):
            return Answer(answer.status, answer.body, traced(request, answer.headers))
        raise saying.error_of(answer, request)

    def _secret(self) -> str:
        return read_secret(self._token, self._environ)


def segment(name: str) -> str:
    """A name as one segment of a path."""
    return quote(name, safe="")


def _limit_of(action: str) -> Limit:
    return ONE_MACHINE if _ONE_MACHINE.fullmatch(action) else USUAL
