"""Fleets: how often a healthy release is rolled back under every kind of trouble, and how soon a bad one is."""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from bench.decision.watching import Ending, deploy
from bench.decision.world import Change, Habits, Trouble, World


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One row of the table. ``target``: at most so many healthy releases rolled back, or the (median, 95 %) seconds in
    which a bad one is.
    """

    name: str
    make: Callable[[int], World]
    settle_s: float = 0.0
    watch_s: float = 3600.0
    most: float | None = None
    within_s: tuple[float, float] | None = None


def _world(cell: str, number: int, rps: float = 5.0, **but: Any) -> World:
    return World((cell, number), rps=rps, **but)


def _blip(dice_of: World, begins_s: float, *, uneven: float = 0.0) -> Trouble:
    """One to three minutes of errors, or of slowness, of everything."""
    dice = dice_of.dice
    lasts_s = dice.uniform(60, 180)
    if dice.random() < 0.5:
        return Trouble(begins_s=begins_s, ends_s=begins_s + lasts_s, errors=dice.uniform(0.02, 0.3), uneven=uneven)
    return Trouble(begins_s=begins_s, ends_s=begins_s + lasts_s, slower=dice.uniform(1.5, 4.0), uneven=uneven)


def _healthy(n: int) -> World:
    return _world("healthy", n, habits=Habits(sick_an_hour=0.02))


def _two_a_day(n: int) -> World:
    world = _world("two a day", n)
    if world.dice.random() < 2 / 24:
        world.troubles = (_blip(world, world.dice.uniform(0, 3600)),)
    return world


def _with(name: str, rps: float, trouble: Callable[[World], Trouble]) -> Callable[[int], World]:
    def make(n: int) -> World:
        world = _world(name, n, rps)
        world.troubles = (trouble(world),)
        return world

    return make


def _bad(name: str, rps: float, **change: Any) -> Callable[[int], World]:
    return lambda n: _world(name, n, rps, change=Change(**change))


ROLLING_S = 120.0
CELLS = (
    Cell(name="healthy, sick machines 2 %/h", make=_healthy, most=0.0015),
    Cell(name="blips of 1-3 min, two a day", make=_two_a_day, most=0.002),
    Cell(
        name="one blip in every deploy",
        make=_with("deploy blip", 5.0, lambda w: _blip(w, w.dice.uniform(10, ROLLING_S))),
        most=0.005,
        watch_s=1200.0,
    ),
    Cell(
        name="one blip in every watch",
        make=_with("watch blip", 5.0, lambda w: _blip(w, w.dice.uniform(200, 900))),
        most=0.005,
        watch_s=1800.0,
    ),
    Cell(
        name="uneven blip in every deploy",
        make=_with("uneven", 5.0, lambda w: _blip(w, w.dice.uniform(10, ROLLING_S), uneven=0.45)),
        most=0.03,
        watch_s=1200.0,
    ),
    Cell(
        name="outage, errors 10 %",
        make=_with("outage errors", 5.0, lambda w: Trouble(begins_s=300.0, ends_s=900.0, errors=0.1)),
        most=0.005,
        watch_s=1500.0,
    ),
    Cell(
        name="outage, latency x3",
        make=_with("outage slow", 5.0, lambda w: Trouble(begins_s=300.0, ends_s=900.0, slower=3.0)),
        most=0.01,
        watch_s=1500.0,
    ),
    Cell(
        name="outage, probes fail half the time",
        make=_with("outage probes", 5.0, lambda w: Trouble(begins_s=300.0, ends_s=900.0, probes=0.6)),
        most=0.005,
        watch_s=1500.0,
    ),
    Cell(
        name="one sick machine in every watch",
        make=_with("sick", 5.0, lambda w: Trouble(begins_s=300.0, ends_s=1200.0, machines=frozenset({1}), errors=0.2)),
        most=0.01,
        watch_s=1500.0,
    ),
    Cell(
        name="cold machines up to 60 s, settle 60 s",
        make=lambda n: _world("cold", n, habits=Habits(cold_s=(0.0, 60.0))),
        settle_s=60.0,
        most=0.005,
        watch_s=1800.0,
    ),
    Cell(name="hard down", make=_bad("down", 5.0, probes=1.0, errors=1.0), within_s=(16, 20), watch_s=900.0),
    Cell(name="errors 50 %, 5/s", make=_bad("e50", 5.0, errors=0.5), within_s=(20, 32), watch_s=900.0),
    Cell(name="errors 5 %, 50/s", make=_bad("e5-50", 50.0, errors=0.05), within_s=(35, 40), watch_s=900.0),
    Cell(name="errors 5 %, 5/s", make=_bad("e5-5", 5.0, errors=0.05), within_s=(61, 214), watch_s=1200.0),
    Cell(name="P95 x4, 5/s", make=_bad("x4", 5.0, slower=4.0), within_s=(36, 48), watch_s=900.0),
    Cell(name="P95 x2, 5/s", make=_bad("x2", 5.0, slower=2.0), within_s=(85, 392), watch_s=1800.0),
)


def main(argv: Sequence[str]) -> int:
    """See ``--help``."""
    parser = argparse.ArgumentParser(prog="python -m bench.decision cohorts", description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    parser.add_argument("--from", type=int, default=0, dest="first", help="the number of the first run")
    parser.add_argument("--cells", default="", help="parts of names, comma-separated")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--json", type=Path, help="also write every ending there")
    options = parser.parse_args(argv)
    wanted = [w for w in options.cells.split(",") if w]
    cells = [c for c in CELLS if not wanted or any(w in c.name for w in wanted)]
    print("| cell | rolled back | stopped by its first machine | paged | median, 95 % s | target | |")
    print("|---|---|---|---|---|---|---|")
    every = {}
    with multiprocessing.Pool(options.processes) as pool:
        for cell in cells:
            jobs = [(CELLS.index(cell), n) for n in range(options.first, options.first + options.runs)]
            endings = pool.starmap(one, jobs, chunksize=4)
            every[cell.name] = [asdict(e) for e in endings]
            print(row(cell, endings), flush=True)
    if options.json is not None:
        options.json.write_text(json.dumps(every))
    return 0


def one(cell: int, number: int) -> Ending:
    """One run of a cell."""
    mine = CELLS[cell]
    return deploy(mine.make(number), settle_s=mine.settle_s, watch_s=mine.watch_s)


def row(cell: Cell, endings: Sequence[Ending]) -> str:
    """One line of the table. Of a bad release the seconds count from its first machine's start."""
    back = sorted(e.rolled_back_s for e in endings if e.rolled_back_s is not None)
    stopped = Counter(e.first for e in endings if e.first and e.rolled_back_s is None)
    paged = sum(e.paged_s is not None for e in endings)
    count, n = len(back), len(endings)
    if cell.most is not None:
        target, met = f"<= {cell.most:.2%}", count <= cell.most * n
        delays = ""
    else:
        assert cell.within_s is not None
        missing = n - count
        late = [*back, *[float("inf")] * missing]
        middle, most = median(late) - 5.0, late[min(n - 1, int(0.95 * n))] - 5.0
        target, met = f"{cell.within_s[0]:.0f} / {cell.within_s[1]:.0f} s", middle <= cell.within_s[0]
        delays = f"{middle:.0f} / {most:.0f}"
    told = ", ".join(f"{what} {times}" for what, times in sorted(stopped.items()))
    return f"| {cell.name} | {count} of {n} | {told} | {paged} | {delays} | {target} | {'met' if met else 'not met'} |"
