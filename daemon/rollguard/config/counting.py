"""Conditions on what is counted: ratios, quantiles, error budgets; and all comparisons with the proven release."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, replace

from rollguard.config import schema
from rollguard.config.asked import Asked, Made
from rollguard.config.problems import Wrong, listed, shown
from rollguard.config.quantity import Dimension
from rollguard.config.signals import Unit, asks_edge, signal_of
from rollguard.config.yamltext import Path
from rollguard.core.budgets import Burn, BurnWindow, ByLabel, ByRegion
from rollguard.core.policy import Compared, Gauge, Probes, Quantile, Ratio
from rollguard.core.signals import CountSignal, JourneySignal, JsonSignal, ProbeSignal, PrometheusSignal, Signal

REGION = "region"
BURN_S_MAX = 7 * 86400.0
NO_LIMIT = (math.inf, True)
"""Of what is compared with a baseline."""
SHOWN_S = 120.0
"""Of a comparison, where it is not written: what it shows, for it decides by all that it has seen."""
_TIME = Unit(1.0, Dimension.TIME, "ms")
_RATIO = re.compile(r"\s*(\S+)\s+/\s+(\S+)\s*")


def _compared(asked: Asked, written: schema.Rule, made: tuple[Ratio | Quantile | Gauge | None, Signal | None]) -> Made:
    """As it stands, or against the baseline where the rule says so."""
    of, signal = made
    worse = written.worse_than_baseline
    if of is None:
        return None
    if worse is None and not isinstance(of, Gauge):
        return of, signal
    assert worse is not None
    if worse.factor is None and isinstance(of, Quantile | Gauge):
        asked.complaints.value((*asked.path, "worse_than_baseline"), "a time needs factor, such as {factor: 1.5}")
    if worse.add is not None and isinstance(of, Quantile | Gauge):
        asked.complaints.key((*asked.path, "worse_than_baseline", "add"), "'add' is for ratios; a time has a factor")
    return Compared(of=of, factor=worse.factor or 1.0, add=worse.add or 0.0), signal


def probes(asked: Asked, written: schema.Rule) -> Made:
    """The probes of a signal, compared with what no app may do."""
    worse = written.worse_than_baseline
    assert written.signal is not None
    assert worse is not None
    for key in worse.model_fields_set:
        message = f"{shown(key)} is for ratios and times; how many failed probes are too many is the same for every app"
        asked.complaints.key((*asked.path, "worse_than_baseline", key), message)
    with asked.complaining("signal"):
        signal = asked.directory.signal(written.signal)
        if signal is None:
            return None
        if not isinstance(signal, ProbeSignal):
            wanted = "an http, json or journey signal"
            raise Wrong(f"'worse_than_baseline' without a ratio or quantile is about {wanted}", wanted=wanted)
        over_s = _window_s(asked, signal.every_s, written.over)
        of = Probes(signal=signal.name, over_s=over_s, min_count=written.min_requests or 0, for_s=written.for_ or 0.0)
        return Compared(of=of), signal
    return None


def gauge(asked: Asked, written: schema.Rule) -> Made:
    """A time that the app works out itself, against the baseline."""
    key = written.value
    assert key is not None
    if written.on is not None:
        message = "'on' is for limits; a comparison needs more than half of the machines to be worse"
        asked.complaints.key((*asked.path, "on"), message)
    with asked.complaining("value"):
        found = number(asked, key)
        if found is None:
            return None
        if asked.directory.units[key].dimension is not Dimension.TIME:
            wanted = "a time, such as a number of a json signal with unit: ms"
            raise Wrong(f"'worse_than_baseline' of a value is about {wanted}", wanted=wanted)
        over_s = _window_s(asked, found[0].every_s)
        return _compared(asked, written, (Gauge(key=key, over_s=over_s, for_s=written.for_ or 0.0), found[0]))
    return None


def number(asked: Asked, key: str) -> tuple[Signal, str] | None:
    """The signal and name of what ``value`` may be about; None where that is not sound. Raises ``Wrong``."""
    found = asked.directory.entry(key)
    if found is None:
        return None
    signal, within = found
    in_store = isinstance(signal, PrometheusSignal) and within in signal.values
    if not in_store and not isinstance(signal, JsonSignal | JourneySignal):
        wanted = "a number of a json or prometheus signal, or the time of a journey's step"
        raise Wrong(f"'value' is {wanted}", wanted=wanted)
    return found


def ratio(asked: Asked, written: schema.Rule) -> Made:
    """One counter over another, against a limit or the baseline."""
    of, signal = ratio_of(asked, written.over, written.min_requests or 0, written.for_ or 0.0)
    if of is not None and signal is not None:
        of = replace(of, by=_by(asked, written, signal))
        if isinstance(of.by, ByLabel) and signal_of(of) != signal.name:
            asked.complaints.value((*asked.path, "by"), "both counters must be of the signal that is split")
    return _compared(asked, written, (of, signal))


def _by(asked: Asked, written: schema.Rule, signal: Signal) -> ByRegion | ByLabel | None:
    """What is held against a limit, or its past, part by part."""
    by = written.by
    if by is None:
        return None
    split = signal.split if isinstance(signal, CountSignal) else None
    with asked.complaining("by"):
        if by == REGION:
            if asks_edge(signal):
                raise Wrong("what is counted at the edge is of no region", wanted="left out here")
            return ByRegion()
        if written.quantile is not None:
            raise Wrong("a quantile can be judged by region only", wanted=REGION)
        if split is None or split.label != by:
            able = {REGION} if not asks_edge(signal) else set[str]()
            able |= {split.label} if split is not None else set()
            ways = listed([*sorted(able), f"split: {{label: {by}}} in the signal"])
            raise Wrong(f"signal {shown(signal.name)} is not split by {shown(by)}; write {ways}", wanted=ways)
        return ByLabel(by)
    return None


def ratio_of(asked: Asked, over_s: float | None, min_count: float, for_s: float) -> tuple[Ratio | None, Signal | None]:
    """A limit on one counter over another, and the signal of the first; nothing when it is not sound.

    ``over_s`` None: a comparison, which shows as much as is usual.
    """
    text = asked.written.ratio
    assert text is not None
    limit = asked.share() if asked.is_limited else NO_LIMIT
    with asked.complaining("ratio"):
        found = _two_counters(asked, text)
        if found is None or limit is None:
            return None, None
        over_s = _window_s(asked, found.every_s, over_s)
        condition = Ratio(
            bad=found.bad,
            total=found.total,
            over_s=over_s,
            limit=limit[0],
            above=limit[1],
            min_count=min_count,
            for_s=for_s,
        )
        return condition, found.signal
    return None, None


@dataclass(frozen=True, slots=True)
class _Counters:
    """Two counters, the signal of the first, and how often both are read."""

    bad: str
    total: str
    signal: Signal
    every_s: float


def _two_counters(asked: Asked, text: str) -> _Counters | None:
    """``signal.bad / signal.all``; None where their signals are not sound. Raises ``Wrong``."""
    wanted = "two counters such as traffic.errors / traffic.requests"
    found = _RATIO.fullmatch(text)
    if not found:
        raise Wrong(f"must be {wanted}", wanted=wanted)
    bad, total = found[1], found[2]
    of, per = (_counter(asked, found[n], found.start(n)) for n in (1, 2))
    if bad == total:
        raise Wrong("a counter over itself is always 100%", wanted=wanted)
    if of is None or per is None:
        return None
    if asks_edge(of) != asks_edge(per):
        raise Wrong("one counter is of the machines, the other of the edge", wanted=wanted)
    return _Counters(bad, total, of, max(of.every_s, per.every_s))


def burn(asked: Asked, written: schema.Rule) -> Made:
    """An error budget over pairs of windows."""
    asked_of = written.burn
    assert asked_of is not None
    path: Path = (*asked.path, "burn")
    if not 0 < asked_of.objective < 1:
        asked.complaints.value((*path, "objective"), Wrong("must be below 100% and above 0%", wanted="such as 99.9%"))
    with asked.complaining("burn", "ratio"):
        found = _two_counters(asked, asked_of.ratio)
        if found is None:
            return None
        for index, window in enumerate(asked_of.windows):
            _check_burn(asked, (*path, "windows", index), window, 1 - asked_of.objective, found.every_s)
        condition = Burn(
            bad=found.bad,
            total=found.total,
            objective=asked_of.objective,
            windows=tuple(BurnWindow(over_s=w.over, and_s=w.and_, rate=w.rate) for w in asked_of.windows),
            min_count=written.min_requests or 0,
        )
        return condition, found.signal
    return None


def _check_burn(asked: Asked, path: Path, window: schema.BurnWindow, budget: float, every_s: float) -> None:
    """A pair of windows that could ever be breached, and could be counted."""
    if window.rate <= 0:
        asked.complaints.value((*path, "rate"), Wrong("must be more than 0", wanted="more than 0"))
    elif window.rate * budget >= 1:
        message = f"{window.rate:g} times the budget of {budget * 100:.4g}% is more than every request failing"
        asked.complaints.value((*path, "rate"), Wrong(message, wanted=f"below {1 / budget:.4g}"))
    if window.and_ >= window.over:
        asked.complaints.value((*path, "and"), Wrong("'and' is not shorter than 'over'", wanted="shorter than over"))
    if window.and_ < 2 * every_s:
        message = "'and' is shorter than two readings of the signal are apart"
        asked.complaints.value((*path, "and"), Wrong(message, wanted="twice as long as the signal's every"))
    if window.over > BURN_S_MAX:
        asked.complaints.value((*path, "over"), Wrong("a window is at most 7d long", wanted="at most 7d"))


def _counter(asked: Asked, key: str, offset: int) -> Signal | None:
    found = asked.directory.entry(key, offset)
    if found and not (isinstance(found[0], CountSignal) and found[1] in found[0].counters):
        raise Wrong(
            f"{shown(key)} is not a counter of a scrape or prometheus signal", wanted="two counters", offset=offset
        )
    return found[0] if found else None


def quantile(asked: Asked, written: schema.Rule) -> Made:
    """A quantile of a histogram, against a limit or the baseline."""
    asked_of = written.quantile
    assert asked_of is not None
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
        over_s = _window_s(asked, found[0].every_s, written.over)
        condition = Quantile(
            key=asked_of.of,
            q=asked_of.q,
            over_s=over_s,
            limit=limit[0],
            above=limit[1],
            min_count=written.min_requests or 0,
            for_s=written.for_ or 0.0,
            by=by if isinstance(by := _by(asked, written, found[0]), ByRegion) else None,
        )
        return _compared(asked, written, (condition, found[0]))
    return None


def _window_s(asked: Asked, every_s: float, over_s: float | None = None) -> float:
    """The window, as written or usual. One without two readings in it would never give a verdict."""
    if over_s is None:
        return max(SHOWN_S, every_s)
    if over_s < every_s:
        path: Path = (*asked.path, "over") if isinstance(asked.written, schema.Rule) else ("verify", "settle")
        message = f"{path[-1]} is shorter than the time between two readings (the signal's every)"
        asked.complaints.value(path, Wrong(message, wanted="as long as the signal's every"))
    return over_s
