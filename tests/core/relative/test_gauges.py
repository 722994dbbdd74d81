"""Rules that compare a gauge: a time that the app works out itself, over a window that trails."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace

import pytest

from rollguard.core.baseline import VALUES_MAX, Baseline, Block, from_text, measure_of, to_text
from rollguard.core.finding import Blame, Finding, RuleState
from rollguard.core.fleet import View
from rollguard.core.gauges import as_limit
from rollguard.core.judging import Evidence
from rollguard.core.learning import block_of
from rollguard.core.model import EDGE, GapKind, Reading
from rollguard.core.policy import Action, Compared, Comparing, Gauge, Policy, Quantile, Rule, Threshold
from rollguard.core.promise import shares
from rollguard.core.relative.relatives import Relatives, Unreadable
from rollguard.core.signals import Scope
from rollguard.core.window import Windows
from tests.builders import BAD, GOOD, HOUR, NOON, NUMBERS, TRAFFIC, a_policy, a_rule, a_tenure, a_view

P95 = Gauge(key="numbers.p95")
SLOWER = a_rule(Compared(of=P95, factor=1.5), name="slower")
SLOWER_PAGE = a_rule(Compared(of=P95, factor=1.2), name="slower-page", then=Action.PAGE)
EVERY_S, BEFORE_S = 15.0, 0.16
Value = Callable[[float], float]
"""Seconds that a machine tells, by the seconds after the release."""


def healthy(after: float) -> float:
    return BEFORE_S


def slow(times: float, window_s: float = 60.0) -> Value:
    """The percentile of a window that fills with slow requests from the release on."""
    return lambda after: BEFORE_S * times ** min(1.0, after / window_s)


@dataclass
class World:
    """The candidate came at noon; each machine tells its value every 15 s, give or take some percent."""

    new: Mapping[str, Value]
    old: Mapping[str, Value] = field(default_factory=dict)
    scope: Scope = Scope.MACHINE
    settle_s: float = 0.0
    wanders: float = 0.05
    alone_s: float = 0.0

    def __post_init__(self) -> None:
        signals = (replace(NUMBERS, scopes=frozenset({self.scope})),)
        comparing = Comparing(settle_s=self.settle_s, alone_s=self.alone_s)
        self.policy: Policy = a_policy(SLOWER, SLOWER_PAGE, signals=signals, comparing=comparing)
        self.dice, self.now = random.Random(1), NOON
        self.relatives, self.windows = Relatives(self.policy), Windows(HOUR)
        self.baseline: Baseline | None = a_baseline(self.policy)
        self.relatives.arm(BAD, self.baseline, self.evidence, self.now)

    @property
    def evidence(self) -> Evidence:
        cohort = tuple(a_tenure(m, since=NOON) for m in self.new)
        others = tuple(replace(a_tenure(m, since=NOON - HOUR), digest=GOOD) for m in self.old)
        view = View(candidate=BAD, cohort=cohort, others=others, whole=not others, whole_since=NOON)
        return Evidence(
            policy=self.policy,
            view=view,
            windows=self.windows,
            alive_since=NOON - HOUR,
            baseline=self.baseline,
            compare=self.relatives.judge,
        )

    def step(self, *, frozen: bool = False) -> None:
        self.now += EVERY_S
        after = self.now - NOON
        told = ((m, value(after)) for m, value in {**self.new, **self.old}.items())
        self.hear([Reading(key=P95.key, subject=m, at=self.now, value=self._wandering(v)) for m, v in told], frozen)

    def hear(self, readings: list[Reading], frozen: bool = False) -> None:
        self.windows.add(readings)
        self.relatives.arm(BAD, self.baseline, self.evidence, self.now)
        self.relatives.take("numbers", readings, self.evidence, frozen=frozen)

    def _wandering(self, value: float) -> float:
        return value * math.exp(self.dice.gauss(0.0, self.wanders))

    def finding(self, rule: Rule = SLOWER) -> Finding:
        return self.relatives.judge(rule, self.evidence, self.now)

    def until_fires(self, rule: Rule = SLOWER, within_s: float = 1800.0) -> tuple[float, Finding] | None:
        while self.now - NOON < within_s:
            self.step()
            finding = self.finding(rule)
            if finding.firing:
                return self.now - NOON, finding
        return None


def a_baseline(policy: Policy, values: int = 20) -> Baseline:
    """Two hours around 160 ms."""
    measure = measure_of(P95, policy)
    told = tuple(BEFORE_S * (1.0 + 0.02 * (n % 5 - 2)) for n in range(values))
    ends = [NOON - 300.0 * number for number in range(24)]
    return Baseline(GOOD, tuple(Block(GOOD, e - 300, e, gauges={measure: told}) for e in reversed(ends)))


# -- what is found -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scope, subject", [(Scope.MACHINE, "m1"), (Scope.EDGE, EDGE)])
def test_a_release_four_times_as_slow_is_found_and_the_sentence_has_all_times(scope: Scope, subject: str) -> None:
    world = World(new={"m1": slow(4.0)}, scope=scope)
    while not (finding := world.finding()).firing and world.now < NOON + 600:
        world.now += EVERY_S
        world.hear([Reading(key=P95.key, subject=subject, at=world.now, value=slow(4.0)(world.now - NOON))])
    assert finding.firing
    assert finding.blame is Blame.RELEASE
    assert 60 <= world.now - NOON <= 180
    assert "numbers.p95 640 ms, tolerated 240 ms (baseline 160 ms)" in finding.sentence
    assert "evidence this strong would turn up in fewer than 1 of" in finding.sentence
    assert finding.value == pytest.approx(0.64)
    assert finding.limit == pytest.approx(0.24)
    assert finding.baseline == pytest.approx(0.16)


def test_a_little_slower_is_a_page_and_no_rollback() -> None:
    world = World(new={"m1": slow(1.4)})
    found = world.until_fires(SLOWER_PAGE)
    assert found is not None
    assert found[1].rule.then is Action.PAGE
    assert not world.finding().firing


def test_a_value_that_trails_an_hour_tells_late() -> None:
    at_once, late = (World(new={"m1": slow(2.0, window_s=s)}).until_fires(within_s=3600.0) for s in (60.0, 3600.0))
    assert at_once is not None
    assert late is not None
    assert late[0] > at_once[0] + 1200


# -- what is left alone ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "new",
    [
        pytest.param({"m1": healthy}, id="healthy"),
        pytest.param({"m1": slow(1.3)}, id="within-tolerance"),
        pytest.param({"m1": slow(8.0), "m2": healthy}, id="one-of-two"),
        pytest.param({"m1": slow(8.0), "m2": slow(8.0), "m3": healthy, "m4": healthy}, id="half"),
    ],
)
def test_nothing_is_held_against_a_release_within_tolerance_nor_for_half_of_its_machines(new: dict[str, Value]) -> None:
    assert World(new=new).until_fires() is None


def test_most_machines_being_slow_is_the_releases_doing() -> None:
    assert World(new={"m1": slow(4.0), "m2": slow(4.0), "m3": healthy}).until_fires() is not None


def test_old_machines_as_slow_are_no_releases_doing() -> None:
    assert World(new={"m1": slow(4.0)}, old={"m2": slow(4.0)}).until_fires(within_s=900.0) is None


def test_while_a_deploy_rolls_a_gauge_only_pages() -> None:
    found = World(new={"m1": slow(4.0)}, old={"m2": healthy}).until_fires()
    assert found is not None
    assert found[1].rule.then is Action.PAGE


def test_a_machines_first_moments_do_not_count() -> None:
    world = World(new={"m1": lambda after: 2.0 if after < 120 else BEFORE_S}, settle_s=120.0)
    assert world.until_fires() is None


def test_nothing_is_evidence_while_something_else_fails() -> None:
    world = World(new={"m1": slow(4.0)})
    for _ in range(60):
        world.step(frozen=True)
    assert not world.finding().firing


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf, -math.inf, None])
def test_what_is_no_time_is_no_evidence(value: float | None) -> None:
    world = World(new={"m1": healthy})
    for _ in range(40):
        world.now += EVERY_S
        gap = GapKind.NOT_A_NUMBER if value is None else None
        world.hear([Reading(key=P95.key, subject="m1", at=world.now, value=value, gap=gap)])
    assert not world.finding().firing
    json.loads(world.relatives.to_text(), parse_constant=lambda word: pytest.fail(word))


def test_what_is_said_twice_or_late_counts_once() -> None:
    world, again = World(new={"m1": slow(4.0)}), World(new={"m1": slow(4.0)})
    for _ in range(6):
        world.step()
        again.step()
        for at in (again.now, again.now - EVERY_S):
            again.hear([Reading(key=P95.key, subject="m1", at=at, value=9.0)])
    assert world.finding().odds == again.finding().odds


def test_without_values_from_before_there_is_nothing_to_compare_with() -> None:
    world = World(new={"m1": slow(4.0)})
    world.baseline, world.relatives = Baseline(GOOD), Relatives(world.policy)
    for _ in range(20):
        world.step()
    finding = world.finding()
    assert finding.state is RuleState.CLEAR
    assert "nothing to compare with" in finding.sentence


# -- what survives -----------------------------------------------------------------------------------------------------


def test_restored_at_any_round_it_goes_on_to_the_last_bit() -> None:
    def live(restarts: bool) -> Iterator[tuple[str, float | None, str]]:
        world = World(new={"m1": slow(1.8), "m2": slow(1.7)}, old={"m3": healthy})
        for _ in range(40):
            world.step()
            if restarts:
                other = Relatives(world.policy)
                other.restore(world.relatives.to_text())
                world.relatives = other
            finding = world.finding()
            yield str(finding.state), finding.odds, finding.sentence

    assert list(live(restarts=True)) == list(live(restarts=False))


def test_a_broken_stake_is_refused() -> None:
    world = World(new={"m1": slow(4.0)})
    world.step()
    kept = json.loads(world.relatives.to_text())
    kept["rules"]["slower"][1]["wagers"][0]["gauge"] = [0.5, -1.0, 0.0, 0.0]
    with pytest.raises(Unreadable):
        world.relatives.restore(json.dumps(kept))


# -- what is learnt ----------------------------------------------------------------------------------------------------


def test_a_block_keeps_the_middle_of_the_machines_round_by_round() -> None:
    policy = a_policy(SLOWER, signals=(NUMBERS,), comparing=Comparing(settle_s=0.0))
    windows = Windows(HOUR)
    for n in range(20):
        at = NOON - 300 + EVERY_S * (n + 0.5)
        told = {"m1": 0.1, "m2": 0.2, "m3": 9.0}
        windows.add([Reading(key=P95.key, subject=m, at=at, value=value) for m, value in told.items()])
    block = block_of(policy, a_view(3), windows, NOON - 300, NOON)
    assert block is not None
    assert block.gauges == {measure_of(P95, policy): (0.2,) * 20}


def test_a_block_keeps_so_many_values_and_no_impossible_one() -> None:
    policy = a_policy(SLOWER, signals=(replace(NUMBERS, every_s=1.0),), comparing=Comparing(settle_s=0.0))
    windows = Windows(HOUR)
    told = [(-1.0, 0.0, math.nan, math.inf, 0.3)[n % 5] for n in range(1500)]
    windows.add([Reading(key=P95.key, subject="m1", at=NOON - 1500 + n + 0.5, value=v) for n, v in enumerate(told)])
    block = block_of(policy, a_view(cohort=(a_tenure("m1", since=NOON - HOUR),)), windows, NOON - 1500, NOON)
    assert block is not None
    (kept,) = block.gauges.values()
    assert 0 < len(kept) <= VALUES_MAX
    assert set(kept) == {0.3}


def test_what_was_kept_is_read_back_and_what_was_kept_before_there_were_gauges_too() -> None:
    block = Block(GOOD, NOON - 300, NOON, gauges={"numbers.p95 #1": (0.1, 0.2)})
    text = to_text([Baseline(GOOD, (block,))])
    assert from_text(text)[0].blocks == (block,)
    before = json.loads(text)
    del before["baselines"][0]["blocks"][0]["gauges"]
    assert from_text(json.dumps(before))[0].blocks == (replace(block, gauges={}),)


def test_a_gauge_of_another_path_is_another_measure() -> None:
    policy = a_policy(SLOWER, signals=(NUMBERS,))
    other = replace(NUMBERS, values=(replace(NUMBERS.values[0], path=("all", "p95")), NUMBERS.values[1]))
    assert measure_of(P95, policy) != measure_of(P95, replace(policy, signals=(other,)))


# -- what follows from it ----------------------------------------------------------------------------------------------


def test_gauges_and_quantiles_share_what_latency_may_spend() -> None:
    quantile = Quantile(key="traffic.latency", q=0.95, over_s=120.0, limit=0.0, above=True, min_count=0.0)
    other = a_rule(Compared(of=quantile, factor=1.5), name="other")
    parts = shares(a_policy(SLOWER, other, signals=(NUMBERS, TRAFFIC)))
    assert parts["slower"] == parts["other"] == pytest.approx(0.0005)


def test_the_first_machine_is_held_against_the_limit_that_the_past_set() -> None:
    policy = a_policy(SLOWER, signals=(NUMBERS,))
    assert isinstance(SLOWER.condition, Compared)
    limit = as_limit(SLOWER.condition, policy, a_baseline(policy))
    assert isinstance(limit, Threshold)
    assert (limit.key, limit.above, limit.limit) == (P95.key, True, pytest.approx(0.24))
    assert as_limit(SLOWER.condition, policy, None) is None
