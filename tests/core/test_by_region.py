"""Limits that are held region by region: most regions are the release, one is the region."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from rollguard.core import fleet
from rollguard.core.budgets import ByRegion
from rollguard.core.decide import PageDecision, RollBack, decide
from rollguard.core.finding import Blame, Finding, RuleState
from rollguard.core.fleet import Tenure
from rollguard.core.judge import Judge, judge
from rollguard.core.model import Mode, Reading
from rollguard.core.policy import Quantile, Ratio, Rule
from tests.builders import (
    GOOD,
    NOON,
    a_case,
    a_machine,
    a_rule,
    a_snapshot,
    a_tenure,
    a_view,
    bucketed,
    counted,
    evidence,
)

CLEAR, PENDING, FIRING, BLIND = RuleState.CLEAR, RuleState.PENDING, RuleState.FIRING, RuleState.BLIND


def rule(**but: object) -> Rule:
    """More than 10 % of at least 50 requests of a region within a minute."""
    settings: dict[str, object] = {"over_s": 60.0, "limit": 0.1, "above": True, "min_count": 50.0, "by": ByRegion()}
    return a_rule(Ratio(bad="traffic.errors", total="traffic.requests", **settings | but))  # type: ignore[arg-type]


def traffic(machine: str, share: float, requests: float = 100.0) -> list[Reading]:
    return [
        *counted("traffic.requests", [requests] * 4, subject=machine),
        *counted("traffic.errors", [requests * share] * 4, subject=machine),
    ]


def fleet_in(*regions: str) -> tuple[Tenure, ...]:
    """m1, m2, … in these regions."""
    return tuple(a_tenure(f"m{n}", region=region) for n, region in enumerate(regions, start=1))


def finding(regions: Sequence[str], shares: Sequence[float], **but: object) -> Finding:
    rows = [traffic(f"m{n}", share) for n, share in enumerate(shares, start=1)]
    return judge(rule(**but), evidence(*rows, view=a_view(cohort=fleet_in(*regions))), NOON)


def test_one_region_of_three_is_not_the_release() -> None:
    found = finding(["fra", "iad", "syd"], [0.8, 0.0, 0.0])
    assert (found.state, found.blame, found.value) == (FIRING, Blame.REGION, 0.8)
    assert found.sentence.startswith(
        "region fra, not the release: in fra: traffic.errors / traffic.requests 80 % of 400 "
    )
    assert found.sentence.endswith("(1 of 3 regions)")


def test_most_regions_are_the_release() -> None:
    found = finding(["fra", "iad", "syd"], [0.2, 0.8, 0.0])
    assert (found.state, found.blame, found.value) == (FIRING, Blame.RELEASE, 0.8)
    assert found.sentence.startswith("in iad: ")
    assert found.sentence.endswith("(2 of 3 regions)")


@pytest.mark.parametrize("shares, blame", [([0.8, 0.0], Blame.REGION), ([0.8, 0.8], Blame.RELEASE)])
def test_half_of_the_regions_are_not_most_of_them(shares: list[float], blame: Blame) -> None:
    assert finding(["fra", "iad"], shares).blame is blame


def test_an_app_in_one_region_is_judged_as_a_whole() -> None:
    found = finding(["fra", "fra"], [0.8, 0.8])
    assert (found.blame, found.sentence.endswith("(the only region)")) == (Blame.RELEASE, True)


def test_a_big_healthy_region_does_not_hide_a_small_sick_one() -> None:
    """Together they are at 4.8 %."""
    rows = [traffic("m1", 0.0, 1000.0), traffic("m2", 1.0, 50.0)]
    view = a_view(cohort=fleet_in("fra", "syd"))
    together, apart = (judge(rule(by=by), evidence(*rows, view=view), NOON) for by in (None, ByRegion()))
    assert (together.state, apart.state, apart.blame) == (CLEAR, FIRING, Blame.REGION)


def test_every_region_needs_traffic_enough_of_its_own() -> None:
    rows = [traffic("m1", 0.0), traffic("m2", 1.0, 10.0)]
    found = judge(rule(), evidence(*rows, view=a_view(cohort=fleet_in("fra", "syd"))), NOON)
    assert found.state is CLEAR


def test_one_sick_machine_of_its_region_is_not_the_region() -> None:
    found = finding(["fra", "fra", "fra", "iad"], [0.9, 0.0, 0.0, 0.0])
    assert (found.state, found.blame, found.machines) == (FIRING, Blame.MACHINE, ("m1",))
    assert found.sentence.startswith("in fra: machine m1, not the release: ")


def test_old_machines_of_the_same_region_that_do_as_badly_clear_the_release() -> None:
    view = a_view(cohort=fleet_in("fra"), others=[a_tenure("m9", GOOD, region="fra")])
    found = judge(rule(), evidence(traffic("m1", 0.8), traffic("m9", 0.8), view=view), NOON)
    assert (found.state, found.blame) == (FIRING, Blame.EVERYONE)
    elsewhere = a_view(cohort=fleet_in("fra"), others=[a_tenure("m9", GOOD, region="iad")])
    found = judge(rule(), evidence(traffic("m1", 0.8), traffic("m9", 0.8), view=elsewhere), NOON)
    assert found.blame is Blame.RELEASE


def test_a_region_whose_machines_are_not_heard_of_is_blind_only_with_most_of_them() -> None:
    view = a_view(cohort=fleet_in("fra", "iad", "syd"))
    assert judge(rule(), evidence(traffic("m1", 0.0), traffic("m2", 0.0), view=view), NOON).state is CLEAR
    assert judge(rule(), evidence(traffic("m1", 0.0), view=view), NOON).state is BLIND
    assert judge(rule(), evidence(view=a_view(cohort=())), NOON).state is BLIND


def test_what_may_still_pass_is_pending_in_its_region() -> None:
    found = finding(["fra", "iad"], [0.11, 0.0], over_s=300.0)
    assert (found.state, found.sentence.startswith("in fra: ")) == (PENDING, True)


def test_a_quantile_is_judged_by_region_too() -> None:
    slow = a_rule(
        Quantile(key="traffic.latency", q=0.95, over_s=60.0, limit=1.0, above=True, min_count=20.0, by=ByRegion())
    )
    rows = [[bucketed({0.5: fast, 5.0: 100 - fast}, subject=name)] for name, fast in (("m1", 0.0), ("m2", 100.0))]
    found = judge(slow, evidence(*rows, view=a_view(cohort=fleet_in("fra", "iad"))), NOON)
    assert (found.state, found.blame) == (FIRING, Blame.REGION)


def test_a_region_in_trouble_pages_and_rolls_nothing_back() -> None:
    def decided(*shares: float) -> object:
        return decide(a_case(findings=(finding(["fra", "iad", "syd"], shares),)), Mode.ENFORCE, NOON)

    assert isinstance(decided(0.8, 0.0, 0.0), PageDecision)
    assert isinstance(decided(0.8, 0.8, 0.0), RollBack)


def test_a_machine_s_region_is_the_platform_s_word() -> None:
    snapshot = a_snapshot(a_machine("m1", region="fra"))
    assert fleet.track({}, snapshot, None, NOON)["m1"].region == "fra"


def test_what_is_remembered_of_regions_is_what_is_judged_anew() -> None:
    view, memory = a_view(cohort=fleet_in("fra", "iad")), Judge()
    seen = evidence(traffic("m1", 0.0), traffic("m2", 0.2), view=view)
    for later in (0.0, 1.0, 16.0, 31.0, 46.0, 61.0):
        first = memory.judge_all(seen, NOON + later)[0]
        assert first == Judge().judge_all(seen, NOON + later)[0]
