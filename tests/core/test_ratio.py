"""The share of bad requests in a window: summed over the release's machines, without the guard's own probes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import pytest

from rollguard.core.finding import Blame, Finding, RuleState
from rollguard.core.fleet import View
from rollguard.core.judge import judge, judge_all
from rollguard.core.model import EDGE, Reading
from rollguard.core.policy import Ratio, Rule
from rollguard.core.ratios import Measure, ratio_at
from tests.builders import (
    GOOD,
    HEALTH,
    NOON,
    TRAFFIC,
    a_policy,
    a_rule,
    a_tenure,
    a_view,
    counted,
    evidence,
    readings,
    windows,
)

CLEAR, PENDING, FIRING, BLIND = RuleState.CLEAR, RuleState.PENDING, RuleState.FIRING, RuleState.BLIND
UNPROBED = a_policy()
UNPROBED = replace(UNPROBED, signals=(HEALTH, replace(TRAFFIC, counts_probes=False), *UNPROBED.signals[3:]))


def a_ratio(source: str = "traffic", **but: object) -> Ratio:
    """More than 10 % of at least 50 requests within a minute."""
    settings: dict[str, object] = {"over_s": 60.0, "limit": 0.1, "above": True, "min_count": 50.0}
    return Ratio(bad=f"{source}.errors", total=f"{source}.requests", **settings | but)  # type: ignore[arg-type]


def rule(**but: object) -> Rule:
    return a_rule(a_ratio(**but), name="errors-blatant")


Counts = Sequence[float | str]


def traffic(requests: Counts, errors: Counts, *, subject: str = "m1", source: str = "traffic") -> list[Reading]:
    """Every 15 s so many requests, so many of them errors; the last at noon."""
    return [
        *counted(f"{source}.requests", requests, subject=subject),
        *counted(f"{source}.errors", errors, subject=subject),
    ]


def finding(*rows: Iterable[Reading], asked: Rule | None = None, now: float = NOON, **but: object) -> Finding:
    return judge(asked or rule(), evidence(*rows, **but), now)


def measure(*rows: Iterable[Reading], view: View | None = None, **but: object) -> Measure:
    return ratio_at(a_ratio(**but), a_policy(), view or a_view(), windows(*rows), NOON)


# -- the window --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "requests, errors, state",
    [
        ([100, 100, 100, 100], [0, 0, 0, 0], CLEAR),
        ([100, 100, 100, 100], [10, 10, 10, 10], CLEAR),  # at the limit is still right
        ([100, 100, 100, 100], [11, 10, 10, 10], FIRING),
        ([100, 100, 100, 100, 100], [100, 0, 0, 0, 0], CLEAR),  # 60 s ago is outside
        ([12, 12, 13, 12], [12, 12, 13, 12], CLEAR),  # 49 requests prove nothing
        ([12, 12, 13, 13], [2, 2, 1, 1], FIRING),  # 50 do
        ([0, 0, 0, 0], [0, 0, 0, 0], CLEAR),
    ],
)
def test_the_share_over_the_window_decides(requests: Counts, errors: Counts, state: RuleState) -> None:
    assert finding(traffic(requests, errors)).state is state


def test_no_requests_at_all_are_no_ratio_even_without_a_minimum() -> None:
    found = finding(traffic([0, 0], [0, 0]), asked=rule(min_count=0.0))
    assert (found.state, found.value) == (CLEAR, None)
    assert found.sentence == "traffic.errors / traffic.requests: too little traffic to judge, 0 of 0 in 1 m"


def test_a_finding_says_value_limit_and_since_when() -> None:
    found = finding(traffic([100, 100, 100, 100], [0, 0, 50, 60]))
    assert found.sentence == "traffic.errors / traffic.requests 27.5 % of 400 in 1 m, above 10 % since 11:59:45Z"
    assert (found.value, found.limit, found.since) == (0.275, 0.1, NOON - 15)


def test_the_machines_of_the_release_are_summed() -> None:
    """One machine's 30 % of little traffic are not the release's."""
    rows = [traffic([10] * 4, [3] * 4), traffic([90] * 4, [0] * 4, subject="m2")]
    assert measure(*rows, view=a_view(2)).value == pytest.approx(0.03)


def test_machines_of_another_digest_are_left_out() -> None:
    view = a_view(1, others=[a_tenure("m2", GOOD)])
    rows = [traffic([100] * 4, [50] * 4), traffic([1000] * 4, [0] * 4, subject="m2")]
    found = finding(*rows, view=view)
    assert (found.value, found.blame) == (0.5, Blame.RELEASE)


def test_an_increase_that_spans_the_machines_start_is_left_out() -> None:
    """Started at 11:59:40, read at 11:59:45: some of these 15 seconds were the old release's."""
    view = a_view(cohort=(a_tenure("m1", since=NOON - 20),), whole_since=NOON - 20)
    assert measure(traffic([100] * 4, [100, 100, 100, 0]), view=view).count == 100


