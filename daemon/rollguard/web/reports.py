"""Reports over HTTP: the one thing on this server that can lead to an act. Nothing of it is open without a token."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Protocol

from aiohttp import web

from rollguard.core import signing
from rollguard.errors import Conflict, GuardError, Refused, Unavailable
from rollguard.web.problems import problem
from rollguard.web.report_forms import NotJson, Report, read_alerts, read_report

PATH = "/api/v1/targets/{target}/reports"
BODY_BYTES_MAX = 16 << 10
ALERTS_BYTES_MAX = 256 << 10
READ_S = 5.0
BUSY_MAX = 64
AGAIN_S = 5
TELL_EVERY_S = 10.0

log = logging.getLogger(__name__)


class TooMany(Unavailable):
    """More reports than one target takes; ``retry_after_s`` says when it takes the next one."""


class Reception(Protocol):
    """Who takes reports."""

    def secret(self, target: str) -> str | None:
        """What reports on this target are signed with, read now; None: it takes none. Raises ``GuardError``."""

    def now(self, target: str) -> float:
        """The time by which signatures are judged."""

    async def take(self, target: str, report: Report) -> str:
        """What follows from a report that is on the disk now.

        Raises ``Conflict`` for one that was taken before, ``Refused`` for one that cannot be, ``TooMany``; any other
        ``GuardError``: nothing was written, and the same report may be sent again.
        """


class _Answer(Exception):
    """Ends a request with a problem."""

    def __init__(self, status: HTTPStatus, detail: str, **headers: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def routes(reception: Reception) -> list[web.RouteDef]:
    """Where reports come in."""
    counter = _Counter(reception)
    return [
        web.post(PATH, counter.bounded(counter.signed)),
        web.post(f"{PATH}/alertmanager", counter.bounded(counter.alertmanager)),
    ]


class _Counter:
    """Reads, checks and hands on a bounded number of requests at once."""

    def __init__(self, reception: Reception) -> None:
        self._reception = reception
        self._busy = 0
        self._told_at = -TELL_EVERY_S

    def bounded(
        self, handle: Callable[[web.Request, str], Awaitable[web.Response]]
    ) -> Callable[[web.Request], Awaitable[web.Response]]:
        """The handler of a route: so many at once, and every failure a problem."""

        async def handler(request: web.Request) -> web.Response:
            if self._busy >= BUSY_MAX:
                return problem(HTTPStatus.SERVICE_UNAVAILABLE, "too many reports at once", {"Retry-After": "1"})
            self._busy += 1
            try:
                return await handle(request, request.match_info["target"])
            except _Answer as answer:
                return problem(answer.status, answer.detail, answer.headers)
            except GuardError as error:
                return self._failure(error)
            finally:
                self._busy -= 1

        return handler

    async def signed(self, request: web.Request, target: str) -> web.Response:
        """One report in our own form, signed."""
        self._secret(target)
        found = signing.envelope(
            _one(request, "webhook-id"), _one(request, "webhook-timestamp"), self._reception.now(target)
        )
        signatures = _one(request, "webhook-signature")
        if found is None or not signatures:
            raise self._stranger(target, "Webhook-Signature")
        body = await _read(request, BODY_BYTES_MAX)
        keys = signing.keys_of(self._secret(target))  # as it is now, however long the body took
        if not signing.verify(keys, *found, body, signatures):
            raise self._stranger(target, "Webhook-Signature")
        said = await self._reception.take(target, read_report(body, found[0], float(found[1])))
        return web.json_response({"say": said}, status=HTTPStatus.ACCEPTED)

    async def alertmanager(self, request: web.Request, target: str) -> web.Response:
        """What Alertmanager posts. It sends alerts again and again: each counts once."""
        scheme, _, token = _one(request, "Authorization").partition(" ")
        secret = self._secret(target)
        if scheme.lower() != "bearer" or not signing.is_bearer(secret, token.strip()):
            raise self._stranger(target, "Bearer")
        alerts = read_alerts(await _read(request, ALERTS_BYTES_MAX))
        taken: list[str] = []
        refused, again = list(alerts.refused), 0
        for report in alerts.reports:
            try:
                taken.append(await self._reception.take(target, report))
            except Conflict:
                again += 1
            except Refused as error:
                refused.append(str(error))
        say = f"{len(taken)} taken, {again} taken before, {alerts.ignored} ignored, {len(refused)} refused"
        if refused and not taken and not again:
            raise _Answer(HTTPStatus.UNPROCESSABLE_ENTITY, f"{say}: {refused[0]}")
        answer = {"say": say, "taken": taken, "again": again, "ignored": alerts.ignored, "refused": refused}
        return web.json_response(answer, status=HTTPStatus.ACCEPTED)

    def _secret(self, target: str) -> str:
        """The target's secret, which holds keys."""
        secret = self._reception.secret(target)
        if secret is None:
            raise _Answer(HTTPStatus.NOT_FOUND, "no target of this name takes reports: its policy needs `reports:`")
        try:
            signing.keys_of(secret)
        except Refused as useless:
            raise Unavailable(f"the secret of {target}'s reports: {useless}") from useless
        return secret

    def _stranger(self, target: str, scheme: str) -> _Answer:
        """One sentence for all that is wrong with it."""
        self._tell(f"a report on {target} was refused: not signed with its token, or not now")
        detail = "this is not signed with the target's token, or not within five minutes of now"
        return _Answer(HTTPStatus.UNAUTHORIZED, detail, WWW_Authenticate=scheme)

    def _failure(self, error: GuardError) -> web.Response:
        match error:
            case NotJson():
                return problem(HTTPStatus.BAD_REQUEST, str(error))
            case Refused():
                return problem(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
            case Conflict():
                return problem(HTTPStatus.CONFLICT, str(error))
            case TooMany(retry_after_s=wait_s):
                after = {"Retry-After": str(math.ceil(wait_s or 1.0))}
                return problem(HTTPStatus.TOO_MANY_REQUESTS, str(error), after)
        self._tell(f"a report could not be taken: {error}")
        sentence = "the guard cannot take it now, and its log says why: send it again"
        return problem(HTTPStatus.SERVICE_UNAVAILABLE, sentence, {"Retry-After": str(AGAIN_S)})

    def _tell(self, sentence: str) -> None:
        """Now and then: what strangers cause must not fill the log."""
        if time.monotonic() - self._told_at >= TELL_EVERY_S:
            self._told_at = time.monotonic()
            log.warning("%s", sentence)


def _one(request: web.Request, header: str) -> str:
    """A header that is there once; else nothing: of two, nobody knows which one was meant."""
    values = request.headers.getall(header, [])
    return values[0] if len(values) == 1 else ""


async def _read(request: web.Request, most: int) -> bytes:
    """The whole body, in bounded size and time."""
    too_large = _Answer(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a body has at most {most} bytes")
    if (request.content_length or 0) > most:
        raise too_large
    body = bytearray()
    try:
        async with asyncio.timeout(READ_S):
            async for part in request.content.iter_any():
                body += part
                if len(body) > most:
                    raise too_large
    except TimeoutError:
        detail = f"the body did not come within {READ_S:g} s"
        raise _Answer(HTTPStatus.REQUEST_TIMEOUT, detail, Connection="close") from None
    except web.RequestPayloadError:
        raise _Answer(HTTPStatus.BAD_REQUEST, "the body did not come whole") from None
    return bytes(body)
