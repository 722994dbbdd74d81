"""What one verdict of ``rollguard judge`` costs: from the line of a sample to the line of the reply.

    .venv/bin/python bench/verdict.py [--runs 20] [--seed 1]

Each run is an app that is well: two hours before a release and one after it, a scrape every 15 s with a histogram of 15
bounds and three probes, by the built-in policy. Prints one JSON line: microseconds of CPU a sample, those of them that
the bets alone take, and calls of functions a sample (Python's and C's), which are the same on every machine.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import sys
import time
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from types import FrameType
from typing import Any
from unittest.mock import patch

from rollguard.config.loader import load_policy
from rollguard.core.evidence.bets import Bet
from rollguard.core.samples import Runs

DT_S, BEFORE_S, AFTER_S = 15.0, 7200.0, 3600.0
LE_MS = (5, 10, 25, 50, 75, 100, 150, 250, 350, 500, 750, 1000, 2500, 5000, 10000)
REQUESTS, ERRORS = 300, 0.001
MEDIAN_S, SPREAD = 0.06, 0.6


def lines(run: int, dice: random.Random) -> Iterator[str]:
    """One run, as protocol 1 has it."""
    yield json.dumps({"type": "start", "run": f"r{run}", "protocol": 1, "dt": DT_S, "le_ms": LE_MS})
    at = -BEFORE_S
    while at < AFTER_S:
        if at == 0.0:
            yield json.dumps({"type": "release", "run": f"r{run}", "t": 0.0, "version": "v2"})
        at += DT_S
        yield json.dumps(_sample(run, at, dice))
    yield json.dumps({"type": "end", "run": f"r{run}"})


def _sample(run: int, at: float, dice: random.Random) -> dict[str, object]:
    times_ms = [1000 * dice.lognormvariate(0.0, SPREAD) * MEDIAN_S for _ in range(REQUESTS)]
    counts = [0] * (len(LE_MS) + 1)
    for time_ms in times_ms:
        counts[next((place for place, le in enumerate(LE_MS) if time_ms <= le), len(LE_MS))] += 1
    counted = {"req": REQUESTS, "err": sum(dice.random() < ERRORS for _ in range(REQUESTS)), "hist": counts}
    probes = {"probe_ok": 3, "probe_fail": 0, "control_fail": 0}
    return {"type": "sample", "run": f"r{run}", "t": at, "scrape": True, "p95_ms": None, **counted, **probes}


def a_judge() -> Runs:
    """What ``rollguard judge`` asks, with its built-in policies."""
    built_in = [Path(str(files("rollguard.config").joinpath(name))) for name in ("judge.yaml", "judge_gauge.yaml")]
    return Runs(*(load_policy(path, {}) for path in built_in))


def answered(said: list[str]) -> int:
    """How many replies there are to these lines."""
    judge = a_judge()
    return sum(judge.answer(line) is not None for line in said)


def calls(work: Callable[[], int]) -> float:
    """How many functions are called for each of the things that are done."""
    count = 0

    def called(frame: FrameType, event: str, argument: object) -> None:
        nonlocal count
        count += event in {"call", "c_call"}

    sys.setprofile(called)
    try:
        done = work()
    finally:
        sys.setprofile(None)
    return count / done


def evidence_s(said: list[str]) -> float:
    """CPU seconds a sample of all bets that these lines ask for, made once more by themselves."""
    made: list[tuple[Bet, tuple[Any, ...]]] = []
    count = Bet.count

    def noted(bet: Bet, *scrape: Any) -> None:
        made.append((bet, scrape))
        count(bet, *scrape)

    with patch.object(Bet, "count", noted):
        done = answered(said)
    began = time.process_time()
    for bet, scrape in made:
        count(bet, *scrape)
        assert bet.log_evidence < math.inf
    return (time.process_time() - began) / done


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--seed", default="1")
    options = parser.parse_args()
    dice = random.Random(options.seed)
    said = [line for run in range(options.runs) for line in lines(run, dice)]
    began = time.process_time()
    done = answered(said)
    spent_s = time.process_time() - began
    few = list(lines(0, random.Random(options.seed)))
    figures = {
        "samples": done,
        "us": round(1e6 * spent_s / done, 1),
        "evidence_us": round(1e6 * evidence_s(few), 1),
        "calls": round(calls(lambda: answered(few))),
    }
    print(json.dumps(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main())
