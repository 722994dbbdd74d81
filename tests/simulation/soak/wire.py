"""The wire between one life of a guard and its world, and what may become of a message on it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, unquote, urlsplit

from rollguard.errors import Unavailable
from rollguard.localfly.messages import AnswerLost, ApiRequest
from rollguard.ports import HttpAnswer
from tests.simulation.stage import Life
from tests.simulation.trouble import kind_of

if TYPE_CHECKING:
    from tests.simulation.soak.world import Soak

THERE_AND_BACK_S = 0.04
SENT_AT: ContextVar[float] = ContextVar("sent_at")
"""When the request that is being carried out was sent, in loop time."""


@dataclass(slots=True)
class Message:
    """One request to the platform on its way. ``at`` is when it was carried out last, ``lied`` says that its answer is
    not what is.
    """

    calls: str
    url: str
    request: ApiRequest
    deliver_once: Callable[[], Awaitable[HttpAnswer]]
    lies: Callable[[], bool]
    at: float = 0.0
    lied: bool = False

    async def deliver(self) -> HttpAnswer:
        """Let it arrive, and bring its answer."""
        self.at, self.lied = asyncio.get_running_loop().time(), self.lies()
        return await self.deliver_once()


How = Callable[[Message], Awaitable[HttpAnswer]]


@dataclass(slots=True, kw_only=True)
class Meddling:
    """Does ``how`` to messages of these ``calls`` (all when empty) whose address has ``where`` in it."""

    how: How
    calls: frozenset[str] = frozenset()
    where: str = ""
    times: float = math.inf
    skip: int = 0
    until: float = math.inf
    met: int = 0
    on_met: Callable[[], None] = field(default=lambda: None)

    @property
    def over(self) -> bool:
        return self.times <= 0 or asyncio.get_running_loop().time() >= self.until

    def meets(self, message: Message) -> bool:
        """Whether this message is met, and count it."""
        if (self.calls and message.calls not in self.calls) or self.where not in message.url or self.over:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        self.times -= 1
        self.met += 1
        if self.met == 1:
            self.on_met()
        return True


# -- what may become of a message --------------------------------------------------------------------------------------


async def lost_before(message: Message) -> HttpAnswer:
    """It never arrives."""
    raise Unavailable(f"connection lost: {message.calls}")


async def lost_after(message: Message) -> HttpAnswer:
    """It arrives, and its answer is lost."""
    await message.deliver()
    raise Unavailable(f"connection lost: {message.calls}")


async def twice(message: Message) -> HttpAnswer:
    """It arrives twice, and the second answer comes back."""
    await message.deliver()
    return await message.deliver()


async def cut_short(message: Message) -> HttpAnswer:
    """Its answer ends early."""
    answer = await message.deliver()
    return HttpAnswer(answer.status, answer.headers, answer.body[: len(answer.body) * 2 // 3])


async def no_page(message: Message) -> HttpAnswer:
    """A proxy in between has never heard of such an address."""
    return HttpAnswer(404, {"content-type": "text/plain"}, b"404 page not found\n")


def says(status: int, headers: Mapping[str, str] | None = None) -> How:
    """It does not arrive, and somebody in between answers so."""

    async def how(message: Message) -> HttpAnswer:
        return HttpAnswer(status, headers or {}, b'{"error":"out of order"}')

    return how


def late(by_s: float) -> How:
    """It is on its way for longer."""

    async def how(message: Message) -> HttpAnswer:
        await asyncio.sleep(by_s)
        return await message.deliver()

    return how


def slow_back(by_s: float) -> How:
    """Its answer is on its way for longer."""

    async def how(message: Message) -> HttpAnswer:
        answer = await message.deliver()
        await asyncio.sleep(by_s)
        return answer

    return how


def first(act: Callable[[], Awaitable[object]]) -> How:
    """Right before it arrives somebody does something."""

    async def how(message: Message) -> HttpAnswer:
        await act()
        return await message.deliver()

    return how


def then(act: Callable[[], Awaitable[object]]) -> How:
    """Right after it was carried out somebody does something; the answer comes back all the same."""

    async def how(message: Message) -> HttpAnswer:
        answer = await message.deliver()
        await act()
        return answer

    return how


# -- the wire ----------------------------------------------------------------------------------------------------------


class Line:
    """``ports.Transport`` of one life: to the platform, to the app and to the rest of the world."""

    def __init__(self, soak: Soak, life: Life) -> None:
        self._soak, self._life = soak, life

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout_s: float = 10.0,
        max_bytes: int = 1 << 20,
    ) -> HttpAnswer:
        self._life.check()
        if self._soak.cut_off:
            raise Unavailable(f"connection refused: {method} {url}")
        if "fly.dev" in url or "/prometheus/" in url:
            return await self._ask_app(method, url, headers or {}, body or b"", timeout_s)
        if "control.test" in url:
            return HttpAnswer(204, {}, b"")
        return await self._ask_platform(self._message(method, url, headers or {}, body or b""), timeout_s)

    async def _ask_platform(self, message: Message, timeout_s: float) -> HttpAnswer:
        SENT_AT.set(asyncio.get_running_loop().time())
        self._soak.platform_calls += 1
        if (known := self._soak.api.limited(message.request)) is not None:
            self._soak.haste.sent(*known)
        await asyncio.sleep(THERE_AND_BACK_S)
        self._life.check()
        meddling = next((m for m in self._soak.meddlings if m.meets(message)), None)
        if meddling is None and message.calls != "wait":
            answer = await message.deliver()
        else:
            try:
                async with asyncio.timeout(timeout_s):
                    answer = await (message.deliver() if meddling is None else meddling.how(message))
            except TimeoutError:
                raise Unavailable(f"timeout after {timeout_s:g}s: {message.calls} {message.url}") from None
        self._life.check()
        if answer.status < 300:
            self._soak.truth.told(message.calls, message.url, message.at, lied=message.lied)
        return answer

    async def _ask_app(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, timeout_s: float
    ) -> HttpAnswer:
        """What the app answers, or the platform's proxy in front of it. That is what users see too."""
        metrics, truth, users = "/prometheus/" in url, self._soak.truth, self._soak.users
        answer = None if metrics else users.at_once(headers)
        if answer is None:
            try:
                async with asyncio.timeout(timeout_s):
                    answer = await users.answer(method, url, headers, body)
            except TimeoutError:
                truth.user_saw(ill=not metrics)
                raise Unavailable(f"timeout after {timeout_s:g}s: {method} {url}") from None
        status, named, content = answer
        self._life.check()
        if metrics and self._soak.metrics_out:
            return HttpAnswer(503, named, b"upstream timeout")
        truth.user_saw(ill=not metrics and status >= 500)
        return HttpAnswer(status, named, content)

    def _message(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Message:
        held = "fly-machine-lease-nonce" in headers
        calls = kind_of(method, url, headers, body) if url.endswith("/graphql") else _calls(method, url, held)
        path, query = _parsed(url)
        request = ApiRequest(
            method=method,
            path=path,
            query=query,
            headers={name.lower(): value for name, value in headers.items()},
            body=body,
        )

        async def deliver() -> HttpAnswer:
            self._life.check()
            try:
                answer = await self._soak.api.handle(request)
            except AnswerLost:
                raise Unavailable(f"connection lost: {calls}") from None
            if answer.status == 429:
                self._soak.refused_for_haste += 1
            return HttpAnswer(answer.status, answer.headers, answer.body)

        faults = self._soak.faults
        return Message(calls, url, request, deliver, lambda: calls == "get" and faults.get_machine == "old")


@lru_cache(maxsize=4096)
def _calls(method: str, url: str, held: bool) -> str:
    return kind_of(method, url, {"fly-machine-lease-nonce": ""} if held else {}, b"")


@lru_cache(maxsize=4096)
def _parsed(url: str) -> tuple[str, Mapping[str, list[str]]]:
    parts = urlsplit(url)
    return unquote(parts.path), parse_qs(parts.query, keep_blank_values=True)
