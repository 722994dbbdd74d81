"""Some hundred seeds of the soak: no fault, kill, clock, disk, deployer or person makes the guard break a promise.

``make soak SECONDS=n`` lives through as many more as there is time for.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.simulation.soak.catalogue import CATALOGUE
from tests.simulation.soak.drawn import SURE
from tests.simulation.soak.run import soak_in_processes

ROOT = Path(__file__).parents[3]
SEEDS = 320
FIRED_MIN = 0.7
RARE = 4
"""So many kinds of faults may be too rare for so few seeds; ``make soak`` says which ones never came."""
PATIENCE_S = 900.0


@pytest.mark.timeout(PATIENCE_S)
def test_no_fault_breaks_a_promise_and_everything_converges() -> None:
    total = soak_in_processes(PATIENCE_S, processes=2, first=1, most=SEEDS)
    assert not total.failed, "\n".join(total.failed.values())
    assert total.seeds == SEEDS
    assert total.unconverged == 0
    assert total.fewest >= SURE
    assert total.fired >= FIRED_MIN * total.seeds
    assert len(CATALOGUE.keys() - total.faults.keys()) <= RARE, "nearly every kind of fault came true"


def test_a_seed_tells_the_same_story_whatever_the_order_of_sets() -> None:
    tell = "from tests.simulation.soak.story import live; print([live(seed).story for seed in range(11, 16)])"
    told = {
        subprocess.run(
            [sys.executable, "-c", tell],
            cwd=ROOT,
            env=os.environ | {"PYTHONHASHSEED": hashes, "PYTHONPATH": f"{ROOT / 'daemon'}"},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for hashes in ("1", "2")
    }
    assert len(told) == 1
    assert "-- all is quiet" in told.pop()
