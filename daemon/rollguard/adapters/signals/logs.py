"""Lines of an app's log that match, counted per machine: evidence for people."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import groupby, islice
from urllib.parse import quote

from rollguard.adapters.http import USER_AGENT, excerpt, status_error
from rollguard.adapters.secrets import authorization, read_secret
from rollguard.adapters.signals.logs_page import Line, LogPage, parse
from rollguard.adapters.signals.probing import cause
from rollguard.core.model import EDGE, GapKind, Reading
from rollguard.core.patterns import Pattern, pattern
from rollguard.core.policy import Target
from rollguard.core.signals import LogsSignal
from rollguard.errors import BadAnswer, GuardError, Refused
from rollguard.ports import Clock, Fleet, Transport

API_URL = "https://api.fly.io"
BODY_BYTES_MAX = 4 << 20
PAGES_MAX = 10
"""A round. At 100 lines each: what is behind them is read in the next one."""

IDS_MAX = 5000
MACHINES_MAX = 200
SPANS_MAX = 20
QUOTE_CHARS_MAX = 200


class LogsSource:
    """``ports.SignalSource`` of a ``LogsSignal``: under ``name.lines`` how many lines matched, per machine.

    The first round only finds the log's end. From then on each round yields, for every started machine, one reading
    of 0 from the end of the last good round to the end of this one: so far was read. Matching lines come in further
    readings, of any machine, started or not, each from its first line to its last: lines more than a second apart
    (or than a twentieth of a long round) are never in one, so that those before a machine's update can be told from
    those after it. Times of lines are the platform's. A line is counted once, however often it is told.

    What cannot be read is a gap of the edge. Of a log that is longer than one round can read, the rest is left to the
    next one; until its end is reached nothing is said about how far it was read. ``hide`` takes out of a line what the
    guard itself types into the app.
    """

    def __init__(
        self,
        signal: LogsSignal,
        target: Target,
        transport: Transport,
        environ: Mapping[str, str],
        hide: Callable[[str], str] = str,
    ) -> None:
        self.name = signal.name
        self.every_s = signal.every_s
        self._key = f"{signal.name}.lines"
        self._signal = signal
        self._target = target
        self._transport = transport
        self._environ = environ
        self._hide = hide
        base = (environ.get("FLY_API_BASE_URL") or API_URL).rstrip("/")
        self._url = f"{base}/api/v1/apps/{quote(target.app, safe='')}/logs"
        self._patterns: list[Pattern] = []
        self._unusable = ""
        try:
            self._patterns = [pattern(text) for text in signal.match]
        except ValueError as error:
            self._unusable = f"match cannot be used: {error}"
        self._token = ""
        self._seen: dict[str, None] = {}
        """IDs of lines, oldest first."""
        self._read_to: float | None = None

    async def read(self, fleet: Fleet, clock: Clock) -> Sequence[Reading]:
        """One round; the first one yields nothing."""
        if self._unusable:
            return self._gaps(clock.now(), GapKind.BAD_ANSWER, self._unusable)
        since, found, gaps = self._read_to, list[Line](), list[Reading]()
        deadline = asyncio.get_running_loop().time() + self._signal.timeout_s
        try:
            trouble = await (self._begin(deadline, clock) if since is None else self._follow(found, deadline, clock))
            if trouble:
                gaps = [Reading(self.name, EDGE, clock.now(), gap=GapKind.BAD_ANSWER, detail=trouble)]
        except BadAnswer as error:
            gaps = self._gaps(clock.now(), GapKind.BAD_ANSWER, excerpt(str(error), 120))
        except GuardError as error:
            gaps = self._gaps(clock.now(), GapKind.NO_ANSWER, cause(error))
        if since is None or self._read_to is None:
            return gaps
        now = clock.now()
        width_s = max(1.0, (now - since) / SPANS_MAX)
        return [*gaps, *self._read_so_far(fleet, since, self._read_to, now), *self._counts(found, width_s, now)]

    async def _begin(self, deadline: float, clock: Clock) -> str:
        """Find the log's end: what is there already is no news."""
        began, page = clock.now(), await self._fetch(deadline)
        for line in page.lines:
            self._is_new(line)
        self._token, self._read_to = page.next_token, began
        return ""

    async def _follow(self, found: list[Line], deadline: float, clock: Clock) -> str:
        """Page on to the log's end, as far as time and bounds allow; new lines that match go into ``found``.

        Returns what was not read, in words.
        """
        malformed, time_s = 0, asyncio.get_running_loop().time
        for _ in range(PAGES_MAX):
            began, page, news = clock.now(), await self._fetch(deadline), 0
            malformed += page.malformed
            for line in filter(self._is_new, page.lines):
                news += 1
                if await self._matches(line):
                    found.append(line)
                if time_s() >= deadline:
                    return "the log is longer than what was read in time"
            ended = not news or page.next_token in {"", self._token}
            self._token = page.next_token or self._token
            if ended:
                self._read_to = began
                return f"{malformed} lines not well formed" if malformed else ""
        return f"the log is longer than {PAGES_MAX} pages a round"

    async def _matches(self, line: Line) -> bool:
        for one in self._patterns:
            if one.found(line.text):
                return True
            await asyncio.sleep(0)  # a hostile line may cost 0.1 s: others have their turn between two
        await asyncio.sleep(0)
        return False

    async def _fetch(self, deadline: float) -> LogPage:
        headers = {
            "User-Agent": USER_AGENT,
            "Accept": "application/json",
            "Authorization": authorization(read_secret(self._target.token, self._environ)),
        }
        url = self._url + (f"?next_token={quote(self._token, safe='')}" if self._token else "")
        left_s = max(0.001, deadline - asyncio.get_running_loop().time())
        answer = await self._transport.request("GET", url, headers=headers, timeout_s=left_s, max_bytes=BODY_BYTES_MAX)
        if answer.status == 200:
            return parse(answer.body)
        error = status_error(answer, "GET of the log")
        if isinstance(error, Refused):
            self._token = ""  # it may be the token that is refused: without one the log is read from its newest lines
        raise error

    def _is_new(self, line: Line) -> bool:
        """Whether the line is told for the first time. It is remembered."""
        if line.id in self._seen:
            return False
        self._seen[line.id] = None
        if len(self._seen) > IDS_MAX:
            del self._seen[next(iter(self._seen))]
        return True

    def _read_so_far(self, fleet: Fleet, since: float, until: float, now: float) -> list[Reading]:
        if until <= since:
            return []
        return [Reading(self._key, machine, now, value=0.0, since=since, until=until) for machine in fleet.started]

    def _counts(self, found: Iterable[Line], width_s: float, now: float) -> list[Reading]:
        lines = sorted((line for line in found if line.machine), key=lambda line: (line.machine, line.at))
        machines = groupby(lines, key=lambda line: line.machine)
        return [
            self._count(machine, span, now)
            for machine, some in islice(machines, MACHINES_MAX)
            for span in _spans(some, width_s)
        ]

    def _count(self, machine: str, span: Sequence[Line], now: float) -> Reading:
        return Reading(
            key=self._key,
            subject=machine,
            at=now,
            value=float(len(span)),
            since=min(span[0].at, now),  # a clock ahead of ours: nothing happened later than now
            until=min(span[-1].at, now),
            detail=excerpt(self._hide(span[-1].text), QUOTE_CHARS_MAX),
        )

    def _gaps(self, at: float, gap: GapKind, detail: str) -> list[Reading]:
        return [Reading(key, EDGE, at, gap=gap, detail=detail) for key in (self.name, self._key)]


def _spans(lines: Iterable[Line], width_s: float) -> list[list[Line]]:
    """The lines, in order of time, in groups none of which is longer than ``width_s``."""
    spans: list[list[Line]] = []
    for line in lines:
        if spans and line.at - spans[-1][0].at <= width_s:
            spans[-1].append(line)
        else:
            spans.append([line])
    return spans
