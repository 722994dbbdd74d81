"""Fleets: how often a healthy release is rolled back under every kind of trouble, and how soon a bad one is.

    python -m bench.decision cohorts --runs 6000 --seed 7 --processes 2 --out cohorts

Each run is a line of ``OUT.jsonl`` as soon as it is done. What is there already is not run again, as long as the code
is the same: so it may be stopped and started at will, divided by ``--cells`` and ``--from``, and files of several
machines joined with ``cat``. ``OUT.json`` has the counts and ``OUT.md`` the table.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import cache
from math import ceil, exp, lgamma, log, log1p
from pathlib import Path
from typing import Any

from bench.decision.cells import CELLS, Cell
from bench.decision.watching import Ending, deploy

ROOT = Path(__file__).parents[2]
CODE = ("daemon/rollguard/core", "daemon/rollguard/config")
SHOWN = ("cells.py", "fleet.py", "watching.py", "world.py")
HEAD = (
    "| cell | rolled back | at most, 95 % sure | stopped by its first machine | paged | median / 95 % | demanded | |\n"
    "|---|---|---|---|---|---|---|---|"
)
Job = tuple[str, str, int, bool]
"""Cell, seed, number of the run, and whether nothing more is done where the first machine cannot tell."""


def main(argv: Sequence[str]) -> int:
    """See ``--help``."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.decision cohorts",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--runs", type=int, default=100, help="of each cell")
    parser.add_argument("--regressed-runs", type=int, help="of each cell with a bad release; else as the others")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the number of the first run")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--cells", default="", help="parts of names, separated by semicolons; else all")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--on-unclear", choices=("hold", "go_on"), default="hold")
    parser.add_argument("--out", type=Path, default=Path("cohorts"), help="three files of this name are written")
    options = parser.parse_args(argv)
    wanted = [w.strip() for w in options.cells.split(";") if w.strip()]
    cells = [c for c in CELLS if not wanted or any(w in c.name for w in wanted)]
    if not cells:
        parser.error(f"no cell has any of {wanted} in its name")
    hold, store = options.on_unclear == "hold", options.out.with_suffix(".jsonl")
    known = kept(store, options.seed, hold=hold)
    with multiprocessing.Pool(options.processes) as pool, store.open("a") as file:
        print(HEAD)
        for cell in cells:
            mine = known.setdefault(cell.name, {})
            runs = (options.regressed_runs if cell.bad else None) or options.runs
            numbers = range(options.first, options.first + runs)
            jobs = [(cell.name, options.seed, number, hold) for number in numbers if number not in mine]
            for job, ending in pool.imap_unordered(one, jobs, chunksize=4):
                mine[job[2]] = ending
                line = {"code": code(), "cell": job[0], "seed": job[1], "run": job[2], "hold": hold}
                file.write(json.dumps(line | asdict(ending)) + "\n")
            file.flush()
            print(row(cell, list(mine.values())), flush=True)
    write(options.out, known, options.seed, options.on_unclear)
    return 0


@cache
def code() -> str:
    """What decides, and what it is shown: results of other code are not these."""
    digest = hashlib.sha256()
    judge = [path for folder in CODE for path in sorted((ROOT / folder).rglob("*.*"))]
    for path in [*judge, *(Path(__file__).parent / name for name in SHOWN)]:
        if path.suffix in {".py", ".yaml"}:
            digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def kept(store: Path, seed: str, *, hold: bool) -> dict[str, dict[int, Ending]]:
    """The runs that this code has done already. A line that was cut off is run again."""
    found: dict[str, dict[int, Ending]] = {}
    for line in store.read_text().splitlines() if store.exists() else ():
        try:
            said: dict[str, Any] = json.loads(line)
        except ValueError:
            continue
        if (said.pop("code"), said.pop("seed"), said.pop("hold")) == (code(), seed, hold):
            cell, run = said.pop("cell"), said.pop("run")
            found.setdefault(cell, {})[run] = Ending(**said)
    return found


def one(job: Job) -> tuple[Job, Ending]:
    """One run of a cell."""
    name, seed, number, hold = job
    cell = next(c for c in CELLS if c.name == name)
    return job, deploy(cell.worlds((seed, number)), settle_s=cell.settle_s, watch_s=cell.watch_s, hold=hold)


