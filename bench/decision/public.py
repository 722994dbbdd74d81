"""The public benchmark against the guard and against other judges, as a table and a picture."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.decision.picture import Curve, Point, draw

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
NULL = ("null", "null_err1pct", "first_null")
REGRESSED = ("err_1%", "err_5%", "err_50%", "lat_x2", "lat_x4", "hard_down", "partial_1of4")
RATES = (1.0, 20.0, 500.0)
PROMISES = (100, 1000, 10000)
"""Fewer than one healthy release in so many: the guard's own knob."""
MISSED_S = 3600.0
"""What a regression that is not found within the watch counts as."""


@dataclass(frozen=True, slots=True)
class Score:
    """Of ``healthy`` releases ``false`` were rolled back; ``delay_s`` is the mean of the cells' median delays."""

    family: str
    knob: str
    healthy: int
    false: int
    delay_s: float
    found: float

    @property
    def point(self) -> Point:
        return Point(self.false, self.healthy, self.delay_s, self.knob)


def main(argv: Sequence[str]) -> int:
    """See ``--help``."""
    parser = argparse.ArgumentParser(prog="python -m bench.decision public", description=__doc__)
    parser.add_argument("--judgebench", type=Path, required=True, help="folder of the public benchmark")
    parser.add_argument("--python", default=sys.executable, help="an interpreter with numpy and scipy, for it")
    parser.add_argument("--reps-null", type=int, default=200)
    parser.add_argument("--reps-alt", type=int, default=60)
    parser.add_argument("--promises", default=",".join(map(str, PROMISES)), help="1 in so many, comma-separated")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--picture", type=Path, default=ROOT / "docs" / "decision.svg")
    parser.add_argument("--rows", type=Path, help="also write every cell's figures there, as JSON")
    options = parser.parse_args(argv)
    rows = _peers(options)
    for promise in map(int, options.promises.split(",")):
        rows += _ours(options, promise)
        if options.rows is not None:  # what is measured is not lost if the rest fails
            options.rows.write_text(json.dumps(rows, indent=1))
    scores = scored(rows)
    print(table(scores))
    options.picture.write_text(draw([Curve(f, [s.point for s in some]) for f, some in by_family(scores).items()]))
    return 0


def by_family(scores: Sequence[Score]) -> Mapping[str, list[Score]]:
    """The guard's own last, so that it is drawn on top."""
    found: dict[str, list[Score]] = {}
    for score in sorted(scores, key=lambda s: s.family == OURS):
        found.setdefault(score.family, []).append(score)
    return found


OURS = "Rollguard, promise"


def scored(rows: Sequence[Mapping[str, Any]]) -> list[Score]:
    """One score for every judge and knob."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["family"], row["knob"]), []).append(row)
    scores = []
    for (family, knob), mine in groups.items():
        healthy = [r for r in mine if r["scenario"] in NULL]
        bad = [r for r in mine if r["scenario"] in REGRESSED]
        if not healthy or not bad:
            continue
        delays = [r["roll"]["med"] if r["roll"]["med"] is not None else MISSED_S for r in bad]
        scores.append(
            Score(
                family,
                knob,
                sum(r["R"] for r in healthy),
                round(sum(r["R"] * r["roll"]["p"] for r in healthy)),
                sum(delays) / len(delays),
                sum(r["R"] * r["roll"]["p"] for r in bad) / sum(r["R"] for r in bad),
            )
        )
    return scores


def table(scores: Sequence[Score]) -> str:
    """As Markdown."""
    lines = [
        "| judge | knob | healthy rolled back | regressions found | mean of median delays |",
        "|---|---|---|---|---|",
    ]
    for s in scores:
        false = f"{s.false} of {s.healthy} ({s.false / s.healthy:.2%})"
        lines.append(f"| {s.family} | {s.knob} | {false} | {s.found:.1%} | {s.delay_s:.0f} s |")
    return "\n".join(lines)


def _cells(options: argparse.Namespace) -> list[str]:
    return [
        "--suite",
        str(options.judgebench / "scenarios" / "public.json"),
        "--only",
        ",".join((*NULL, *REGRESSED)),
        "--rates",
        ",".join(f"{rate:g}" for rate in RATES),
        "--reps-null",
        str(options.reps_null),
        "--reps-alt",
        str(options.reps_alt),
        "--seed",
        options.seed,
        "--workers",
        str(options.workers),
    ]


def _peers(options: argparse.Namespace) -> list[dict[str, Any]]:
    environ = os.environ | {"PYTHONPATH": str(options.judgebench), "PYTHONDONTWRITEBYTECODE": "1"}
    command = [options.python, str(HERE / "swept.py"), *_cells(options)]
    done = subprocess.run(command, env=environ, stdout=subprocess.PIPE, check=True)
    rows: list[dict[str, Any]] = json.loads(done.stdout)["rows"]
    return rows


def _ours(options: argparse.Namespace, promise: int) -> list[dict[str, Any]]:
    """The guard through its own command, under its default policy with another promise."""
    default = (ROOT / "daemon" / "rollguard" / "config" / "judge.yaml").read_text()
    with tempfile.TemporaryDirectory() as folder:
        policy, out = Path(folder) / "judge.yaml", Path(folder) / "rows.json"
        policy.write_text(default.replace("comparison: {", f"comparison: {{healthy_rolled_back: 1 in {promise}, "))
        command = f"{sys.executable} -m rollguard judge {policy}"
        environ = os.environ | {"PYTHONDONTWRITEBYTECODE": "1"}
        subprocess.run(
            [options.python, "-m", "judgebench", "drive", "--cmd", command, "--out", str(out), *_cells(options)],
            cwd=options.judgebench,
            env=environ,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        rows: list[dict[str, Any]] = json.loads(out.read_text())["rows"]
    return [row | {"family": OURS, "knob": f"1 in {promise}"} for row in rows]
