"""Runs inside the public benchmark's own environment: other teams' judges, each with its own knob swept.

    PYTHONPATH=JUDGEBENCH python swept.py --reps-null 200 --reps-alt 60 --seed S > rows.json

Prints JSON rows as ``judgebench run --out`` has them, each with its ``family`` and ``knob``.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

SWEEPS: dict[str, list[tuple[str, str, tuple[Any, ...]]]] = {
    "Prometheus rule, rate[5m]": [(f"for {m}m", "prometheus", (300, 60 * m)) for m in (0, 1, 2, 5, 10)],
    "Prometheus rule, rate[1m]": [(f"for {m}m", "prometheus", (60, 60 * m)) for m in (0, 1, 2, 5)],
    "Flagger, failed checks": [(f"threshold {n}", "flagger", (n,)) for n in (1, 2, 5, 10)],
    "Argo Rollouts, failureLimit": [(f"limit {n}", "argo", (60, n)) for n in (0, 1, 3, 5, 10)],
    "Kayenta, Mann-Whitney": [(f"every {m}m", "kayenta", (60 * m,)) for m in (5, 10, 20)],
    "CUSUM": [(f"h {h}", "cusum", (float(h),)) for h in (8, 16, 32, 64)],
}


def main() -> int:
    """Score every knob; see ``--help``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--suite", required=True)
    parser.add_argument("--only", default="")
    parser.add_argument("--rates", default="")
    parser.add_argument("--reps-null", type=int, default=200)
    parser.add_argument("--reps-alt", type=int, default=60)
    parser.add_argument("--seed", default="1")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    from judgebench import run  # type: ignore[import-not-found]
    from judgebench.judges import REGISTRY, baseline  # type: ignore[import-not-found]

    named = {}
    for family, knobs in SWEEPS.items():
        for knob, maker, arguments in knobs:
            name = f"{family} / {knob}"
            REGISTRY[name] = getattr(baseline, maker)(*arguments)
            named[name] = family, knob
    rows = run.run(
        run.load_suite(options.suite),
        options.reps_null,
        options.reps_alt,
        options.seed,
        list(named),
        [x for x in options.only.split(",") if x],
        [float(x) for x in options.rates.split(",") if x],
        options.workers,
    )
    for row in rows:
        row["family"], row["knob"] = named[row["judge"]]
    json.dump({"seed": options.seed, "rows": rows}, sys.stdout)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
