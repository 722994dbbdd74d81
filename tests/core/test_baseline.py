"""What is remembered of a release that was well: which time, what of it, for how long, and of whom."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.core.baseline import (
    BLOCKS_MAX,
    Baseline,
    Block,
    Share,
    Times,
    Unreadable,
    from_text,
    measure_of,
    summary,
    to_text,
)
from rollguard.core.finding import RuleState
from rollguard.core.fleet import View
from rollguard.core.learning import Stretch, block_of, compared_with, finished, learn
from rollguard.core.lifecycle import TargetState
from rollguard.core.model import EDGE, Reading
from rollguard.core.policy import Action, Compared, Comparing, Interlocks, Policy, Quantile, Ratio
from rollguard.core.signals import Matcher, Selector
from tests.builders import (
    BAD,
    DAY,
    GOOD,
    HOUR,
    MINUTE,
    NOON,
    OLDER,
    TRAFFIC,
    a_finding,
    a_goal,
    a_policy,
    a_record,
    a_rollback,
    a_rule,
    a_state,
    a_tenure,
    a_view,
    an_incident,
    bucketed,
    counted,
    evidence,
    readings,
    windows,
)

ERRORS = Ratio(bad="traffic.errors", total="traffic.requests", over_s=60, limit=0, above=True, min_count=50)
LATENCY = Quantile(key="traffic.latency", q=0.95, over_s=60, limit=0, above=True, min_count=50)
RULES = (
    a_rule(Compared(of=ERRORS, add=0.01), name="more-errors"),
    a_rule(Compared(of=LATENCY, factor=1.5), name="slower", then=Action.PAGE),
)
COMPARING = Comparing(block_s=60.0, blocks=3, settle_s=0.0)
POLICY = a_policy(*RULES, comparing=COMPARING)
SHARE, TIMES = measure_of(ERRORS, POLICY), measure_of(LATENCY, POLICY)
LIMITS = Interlocks()


def a_block(end: float = NOON, requests: float = 1000.0, digest: str = GOOD) -> Block:
    return Block(digest, end - MINUTE, end, {SHARE: Share(1.0, requests)})


def learnt(*rows: Iterable[Reading], view: View | None = None, policy: Policy = POLICY) -> Block:
    """The minute before noon."""
    block = block_of(policy, view or a_view(), windows(*rows), NOON - MINUTE, NOON)
    assert block is not None
    return block


# -- what is counted ---------------------------------------------------------------------------------------------------


def test_a_block_has_what_the_policys_comparisons_need() -> None:
    rows = [counted("traffic.requests", [100] * 4), counted("traffic.errors", [1, 0, 0, 2])]
    block = learnt(*rows, [bucketed({0.1: 90, 1.0: 10})])
    assert (block.digest, block.end - block.start) == (BAD, MINUTE)
    assert block.shares == {SHARE: Share(3.0, 400.0)}
    assert block.times == {TIMES: Times(((0.1, 90.0), (1.0, 100.0), (math.inf, 100.0)))}


def test_time_without_a_request_is_no_block() -> None:
    quiet = [counted("traffic.requests", [0] * 4), counted("traffic.errors", [0] * 4)]
    assert block_of(POLICY, a_view(), windows(*quiet), NOON - MINUTE, NOON) is None


def test_errors_that_could_not_be_read_are_not_taken_for_none() -> None:
    rows = [counted("traffic.requests", [100] * 4), counted("traffic.errors", [0, 0, "-", "-"])]
    assert block_of(POLICY, a_view(), windows(*rows), NOON - MINUTE, NOON) is None


def test_the_first_seconds_of_a_machine_are_not_learnt() -> None:
    policy = replace(POLICY, comparing=replace(COMPARING, settle_s=30.0))
    young = a_view(cohort=(a_tenure("m1", since=NOON - MINUTE),), whole_since=NOON - MINUTE)
    rows = [counted("traffic.requests", [100] * 4), counted("traffic.errors", [50, 50, 0, 0])]
    assert learnt(*rows, view=young, policy=policy).shares == {SHARE: Share(0.0, 200.0)}


def test_the_guards_own_probes_are_no_requests() -> None:
    rows = [counted("traffic.requests", [31] * 4), counted("traffic.errors", [0] * 4)]
    ours = [readings(" ".join(["ok"] * 12), subject=subject) for subject in ("m1", EDGE)]
    block = learnt(*rows, [bucketed({0.1: 124.0}, span=60.0)], *ours)
    assert block.shares == {SHARE: Share(0.0, 100.0)}
    assert (block.times[TIMES].total, block.times[TIMES].own, block.requests(TIMES)) == (124.0, 24.0, 100.0)


def test_other_selectors_are_another_measure() -> None:
    """The same name that means other series: what was counted before cannot be compared any more."""
    other = replace(TRAFFIC, histograms={"latency": Selector("seconds_bucket", (Matcher("route", "=", "/slow"),))})
    changed = replace(POLICY, signals=tuple(other if s.name == "traffic" else s for s in POLICY.signals))
    assert measure_of(LATENCY, changed) != TIMES
    assert measure_of(ERRORS, changed) == SHARE
    moved = replace(TRAFFIC, url="https://elsewhere.example/metrics")
    assert measure_of(LATENCY, replace(POLICY, signals=(moved,))) == TIMES


# -- which time counts -------------------------------------------------------------------------------------------------

CLEAN = Stretch(BAD, NOON - HOUR, NOON - MINUTE)


@pytest.mark.parametrize("state", [RuleState.FIRING, RuleState.BLIND])
def test_a_rule_that_fires_or_is_blind_ends_the_stretch(state: RuleState) -> None:
    assert learn(CLEAN, evidence(policy=POLICY), [a_finding(state=state)], NOON) is None


def test_nothing_wrong_on_every_machine_goes_on() -> None:
    well = [a_finding(state=RuleState.CLEAR), a_finding(state=RuleState.PENDING)]
    alive = NOON - DAY
    assert learn(CLEAN, evidence(policy=POLICY, alive_since=alive), well, NOON) == CLEAN
    assert learn(None, evidence(policy=POLICY, alive_since=alive), well, NOON) == Stretch(BAD, NOON, NOON)


@pytest.mark.parametrize(
    "view",
    [
        a_view(2, others=[a_tenure("m3", GOOD)]),
        a_view(2, others=[a_tenure("m3", GOOD, started=False)]),
        a_view(2, deploying=True),
        a_view(cohort=(a_tenure(started=False),)),
    ],
)
def test_beside_another_digest_in_a_deploy_or_asleep_nothing_is_learnt(view: View) -> None:
    assert learn(CLEAN, evidence(policy=POLICY, view=view, alive_since=NOON - DAY), [], NOON) is None


def test_after_a_clock_jump_or_for_another_digest_a_stretch_begins_anew() -> None:
    anew = Stretch(BAD, NOON, NOON)
    assert learn(CLEAN, evidence(policy=POLICY, alive_since=NOON - 1), [], NOON) == anew
    assert learn(replace(CLEAN, digest=GOOD), evidence(policy=POLICY, alive_since=NOON - DAY), [], NOON) == anew


def test_blocks_follow_each_other_without_a_hole() -> None:
    rows = [counted("traffic.requests", [100] * 4), counted("traffic.errors", [0] * 4)]
    seen = evidence(*rows, policy=POLICY)
    assert finished(CLEAN, seen, NOON - 1) == (CLEAN, None)
    after, block = finished(CLEAN, seen, NOON + 0.2)
    assert block is not None
    assert (block.start, block.end, after.block_since) == (NOON - MINUTE, NOON, NOON)


def test_what_was_counted_before_the_stretch_began_is_not_in_its_first_block() -> None:
    """Until 11:59:00 something was wrong; the first increase began before that."""
    rows = [counted("traffic.requests", [100] * 5), counted("traffic.errors", [100, 40, 0, 0, 0])]
    late = [replace(r, at=r.at - 5, since=r.since - 5) for row in rows for r in row if r.since is not None]
    _, block = finished(Stretch(BAD, NOON - MINUTE, NOON - MINUTE), evidence(late, policy=POLICY), NOON)
    assert block is not None
    assert block.shares == {SHARE: Share(0.0, 300.0)}


# -- how much is kept --------------------------------------------------------------------------------------------------


def kept(requests: float, blocks: int) -> int:
    baseline = Baseline(GOOD)
    for number in range(blocks):
        baseline = baseline.with_block(a_block(NOON + number * MINUTE, requests), COMPARING)
    return len(baseline.blocks)


@pytest.mark.parametrize("requests, count", [(1000.0, 3), (100.0, 20), (1.0, BLOCKS_MAX)])
def test_the_newest_blocks_are_kept_and_older_ones_while_there_are_too_few_requests(
    requests: float, count: int
) -> None:
    assert kept(requests, 300) == count


def test_a_baseline_says_where_it_is_from_and_how_old() -> None:
    words = summary(Baseline(GOOD, (a_block(), a_block(NOON + MINUTE))), NOON + 2 * MINUTE)
    assert words == "2 blocks of 2000 requests, learnt, the newest 1 m old"


# -- across restarts ---------------------------------------------------------------------------------------------------


@given(
    st.lists(st.tuples(st.floats(0.001, 100), st.floats(0, 1e6)), max_size=20, unique_by=lambda pair: pair[0]),
    st.floats(0, 100),
)
def test_what_was_kept_is_read_back_as_it_was(pairs: list[tuple[float, float]], own: float) -> None:
    bounds, counts = sorted(b for b, _ in pairs), sorted(c for _, c in pairs)
    total = (counts[-1] if counts else 0.0) + 1
    times = Times((*zip(bounds, counts, strict=True), (math.inf, total)), own)
    block = Block(GOOD, NOON - 60, NOON, {"a / b": Share(1.0, 2.0)}, {"c": times})
    (back,) = from_text(to_text([Baseline(GOOD, (block,), "recorded")]))
    assert (back.digest, back.how, back.blocks) == (GOOD, "recorded", (block,))


SOUND = to_text([Baseline(GOOD, (Block(GOOD, 0, 1, {}, {"c": Times(((0.1, 1.0), (math.inf, 2.0)))}),))])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        '{"format": 2, "baselines": []}',
        SOUND.replace("0.1,1.0", "0.1,3.0"),
        SOUND.replace("0.1,1.0", "0.1,-1.0"),
        SOUND.replace("0.1,1.0", "0.1,NaN"),
        SOUND.replace("[[0.1,1.0]]", "7"),
        SOUND[:-9],
    ],
)
def test_what_cannot_be_read_is_said_and_not_believed(text: str) -> None:
    assert text != SOUND
    with pytest.raises(Unreadable):
        from_text(text)


def test_infinity_is_never_written() -> None:
    json.loads(SOUND, parse_constant=lambda word: pytest.fail(word))


# -- whose baseline ----------------------------------------------------------------------------------------------------


def whose(state: TargetState, candidate: str = BAD, now: float = NOON) -> str | None:
    digest, why = compared_with(state, candidate, LIMITS, now)
    assert (digest is None) is bool(why)
    return digest


def test_a_candidate_is_compared_with_the_newest_proven_release_before_it_and_never_with_itself() -> None:
    proven = a_record(BAD, proven_at=NOON - MINUTE)
    assert whose(a_state()) == GOOD
    assert whose(a_state(a_record(OLDER), a_record(GOOD), proven)) == GOOD
    assert whose(a_state(a_record(OLDER), a_record(GOOD, proven_at=None), a_record(BAD))) == OLDER
    assert whose(a_state(a_record(BAD))) is None


def test_a_release_that_was_taken_back_is_nobodys_measure() -> None:
    assert whose(a_state(rollbacks=(a_rollback(GOOD, OLDER),))) == OLDER


def test_a_restored_release_is_verified_against_its_own() -> None:
    verifying = an_incident(phase="verifying", goal=a_goal(), verify_since=NOON)
    assert whose(a_state(incident=verifying), GOOD) == GOOD


def test_a_release_that_is_guarded_no_longer_is_compared_with_nothing() -> None:
    assert whose(a_state(), BAD, NOON + DAY) is None
