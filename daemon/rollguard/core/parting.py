"""One part of what is counted, a value of a label or a region, as if the app had no other."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace

from rollguard.core.budgets import ByLabel, ByRegion
from rollguard.core.fleet import Tenure, View
from rollguard.core.model import EDGE, Reading
from rollguard.core.parts import names
from rollguard.core.policy import Policy, Quantile, Ratio
from rollguard.core.signals import CountSignal
from rollguard.core.window import Windows

By = ByRegion | ByLabel
Looked = tuple[Policy, View, Windows]
"""Where a measure is read."""
SIGN = " @ "


def named(name: str, by: By, part: str) -> str:
    """The name under which a part of what has that name is kept."""
    return f"{name}{SIGN}{_kind(by)}{part}"


def part_of(name: str, whole: str, by: By) -> str | None:
    """The part that was ``named`` so; None: it is none of that."""
    sign = f"{whole}{SIGN}{_kind(by)}"
    return name[len(sign) :] if name.startswith(sign) else None


def whole_of(name: str) -> str:
    """What it is a part of; itself where it is whole."""
    return name.partition(SIGN)[0]


def _kind(by: By) -> str:
    return "region " if isinstance(by, ByRegion) else f"label {by.label} "


def parts_in(of: Ratio | Quantile, view: View, readings: Iterable[Reading]) -> list[str]:
    """The parts that there are: where machines run, or in which anything was counted."""
    if isinstance(of, Quantile) or isinstance(of.by, ByRegion):
        return sorted({t.region for t in (*view.cohort, *view.others)})
    return names(r.parts for r in readings if r.key in {of.bad, of.total})


def each(of: Ratio | Quantile, looked: Looked, since: float) -> Iterator[tuple[str, Looked]]:
    """Every part of ``of``, and where it is read, from ``since`` on; none where it is not split."""
    if of.by is None:
        return
    _, view, windows = looked
    read = [reading for key, subject in _places(of, view) for reading in windows.since(key, subject, since)]
    yield from ((part, narrowed(of, part, looked, since)) for part in parts_in(of, view, read))


def narrowed(of: Ratio | Quantile, part: str, looked: Looked, since: float) -> Looked:
    """Where one part is read."""
    policy, view, windows = looked
    if isinstance(of, Quantile) or isinstance(of.by, ByRegion):
        return policy, in_region(view, part), windows
    only = Windows(math.inf)
    for key, subject in _places(of, view):
        only.add(in_part(reading, part) for reading in windows.since(key, subject, since))
    return without_probes(policy, of), view, only


def _places(of: Ratio | Quantile, view: View) -> list[tuple[str, str]]:
    keys = [of.key] if isinstance(of, Quantile) else sorted({of.bad, of.total})
    return [(key, s) for key in keys for s in (EDGE, *(t.machine for t in (*view.cohort, *view.others)))]


def in_part(reading: Reading, part: str) -> Reading:
    """What was counted in that part alone."""
    return reading if reading.gap is not None else replace(reading, value=dict(reading.parts).get(part, 0.0))


def without_probes(policy: Policy, of: Ratio) -> Policy:
    """The same, but the guard's own probes are left in: nobody knows which of the parts they went to."""
    signal = policy.signal(of.total.partition(".")[0])
    assert isinstance(signal, CountSignal)
    bare = replace(signal, counts_probes=False)
    return replace(policy, signals=tuple(bare if s is signal else s for s in policy.signals))


def in_region(view: View, region: str) -> View:
    """The same fleet as far as it is in this region."""
    return replace(view, cohort=_in(view.cohort, region), others=_in(view.others, region))


def _in(some: Iterable[Tenure], region: str) -> tuple[Tenure, ...]:
    return tuple(t for t in some if t.region == region)
