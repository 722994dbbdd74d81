"""Probes that are repeated every second: compared in the same second, and no more evidence in the same time."""

from __future__ import annotations

import pytest

from rollguard.core.model import Reading
from tests.builders import NOON
from tests.core.relative import released
from tests.core.relative.released import PROBES_FAIL, Does, Released


@pytest.fixture
def every_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """As while somebody fails."""
    monkeypatch.setattr(released, "PROBE_S", 1.0)


def convicted_after(world: Released) -> float:
    """How many seconds it takes the old machines to show that it is the release."""
    while not world.finding(PROBES_FAIL).side_by_side:
        world.step()
        assert world.now - NOON < 120
    return world.now - NOON


@pytest.mark.usefixtures("every_second")
def test_beside_old_machines_that_are_well_a_dead_new_one_is_convicted_in_a_quarter_of_a_minute() -> None:
    assert 10 <= convicted_after(Released(new={"m1": Does(probes=1.0)}, old={"m2": Does(), "m3": Does()})) <= 16


def test_at_the_usual_pace_that_takes_most_of_a_minute() -> None:
    """Two old machines that answer well every 5 s are little to compare with."""
    assert 45 < convicted_after(Released(new={"m1": Does(probes=1.0)}, old={"m2": Does(), "m3": Does()})) < 75


@pytest.mark.usefixtures("every_second")
def test_where_the_deploy_has_shown_it_the_past_need_not_wait_for_a_blip_to_pass() -> None:
    """Ten seconds beside old machines that are well, then those are replaced as well."""
    world = Released(new={"m1": Does(probes=1.0)}, old={"m2": Does(), "m3": Does(), "m4": Does()})
    for _ in range(10):
        world.step()
    assert not world.finding(PROBES_FAIL).firing
    world.new, world.old = {name: Does(probes=1.0) for name in ("m1", "m2", "m3", "m4")}, {}
    world.since |= dict.fromkeys(world.new, world.now)
    while not world.finding(PROBES_FAIL).side_by_side:
        world.step()
        assert world.now - NOON <= 30
    assert world.finding(PROBES_FAIL).firing


@pytest.mark.usefixtures("every_second")
@pytest.mark.parametrize("machines", [1, 4])
def test_against_the_past_alone_a_minute_has_as_much_evidence_as_ever(machines: int) -> None:
    """No round decides, however many there are: 40 s are 40 s."""
    found = Released(new={f"m{n}": Does(probes=1.0) for n in range(machines)}).until_fires(PROBES_FAIL, 120)
    assert found is not None
    assert 30 <= found[0] <= 45


@pytest.mark.usefixtures("every_second")
@pytest.mark.parametrize("seed", range(10))
def test_half_a_minute_in_which_probes_fail_everywhere_convicts_nobody(seed: int) -> None:
    def blip(after: float) -> float:
        return 0.6 if 100 < after < 130 else 0.0

    world = Released(new={"m1": Does(probes=blip), "m2": Does(probes=blip)}, old={"m3": Does(probes=blip)}, seed=seed)
    assert world.until_fires(PROBES_FAIL, 200) is None


@pytest.mark.usefixtures("every_second")
def test_a_round_that_comes_late_or_twice_is_no_evidence() -> None:
    world = Released(new={"m1": Does(probes=1.0)})
    for _ in range(10):
        world.step()
    before = world.relatives.to_text()
    again = [Reading("health", "m1", world.now - n, value=0.0) for n in (0, 1, 3)]
    for reading in again:
        world.relatives.take("health", [reading], world.evidence)
    assert world.relatives.to_text() == before
