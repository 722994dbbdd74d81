"""A release against the one before it: what is worse, what is only chance, whose doing it is, and what is no answer."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.core import bounds
from rollguard.core.baseline import Baseline, Block, Share, Times, measure_of
from rollguard.core.bounds import Latencies
from rollguard.core.explain import closeness
from rollguard.core.finding import Blame, Finding, RuleState, Trigger
from rollguard.core.fleet import View
from rollguard.core.judge import judge, judge_all
from rollguard.core.model import EDGE, Reading
from rollguard.core.policy import Compared, Comparing, Quantile, Ratio, Rule
from tests.builders import GOOD, NOON, a_policy, a_rule, a_tenure, a_view, bucketed, counted, evidence, readings

CLEAR, PENDING, FIRING, BLIND = RuleState.CLEAR, RuleState.PENDING, RuleState.FIRING, RuleState.BLIND
BOUNDS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.0)
NORMAL = NormalDist()
ALIVE = NOON - 3600


def more_errors(source: str = "traffic", *, factor: float = 1.0, add: float = 0.01, **but: float) -> Rule:
    """A percentage point more than before, of at least 100 requests in a minute."""
    settings = {"over_s": 60.0, "min_count": 100.0} | but
    of = Ratio(bad=f"{source}.errors", total=f"{source}.requests", limit=0.0, above=True, **settings)
    return a_rule(Compared(of=of, factor=factor, add=add), name="more-errors")


def slower(factor: float = 1.5, **but: float) -> Rule:
    """P95 half as slow again, of at least 100 requests in a minute."""
    settings = {"q": 0.95, "over_s": 60.0, "min_count": 100.0} | but
    return a_rule(
        Compared(of=Quantile(key="traffic.latency", limit=0.0, above=True, **settings), factor=factor), name="slower"
    )


def finding(
    asked: Rule, *rows: Iterable[Reading], known: Baseline | None = None, view: View | None = None, now: float = NOON
) -> Finding:
    policy = a_policy(asked, comparing=Comparing(settle_s=30.0))
    return judge(asked, evidence(*rows, view=view, policy=policy, baseline=known, alive_since=ALIVE), now)


def measure(asked: Rule) -> str:
    assert isinstance(asked.condition, Compared)
    return measure_of(asked.condition.of, a_policy(asked))


# -- what the older release did ----------------------------------------------------------------------------------------


def errors_before(asked: Rule, share: float = 0.001, requests: float = 5000.0, blocks: int = 24) -> Baseline:
    return _baseline(Block(GOOD, 0, 0, {measure(asked): Share(share * requests, requests)}), blocks)


def times_before(asked: Rule, median: float = 0.12, requests: float = 5000.0, own: float = 0.0) -> Baseline:
    return _baseline(Block(GOOD, 0, 0, {}, {measure(asked): times(median, requests, own=own)}))


def _baseline(block: Block, blocks: int = 24) -> Baseline:
    ends = [NOON - 300.0 * number for number in range(blocks)]
    return Baseline(GOOD, tuple(replace(block, start=end - 300, end=end) for end in reversed(ends)))


def times(median: float, requests: float, own: float = 0.0) -> Times:
    """A log-normal histogram of users' requests, and ``own`` fast ones."""
    below = {b: own + requests * NORMAL.cdf(math.log(b / median) / 0.5) for b in BOUNDS}
    return Times((*below.items(), (math.inf, own + requests)), own)


# -- what the release does ---------------------------------------------------------------------------------------------


def traffic(
    requests: Sequence[float | str], errors: Sequence[float | str], *, subject: str = "m1", source: str = "traffic"
) -> list[Reading]:
    return [
        *counted(f"{source}.requests", requests, subject=subject),
        *counted(f"{source}.errors", errors, subject=subject),
    ]


def pages(median: float, requests: float = 300.0, *, scrapes: int = 4, subject: str = "m1") -> list[Reading]:
    """Every 15 s so many requests with these times, the last at noon."""
    counts: dict[float, float] = {}
    before = 0.0
    for bound, cumulative in times(median, requests).buckets:
        counts[bound], before = cumulative - before, cumulative
    return [bucketed(counts, subject=subject, at=NOON - 15 * n) for n in range(scrapes)]


