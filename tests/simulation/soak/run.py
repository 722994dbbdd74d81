"""Many seeds in several processes, for as long as there is time; or one seed, told."""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import queue
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.simulation.soak.catalogue import CATALOGUE
from tests.simulation.soak.story import REPLAY, Outcome, live

COLLECTS_EVERY = 10
"""Seeds between two collections of garbage."""
HASH_SEED = "0"


@dataclass
class Sum:
    """What many seeds amount to."""

    seeds: int = 0
    fired: int = 0
    unconverged: int = 0
    simulated_s: float = 0.0
    cpu_s: float = 0.0
    counts: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    fewest: int = sys.maxsize
    """The number of faults of the seed that had the least of them."""
    failed: dict[int, str] = field(default_factory=dict)

    def live(self, seed: int) -> None:
        """Live through one more."""
        self.seeds += 1
        try:
            self._add(live(seed))
        except Exception as error:  # noqa: BLE001  (it is ours; the other seeds go on)
            self.failed[seed] = f"seed {seed} could not be lived through: {error!r}\nreplay: {REPLAY} {seed}"

    def _add(self, outcome: Outcome) -> None:
        self.fired += outcome.fired
        self.unconverged += not outcome.converged
        self.simulated_s += outcome.seconds
        self.faults += outcome.faults
        if not outcome.violations:  # else its story was cut short
            self.fewest = min(self.fewest, outcome.faults.total())
        for name in ("checks", "platform_calls", "rollbacks", "yields", "kills", "too_hasty"):
            self.counts[name] += getattr(outcome, name)
        if outcome.violations:
            self.failed[outcome.seed] = outcome.complaint()

    def merge(self, other: Sum) -> None:
        self.seeds += other.seeds
        self.fired += other.fired
        self.unconverged += other.unconverged
        self.simulated_s += other.simulated_s
        self.cpu_s += other.cpu_s
        self.counts += other.counts
        self.faults += other.faults
        self.fewest = min(self.fewest, other.fewest)
        self.failed |= other.failed

    def line(self, seconds: float) -> dict[str, Any]:
        """The one line of figures."""
        return {
            "seeds": self.seeds,
            "violations": len(self.failed),
            "unconverged": self.unconverged,
            "simulated_hours": round(self.simulated_s / 3600, 2),
            "faults": self.faults.total(),
            "checks": self.counts["checks"],
            "platform_calls": self.counts["platform_calls"],
            "rollbacks": self.counts["rollbacks"],
            "yields": self.counts["yields"],
            "kills": self.counts["kills"],
            "seconds": round(seconds, 1),
        }

    def words(self) -> str:
        """More of it, for people."""
        never = ", ".join(sorted(CATALOGUE.keys() - self.faults.keys()))
        faults = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        pace = self.simulated_s / max(0.001, self.cpu_s)
        return (
            f"a rule fired in {self.fired / max(1, self.seeds):.0%} of the seeds; "
            f"{self.faults.total() / max(1, self.seeds):.1f} faults each, {self.fewest} at least; "
            f"{self.counts['too_hasty']} requests were refused as too many; "
            f"{pace:.0f} simulated seconds a second of one core ({pace / 60:.0f} hours a minute)\n"
            f"faults: {faults}; never: {never or 'none'}"
        )


def soak(first: int, step: int, until: float, most: int, told: Any = None) -> Sum:
    """Every ``step``-th seed from ``first`` on, until that instant of the clock, at most so many."""
    total, began = Sum(), time.process_time()
    gc.collect()
    gc.freeze()
    gc.disable()
    seed = first
    while total.seeds < most and time.monotonic() < until:
        total.live(seed)
        if seed in total.failed and told is not None:
            told.put(total.failed[seed])
        seed += step
        if total.seeds % COLLECTS_EVERY == 0:
            gc.collect()
    gc.enable()
    total.cpu_s = time.process_time() - began
    return total


def _work(number: int, processes: int, first: int, until: float, most: int, told: Any) -> None:
    told.put(soak(first + number, processes, until, most, told))


def soak_in_processes(seconds: float, processes: int, first: int, most: int) -> Sum:
    """The same in several processes; complaints go to stderr as they come."""
    context = multiprocessing.get_context("fork")
    told = context.Queue()
    until, total, running = time.monotonic() + seconds, Sum(), processes
    each = -(-most // processes)
    workers = [
        context.Process(target=_work, args=(number, processes, first, until, each, told)) for number in range(processes)
    ]
    for worker in workers:
        worker.start()
    while running:
        try:
            said = told.get(timeout=5.0)
        except queue.Empty:
            if all(worker.exitcode is not None for worker in workers) and told.empty():
                raise RuntimeError("a process ended without a word") from None
            continue
        if isinstance(said, Sum):
            total.merge(said)
            running -= 1
        else:
            print(said, file=sys.stderr, flush=True)
    for worker in workers:
        worker.join()
    return total


def tell(outcome: Outcome) -> None:
    """One seed's story."""
    print("\n".join(outcome.drawn.lines()))
    for at, line in outcome.story:
        print(f"{at:8.2f}  {line}")
    print(f"{outcome.seconds:.0f} s from the deploy to convergence; {outcome.checks} checks")
    print(outcome.complaint() if outcome.violations else "no promise was broken")


def main(argv: Sequence[str] | None = None) -> int:
    """0: no promise was broken."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.soak", description=__doc__)
    parser.add_argument("--seed", type=int, help="tell the story of one seed")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long new seeds are begun")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--from", type=int, default=1, dest="first", help="the first seed")
    parser.add_argument("--most", type=int, default=10**9, help="at most so many seeds")
    options = parser.parse_args(argv)
    _same_hashes()
    if options.seed is not None:
        outcome = live(options.seed)
        tell(outcome)
        return bool(outcome.violations)
    began = time.monotonic()
    total = soak_in_processes(options.seconds, options.processes, options.first, options.most)
    print(total.words(), file=sys.stderr)
    print(json.dumps(total.line(time.monotonic() - began)))
    return bool(total.failed)


def _same_hashes() -> None:
    """The order of sets is part of a story: the same in every process."""
    if os.environ.get("PYTHONHASHSEED") != HASH_SEED:
        arguments = [sys.executable, "-m", "tests.simulation.soak", *sys.argv[1:]]
        os.execve(sys.executable, arguments, os.environ | {"PYTHONHASHSEED": HASH_SEED})