def test_an_increase_that_began_with_the_machines_life_counts() -> None:
    view = a_view(cohort=(a_tenure("m1", since=NOON - 15),))
    assert measure(traffic([100] * 4, [0] * 4), view=view).count == 100


def test_an_increase_that_began_before_the_window_counts_whole() -> None:
    assert measure(traffic([100] * 4, [0] * 4), over_s=50.0).count == 400


def test_more_errors_than_requests_are_never_more_than_all() -> None:
    assert measure(traffic([60], [90])).value == 1.0


# -- for ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "errors, state",
    [
        ([0, 0, 0, 0, 0, 0, 0, 100], PENDING),
        ([0, 0, 0, 0, 0, 100, 100, 100], FIRING),
        ([0, 0, 0, 0, 0, 0, 100, 100], PENDING),
        ([100, 100, 0, 0, 0, 0, 100, 100], PENDING),  # it was well in between
    ],
)
def test_with_a_hold_the_share_must_stay_beyond_the_limit(errors: Counts, state: RuleState) -> None:
    asked = rule(over_s=15.0, for_s=30.0)
    assert finding(traffic([200] * 8, errors), asked=asked).state is state


def test_a_hold_under_way_says_how_far_it_is() -> None:
    found = finding(traffic([200] * 4, [0, 0, 0, 200]), asked=rule(over_s=15.0, for_s=30.0), now=NOON + 10)
    assert found.sentence.endswith(", above 10 %, for 10 s of 30 s")


def test_too_little_traffic_in_between_breaks_the_hold() -> None:
    asked = rule(over_s=15.0, for_s=30.0)
    assert finding(traffic([200, 200, 3, 200], [200, 200, 3, 200]), asked=asked).state is PENDING


# -- no data -----------------------------------------------------------------------------------------------------------


def test_no_error_series_beside_requests_means_no_errors() -> None:
    found = finding(counted("traffic.requests", [100] * 4))
    assert (found.state, found.value) == (CLEAR, 0.0)


def test_errors_that_could_not_be_read_are_not_zero_errors() -> None:
    """Requests go on being counted, the errors' query fails: after a while nobody knows the share."""
    fresh = finding(traffic([100] * 4, [0, 0, 0, "-"]))
    assert fresh.state is CLEAR
    blind = finding(traffic([100] * 8, [0, "-", "-", "-", "-", "-", "-", "-"]))
    assert (blind.state, blind.sentence) == (BLIND, "no readings of traffic.requests: no answer")
    assert finding(traffic([100] * 4, ["nan"] * 4)).state is BLIND


def test_a_machine_without_traffic_is_an_answer_and_not_blindness() -> None:
    quiet: Counts = ["quiet"] * 8
    found = finding(traffic(quiet, quiet))
    assert (found.state, found.value) == (CLEAR, None)
    assert "too little traffic" in found.sentence


def test_a_source_that_stays_silent_makes_the_guard_blind() -> None:
    rows = traffic([100] * 4, [0] * 4)
    assert finding(rows, now=NOON + 50).state is CLEAR
    assert finding(rows, now=NOON + 51).state is BLIND


def test_a_page_that_cannot_be_had_is_named() -> None:
    found = finding(traffic([100, 100], [0, 0], subject="m1"), traffic(["-"], ["-"], subject=EDGE), now=NOON + 51)
    assert (found.state, found.sentence) == (BLIND, "no readings of traffic.requests: no answer")


def test_an_answer_older_than_the_window_is_still_an_answer() -> None:
    """Nothing within the last 15 s, but the source spoke 30 s ago: that is little traffic, not blindness."""
    rows = traffic([100, 100], [0, 0])
    found = finding(rows, asked=rule(over_s=15.0), now=NOON + 30)
    assert (found.state, found.value) == (CLEAR, None)


def test_of_several_machines_the_newest_answer_tells_how_fresh_the_source_is() -> None:
    one, two = counted("traffic.requests", [100], until=NOON - 60), counted("traffic.requests", [100], subject="m2")
    assert measure(one, two, view=a_view(2), over_s=300.0).newest_at == NOON
    assert measure(one, two, view=a_view(2), over_s=1.0).newest_at == NOON