# -- more errors -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "errors, state",
    [([0] * 4, CLEAR), ([3] * 4, CLEAR), ([5] * 4, PENDING), ([15] * 4, FIRING), ([60, 0, 0, 0], PENDING)],
)
def test_a_share_fires_when_it_is_surely_and_throughout_beyond_what_is_tolerated(
    errors: list[int], state: RuleState
) -> None:
    """0.1 % before, a point more is tolerated; 300 requests every 15 s."""
    asked = more_errors()
    found = finding(asked, traffic([300] * 4, errors), known=errors_before(asked))
    assert (found.state, found.trigger) == (state, Trigger.RELATIVE)


def test_a_finding_says_value_baseline_and_what_is_tolerated() -> None:
    asked = more_errors()
    found = finding(asked, traffic([300] * 4, [15] * 4), known=errors_before(asked))
    assert found.sentence == (
        "traffic.errors / traffic.requests 5 % of 1200 in 1 m, "
        "tolerated 1.1 % (baseline 0.1 % of 120000) since 11:59:15Z"
    )
    assert found.value == 0.05
    assert found.baseline == pytest.approx(0.001)
    assert found.limit == pytest.approx(0.0111, rel=0.05)
    assert closeness(found) == pytest.approx(4.4, rel=0.1)


@given(st.floats(0, 0.2), st.floats(1, 3), st.floats(0, 0.05), st.integers(100, 10_000), st.integers(1, 40))
def test_no_more_is_tolerated_less_than_the_policy_says(
    share: float, factor: float, add: float, requests: int, blocks: int
) -> None:
    """The policy's margin is a lower limit of the bound, whatever the baseline looks like."""
    limit = bounds.share_limit([Share(share * requests, requests)] * blocks, factor, add)
    assert limit >= min(1.0, share * factor + add) - 1e-9


def test_blocks_that_differ_widen_what_is_tolerated_and_the_worst_of_them_do_not() -> None:
    even = [Share(10, 1000)] * 20
    uneven = [Share(2, 1000), Share(18, 1000)] * 10
    assert bounds.share_limit(uneven, 1.0, 0.0) > 1.5 * bounds.share_limit(even, 1.0, 0.0)
    blip = [*even[:10], Share(300, 1000), *even[11:]]
    assert bounds.share_limit(blip, 1.0, 0.0) < 1.1 * bounds.share_limit(even, 1.0, 0.0)


def test_what_was_bad_right_before_the_release_is_not_its_doing() -> None:
    calm = [Share(1, 1000)] * 20
    assert bounds.share_limit([*calm, Share(50, 1000), Share(50, 1000)], 1.0, 0.0) > 0.07


# -- slower ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "times_as_slow, state", [(1.0, CLEAR), (1.3, CLEAR), (1.45, CLEAR), (1.8, FIRING), (4.0, FIRING), (0.5, CLEAR)]
)
def test_latencies_fire_when_they_are_surely_more_than_so_many_times_as_long(
    times_as_slow: float, state: RuleState
) -> None:
    asked = slower()
    assert finding(asked, pages(0.12 * times_as_slow), known=times_before(asked)).state is state


def test_a_latency_finding_says_both_quantiles_and_the_bound_that_decided() -> None:
    asked = slower()
    found = finding(asked, pages(0.24), known=times_before(asked))
    assert found.value == pytest.approx(0.24 * math.exp(1.645 * 0.5), rel=0.1)
    assert found.baseline == pytest.approx(0.12 * math.exp(1.645 * 0.5), rel=0.1)
    assert found.limit == pytest.approx(1.5 * (found.baseline or 0.0))
    assert found.sentence.startswith("traffic.latency q0.95 ")
    assert (
        "of 1200 in 1 m, baseline 286 ms of 120000, 1.5 times as slow tolerated: 15.3 % above 400 ms" in found.sentence
    )
    assert found.sentence.endswith(" since 11:59:15Z")


def test_the_bound_at_an_edge_is_the_share_of_the_baseline_scaled() -> None:
    """Against the true distribution: tolerated is what is slower than the edge when everything takes 1.5 times as
    long, and at most a quarter more for doubt and interpolation.
    """
    latencies = Latencies([times(0.12, 5000.0)] * 24, 1.5)
    edges = latencies.edges_of(times(0.2, 1000.0))
    assert [e.bound for e in edges] == [0.4, 0.3]
    for edge in edges:
        true = 1 - NORMAL.cdf(math.log(edge.bound / 1.5 / 0.12) / 0.5)
        assert true <= edge.limit <= 1.25 * true


