"""One sick machine, or the release: by what each machine counted in the newest intervals."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from rollguard.core.evidence.bets import Terms
from rollguard.core.evidence.strata import Stratum, Tally
from rollguard.core.relative.wagers import STRATA_KEPT, Bound, Wager

LIMIT = 0.0025


def a_wager(machines: Mapping[str, tuple[float, float]], intervals: int = STRATA_KEPT) -> Wager:
    """What each machine counted, bad of all, spread evenly over the newest intervals."""
    bound = Bound(bound_s=None, limit=LIMIT, baseline=0.001)
    wager = Wager(bound=bound, terms=Terms(limit=LIMIT, alpha=1e-4, size=6.0))
    for number in range(intervals):
        new = tuple(Tally(name, bad / intervals, of / intervals) for name, (bad, of) in machines.items())
        stratum = Stratum(at=15.0 * number, dt_s=15.0, new=new)
        wager.take(stratum, [stratum], 3600.0, frozen=False)
    return wager


@pytest.mark.parametrize(
    "machines",
    [
        {"m1": (300, 1500), "m2": (3, 1500), "m3": (4, 1500)},  # the others are within the bound
        {
            "m1": (34, 72),
            "m2": (0, 84),
            "m3": (0, 65),
            "m4": (0, 59),
        },  # too few for the bound
        {"m1": (231, 1518), "m2": (2, 1502), "m3": (9, 1205), "m4": (9, 1404)},  # or are a little beyond it
        {"m1": (60, 60), "m2": (0, 60)},
    ],
)
def test_a_machine_that_is_far_worse_than_all_others_is_sick(machines: dict[str, tuple[float, float]]) -> None:
    assert a_wager(machines).sick() == ("m1",)


@pytest.mark.parametrize(
    "machines",
    [
        {"m1": (75, 1500), "m2": (70, 1500), "m3": (80, 1500)},
        {"m1": (1500, 1500), "m2": (75, 1500), "m3": (75, 1500)},  # one is dead, and the others are bad as well
        {"m1": (12, 1500), "m2": (8, 1500), "m3": (9, 1500)},  # all are a little beyond the bound
        {"m1": (750, 1500), "m2": (750, 1500), "m3": (1, 1500)},  # two are no single one
        {"m1": (4, 60), "m2": (0, 60), "m3": (0, 60)},  # too few to say
        {"m1": (300, 1500)},
    ],
)
def test_a_release_that_is_bad_on_several_is_no_sick_machine(machines: dict[str, tuple[float, float]]) -> None:
    assert a_wager(machines).sick() == ()
