"""Asking a store of metrics one question, and saying in a sentence why there is no answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from rollguard.adapters.http import USER_AGENT, excerpt, status_error
from rollguard.adapters.secrets import authorization, read_secret, token_parts
from rollguard.adapters.signals.aside import aside
from rollguard.adapters.signals.probing import cause
from rollguard.adapters.signals.prometheus_wire import Series, parse_error, parse_result
from rollguard.core.model import GapKind
from rollguard.core.signals import PrometheusSignal, SecretRef
from rollguard.errors import BadAnswer, GuardError
from rollguard.ports import HttpAnswer, Transport

BODY_BYTES_MAX = 4 << 20
QUERY_CHARS_SHOWN = 160

_STORES_SHARE = 0.9
"""Of our patience: a store that gives up by itself says why."""

_FORM = {"User-Agent": USER_AGENT, "Accept": "application/json", "Content-Type": "application/x-www-form-urlencoded"}


@dataclass(frozen=True, slots=True)
class NoResult:
    """Why a question has no usable answer. ``detail`` ends with the query."""

    gap: GapKind
    detail: str


Result = tuple[Series, ...] | NoResult


class Store:
    """The store of one signal. Each question is one request, bounded in time and size; the token is read for each.

    No time of evaluation is sent: by its own clock the store knows best what is newest.
    """

    def __init__(self, signal: PrometheusSignal, transport: Transport, environ: Mapping[str, str]) -> None:
        self._url = signal.url.rstrip("/") + "/api/v1/query"
        self._token = signal.token
        self._timeout_s = signal.timeout_s
        self._transport = transport
        self._environ = environ

    async def ask(self, query: str) -> Result:
        """The series of the result, or why there are none to be had. An empty result is a result."""
        try:
            secret = None if self._token is None else read_secret(self._token, self._environ)
            answer = await self._send(query, secret)
        except BadAnswer as error:
            return _no_result(GapKind.BAD_ANSWER, cause(error), query)
        except GuardError as error:
            return _no_result(GapKind.NO_ANSWER, cause(error), query)
        if answer.status != 200:
            kind = GapKind.BAD_ANSWER if isinstance(status_error(answer, ""), BadAnswer) else GapKind.NO_ANSWER
            return _no_result(kind, self._refusal(answer, secret), query)
        try:
            return await aside(len(answer.body), parse_result, answer.body)
        except BadAnswer as error:
            return _no_result(GapKind.BAD_ANSWER, excerpt(_without(secret, str(error))), query)

    async def _send(self, query: str, secret: str | None) -> HttpAnswer:
        form = urlencode({"query": query, "timeout": f"{self._timeout_s * _STORES_SHARE:g}"})
        headers = _FORM if secret is None else _FORM | {"Authorization": authorization(secret)}
        return await self._transport.request(
            "POST",
            self._url,
            headers=headers,
            body=form.encode(),
            timeout_s=self._timeout_s,
            max_bytes=BODY_BYTES_MAX,
        )

    def _refusal(self, answer: HttpAnswer, secret: str | None) -> str:
        words = [f"HTTP {answer.status}"]
        if answer.status in {401, 403}:
            words.append(_whose(self._token))
        if said := excerpt(_without(secret, parse_error(answer.body))):
            words.append(said)
        return ": ".join(words)


def _whose(token: SecretRef | None) -> str:
    if token is None:
        return "the signal has no token"
    place = f"environment variable {token.env}" if token.env is not None else f"file {token.file}"
    return f"the token in {place} is not accepted"


def _without(secret: str | None, said: str) -> str:
    """Foreign text in which our token is not repeated."""
    if secret is not None:
        for part in (secret, *(part for parts in token_parts(secret) for part in parts)):
            said = said.replace(part, "[token]")
    return said


def _no_result(gap: GapKind, why: str, query: str) -> NoResult:
    return NoResult(gap, f"{why} (query {excerpt(query, QUERY_CHARS_SHOWN)})")
