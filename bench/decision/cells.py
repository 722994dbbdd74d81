"""The rows of the table: what a fleet goes through while it gets a release, healthy or not, and what is demanded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from bench.decision.world import Change, Habits, Trouble, World, ailing

HEALTHY_RUNS, REGRESSED_RUNS = 6000, 400
"""So many runs of a cell are demanded before it says anything."""
ANY_RPS, BUSY_RPS = (0.25, 1.0, 5.0, 20.0, 50.0), (5.0, 20.0, 50.0)
"""Requests a second of each machine; one is drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One row. ``most``: the part of healthy releases that may be rolled back. ``median_s``, ``p95_s``: how soon a bad
    one must be, and ``least`` how many of them. None: nothing is demanded, it is only told. ``worlds`` makes a run of
    its seed.
    """

    name: str
    worlds: Callable[[object], World]
    settle_s: float = 0.0
    watch_s: float = 3600.0
    bad: bool = False
    most: float | None = None
    median_s: float | None = None
    p95_s: float | None = None
    least: float | None = None

    @property
    def demanded_runs(self) -> int:
        """How many runs it takes."""
        return REGRESSED_RUNS if self.bad else HEALTHY_RUNS


Draw = Callable[[Random], Trouble]


def _healthy(
    name: str, trouble: Draw | None = None, *, rps: Sequence[float] = ANY_RPS, chance: float = 1.0, **but: Any
) -> Callable[[object], World]:
    """A healthy release; with ``chance`` something happens that is not its doing."""

    def make(seed: object) -> World:
        world = World((name, seed), **but)
        world.rps = world.dice.choice(rps)
        if trouble is not None and world.dice.random() < chance:
            world.troubles = (trouble(world.dice),)
        return world

    return make


def _bad(name: str, rps: float, *, machines: int = 4, **change: Any) -> Callable[[object], World]:
    return lambda seed: World((name, seed), machines=machines, rps=rps, change=Change(**change))


def _blip(first_s: float, last_s: float, *, uneven: tuple[float, float] = (0.0, 0.0)) -> Draw:
    """One to three minutes of errors, slowness, or errors and failed probes, of everything."""

    def draw(dice: Random) -> Trouble:
        begins = dice.uniform(first_s, last_s)
        kind, spread = dice.randrange(3), dice.uniform(*uneven)
        return Trouble(
            begins_s=begins,
            ends_s=begins + dice.uniform(60, 180),
            errors=dice.uniform(0.02, 0.3) if kind != 1 else 0.0,
            slower=dice.uniform(1.5, 4.0) if kind == 1 else 1.0,
            probes=dice.uniform(0.2, 0.8) if kind == 2 else 0.0,
            uneven=spread,
        )

    return draw


def _outage(errors: tuple[float, float] | None, slower: tuple[float, float], probes: tuple[float, float]) -> Draw:
    def draw(dice: Random) -> Trouble:
        begins = dice.uniform(200, 600)
        return Trouble(
            begins_s=begins,
            ends_s=begins + dice.uniform(300, 1200),
            errors=dice.uniform(*errors) if errors else 0.0,
            slower=dice.uniform(*slower),
            probes=dice.uniform(*probes),
        )

    return draw


def _sick(first_s: float, last_s: float) -> Draw:
    def draw(dice: Random) -> Trouble:
        begins = dice.uniform(first_s, last_s)
        return ailing(dice, begins, begins + dice.uniform(120, 900), dice.randrange(4))

    return draw


NONE, SAME = (0.0, 0.0), (1.0, 1.0)
ROLLING_S = 150.0
SICK = Habits(sick_an_hour=0.02)
COLD = Habits(cold_s=(0.0, 60.0))
BLIPS_AN_HOUR = 2 / 24


def _two_a_day(name: str, machines: int = 4) -> Callable[[object], World]:
    return _healthy(name, _blip(0, 3600), chance=BLIPS_AN_HOUR, machines=machines)


HEALTHY = (
    Cell(name="healthy, sick machines 2 %/h", worlds=_healthy("healthy", habits=SICK), most=0.0015),
    Cell(name="blips two a day", worlds=_two_a_day("two a day"), most=0.002),
    Cell(name="blips two a day, 2 machines", worlds=_two_a_day("two a day 2", 2), most=0.002),
    Cell(name="blips two a day, 10 machines", worlds=_two_a_day("two a day 10", 10), most=0.002),
    Cell(name="blips two a day, 1 machine", worlds=_two_a_day("two a day 1", 1), most=0.03),
    Cell(
        name="one blip in every deploy",
        worlds=_healthy("deploy blip", _blip(0, ROLLING_S)),
        watch_s=1500.0,
        most=0.005,
    ),
    Cell(
        name="one blip in every watch",
        worlds=_healthy("watch blip", _blip(200, 1200)),
        watch_s=2100.0,
        most=0.005,
    ),
    Cell(
        name="one uneven blip in every deploy",
        worlds=_healthy("uneven blip", _blip(0, ROLLING_S, uneven=(0.3, 0.6))),
        watch_s=1500.0,
        most=0.03,
    ),
    Cell(
        name="outage, errors",
        worlds=_healthy("outage e", _outage((0.02, 0.5), SAME, NONE), rps=BUSY_RPS),
        watch_s=2400.0,
        most=0.005,
    ),
    Cell(
        name="outage, latency x1.5-4",
        worlds=_healthy("outage l", _outage(None, (1.5, 4.0), NONE), rps=BUSY_RPS),
        watch_s=2400.0,
        most=0.01,
    ),
    Cell(
        name="outage, probes fail half the time or more",
        worlds=_healthy("outage p", _outage(None, SAME, (0.5, 1.0))),
        watch_s=2400.0,
        most=0.005,
    ),
    Cell(
        name="one sick machine in every deploy",
        worlds=_healthy("sick deploy", _sick(0, ROLLING_S)),
        watch_s=1500.0,
        most=0.06,
    ),
    Cell(
        name="one sick machine in every watch",
        worlds=_healthy("sick watch", _sick(250, 1200)),
        watch_s=2400.0,
        most=0.01,
    ),
    Cell(
        name="cold machines up to 60 s, settle 60 s",
        worlds=_healthy("cold 60", rps=BUSY_RPS, habits=COLD),
        settle_s=60.0,
        watch_s=1800.0,
        most=0.005,
    ),
    Cell(
        name="cold machines up to 60 s, settle 30 s",
        worlds=_healthy("cold 30", rps=BUSY_RPS, habits=COLD),
        settle_s=30.0,
        watch_s=1800.0,
    ),
)

DOWN: dict[str, Any] = {"errors": 1.0, "probes": 1.0}


def _regressed(name: str, rps: float, machines: int = 4, **but: Any) -> Cell:
    demands = {key: but.pop(key) for key in ("median_s", "p95_s", "least") if key in but}
    return Cell(name=name, worlds=_bad(name, rps, machines=machines, **but), bad=True, watch_s=1800.0, **demands)


REGRESSED = (
    _regressed("hard down", 5.0, median_s=16, p95_s=20, least=1.0, **DOWN),
    _regressed("hard down, 0.25/s", 0.25, median_s=16, p95_s=20, least=1.0, **DOWN),
    _regressed("hard down, 2 machines", 5.0, 2, median_s=30, p95_s=33, least=1.0, **DOWN),
    _regressed("errors 50 %, 0.25/s", 0.25, median_s=95, least=0.76, errors=0.5),
    _regressed("errors 50 %, 5/s", 5.0, median_s=20, p95_s=32, least=1.0, errors=0.5),
    _regressed("errors 50 %, 50/s", 50.0, errors=0.5),
    _regressed("errors 5 %, 0.25/s", 0.25, errors=0.05),
    _regressed("errors 5 %, 5/s", 5.0, median_s=61, least=0.945, errors=0.05),
    _regressed("errors 5 %, 50/s", 50.0, median_s=35, p95_s=40, least=1.0, errors=0.05),
    _regressed("errors 5 % from 20 min on, 5/s", 5.0, median_s=180, least=0.75, errors=0.05, since_s=1200.0),
    _regressed("errors 5 % from 20 min on, 50/s", 50.0, median_s=135, p95_s=150, errors=0.05, since_s=1200.0),
    _regressed("P95 x4, 0.25/s", 0.25, least=0.6, slower=4.0),
    _regressed("P95 x4, 5/s", 5.0, median_s=36, p95_s=48, least=1.0, slower=4.0),
    _regressed("P95 x4, 50/s", 50.0, median_s=36, p95_s=48, least=1.0, slower=4.0),
    _regressed("P95 x2, 0.25/s", 0.25, slower=2.0),
    _regressed("P95 x2, 5/s", 5.0, median_s=85, least=0.92, slower=2.0),
    _regressed("P95 x2, 50/s", 50.0, slower=2.0),
)
CELLS = (*HEALTHY, *REGRESSED)
