"""Journeys: several requests in order, as one user makes them; good only when every answer is as expected."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from rollguard.adapters.http import Saturated, TooLarge, excerpt
from rollguard.adapters.signals.aside import Turns
from rollguard.adapters.signals.cookies import CookieJar
from rollguard.adapters.signals.journey_expecting import BODY_BYTES_MAX, Expectations, Page, Unmet
from rollguard.adapters.signals.journey_filling import check_url, fill
from rollguard.adapters.signals.probing import HEADERS, INSTANCE_HEADER, cause, subjects
from rollguard.core.model import EDGE, GapKind, Reading
from rollguard.core.signals import JourneySignal, Step
from rollguard.errors import GuardError
from rollguard.ports import Clock, Fleet, Transport

_NAME_MAX = 40


class JourneySource:
    """``ports.SignalSource`` of a ``JourneySignal``: per subject 1.0 or 0.0 under ``name``, and the seconds of each
    answered step under ``name.step``.

    A failure's detail begins with "HTTP " exactly when the step that failed was answered. It holds the step's name,
    the status and the expectation; never anything that was sent, captured or read. A guard without a free connection
    is a gap, and so is a policy whose steps cannot be used (its check refuses them before).
    """

    def __init__(self, signal: JourneySignal, transport: Transport) -> None:
        self.name = signal.name
        self.every_s = signal.every_s
        self._signal = signal
        self._transport = transport
        self._expectations: list[Expectations] = []
        self._unusable = "" if signal.steps else "a journey without steps"
        for number, step in enumerate(signal.steps, 1):
            try:
                check_url(step.url)
                self._expectations.append(Expectations(step))
            except ValueError as error:
                self._unusable = excerpt(f"{_place(number, step)} cannot be used: {error}", 200)
                break

    async def read(self, fleet: Fleet, clock: Clock) -> Sequence[Reading]:
        """Every subject's journey, all at once; none takes longer than the signal's timeout."""
        asked = subjects(self._signal.scopes, fleet)
        if self._unusable:
            why = self._unusable
            return [Reading(self.name, who, clock.now(), gap=GapKind.BAD_ANSWER, detail=why) for who in asked]
        turns = Turns()
        journeys = [_Journey(self._signal, self._expectations, self._transport, who, clock, turns) for who in asked]
        rounds = await asyncio.gather(*(journey.readings() for journey in journeys))
        return [reading for readings in rounds for reading in readings]


class _Failed(Exception):
    """The journey ends here; the message is the reading's detail."""


class _Journey:
    """One subject's journey: its cookies, what it captured, and how much time is left."""

    def __init__(
        self,
        signal: JourneySignal,
        expectations: Sequence[Expectations],
        transport: Transport,
        subject: str,
        clock: Clock,
        turns: Turns,
    ) -> None:
        self._signal = signal
        self._expectations = expectations
        self._transport = transport
        self._subject = subject
        self._clock = clock
        self._turns = turns
        self._jar = CookieJar()
        self._known: dict[str, str] = {}
        self._times: list[Reading] = []
        self._time_s = asyncio.get_running_loop().time
        self._deadline = self._time_s() + signal.timeout_s

    async def readings(self) -> list[Reading]:
        """How it ended, then the time of each step that was answered."""
        value, gap, detail = 1.0, None, ""
        try:
            for number, (step, expectations) in enumerate(zip(self._signal.steps, self._expectations, strict=True), 1):
                page = await self._ask(_place(number, step), step)
                size = len(page.answer.body)
                await self._turns.take(size, self._check, _place(number, step), expectations, page)
                detail = f"HTTP {page.answer.status}"
        except _Failed as error:
            value, detail = 0.0, str(error)
        except Saturated as error:
            gap, detail = GapKind.NO_ANSWER, cause(error)
        end = Reading(
            key=self._signal.name,
            subject=self._subject,
            at=self._clock.now(),
            value=value if gap is None else None,
            gap=gap,
            detail=detail,
        )
        return [end, *self._times]

    async def _ask(self, place: str, step: Step) -> Page:
        request, began = fill(step, self._known), self._time_s()
        too_late = f"{place}: timeout after {self._signal.timeout_s:g}s for all steps"
        if began >= self._deadline:
            raise _Failed(too_late)
        whole = True
        try:
            answer = await self._transport.request(
                step.method,
                request.url,
                headers=self._headers(request.url, request.headers),
                body=request.body,
                timeout_s=self._deadline - began,
                max_bytes=BODY_BYTES_MAX,
            )
        except TooLarge as error:
            answer, whole = error.answer, False
        except Saturated:
            raise
        except GuardError as error:
            raise _Failed(too_late if self._time_s() >= self._deadline else f"{place}: {cause(error)}") from None
        name = f"{self._signal.name}.{step.name}"
        self._times.append(Reading(name, self._subject, self._clock.now(), value=self._time_s() - began))
        self._jar.take(request.url, answer.headers.get("set-cookie", ""), self._clock.now())
        return Page(answer, whole=whole)

    def _headers(self, url: str, own: Mapping[str, str]) -> dict[str, str]:
        """The step's own headers over the usual ones; nothing in a policy takes the machine's name out."""
        headers = {name.lower(): value for name, value in HEADERS.items()} | dict(own)
        cookies = "; ".join(filter(None, (headers.get("cookie"), self._jar.header(url))))
        if cookies:
            headers["cookie"] = cookies
        if self._subject != EDGE:
            headers[INSTANCE_HEADER] = self._subject
        return headers

    def _check(self, place: str, expectations: Expectations, page: Page) -> None:
        try:
            expectations.check(page)
            self._known |= expectations.captured(page)
        except Unmet as error:
            words = f": {error}" if str(error) else ""
            raise _Failed(f"HTTP {page.answer.status} at {place}{words}") from None


def _place(number: int, step: Step) -> str:
    return f"step {number} ({excerpt(step.name, _NAME_MAX)})"
