"""Crashes: ends that nobody asked for, since the machine runs this digest; and reports."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from rollguard.core.events import Reported as ReportCame
from rollguard.core.finding import Blame, Finding, RuleState, Trigger
from rollguard.core.fleet import Tenure
from rollguard.core.judge import judge, judge_all
from rollguard.core.policy import Crashed, Quorum, Reported
from tests.builders import BAD, GOOD, MINUTE, NOON, a_crash, a_policy, a_rule, a_tenure, a_view, evidence

TWICE_IN_FIVE_MINUTES = a_rule(
    Crashed(signal="machines", k=2, within_s=5 * MINUTE), name="crash-loop", quorum=Quorum(machines=0.5, or_edge=False)
)


def machine(name: str, *crashed_s_ago: float, **but: object) -> Tenure:
    return a_tenure(name, exits=tuple(a_crash(NOON - ago) for ago in crashed_s_ago), **but)


def finding(*cohort: Tenure, others: Sequence[Tenure] = ()) -> Finding:
    view = a_view(cohort=cohort, others=others)
    return judge(TWICE_IN_FIVE_MINUTES, evidence(view=view), NOON)


@pytest.mark.parametrize(
    "crashed_s_ago, state",
    [
        ([], RuleState.CLEAR),
        ([10], RuleState.PENDING),
        ([10, 40], RuleState.FIRING),
        ([10, 301], RuleState.PENDING),
        ([10, 300], RuleState.FIRING),  # the window's edge is inside
        ([301, 400], RuleState.CLEAR),
    ],
)
def test_two_crashes_within_the_window_fire(crashed_s_ago: list[float], state: RuleState) -> None:
    assert finding(machine("m1", *crashed_s_ago)).state is state


def test_an_end_that_was_asked_for_is_normal_life() -> None:
    stops = tuple(a_crash(NOON - ago, requested=True) for ago in (10, 20, 30))
    assert finding(a_tenure("m1", exits=stops)).state is RuleState.CLEAR


def test_a_process_that_ends_with_code_0_unasked_is_gone_all_the_same() -> None:
    ends = tuple(a_crash(NOON - ago, code=0) for ago in (10, 20))
    assert finding(a_tenure("m1", exits=ends)).state is RuleState.FIRING


def test_crashes_of_the_digest_before_do_not_count_those_of_lives_before_do() -> None:
    assert finding(machine("m1", 10, 100, digest_since=NOON - 60)).state is RuleState.PENDING
    assert finding(machine("m1", 10, 100, since=NOON - 5)).state is RuleState.FIRING


def test_a_finding_says_value_limit_and_since_when() -> None:
    found = finding(machine("m1", 10, 40, 600), machine("m2", 20, 30), machine("m3"))
    assert found.sentence == "crashed 2 times in 5 m, limit 2 since 11:59:20Z on 2 of 3 machines"
    assert (found.value, found.limit, found.since, found.machines) == (2.0, 2.0, NOON - 40, ("m1", "m2"))


def test_a_calm_finding_remembers_no_old_crash() -> None:
    found = finding(machine("m1", 400))
    assert (found.state, found.since, found.machines) == (RuleState.CLEAR, None, ())


def test_one_machine_that_crashes_is_not_a_bad_release() -> None:
    found = finding(machine("m1", 10, 20), machine("m2"), machine("m3"))
    assert (found.state, found.blame, found.machines) == (RuleState.FIRING, Blame.MACHINE, ("m1",))
    assert found.sentence.startswith("machine m1, not the release: crashed 2 times")


def test_machines_that_were_put_to_sleep_do_not_hide_a_crash_loop() -> None:
    """Eight of ten are asleep, both that work crash: that is all of them, not a fifth."""
    sleepers = [a_tenure(f"m{i}", started=False) for i in range(3, 11)]
    assert finding(machine("m1", 10, 20), machine("m2", 10, 20), *sleepers).blame is Blame.RELEASE


def test_a_machine_that_is_down_because_it_crashed_is_counted() -> None:
    found = finding(machine("m1", 10, 20, started=False), machine("m2", 10, 20, started=False))
    assert (found.state, found.blame) == (RuleState.FIRING, Blame.RELEASE)


def test_beside_old_machines_that_live_one_new_machine_is_enough() -> None:
    found = finding(machine("m1", 10, 20), machine("m2"), others=[machine("m3", digest=GOOD)])
    assert (found.state, found.blame) == (RuleState.FIRING, Blame.RELEASE)


def test_old_machines_that_crash_as_well_clear_the_release() -> None:
    found = finding(machine("m1", 10, 20), others=[machine("m2", 10, 20, digest=GOOD)])
    assert (found.state, found.blame) == (RuleState.FIRING, Blame.EVERYONE)
    assert found.sentence.startswith("old and new machines alike: ")


def test_a_release_that_runs_nowhere_cannot_be_seen() -> None:
    assert finding().state is RuleState.BLIND


# -- reports -----------------------------------------------------------------------------------------------------------

CORRUPTION = a_rule(Reported(kinds=("data-corruption", "security")), name="corruption")


def a_report(kind: str = "data-corruption", digest: str = BAD, at: float = NOON - 5) -> ReportCame:
    return ReportCame(at=at, kind=kind, digest=digest, version=42, by="ann", reason="orders are doubled")


def test_a_report_against_the_serving_release_fires_at_once() -> None:
    found = judge(CORRUPTION, evidence(reports=(a_report(),)), NOON)
    assert (found.state, found.trigger, found.since) == (RuleState.FIRING, Trigger.REPORT, NOON - 5)
    assert found.sentence == "data-corruption reported by ann: orders are doubled"


@pytest.mark.parametrize("report", [a_report(kind="minor-ui"), a_report(digest=GOOD)])
def test_a_report_of_another_kind_or_against_another_release_only_records(report: ReportCame) -> None:
    assert judge(CORRUPTION, evidence(reports=(report,)), NOON).state is RuleState.CLEAR


def test_the_newest_report_gives_the_words() -> None:
    reports = (a_report(), a_report(kind="security"), a_report(kind="minor-ui"))
    assert judge(CORRUPTION, evidence(reports=reports), NOON).sentence.startswith("security")


def test_every_rule_of_the_policy_is_judged_in_its_order() -> None:
    found = judge_all(evidence(policy=a_policy(CORRUPTION, TWICE_IN_FIVE_MINUTES, a_rule())), NOON)
    assert [f.rule.name for f in found] == ["corruption", "crash-loop", "not-responding"]