def write(out: Path, known: Mapping[str, Mapping[int, Ending]], seed: str, on_unclear: str) -> None:
    """The counts as JSON, and the table as Markdown."""
    done = [(cell, list(known[cell.name].values())) for cell in CELLS if known.get(cell.name)]
    rows = [{"cell": cell.name, **told(cell, endings)} for cell, endings in done]
    about = {"seed": seed, "code": code(), "on_unclear": on_unclear}
    out.with_suffix(".json").write_text(json.dumps({**about, "cells": rows}, indent=1) + "\n")
    lines = [HEAD, *(row(cell, endings) for cell, endings in done)]
    note = f"Seed {seed}, code {code()}, `on_unclear: {on_unclear}`. (few): fewer runs than demanded."
    out.with_suffix(".md").write_text("\n".join([*lines, "", note, ""]))


def told(cell: Cell, endings: Sequence[Ending]) -> dict[str, Any]:
    """What came of a cell. Of a bad release the seconds count from its first machine's start, or from when it goes bad;
    what is not found counts as infinitely late (None), and a rollback before that as not found.
    """
    onset = max(0.0, _onset(cell))
    back = sorted(e.rolled_back_s - onset for e in endings if e.rolled_back_s is not None)
    early, found, n = sum(s < 0 for s in back), [s for s in back if s >= 0], len(endings)
    share = (len(found) if cell.bad else len(back)) / n
    median, p95 = (_quantile(found, n, q) for q in (0.5, 0.95)) if cell.bad else (None, None)
    wanted = [
        (cell.most is None or share <= cell.most),
        (cell.least is None or share >= cell.least),
        (cell.median_s is None or (median is not None and median <= cell.median_s)),
        (cell.p95_s is None or (p95 is not None and p95 <= cell.p95_s)),
    ]
    demands = {k: getattr(cell, k) for k in ("most", "least", "median_s", "p95_s") if getattr(cell, k) is not None}
    return {
        "runs": n,
        "rolled_back": len(back),
        "before_it_went_bad": early,
        "side_by_side": sum(e.side_by_side for e in endings if e.rolled_back_s is not None),
        "stopped": dict(sorted(Counter(e.first for e in endings if e.first and e.rolled_back_s is None).items())),
        "paged": sum(e.paged_s is not None for e in endings),
        "median_s": median,
        "p95_s": p95,
        "demanded": demands,
        "met": all(wanted) if demands else None,
        "enough_runs": n >= cell.demanded_runs,
    }


def _onset(cell: Cell) -> float:
    return cell.worlds("onset").change.since_s if cell.bad else 0.0


def _quantile(found: Sequence[float], of: int, q: float) -> float | None:
    """Of all, the ones not found being infinitely late."""
    place = max(0, ceil(q * of) - 1)
    return found[place] if place < len(found) else None


def row(cell: Cell, endings: Sequence[Ending]) -> str:
    """One line of the table."""
    if not endings:
        return f"| {cell.name} | nothing was run | | | | | | |"
    t = told(cell, endings)
    n, back = t["runs"], t["rolled_back"] - (t["before_it_went_bad"] if cell.bad else 0)
    stopped = ", ".join(f"{what} {times}" for what, times in t["stopped"].items())
    sure = "" if cell.bad else f"{upper(back, n):.2%}"
    delays = " / ".join("-" if s is None else f"{s:.0f} s" for s in (t["median_s"], t["p95_s"])) if cell.bad else ""
    verdict = {None: "", True: "met", False: "**not met**"}[t["met"]]
    few = "" if t["enough_runs"] or t["met"] is None else " (few)"
    count = f"{back} of {n} ({back / n:.2%})"
    return (
        f"| {cell.name} | {count} | {sure} | {stopped} | {t['paged']} | {delays} | {_demanded(cell)} | {verdict}{few} |"
    )


def _demanded(cell: Cell) -> str:
    if cell.most is not None:
        return f"<= {cell.most:.2%}"
    times = [f"{s:.0f} s" if s is not None else "-" for s in (cell.median_s, cell.p95_s)]
    found = [f"{cell.least:.1%} found"] if cell.least is not None else []
    return "; ".join([*([" / ".join(times)] if cell.median_s is not None else []), *found])


def upper(bad: int, of: int) -> float:
    """At most such a share, with 95 % certainty (Clopper and Pearson)."""
    if bad >= of:
        return 1.0
    low, high = bad / of, 1.0
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(bad, of, middle) > 0.05 else (low, middle)
    return high


def _at_most(bad: int, of: int, share: float) -> float:
    """How probable it is that no more than ``bad`` of so many are, each being so with that chance."""
    whole, yes, no = lgamma(of + 1), log(share), log1p(-share)
    return sum(exp(whole - lgamma(k + 1) - lgamma(of - k + 1) + k * yes + (of - k) * no) for k in range(bad + 1))