def test_the_newest_gap_gives_the_reason() -> None:
    gaps = [*traffic(["nan"], ["nan"]), *traffic(["-"], ["-"], subject=EDGE)]
    gaps = [replace(r, at=r.at - 30.0) if r.subject == "m1" else r for r in gaps]
    assert measure(gaps).gap == "no answer"


def test_a_source_that_never_answered_gets_its_first_rounds() -> None:
    assert finding(alive_since=NOON - 60).state is CLEAR
    assert finding(alive_since=NOON - 70).state is BLIND
    young = a_view(1, whole_since=NOON - 60)
    assert finding(view=young).state is CLEAR


# -- own probes --------------------------------------------------------------------------------------------------------


def probes(script: str, subject: str = "m1") -> list[Reading]:
    return readings(script, subject=subject, every=5.0)


def test_own_probes_are_taken_out_of_requests_and_errors() -> None:
    """12 probes of the machine and 12 at the edge, all failing: 124 requests are 100, 34 errors are 10."""
    failing = " ".join(["fail"] * 12)
    got = measure(traffic([31] * 4, [10, 8, 8, 8]), probes(failing), probes(failing, EDGE))
    assert (got.count, got.value) == (100, pytest.approx(0.1))


def test_probes_alone_never_reach_the_minimum() -> None:
    failing = " ".join(["fail"] * 12)
    found = finding(traffic([18] * 4, [18] * 4), probes(failing), probes(failing, EDGE))
    assert (found.state, found.value) == (CLEAR, None), "72 requests, 24 of them our own"


def test_a_probe_at_the_edge_is_shared_by_all_machines_that_are_started() -> None:
    view = a_view(1, others=[a_tenure("m2", GOOD), a_tenure("m3", GOOD), a_tenure("m4", GOOD)])
    got = measure(traffic([100] * 4, [0] * 4), probes(" ".join(["ok"] * 12), EDGE), view=view)
    assert got.count == 400 - 12 / 4


def test_the_edge_counts_every_probe_also_those_of_single_machines() -> None:
    view = a_view(2)
    ok = " ".join(["ok"] * 12)
    rows = traffic([100] * 4, [0] * 4, subject=EDGE, source="edge")
    got = measure(rows, probes(ok), probes(ok, "m2"), probes(ok, EDGE), view=view, source="edge")
    assert got.count == 400 - 36


def test_probes_are_subtracted_where_their_machines_requests_are_counted_and_nowhere_else() -> None:
    """m2 has just started, and its increase was left out: so are its probes."""
    view = a_view(cohort=(a_tenure("m1"), a_tenure("m2", since=NOON - 5)), whole_since=NOON - 5)
    rows = [traffic([100] * 4, [0] * 4), traffic([100], [0], subject="m2")]
    got = measure(*rows, probes("ok ok", "m2"), view=view)
    assert got.count == 400


def test_probes_before_and_after_the_counted_span_stay_out_of_it() -> None:
    got = measure(traffic([100], [0]), readings("ok ok ok ok ok ok ok", until=NOON + 5))
    assert got.count == 97, "three within the fifteen seconds before noon"


def test_probes_in_a_hole_between_two_counted_spans_are_not_subtracted() -> None:
    """Counted from 11:59:00 to :15 and from :45 to noon; the probes of the half minute between were not."""
    rows = [*counted("traffic.requests", [100]), *counted("traffic.requests", [100], until=NOON - 45)]
    got = measure(rows, probes(" ".join(["ok"] * 12)))
    assert got.count == 200 - 3 - 3


def test_a_source_that_does_not_count_probes_is_left_as_it_is() -> None:
    condition = a_ratio()
    store = windows(traffic([100] * 4, [0] * 4), probes(" ".join(["ok"] * 12)))
    assert ratio_at(condition, UNPROBED, a_view(), store, NOON).count == 400


# -- the edge ----------------------------------------------------------------------------------------------------------


def test_users_errors_blame_the_release_while_every_machine_runs_it() -> None:
    rows = traffic([100] * 4, [50] * 4, subject=EDGE, source="edge")
    assert finding(rows, asked=rule(source="edge")).blame is Blame.RELEASE
    mixed = a_view(1, others=[a_tenure("m2", GOOD)])
    found = finding(rows, asked=rule(source="edge"), view=mixed)
    assert (found.state, found.blame) == (FIRING, Blame.EVERYONE)


def test_what_users_got_before_every_machine_ran_the_release_is_not_its_doing() -> None:
    rows = traffic([100] * 4, [100, 100, 0, 0], subject=EDGE, source="edge")
    found = finding(rows, asked=rule(source="edge"), view=a_view(1, whole_since=NOON - 30))
    assert (found.state, found.value) == (CLEAR, 0.0)


