"""The conditions of rules as core values: each refers to signals that exist and compares like with like."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from rollguard.config import schema
from rollguard.config.complaints import Complaints
from rollguard.config.problems import Wrong, shown
from rollguard.config.quantity import Dimension, in_dimension
from rollguard.config.signals import Directory, Unit, asks_edge
from rollguard.config.yamltext import Path
from rollguard.core.policy import Compared, Condition, Crashed, Failing, Quantile, Ratio, Reported, Threshold
from rollguard.core.signals import (
    CountSignal,
    JourneySignal,
    JsonSignal,
    PlatformSignal,
    ProbeSignal,
    PrometheusSignal,
    Signal,
)

NO_LIMIT = (math.inf, True)
"""Of what is compared with a baseline."""
_SHARE = Unit(1.0, Dimension.RATIO, "%")
_TIME = Unit(1.0, Dimension.TIME, "ms")
_RATIO = re.compile(r"\s*(\S+)\s+/\s+(\S+)\s*")


@dataclass(frozen=True, slots=True)
class Asked:
    """A rule or verify limit, where it stands, and what it may refer to."""

    path: Path
    written: schema.VerifyLimit
    directory: Directory
    complaints: Complaints

    @contextmanager
    def complaining(self, *within: str) -> Iterator[None]:
        """A ``Wrong`` raised inside is about the value there."""
        try:
            yield
        except Wrong as wrong:
            self.complaints.value((*self.path, *within), wrong)

    def limit(self, unit: Unit) -> tuple[float, bool] | None:
        """The limit in base units, and whether it is an upper one. Exactly one is written, by its form."""
        above = self.written.above is not None
        quantity = self.written.above if above else self.written.below
        assert quantity is not None
        with self.complaining("above" if above else "below"):
            return in_dimension(quantity, unit.dimension, unit=unit.suffix), above
        return None

    @property
    def is_limited(self) -> bool:
        """Whether a limit is written down, and not left to a baseline."""
        return self.written.above is not None or self.written.below is not None

    def share(self) -> tuple[float, bool] | None:
        """A limit on a ratio of counts, which lies from 0 to 1 and must be possible to breach."""
        found = self.limit(_SHARE)
        if found and (found[0] >= 1 if found[1] else not 0 < found[0] <= 1):
            key = "above" if found[1] else "below"
            self.complaints.value((*self.path, key), Wrong("a share can never be beyond this limit"))
        return found


# A condition and the signal it is about (None: reports, or a signal that is not sound); or nothing, having complained.
Made = tuple[Condition, Signal | None] | None


def _failing(asked: Asked, written: schema.Rule) -> Made:
    assert written.signal is not None
    assert written.failing is not None
    with asked.complaining("signal"):
        signal = asked.directory.signal(written.signal)
        if signal is not None and not isinstance(signal, ProbeSignal):
            wanted = "an http, json or journey signal"
            raise Wrong(f"'failing' is about {wanted}", wanted=wanted)
        run = written.failing
        return Failing(signal=written.signal, k=run.k, of=run.of), signal
    return None


def _crashed(asked: Asked, written: schema.Rule) -> Made:
    assert written.signal is not None
    assert written.crashed is not None
    with asked.complaining("signal"):
        signal = asked.directory.signal(written.signal)
        if signal is not None and not isinstance(signal, PlatformSignal):
            raise Wrong("'crashed' is about a platform signal", wanted="a platform signal")
        times = written.crashed
        return Crashed(signal=written.signal, k=times.k, within_s=times.within_s), signal
    return None


def _threshold(asked: Asked, written: schema.Rule) -> Made:
    assert written.for_ is not None
    condition, signal = threshold_of(asked, written.for_)
    return (condition, signal) if condition else None


def threshold_of(asked: Asked, for_s: float) -> tuple[Threshold | None, Signal | None]:
    """A limit on a number of a json signal, and that signal; nothing when it is not sound."""
    key = asked.written.value
    assert key is not None
    with asked.complaining("value"):
        found = asked.directory.entry(key)
        if found and not _is_number(*found):
            wanted = "a number of a json or prometheus signal, or the time of a journey's step"
            raise Wrong(f"'value' is {wanted}", wanted=wanted)
        limit = asked.limit(asked.directory.units[key]) if found else None
        if found and limit:
            return Threshold(key=key, limit=limit[0], above=limit[1], for_s=for_s), found[0]
    return None, None


def _is_number(signal: Signal, within: str) -> bool:
    in_store = isinstance(signal, PrometheusSignal) and within in signal.values
    return in_store or isinstance(signal, JsonSignal | JourneySignal)


def _compared(asked: Asked, written: schema.Rule, made: tuple[Ratio | Quantile | None, Signal | None]) -> Made:
    """As it stands, or against the baseline where the rule says so."""
    of, signal = made
    worse = written.worse_than_baseline
    if of is None:
        return None
    if worse is None:
        return of, signal
    if worse.factor is None and worse.add is None:
        asked.complaints.value((*asked.path, "worse_than_baseline"), "needs factor, add, or both")
    if worse.add is not None and isinstance(of, Quantile):
        asked.complaints.key((*asked.path, "worse_than_baseline", "add"), "'add' is for ratios; a time has a factor")
    return Compared(of=of, factor=worse.factor or 1.0, add=worse.add or 0.0), signal


def _ratio(asked: Asked, written: schema.Rule) -> Made:
    assert written.over is not None
    assert written.min_requests is not None
    return _compared(asked, written, ratio_of(asked, written.over, written.min_requests, written.for_ or 0.0))


def ratio_of(asked: Asked, over_s: float, min_count: float, for_s: float) -> tuple[Ratio | None, Signal | None]:
    """A limit on one counter over another, and the signal of the first; nothing when it is not sound."""
    text = asked.written.ratio
    assert text is not None
    limit = asked.share() if asked.is_limited else NO_LIMIT
    with asked.complaining("ratio"):
        wanted = "two counters such as traffic.errors / traffic.requests"
        found = _RATIO.fullmatch(text)
        if not found:
            raise Wrong(f"must be {wanted}", wanted=wanted)
        bad, total = found[1], found[2]
        of, per = (_counter(asked, found[n], found.start(n)) for n in (1, 2))
        if bad == total:
            raise Wrong("a counter over itself is always 100%", wanted=wanted)
        if of is None or per is None or limit is None:
            return None, None
        if asks_edge(of) != asks_edge(per):
            raise Wrong("one counter is of the machines, the other of the edge", wanted=wanted)
        _check_window(asked, over_s, max(of.every_s, per.every_s))
        condition = Ratio(
            bad=bad, total=total, over_s=over_s, limit=limit[0], above=limit[1], min_count=min_count, for_s=for_s
        )
        return condition, of
    return None, None


def _counter(asked: Asked, key: str, offset: int) -> Signal | None:
    found = asked.directory.entry(key, offset)
    if found and not (isinstance(found[0], CountSignal) and found[1] in found[0].counters):
        raise Wrong(
            f"{shown(key)} is not a counter of a scrape or prometheus signal", wanted="two counters", offset=offset
        )
    return found[0] if found else None


def _quantile(asked: Asked, written: schema.Rule) -> Made:
    asked_of = written.quantile
    assert asked_of is not None
    assert written.over is not None
    assert written.min_requests is not None
    if not 0 < asked_of.q < 1:
        asked.complaints.value((*asked.path, "quantile", "q"), "a quantile lies between 0% and 100%")
    limit = asked.limit(_TIME) if asked.is_limited else NO_LIMIT
    with asked.complaining("quantile", "of"):
        found = asked.directory.entry(asked_of.of)
        if found and not (isinstance(found[0], CountSignal) and found[1] in found[0].histograms):
            message = f"{shown(asked_of.of)} is not a histogram of a scrape or prometheus signal"
            raise Wrong(message, wanted="a histogram of a scrape or prometheus signal")
        if found is None or limit is None:
            return None
        _check_window(asked, written.over, found[0].every_s)
        condition = Quantile(
            key=asked_of.of,
            q=asked_of.q,
            over_s=written.over,
            limit=limit[0],
            above=limit[1],
            min_count=written.min_requests,
            for_s=written.for_ or 0.0,
        )
        return _compared(asked, written, (condition, found[0]))
    return None


def _report(asked: Asked, written: schema.Rule) -> Made:
    assert written.report is not None
    return Reported(kinds=written.report), None


BUILD: Mapping[str, Callable[[Asked, schema.Rule], Made]] = {
    "failing": _failing,
    "value": _threshold,
    "ratio": _ratio,
    "quantile": _quantile,
    "crashed": _crashed,
    "report": _report,
}


def _check_window(asked: Asked, over_s: float, every_s: float) -> None:
    """A window without two readings in it would never give a verdict."""
    if over_s < every_s:
        path: Path = (*asked.path, "over") if isinstance(asked.written, schema.Rule) else ("verify", "settle")
        message = f"{path[-1]} is shorter than the time between two readings (the signal's every)"
        asked.complaints.value(path, Wrong(message, wanted="as long as the signal's every"))
