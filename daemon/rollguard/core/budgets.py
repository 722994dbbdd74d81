"""Error budgets and parts as a policy's rules mean them: what ``burn`` and ``by`` stand for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ByRegion:
    """Judged for the machines of each region by themselves."""


@dataclass(frozen=True, slots=True)
class ByLabel:
    """Judged for each value by itself of the label that the counters' signal splits them by."""

    label: str


@dataclass(frozen=True, slots=True, kw_only=True)
class BurnWindow:
    """The budget is burnt ``rate`` times as fast as it may be, over ``over_s`` and still over ``and_s``."""

    over_s: float
    and_s: float
    rate: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Burn:
    """An error budget burnt too fast: ``bad`` over ``total`` against ``objective``, the share that must be good.

    One of ``windows`` is enough; ``min_count`` of ``total`` must be in its shorter one.
    """

    bad: str
    total: str
    objective: float
    windows: tuple[BurnWindow, ...]
    min_count: float = 0.0