def test_bounds_of_the_release_that_the_baseline_does_not_have_can_be_compared() -> None:
    latencies = Latencies([times(0.12, 5000.0)] * 24, 1.5)
    other = Times(((0.25, 500.0), (0.35, 900.0), (math.inf, 1000.0)))
    assert [e.bound for e in latencies.edges_of(other)] == [0.35]


def test_where_no_bound_lies_where_it_could_be_compared_nothing_fires_and_it_is_said() -> None:
    asked = slower()
    coarse = [bucketed({10.0: 300}, at=NOON - 15 * n) for n in range(4)]
    found = finding(asked, coarse, known=times_before(asked))
    assert found.state is CLEAR
    assert "no bucket lies where it could be compared" in found.sentence


def test_fewer_probes_among_more_requests_are_not_slower_requests() -> None:
    """At night half of the requests were our own, all of them fast; by day they are a tenth."""
    asked = slower(1.2)
    night = times_before(asked, requests=300.0, own=300.0)
    ours = [readings(" ".join(["ok"] * 12), subject=subject) for subject in ("m1", EDGE)]
    assert finding(asked, pages(0.12), *ours, known=night).state is CLEAR
    blind_to_it = times_before(asked, requests=300.0, own=0.0)
    assert finding(asked, pages(0.12), *ours, known=blind_to_it).state is CLEAR
    assert finding(asked, pages(0.12 * 1.6), *ours, known=night).state is FIRING


# -- chance, hiccups, first seconds ------------------------------------------------------------------------------------


def test_few_requests_must_differ_more() -> None:
    asked = slower(min_count=10.0)
    assert finding(asked, pages(0.2, 8), known=times_before(asked)).state is PENDING
    assert finding(asked, pages(0.2, 800), known=times_before(asked)).state is FIRING


def test_less_than_the_minimum_is_no_verdict() -> None:
    asked = slower()
    found = finding(asked, pages(0.9, 24), known=times_before(asked))
    assert (found.state, found.value) == (CLEAR, None)
    assert "too little traffic to judge, 96 of 100" in found.sentence


def test_half_a_minute_is_a_hiccup_however_slow() -> None:
    """Four scrapes of a minute, two of them very slow: by now it may be over."""
    asked = slower()
    calm = [replace(r, at=r.at - 30, since=r.since - 30) for r in pages(0.12, scrapes=2) if r.since]
    found = finding(asked, calm, pages(2.0, scrapes=2), known=times_before(asked))
    assert found.state is PENDING
    assert "it has not lasted yet" in found.sentence
    passed = [replace(r, at=r.at - 30, since=r.since - 30) for r in pages(2.0, scrapes=2) if r.since]
    assert finding(asked, passed, pages(0.12, scrapes=2), known=times_before(asked)).state is PENDING


def test_three_scrapes_that_are_all_slow_are_enough() -> None:
    asked = slower()
    assert finding(asked, pages(0.3, scrapes=2), known=times_before(asked)).state is PENDING
    assert finding(asked, pages(0.3, scrapes=3), known=times_before(asked)).state is FIRING


def test_a_hold_must_be_sure_all_the_time() -> None:
    asked = slower(for_s=30.0)
    assert finding(asked, pages(0.3, scrapes=4), known=times_before(asked)).state is FIRING
    calm = [replace(r, at=r.at - 45, since=r.since - 45) for r in pages(0.1, scrapes=4) if r.since]
    found = finding(asked, calm, pages(0.3, scrapes=3), known=times_before(asked))
    assert found.state is PENDING


def test_the_first_seconds_of_a_machine_are_not_compared() -> None:
    asked = slower()
    young = a_view(cohort=(a_tenure("m1", since=NOON - 60),), whole_since=NOON - 60)
    cold = [replace(r, at=r.at - 30, since=r.since - 30) for r in pages(2.0, scrapes=2) if r.since]
    found = finding(asked, cold, pages(0.12, scrapes=2), view=young, known=times_before(asked))
    assert found.state is CLEAR
    assert "of 600 in" in found.sentence


def test_a_release_all_of_whose_machines_settle_is_not_judged() -> None:
    asked = slower()
    newborn = a_view(cohort=(a_tenure("m1", since=NOON - 29),), whole_since=NOON - 29)
    found = finding(asked, pages(2.0), view=newborn, known=times_before(asked))
    assert found.state is CLEAR
    assert "every machine settles" in found.sentence


