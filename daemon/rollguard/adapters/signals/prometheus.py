"""Counters, histograms and values from a store that speaks Prometheus' HTTP API."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence

from rollguard.adapters.http import excerpt
from rollguard.adapters.signals.aside import aside
from rollguard.adapters.signals.prometheus_lines import Line, lines, page, questions, resets
from rollguard.adapters.signals.prometheus_store import QUERY_CHARS_SHOWN, NoResult, Result, Store
from rollguard.adapters.signals.prometheus_values import Round, value_readings
from rollguard.core.counters import CounterBook, TooMany
from rollguard.core.model import EDGE, GapKind, Reading
from rollguard.core.signals import PrometheusSignal
from rollguard.ports import Clock, Fleet, Transport

_SAMPLE_BYTES = 40
"""What a sample takes in an answer, about."""


class PrometheusSource:
    """``ports.SignalSource`` of a ``PrometheusSignal``.

    Counters and histograms are asked for as raw samples, never as a rate, and go through the same book as a scraped
    page: per machine and key the increase since the last good round, dated by the samples' own times. Counters that
    fell between two rounds are looked at right before and right after each fall. Samples from a clock ahead of ours
    are dated by ours: nothing happened later than now.

    What cannot be had is a gap with the query in its detail: of the edge for counters (all of them: a missing 5xx
    series is only a 0 beside an answer that is whole), of everybody for a value, and under the signal's own name
    when nothing could be had. A machine that fell silent is stale, however long ago; one that was never heard of has
    no traffic, unless nobody was ever heard of: then the question may be wrong, and it is no answer.
    """

    def __init__(self, signal: PrometheusSignal, transport: Transport, environ: Mapping[str, str]) -> None:
        self.name = signal.name
        self.every_s = signal.every_s
        self._signal = signal
        self._store = Store(signal, transport, environ)
        self._questions = questions(signal, signal.max_age_s + signal.every_s)
        counters = [f"{signal.name}.{name}" for name in signal.counters]
        histograms = [f"{signal.name}.{name}" for name in signal.histograms]
        self._keys = (*counters, *histograms)
        self._book = CounterBook(
            counters,
            histograms,
            stale_after_s=signal.max_age_s,
            parts=signal.split.most if signal.split is not None else 0,
        )
        self._heard: dict[str, float] = {}
        """The newest sample of each subject, for as long as it is started."""
        self._recognized = False
        """A subject that we know was heard of: the question and the label are right."""

    async def read(self, fleet: Fleet, clock: Clock) -> Sequence[Reading]:
        """One round, all questions at once; the first one yields no increases."""
        values = self._signal.values
        queries = [*(q.query for q in self._questions), *(value.text for value in values.values())]
        results = await asyncio.gather(*(self._store.ask(query) for query in queries))
        now, count = clock.now(), len(self._questions)
        readings, alive = list[Reading](), set[str]()
        if count:
            size = _SAMPLE_BYTES * _samples(results[:count])
            readings, alive = await aside(size, self._counted, results[:count], fleet, now)
        for (name, query), result in zip(values.items(), results[count:], strict=True):
            readings += value_readings(f"{self.name}.{name}", query, result, self._round(fleet, now, alive))
        nothing = _first(results)
        if nothing is not None and all(isinstance(result, NoResult) for result in results):
            readings.insert(0, self._gap(self.name, EDGE, now, nothing))
        return readings

    def _round(self, fleet: Fleet, now: float, alive: set[str]) -> Round:
        signal = self._signal
        return Round(
            at=now,
            machine_label=signal.machine_label,
            started=fleet.started,
            alive=alive,
            max_age_s=signal.max_age_s,
        )

    def _counted(self, results: Sequence[Result], fleet: Fleet, now: float) -> tuple[list[Reading], set[str]]:
        """The readings of the counters and histograms, and which subjects have fresh ones."""
        if nothing := _first(results):
            return self._nothing(nothing, now), set()
        expected = (EDGE,) if self._signal.machine_label is None else fleet.started
        try:
            by_subject = self._lines(results)
            readings = self._take(by_subject, now)
        except (ValueError, TooMany) as error:
            return self._nothing(NoResult(GapKind.BAD_ANSWER, f"{excerpt(str(error))} {self._shown}"), now), set()
        newest = {subject: max(line.samples[-1][0] for line in some) for subject, some in by_subject.items()}
        heard = self._heard | {s: max(at, self._heard.get(s, at)) for s, at in newest.items()}
        self._heard = {s: at for s, at in heard.items() if s in expected or not fleet.started}
        # That one who does not run any more has no new samples is no news.
        readings = [r for r in readings if r.gap is not GapKind.STALE or r.subject in expected]
        alive = {subject for subject, at in newest.items() if now - at <= self._signal.max_age_s}
        return [*readings, *self._silent(expected, newest, _found(results), now)], alive

    def _lines(self, results: Sequence[Result]) -> dict[str, list[Line]]:
        found: dict[str, list[Line]] = {}
        split = self._signal.split.label if self._signal.split is not None else None
        for question, result in zip(self._questions, results, strict=True):
            assert not isinstance(result, NoResult)  # looked at before
            for subject, line in lines(question, result, self._signal.machine_label, split):
                found.setdefault(subject, []).append(line)
        return found

    def _take(self, by_subject: Mapping[str, Sequence[Line]], now: float) -> list[Reading]:
        readings: list[Reading] = []
        for subject, some in by_subject.items():
            if (known := self._heard.get(subject)) is not None:
                for at in resets(some, max(known, now - self._signal.max_age_s)):
                    readings += self._book.take(page(subject, some, at), now)
        newest = [sample for subject, some in by_subject.items() for sample in page(subject, some)]
        return readings + self._book.take(newest, now)

    def _silent(self, expected: Sequence[str], present: Collection[str], found: int, now: float) -> list[Reading]:
        self._recognized = self._recognized or any(subject in present for subject in expected)
        readings: list[Reading] = []
        for subject in expected:
            if subject in present:
                continue
            if (last := self._heard.get(subject)) is not None:
                why = NoResult(GapKind.STALE, f"no sample for {max(0.0, now - last):.0f}s")
            elif self._recognized:
                why = NoResult(GapKind.NO_TRAFFIC, "nothing counted")
            else:
                why = NoResult(GapKind.NO_ANSWER, f"{self._unrecognized(present, found)} {self._shown}")
            readings += [self._gap(key, subject, now, why) for key in self._keys]
        return readings

    def _unrecognized(self, present: Collection[str], found: int) -> str:
        if not found:
            return "no series at all"
        if not present:
            return f"{found} series, none with the label {self._signal.machine_label}"
        of = excerpt(", ".join(sorted(present)[:3]), 80)
        return f"no series of a started machine, but with {self._signal.machine_label} {of}"

    @property
    def _shown(self) -> str:
        return f"(query {excerpt(self._questions[0].query, QUERY_CHARS_SHOWN)})"

    def _nothing(self, why: NoResult, now: float) -> list[Reading]:
        return [self._gap(key, EDGE, now, why) for key in self._keys]

    def _gap(self, key: str, subject: str, now: float, why: NoResult) -> Reading:
        return Reading(key=key, subject=subject, at=now, gap=why.gap, detail=why.detail)


def _first(results: Sequence[Result]) -> NoResult | None:
    return next((result for result in results if isinstance(result, NoResult)), None)


def _samples(results: Sequence[Result]) -> int:
    return sum(len(one.samples) + 1 for result in results if not isinstance(result, NoResult) for one in result)


def _found(results: Sequence[Result]) -> int:
    return sum(len(result) for result in results if not isinstance(result, NoResult))
