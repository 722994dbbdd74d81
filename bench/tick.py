"""What a tick of the guard costs, by the number of machines: CPU time to judge and decide while all is well.

    .venv/bin/python bench/tick.py [--machines 4 10 50 150] [--seconds 600] [--policy config/hotdash-production.yaml]

One guard without sockets or processes: each signal's readings come in at its own pace, as from a healthy app, and the
guard ticks once a second. Only its ticks are timed. Prints one JSON line per number of machines: the mean and the
longest of the ticks, and the mean per machine. ``ratio`` is the mean of a tick to that of judging every rule anew, in
the same run and as of the same seconds: it does not depend on the machine that this runs on.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from statistics import fmean
from typing import cast

from rollguard.adapters.journal.memory import MemoryJournal
from rollguard.config.loader import load_policy
from rollguard.core import signals
from rollguard.core.judge import judge_all
from rollguard.core.model import EDGE, Check, Machine, Reading, Release, Snapshot
from rollguard.core.policy import Policy
from rollguard.engine.guard import Guard
from rollguard.engine.record import Record
from rollguard.engine.watch import Watch
from rollguard.ports import Platform, Vitals

ROOT = Path(__file__).parent.parent
BEGAN = 1_787_306_400.0
DIGEST = "sha256:" + "900d" * 16
WARM_UP_S = 900
"""Until every window is full and the release is proven."""
ANEW_EVERY_S = 7
"""So that each second of every signal's interval has its turn."""
BOUNDS = (0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, math.inf)


class HandClock:
    """``ports.Clock`` that somebody else moves."""

    def __init__(self) -> None:
        self.at = BEGAN

    def now(self) -> float:
        return self.at

    def drift_s(self) -> float:
        return 0.0

    def reanchor(self) -> None:
        pass


@dataclass
class Still:
    """The part of ``ports.Platform`` that a quiet guard uses: one release on every machine, and nobody deploys."""

    clock: HandClock
    names: list[str]
    release: Release = field(init=False)

    def __post_init__(self) -> None:
        self.release = Release(id="r1", version=1, status="complete", image_ref="registry/app:1", created_at=BEGAN)

    async def snapshot(self) -> Snapshot:
        machines = tuple(
            Machine(
                id=name,
                state="started",
                instance_id=f"{name}-1",
                digest=DIGEST,
                image_ref=self.release.image_ref,
                checks=(Check("http", "passing"),),
                started_at=BEGAN - 3600,
                release_version=1,
            )
            for name in self.names
        )
        return Snapshot(at=self.clock.at, machines=machines, releases=(self.release,))


def readings(signal: signals.Signal, machines: list[str], at: float) -> Iterator[Reading]:
    """One round of a signal, as a healthy app answers it."""
    if isinstance(signal, signals.ScrapeSignal | signals.PrometheusSignal):
        subjects = [EDGE] if signal.machine_label is None else machines
        for subject in subjects:
            for name in getattr(signal, "counters", {}):
                count = 0.0 if "error" in name else 75.0
                yield _counted(f"{signal.name}.{name}", subject, at, signal.every_s, count)
            for name in getattr(signal, "histograms", {}):
                yield _counted(f"{signal.name}.{name}", subject, at, signal.every_s, 75.0, BOUNDS)
    elif isinstance(signal, signals.ProbeSignal):
        subjects = [*(machines if signals.Scope.MACHINE in signal.scopes else ())]
        subjects += [EDGE] if signals.Scope.EDGE in signal.scopes else []
        values = [value.name for value in getattr(signal, "values", ())]
        steps = [step.name for step in getattr(signal, "steps", ())]
        for subject in subjects:
            yield Reading(key=signal.name, subject=subject, at=at, value=1.0, detail="HTTP 200")
            for step in steps:
                yield Reading(key=f"{signal.name}.{step}", subject=subject, at=at, value=0.1)
            for value in values:
                number = 1.0 if value == "uptime" else 0.0
                yield Reading(key=f"{signal.name}.{value}", subject=subject, at=at, value=number)


def _counted(
    key: str, subject: str, at: float, every_s: float, count: float, bounds: tuple[float, ...] = ()
) -> Reading:
    shares = accumulate([0.1, 0.5, 0.3, 0.1])
    buckets = tuple((bound, count * next(shares, 1.0)) for bound in bounds)
    return Reading(key=key, subject=subject, at=at, value=count, since=at - every_s, buckets=buckets)


async def measure(policy: Policy, count: int, seconds: int) -> tuple[list[float], list[float]]:
    """The CPU seconds of each tick once every window is full; and of judging all anew, now and then."""
    clock, vitals = HandClock(), Vitals()
    names = [f"machine{number:03}" for number in range(count)]
    record = Record(MemoryJournal(), {}, vitals)
    platform = cast("Platform", Still(clock, names))
    watch = Watch(policy, platform, record, clock, vitals, lambda reading: None)
    guard = Guard(policy, watch, platform, record, clock, vitals)
    due = {signal.name: BEGAN + number % signal.every_s + 0.5 for number, signal in enumerate(policy.signals)}
    spent: list[float] = []
    anew: list[float] = []
    for second in range(WARM_UP_S + seconds):
        clock.at = BEGAN + second
        if second % int(policy.platform_every_s) == 0:
            await watch.look()
        for signal in policy.signals:
            if clock.at >= due[signal.name]:
                watch.windows.add(list(readings(signal, names, due[signal.name])))
                due[signal.name] += signal.every_s
        began = time.process_time()
        await guard.tick()
        if second < WARM_UP_S:
            continue
        spent.append(time.process_time() - began)
        if second % ANEW_EVERY_S == 0:
            began = time.process_time()
            judge_all(guard.evidence(DIGEST), clock.at)
            anew.append(time.process_time() - began)
    assert all(not f.firing for f in guard.findings), [f.sentence for f in guard.findings if f.firing]
    return spent, anew


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--machines", type=int, nargs="+", default=[4, 10, 50, 150])
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--policy", type=Path, default=ROOT / "config" / "hotdash-production.yaml")
    options = parser.parse_args()
    policy = load_policy(options.policy, {})
    for count in options.machines:
        gc.collect()
        spent, anew = asyncio.run(measure(policy, count, options.seconds))
        mean = fmean(spent)
        figures = {
            "machines": count,
            "mean_ms": round(1e3 * mean, 3),
            "longest_ms": round(1e3 * sorted(spent)[-3], 2),  # of two or three somebody else may have had the core
            "per_machine_us": round(1e6 * mean / count, 1),
            "ratio": round(mean / fmean(anew), 2),
        }
        print(json.dumps(figures), flush=True)


if __name__ == "__main__":
    main()
