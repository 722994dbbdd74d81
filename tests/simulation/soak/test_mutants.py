"""The safety net itself is tested: an executor that is broken on purpose is caught, by the promise that it breaks."""

from __future__ import annotations

import pytest

from tests.simulation.soak.mutants import MUTANTS, SEEDS_MAX, Mutant
from tests.simulation.soak.story import live


@pytest.mark.timeout(600)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_broken_executor_is_caught_and_the_promise_it_breaks_is_named(mutant: Mutant) -> None:
    with mutant.at_work():
        for seed in range(1, SEEDS_MAX + 1):
            if broken := {v.promise for v in live(seed).violations}:
                assert mutant.breaks in broken
                return
    pytest.fail(f"not caught within {SEEDS_MAX} seeds")
