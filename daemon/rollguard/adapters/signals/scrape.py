"""Counters and histograms from a metrics page, as increases per machine."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence

from rollguard.adapters.http import USER_AGENT, status_error
from rollguard.adapters.secrets import authorization, read_secret
from rollguard.adapters.signals import openmetrics
from rollguard.adapters.signals.aside import aside
from rollguard.adapters.signals.matching import bucket_bound, matcher
from rollguard.adapters.signals.probing import cause
from rollguard.core.counters import CounterBook, Sample, TooMany
from rollguard.core.model import EDGE, GapKind, Reading
from rollguard.core.signals import ScrapeSignal, Selector
from rollguard.errors import BadAnswer, GuardError
from rollguard.ports import Clock, Fleet, Transport

BODY_BYTES_MAX = 4 << 20
LAG_S = 60.0
"""How far behind a metrics store may be on top of two rounds before its samples are stale (Fly documents no figure)."""

_SERIES_KNOWN_MAX = 10_000
_ACCEPT = "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.9"

Wanted = tuple[tuple[str, str, str, float, str], ...]
"""For one line: (key, subject, series, bound, part) of every key that wants it."""


class ScrapeSource:
    """``ports.SignalSource`` of a ``ScrapeSignal``: per subject and key the increase since the last good page.

    A page that cannot be had or used is a gap of the edge under the signal's name and under each key. A started
    machine that a good page does not mention is a gap "no traffic" of that machine. Lines that are not well formed
    are counted in a gap under the signal's name alone; the rest of the page is used.
    """

    def __init__(self, signal: ScrapeSignal, transport: Transport, environ: Mapping[str, str]) -> None:
        self.name = signal.name
        self.every_s = signal.every_s
        self._signal = signal
        self._transport = transport
        self._environ = environ
        self._selectors = [
            (f"{signal.name}.{name}", selector, matcher(selector.matchers), is_histogram)
            for table, is_histogram in ((signal.counters, False), (signal.histograms, True))
            for name, selector in table.items()
        ]
        self._keys = [key for key, *_ in self._selectors]
        self._known: dict[tuple[str, str], Wanted | None] = {}
        self._book = CounterBook(
            [key for key, _, _, is_histogram in self._selectors if not is_histogram],
            [key for key, _, _, is_histogram in self._selectors if is_histogram],
            stale_after_s=2 * signal.every_s + signal.timeout_s + LAG_S,
            parts=signal.split.most if signal.split is not None else 0,
        )

    async def read(self, fleet: Fleet, clock: Clock) -> Sequence[Reading]:
        """One round; the first one yields no increases."""
        try:
            body = await self._fetch()
            readings, heard, malformed = await aside(len(body), self._take, body, clock.now())
        except (BadAnswer, TooMany) as error:
            return self._gaps(clock.now(), GapKind.BAD_ANSWER, error)
        except GuardError as error:
            return self._gaps(clock.now(), GapKind.NO_ANSWER, error)
        if malformed:
            why = f"{malformed} lines not well formed"
            readings.append(Reading(key=self.name, subject=EDGE, at=clock.now(), gap=GapKind.BAD_ANSWER, detail=why))
        # A machine whose lines were lost is not one without traffic.
        gap = GapKind.BAD_ANSWER if malformed else GapKind.NO_TRAFFIC
        return [*readings, *self._silent(fleet, heard, clock.now(), gap)]

    async def _fetch(self) -> bytes:
        headers = {"User-Agent": USER_AGENT, "Accept": _ACCEPT}
        if self._signal.token is not None:
            headers["Authorization"] = authorization(read_secret(self._signal.token, self._environ))
        answer = await self._transport.request(
            "GET", self._signal.url, headers=headers, timeout_s=self._signal.timeout_s, max_bytes=BODY_BYTES_MAX
        )
        if answer.status != 200:
            raise status_error(answer, f"GET of {self.name}")
        return answer.body

    def _take(self, body: bytes, now: float) -> tuple[list[Reading], set[str], int]:
        """The page's readings, whom it speaks of, and how many lines were not well formed."""
        samples, malformed = self._samples(self._parse(body))
        readings = self._book.take(samples, now, complete=not malformed)
        return readings, {sample.subject for sample in samples}, malformed

    def _parse(self, body: bytes) -> openmetrics.Page:
        names = {name for _, selector, _, is_histogram in self._selectors for name in _names(selector, is_histogram)}
        page = openmetrics.wanted(body, names)
        if page.overfull:
            raise BadAnswer(f"more than {openmetrics.LINES_MAX} wanted lines")
        if not page.lines and not openmetrics.is_page(body):
            raise BadAnswer("not a metrics page" if body.strip() else "an empty page")
        return page

    def _samples(self, page: openmetrics.Page) -> tuple[list[Sample], int]:
        """What the keys want of the page, and how many lines were not well formed."""
        samples, malformed = [], page.malformed
        for line in page.lines:
            try:
                wanted = self._known[line.name, line.labels]
            except KeyError:
                wanted = self._learn(line)
            if wanted is None:
                malformed += 1
                continue
            samples += [
                Sample(key, subject, series, line.value, bound, line.at, part)
                for key, subject, series, bound, part in wanted
            ]
        if malformed and not samples:
            raise BadAnswer(f"{malformed} lines not well formed, and no other")
        return samples, malformed

    def _learn(self, line: openmetrics.Line) -> Wanted | None:
        labels = openmetrics.parse_labels(line.labels)
        try:
            wanted = None if labels is None else tuple(self._wanted(line.name, labels))
        except ValueError:
            wanted = None
        if len(self._known) >= _SERIES_KNOWN_MAX:
            self._known.clear()
        self._known[line.name, line.labels] = wanted
        return wanted

    def _wanted(self, name: str, labels: Mapping[str, str]) -> Iterator[tuple[str, str, str, float, str]]:
        """Each key's view of this series. Raises ``ValueError`` for a bucket whose bound is no number."""
        machine_label, split = self._signal.machine_label, self._signal.split
        part = labels.get(split.label, "") if split is not None else ""
        subject = EDGE if machine_label is None else labels.get(machine_label, "")
        for key, selector, matches, is_histogram in self._selectors:
            if not subject or name not in _names(selector, is_histogram) or not matches(labels):
                continue
            bound = bucket_bound(labels) if is_histogram else math.inf
            kept = sorted(item for item in labels.items() if item[0] != "le" or not is_histogram)
            yield key, subject, f"{name}{kept}", bound, part

    def _silent(self, fleet: Fleet, heard: set[str], at: float, gap: GapKind) -> list[Reading]:
        expected = (EDGE,) if self._signal.machine_label is None else fleet.started
        return [
            Reading(key=key, subject=subject, at=at, gap=gap, detail="nothing counted")
            for subject in expected
            if subject not in heard
            for key in self._keys
        ]

    def _gaps(self, at: float, gap: GapKind, error: Exception) -> list[Reading]:
        detail = cause(error)
        return [Reading(key=key, subject=EDGE, at=at, gap=gap, detail=detail) for key in (self.name, *self._keys)]


def _names(selector: Selector, is_histogram: bool) -> tuple[str, ...]:
    """The sample names a selector's name may stand for: OpenMetrics adds suffixes to the family's name."""
    suffix = "_bucket" if is_histogram else "_total"
    if selector.name.endswith(suffix):
        return (selector.name,)
    return (selector.name + suffix,) if is_histogram else (selector.name, selector.name + suffix)