# -- what is no answer -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("known", [None, Baseline(GOOD)])
def test_without_a_baseline_there_is_nothing_to_compare_with(known: Baseline | None) -> None:
    for asked, rows in ((slower(), pages(9.0)), (more_errors(), traffic([300] * 4, [300] * 4))):
        found = finding(asked, rows, known=known)
        assert (found.state, found.blame, found.limit) == (CLEAR, Blame.RELEASE, None)
        assert "nothing to compare with yet: " in found.sentence


def test_a_baseline_of_few_requests_is_none() -> None:
    asked = more_errors()
    few = errors_before(asked, requests=2.0)
    found = finding(asked, traffic([300] * 4, [300] * 4), known=few)
    assert (found.state, "48 requests" in found.sentence) == (CLEAR, True)


def test_a_baseline_of_another_measure_is_none() -> None:
    asked = slower()
    assert finding(asked, pages(9.0), known=errors_before(more_errors())).state is CLEAR


def test_a_silent_source_makes_the_guard_blind_with_or_without_a_baseline() -> None:
    asked = slower()
    for known in (None, times_before(asked)):
        assert finding(asked, pages(0.12), known=known, now=NOON + 60).state is BLIND


# -- whose doing it is -------------------------------------------------------------------------------------------------


def fleet(medians: Sequence[float], old: Sequence[float] = ()) -> Finding:
    names = [f"m{n}" for n in range(1, len(medians) + len(old) + 1)]
    rows = [pages(median, subject=m) for m, median in zip(names, (*medians, *old), strict=True)]
    view = a_view(len(medians), others=[a_tenure(m, GOOD) for m in names[len(medians) :]])
    asked = slower()
    return finding(asked, *rows, view=view, known=times_before(asked))


@pytest.mark.parametrize(
    "medians, old, blame, machines",
    [
        ([0.3] * 4, [], Blame.RELEASE, ()),
        ([2.0, 0.12, 0.12, 0.12], [], Blame.MACHINE, ("m1",)),
        ([0.3, 0.3], [0.12, 0.12], Blame.RELEASE, ()),
        ([0.3, 0.3], [0.3, 0.3], Blame.EVERYONE, ()),
    ],
)
def test_a_slow_machine_or_slow_old_machines_are_not_the_release(
    medians: list[float], old: list[float], blame: Blame, machines: tuple[str, ...]
) -> None:
    found = fleet(medians, old)
    assert (found.state, found.blame, found.machines) == (FIRING, blame, machines)
    assert ("not the release" in found.sentence) is (blame is not Blame.RELEASE)


def test_what_users_get_more_errors_of_is_the_sick_machines_up_to_twice_its_share() -> None:
    rules = (more_errors(), more_errors("edge"))
    known = [errors_before(rule) for rule in rules]
    both = Baseline(GOOD, known[0].blocks + known[1].blocks)
    machines = [traffic([100] * 4, [100 if m == "m1" else 0] * 4, subject=m) for m in ("m1", "m2", "m3", "m4")]
    users = traffic([400] * 4, [100] * 4, subject=EDGE, source="edge")
    seen = evidence(*machines, users, view=a_view(4), policy=a_policy(*rules), baseline=both, alive_since=ALIVE)
    assert [(f.state, f.blame) for f in judge_all(seen, NOON)] == [(FIRING, Blame.MACHINE)] * 2


# -- the statistics ----------------------------------------------------------------------------------------------------


@given(st.integers(1, 5000), st.floats(0, 1))
def test_confidence_limits_enclose_the_share_they_are_of(total: int, part: float) -> None:
    bad = part * total
    assert bounds.wilson_lower(bad, total, 2.6) <= bad / total + 1e-12
    assert bounds.lower(bad, total, 1.65) <= bad / total + 1e-12
    assert bounds.upper(bad, total, 1.65) >= bad / total


@given(st.floats(1.0, 3.0), st.floats(1.0, 3.0))
def test_whoever_tolerates_slower_pages_tolerates_more_of_them(one: float, other: float) -> None:
    limits: Mapping[float, dict[float, float]] = {
        factor: {b: limit for b in BOUNDS if (limit := Latencies([times(0.12, 5000.0)], factor)._tolerated(b))}
        for factor in (min(one, other), max(one, other))
    }
    less, more = limits[min(one, other)], limits[max(one, other)]
    assert all(less[b] <= more[b] + 1e-9 for b in less.keys() & more.keys())
