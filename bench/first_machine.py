"""How often the first machine's test concludes what, in worlds drawn from seeds: the tables of decision 0026.

.venv/bin/python -m bench.first_machine --runs 500
"""

from __future__ import annotations

import argparse
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from rollguard.core.proof import BETTER, CANNOT_TELL, NO_BETTER
from tests.core.side_by_side import OUTAGES, REGRESSIONS, Cell, conclusions

MACHINES = (2, 4, 10)
LITTLE, MUCH = (1.0, 5.0, 20.0), (5.0, 20.0, 50.0)
CALM, BURSTS, HEAVY, SLOW_HEAVY = 0.0, 0.22, 0.45, 0.9
"""CV of what fails on a machine from scrape to scrape; of times a third of that, which is 45 % of the slow ones."""


def row(name: str, cell: Cell, wanted: str, rates: Sequence[float], runs: int, bursts: float = CALM) -> str:
    """One line: for each rate how often in % the ``wanted`` is concluded on 2 / 4 / 10 machines; and what is wrong."""
    wrong: Counter[str] = Counter()
    shown = []
    for rate in rates:
        shares = []
        for machines in MACHINES:
            found = conclusions(replace(cell(machines, rate), bursts=bursts), runs)
            shares.append(f"{100 * found[wanted] / runs:.0f}")
            bad = {what: n for what, n in found.items() if what not in {wanted, CANNOT_TELL}}
            wrong.update({f"{what} at {rate:g}/s on {machines}": n for what, n in bad.items()})
        shown.append(" / ".join(shares))
    told = ", ".join(f"{n} {what}" for what, n in wrong.items()) or "0"
    return f"| {name} | {' | '.join(shown)} | {told} of {runs * len(MACHINES) * len(rates):,} |"


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=100)
    runs = parser.parse_args().runs
    print("the release is to blame: better, in %")
    for name, cell in REGRESSIONS.items():
        print(row(name, cell, BETTER, LITTLE, runs), flush=True)
    print("everything fails alike: no better, in %")
    for name, cell in OUTAGES.items():
        print(row(name, cell, NO_BETTER, LITTLE, runs), flush=True)
    for bursts in (BURSTS, HEAVY, SLOW_HEAVY):
        print(f"everything fails alike, in bursts of {bursts:.0%} (times a third of that): no better, in %")
        for name, cell in OUTAGES.items():
            if name.startswith("P95") or bursts < SLOW_HEAVY:
                print(row(name, cell, NO_BETTER, MUCH, runs, bursts), flush=True)


if __name__ == "__main__":
    main()
