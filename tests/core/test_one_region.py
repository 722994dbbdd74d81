"""One region that is out is told from a bad release: nothing else fails, and everything there does."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from rollguard.core.finding import Blame, Finding
from rollguard.core.judge import judge_all
from rollguard.core.judging import Evidence
from rollguard.core.model import EDGE
from rollguard.core.policy import Condition, Ratio, Rule
from tests.builders import NOON, a_policy, a_rule, a_tenure, a_view, counted, evidence, readings

FOUR = {"m1": "fra", "m2": "fra", "m3": "iad", "m4": "iad"}
ERRORS = Ratio(bad="traffic.errors", total="traffic.requests", over_s=60.0, limit=0.1, above=True, min_count=20.0)


def fleet(
    failing: set[str], regions: Mapping[str, str], *, edge: str = "ok ok ok", rule: Rule | None = None
) -> Evidence:
    """Probes and counters of machines in these regions; the failing ones fail all the time."""
    view = a_view(0, cohort=tuple(a_tenure(name, region=region) for name, region in regions.items()))
    rows = [readings("fail fail fail" if name in failing else "ok ok ok", subject=name) for name in regions]
    rows += [readings(edge, subject=EDGE)]
    rows += [counted("traffic.requests", [100.0] * 4, subject=name) for name in regions]
    rows += [counted("traffic.errors", [100.0 * (name in failing)] * 4, subject=name) for name in regions]
    return evidence(*rows, view=view, policy=a_policy(rule or a_rule()))


def found(rows: Evidence) -> Finding:
    (finding,) = judge_all(rows, NOON)
    return finding


@pytest.mark.parametrize("edge", ["ok ok ok", "fail fail fail"])
def test_a_region_all_of_whose_machines_fail_and_no_others_is_blamed(edge: str) -> None:
    finding = found(fleet({"m1", "m2"}, FOUR, edge=edge))
    assert finding.firing
    assert (finding.blame, finding.machines) == (Blame.REGION, ("m1", "m2"))
    assert finding.sentence.startswith("region fra, not the release: ")


@pytest.mark.parametrize("condition", [ERRORS])
def test_errors_that_only_one_region_counts_blame_it_too(condition: Condition) -> None:
    finding = found(fleet({"m3", "m4"}, FOUR, rule=a_rule(condition)))
    assert (finding.firing, finding.blame, finding.machines) == (True, Blame.REGION, ("m3", "m4"))


@pytest.mark.parametrize(
    "failing, regions",
    [
        ({"m1", "m2", "m3"}, FOUR),  # elsewhere as well
        ({"m1", "m2", "m3", "m4"}, FOUR),
        ({"m1", "m3"}, FOUR),  # half of each
        ({"m1", "m2"}, {**FOUR, "m5": "fra"}),  # not all of it: by the quorum it is nobody or the release
        ({"m1", "m2"}, dict.fromkeys(FOUR, "fra")),  # there is no other region
        ({"m1", "m2"}, dict.fromkeys(FOUR, "")),  # nobody says where
        ({"m1"}, {"m1": "fra", "m2": "iad"}),  # one machine is no region
    ],
)
@pytest.mark.parametrize("condition", [None, ERRORS])
def test_anything_else_is_no_regions_doing(
    failing: set[str], regions: Mapping[str, str], condition: Condition | None
) -> None:
    assert found(fleet(failing, regions, rule=a_rule(condition))).blame is not Blame.REGION
