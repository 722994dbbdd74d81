"""Measures what docs/judge.md says about the judge: `python docs/measure_judge.py` (some minutes; prints tables).

Simulated apps of the benchmark (bench/decision/world.py), one after the other, under the guard's own mind. Seeded.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "daemon")]

from bench.decision.watching import BLOCK_S, HISTORY_S, policy  # noqa: E402
from bench.decision.world import NEW, NOON, PROBE_S, SCRAPE_S, Change, Habits, Trouble, World  # noqa: E402
from rollguard.core.finding import Blame, Finding  # noqa: E402
from rollguard.core.mind import Mind  # noqa: E402
from rollguard.core.model import Reading  # noqa: E402
from rollguard.core.policy import Action, Compared, Policy  # noqa: E402

DOWN = Change(errors=1.0, probes=1.0)
BAD = {
    "every request and probe fails": DOWN,
    "errors 50 %": Change(errors=0.5),
    "errors 20 %": Change(errors=0.2),
    "errors 5 %": Change(errors=0.05),
    "errors 1 %": Change(errors=0.01),
    "4 times as slow": Change(slower=4.0),
    "twice as slow": Change(slower=2.0),
}
HABITS = Habits()
RATES = (0.05, 0.25, 1.0, 20.0)


def convicted(
    world: World, judged_by: Policy, watch_s: float, look: Callable[[float, Finding], None] | None = None
) -> float | None:
    """Seconds from a release on all machines at once until a rule that rolls back blames it. None: never.

    ``look`` is shown every finding of such rules after each scrape.
    """
    return watched(world, grown_up(world, judged_by), NEW, 0.0, watch_s, look)


def grown_up(world: World, judged_by: Policy) -> Mind:
    """A mind that has seen the world for two hours, in which nothing was released."""
    mind = Mind(judged_by, NOON - HISTORY_S)
    for block in range(int(HISTORY_S / BLOCK_S)):
        at = -HISTORY_S + (block + 1) * BLOCK_S
        mind.see(world.snapshot(at - 1.0))
        mind.read("traffic", world.scrape(at, BLOCK_S))
        mind.read("probe", world.probes(at))
        mind.decide(NOON + at)
    return mind


def watched(
    world: World,
    mind: Mind,
    digest: str,
    begun: float,
    watch_s: float,
    look: Callable[[float, Finding], None] | None = None,
) -> float | None:
    """The same as ``convicted`` of one of several releases, the one that begins at ``begun``."""
    for name in world.names:
        world.install(name, digest, begun)
    at = begun
    while at < begun + watch_s:
        at += PROBE_S
        mind.see(world.snapshot(at))
        mind.read("probe", world.probes(at))
        if at % SCRAPE_S == 0:
            mind.read("traffic", world.scrape(at))
        mind.decide(NOON + at)
        acting = [f for f in mind.findings if f.rule.then is Action.ROLLBACK]
        if look is not None and at % SCRAPE_S == 0:
            for finding in acting:
                look(at, finding)
        if any(f.firing and f.blame is Blame.RELEASE for f in acting):
            return at - begun
    return None


def convicted_after(world: World, judged_by: Policy) -> float | None:
    """Within an hour."""
    return convicted(world, judged_by, 3600.0)


def set_to(factor: float = 1.5, add: float = 0.001, alpha: float = 0.001, settle_s: float = 0.0) -> Policy:
    """The policy of ``rollguard judge`` with other margins."""
    made = policy(settle_s)
    rules = []
    for rule in made.rules:
        assert isinstance(rule.condition, Compared)
        changed = {"latency": {"factor": factor}, "errors": {"add": add}}.get(rule.name, {})
        rules.append(replace(rule, condition=replace(rule.condition, **changed)))  # type: ignore[arg-type]
    return replace(made, rules=tuple(rules), comparing=replace(made.comparing, alpha=alpha))


def told(found: Sequence[float | None]) -> str:
    """How many, and the median of those."""
    times = [at for at in found if at is not None]
    share = 100 * len(times) / len(found)
    return f"{share:.0f} %, {median(times):.0f} s" if times else "none"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    for row in (head, ["---"] * len(head), *rows):
        print("| " + " | ".join(row) + " |", flush=True)
    print(flush=True)


def found(runs: int) -> None:
    """What is found within an hour, by requests a second of the whole app, on two machines."""

    def cell(name: str, rps: float) -> str:
        worlds = (World(("found", name, rps, n), machines=2, rps=rps / 2, change=BAD[name]) for n in range(runs))
        return told([convicted_after(world, set_to()) for world in worlds])

    table(["", *(f"{rps:g}/s" for rps in RATES)], ([name, *(cell(name, rps) for rps in RATES)] for name in BAD))


def quantile(buckets: Sequence[tuple[float, float]], q: float) -> float | None:
    """As Prometheus works it out, on a line inside a bucket."""
    of = buckets[-1][1] if buckets else 0.0
    low = below = 0.0
    for bound, upto in buckets:
        if of and upto >= q * of:
            return low if bound == math.inf else low + (bound - low) * (q * of - below) / (upto - below)
        low, below = bound, upto
    return None


def summed(readings: Iterable[Reading]) -> list[tuple[float, float]]:
    sums: dict[float, float] = {}
    for reading in readings:
        for bound, upto in reading.buckets:
            sums[bound] = sums.get(bound, 0.0) + upto
    return sorted(sums.items())


def thresholds(runs: int) -> None:
    """Healthy releases, of which more than 1 % fail or whose P95 is beyond 1.5 times the usual, in one scrape."""
    rows = []
    for rps in (1.0, 5.0, 20.0, 100.0):
        once = lasting = 0
        for number in range(runs):
            world = World(("threshold", rps, number), machines=1, rps=rps)
            before = [r for n in range(24) for r in world.scrape(-7200 + BLOCK_S * (n + 1), BLOCK_S)]
            usual, row, most = quantile(summed(before), 0.95) or math.inf, 0, 0
            for look in range(1, 241):
                read = world.scrape(SCRAPE_S * look)
                sums = {r.key: r.value or 0.0 for r in read}
                failing = sums["traffic.errors"] > 0.01 * sums["traffic.requests"]
                row = row + 1 if failing or (quantile(summed(read), 0.95) or 0.0) > 1.5 * usual else 0
                most = max(most, row)
            once, lasting = once + (most >= 1), lasting + (most >= 5)
        judged = [convicted_after(World(("threshold", rps, n), machines=1, rps=rps), set_to()) for n in range(runs)]
        rows.append(
            [
                f"{rps:g}/s",
                f"{once} of {runs}",
                f"{lasting} of {runs}",
                f"{sum(a is not None for a in judged)} of {runs}",
            ]
        )
    table(["requests", "at one look", "at five looks in a row", "the judge"], rows)


def settings(runs: int) -> None:
    """What each setting costs: two machines, 20 requests a second."""

    def cell(name: str, change: Change, habits: Habits = HABITS, **to: Any) -> str:
        worlds = (World((name, n), machines=2, rps=10.0, change=change, habits=habits) for n in range(runs))
        return told([convicted(world, set_to(**to), 1800.0) for world in worlds])

    slow = {f"{x:g} times as slow": Change(slower=x) for x in (1.5, 1.8, 2.5)}
    table(["factor", *slow], ([f"{f:g}", *(cell(n, c, factor=f) for n, c in slow.items())] for f in (1.2, 1.5, 2.0)))
    errors = {f"errors {100 * x:g} %": Change(errors=x) for x in (0.005, 0.01, 0.03)}
    table(
        ["add", *errors],
        ([f"{100 * a:g} points", *(cell(n, c, add=a) for n, c in errors.items())] for a in (0.001, 0.01, 0.02)),
    )
    both = {"errors 1 %": errors["errors 1 %"], "1.8 times as slow": slow["1.8 times as slow"]}
    table(
        ["1 in", *both],
        ([f"{1 / a:g}", *(cell(n, c, alpha=a) for n, c in both.items())] for a in (0.01, 0.001, 0.0001)),
    )
    cold = Habits(cold_s=(30.0, 60.0))
    fine, bad = Change(), {"errors 3 %": errors["errors 3 %"], **{n: c for n, c in slow.items() if "2.5" in n}}
    rows = (
        [f"{s:g} s", cell("cold", fine, cold, settle_s=s), *(cell(n, c, settle_s=s) for n, c in bad.items())]
        for s in (0.0, 30.0, 60.0)
    )
    table(["settle", "healthy, cold for 30 to 60 s", *bad], rows)


def blips(runs: int) -> None:
    """One bad minute, or three, in the watch of a healthy release on one machine."""
    rows = []
    for rps in (0.25, 1.0, 5.0, 20.0, 50.0):
        blamed = 0
        for number in range(runs):
            world = World(("blip", rps, number), machines=1, rps=rps)
            dice, begins = world.dice, world.dice.uniform(0, 3600)
            kind, ends = dice.randrange(3), begins + dice.uniform(60, 180)
            errors = dice.uniform(0.02, 0.3) if kind != 1 else 0.0
            slower = dice.uniform(1.5, 4.0) if kind == 1 else 1.0
            probes = dice.uniform(0.2, 0.8) if kind == 2 else 0.0
            world.troubles = (Trouble(begins_s=begins, ends_s=ends, errors=errors, slower=slower, probes=probes),)
            blamed += convicted_after(world, set_to()) is not None
        rows.append([f"{rps:g}/s", f"{blamed} of {runs}", f"{100 * blamed / runs * 2 / 24:.1f} %"])
    table(["requests", "a blip in every watch", "two a day: of all watches"], rows)


def learnt(runs: int) -> None:
    """Healthy releases of an app whose machines are cold for 60 to 120 s, under ``settle: auto``: the first five, of
    which it learns, and the sixth where none of those was rolled back. Four machines that change at once.
    """
    made, rows = policy(30.0), []
    auto = replace(made, comparing=replace(made.comparing, settle_auto=True))
    every_s = auto.interlocks.proven_after_s + 600.0
    for rps in (1.0, 5.0, 20.0):
        early = learnt = sixth = 0
        for number in range(runs):
            world = World(("learnt", rps, number), rps=rps, habits=Habits(cold_s=(60.0, 120.0)))
            mind = grown_up(world, auto)
            digests = [f"sha256:{release:064x}" for release in range(1, 7)]
            blamed = [
                release
                for release, digest in enumerate(digests)
                if watched(world, mind, digest, release * every_s, every_s) is not None
            ]
            early += any(release < 5 for release in blamed)
            if not any(release < 5 for release in blamed):
                assert mind.relatives.settle_s > 60.0
                learnt, sixth = learnt + 1, sixth + bool(blamed)
        rows.append([f"{rps:g}/s", f"{early} of {runs}", f"{sixth} of {learnt}"])
    table(["requests of each machine", "one of the first five", "the sixth"], rows)


def example(runs: int) -> None:
    """What the rules say of one release that takes twice as long, scrape by scrape."""
    world = World("one", machines=2, rps=10.0, change=Change(slower=2.0))
    convicted(world, set_to(), 3600.0, lambda at, finding: print(f"{at:.0f} s {finding.rule.name}: {finding.sentence}"))


PARTS: dict[str, Callable[[int], None]] = {
    "thresholds": thresholds,
    "found": found,
    "settings": settings,
    "blips": blips,
    "learnt": learnt,
    "example": example,
}

if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--runs", type=int, default=40, help="runs of a cell")
    chosen = parser.parse_args()
    PARTS[chosen.part](chosen.runs)
