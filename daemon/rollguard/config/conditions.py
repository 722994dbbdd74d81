"""The conditions of rules as core values: each refers to signals that exist and compares like with like."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rollguard.config import counting, schema
from rollguard.config.asked import Asked, Made
from rollguard.config.problems import Wrong
from rollguard.core.policy import Crashed, Failing, Reported, Threshold
from rollguard.core.signals import PlatformSignal, ProbeSignal, Signal


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
    if written.worse_than_baseline is not None:
        return counting.gauge(asked, written)
    assert written.for_ is not None
    condition, signal = threshold_of(asked, written.for_)
    return (condition, signal) if condition else None


def threshold_of(asked: Asked, for_s: float) -> tuple[Threshold | None, Signal | None]:
    """A limit on a number of a json signal, and that signal; nothing when it is not sound."""
    key = asked.written.value
    assert key is not None
    with asked.complaining("value"):
        found = counting.number(asked, key)
        limit = asked.limit(asked.directory.units[key]) if found else None
        if found and limit:
            return Threshold(key=key, limit=limit[0], above=limit[1], for_s=for_s), found[0]
    return None, None


def _report(asked: Asked, written: schema.Rule) -> Made:
    assert written.report is not None
    return Reported(kinds=written.report), None


BUILD: Mapping[str, Callable[[Asked, schema.Rule], Made]] = {
    "failing": _failing,
    "value": _threshold,
    "ratio": counting.ratio,
    "quantile": counting.quantile,
    "burn": counting.burn,
    "crashed": _crashed,
    "report": _report,
    "worse_than_baseline": counting.probes,
}