# -- whose doing it is -------------------------------------------------------------------------------------------------


def fleet(*errors: int, old: Sequence[int] = ()) -> Finding:
    """Machines of the release with so many errors among 100 requests every 15 s, and ``old`` ones of another."""
    names = [f"m{number}" for number in range(1, len(errors) + len(old) + 1)]
    rows = [traffic([100] * 4, [n] * 4, subject=m) for m, n in zip(names, (*errors, *old), strict=True)]
    view = a_view(len(errors), others=[a_tenure(m, GOOD) for m in names[len(errors) :]])
    return finding(*rows, view=view)


@pytest.mark.parametrize(
    "errors, blame, machines",
    [
        ([100, 0, 0, 0], Blame.MACHINE, ("m1",)),
        ([0, 0, 90, 1], Blame.MACHINE, ("m3",)),
        ([100, 100, 0, 0], Blame.RELEASE, ()),
        ([40, 11, 11, 11], Blame.RELEASE, ()),
        ([100, 100, 0, 0, 0, 0], Blame.MACHINE, ("m1", "m2")),
        ([100, 0], Blame.RELEASE, ()),
        ([20], Blame.RELEASE, ()),
    ],
)
def test_a_share_that_fewer_machines_than_the_quorum_make_is_theirs(
    errors: list[int], blame: Blame, machines: tuple[str, ...]
) -> None:
    found = fleet(*errors)
    assert (found.state, found.blame, found.machines) == (FIRING, blame, machines)
    assert ("not the release" in found.sentence) is (blame is Blame.MACHINE)


@pytest.mark.parametrize("of, blame", [(1, Blame.RELEASE), (5, Blame.MACHINE)])
def test_others_that_serve_hardly_anybody_do_not_say_that_it_is_one_machine(of: int, blame: Blame) -> None:
    """At the limit of 10 % three machines with four requests each would show one bad one."""
    busy = traffic([400] * 4, [400] * 4, subject="m1")
    idle = [traffic([of] * 4 if of > 1 else [1, 1, 0, 0], [0] * 4, subject=f"m{n}") for n in (2, 3, 4)]
    assert finding(busy, *idle, view=a_view(4)).blame is blame


@pytest.mark.parametrize("old, blame", [([60, 60], Blame.EVERYONE), ([0, 9], Blame.RELEASE), ([12, 12], Blame.RELEASE)])
def test_old_machines_that_fail_about_as_often_say_that_it_is_not_the_release(old: list[int], blame: Blame) -> None:
    assert fleet(80, 80, old=old).blame is blame


def test_users_errors_are_the_sick_machines_up_to_twice_its_share_of_them() -> None:
    """Three machines of four are well by their own evidence; what users get cannot say from whom."""

    def blame(errors: int) -> Blame:
        rules = (rule(), a_rule(a_ratio("edge"), name="users-see-errors"))
        machines = [traffic([100] * 4, [100 if m == "m1" else 0] * 4, subject=m) for m in ("m1", "m2", "m3", "m4")]
        users = traffic([400] * 4, [errors] * 4, subject=EDGE, source="edge")
        found = judge_all(evidence(*machines, users, view=a_view(4), policy=a_policy(*rules)), NOON)
        assert [f.state for f in found] == [FIRING, FIRING]
        return found[1].blame

    assert blame(100) is Blame.MACHINE
    assert blame(200) is Blame.MACHINE
    assert blame(240) is Blame.RELEASE


# -- a window that is not full yet -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "errors, state", [([30], PENDING), ([39], PENDING), ([41], FIRING), ([15, 15], PENDING), ([11] * 4, FIRING)]
)
def test_a_window_that_is_not_full_yet_fires_only_if_a_clean_rest_could_not_help(
    errors: list[int], state: RuleState
) -> None:
    """15 of 60 seconds were counted: 41 % of them are more than 10 % of the whole minute."""
    assert finding(traffic([100] * len(errors), errors)).state is state


def test_one_machines_probes_are_not_taken_out_of_anothers_requests() -> None:
    """m2 answers nothing; the proxy itself said 503 to the probes of it, and its counters saw none of them."""
    rows = [traffic([100] * 4, [20] * 4), traffic([0] * 4, [0] * 4, subject="m2")]
    got = measure(*rows, probes(" ".join(["fail"] * 12), "m2"), view=a_view(2))
    assert (got.count, got.value) == (400, 0.2)
