"""Error budgets: what burns them too fast for long and still does, in windows far longer than readings are kept."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from rollguard.core import burn
from rollguard.core.budgets import Burn, BurnWindow
from rollguard.core.finding import Blame, Finding, RuleState, Trigger
from rollguard.core.fleet import View
from rollguard.core.judge import Judge, judge_all
from rollguard.core.model import Reading
from rollguard.core.policy import Rule
from rollguard.core.spans import span_s
from rollguard.core.window import Windows
from rollguard.engine.watch import horizon_s
from tests.builders import HEALTH, HOUR, MINUTE, NOON, TRAFFIC, a_policy, a_rule, a_tenure, a_view, evidence

CLEAR, PENDING, FIRING, BLIND = RuleState.CLEAR, RuleState.PENDING, RuleState.FIRING, RuleState.BLIND
FAST = BurnWindow(over_s=HOUR, and_s=5 * MINUTE, rate=14.4)
SLOW = BurnWindow(over_s=6 * HOUR, and_s=30 * MINUTE, rate=6.0)
EVERY_S = 15.0


def a_burn(*windows: BurnWindow, **but: object) -> Burn:
    """An objective of 99.9 %."""
    settings: dict[str, object] = {"objective": 0.999}
    return Burn(
        bad="traffic.errors",
        total="traffic.requests",
        windows=windows or (FAST, SLOW),
        **settings | but,  # type: ignore[arg-type]
    )


@dataclass
class Day:
    """A guard that reads 100 requests of each machine every 15 s, and keeps readings no longer than it must."""

    condition: Burn = field(default_factory=a_burn)
    machines: int = 1
    now: float = NOON
    judge: Judge = field(default_factory=Judge)

    def __post_init__(self) -> None:
        rule = a_rule(self.condition, name="budget")
        signals = (HEALTH, replace(TRAFFIC, counts_probes=False))
        self.policy = a_policy(rule, signals=signals)
        self.windows = Windows(span_s(self.condition, self.policy) + 60.0)
        self.born = self.now
        self.view = self._view()
        self.found: Finding | None = None

    def _view(self) -> View:
        lives = tuple(a_tenure(f"m{i}", since=self.born, digest_since=self.born) for i in range(1, self.machines + 1))
        return View(candidate="sha256:new", cohort=lives, whole_since=self.born)

    def live(self, for_s: float, *shares: float) -> Finding:
        """So long with this share of errors, machine by machine; what is said at the end."""
        for _ in range(round(for_s / EVERY_S)):
            self.now += EVERY_S
            for place in range(self.machines):
                errors = 100.0 * shares[min(place, len(shares) - 1)]
                self.windows.add(
                    Reading(key=f"traffic.{key}", subject=f"m{place + 1}", at=self.now, value=n, since=self.now - 15)
                    for key, n in (("requests", 100.0), ("errors", errors))
                )
            self.windows.forget(self.now)
            self.found = self.say()
        assert self.found is not None
        return self.found

    def say(self) -> Finding:
        seen = evidence(view=self.view, policy=self.policy, alive_since=NOON)
        return self.judge.judge_all(replace(seen, windows=self.windows), self.now)[0]


def test_what_burns_the_budget_too_fast_for_an_hour_and_still_does_fires() -> None:
    day = Day()
    assert day.live(HOUR, 0.0).state is CLEAR
    assert day.live(50 * MINUTE, 0.016).state is not FIRING, "50 minutes of 16 times too fast are 13.3 an hour"
    found = day.live(10 * MINUTE, 0.016)
    assert (found.state, found.blame, found.trigger) == (FIRING, Blame.RELEASE, Trigger.ABSOLUTE)
    assert found.sentence.startswith("traffic.errors / traffic.requests 1.6 % of 2000 in 5 m, ")
    assert "the budget of 99.9 % burns 15.9 times too fast over 1 h and 16 times over 5 m, limit 14.4" in found.sentence
    assert found.limit == pytest.approx(0.0144)


def test_a_leak_too_slow_for_the_first_pair_fires_by_the_second() -> None:
    day = Day()
    day.live(30 * MINUTE, 0.0)
    assert day.live(3 * HOUR, 0.008).state is not FIRING
    found = day.live(2.5 * HOUR, 0.008)
    assert found.state is FIRING
    assert "over 6 h" in found.sentence


def test_what_has_stopped_does_not_fire_however_much_it_burnt() -> None:
    day = Day(a_burn(FAST))
    assert day.live(10 * MINUTE, 0.5).state is FIRING
    assert day.live(6 * MINUTE, 0.0).state is CLEAR, "the short window is clean"


def test_a_young_release_is_judged_as_if_all_before_it_was_well() -> None:
    """100 % of errors for a minute are 1.67 % of an hour; 3 % for a minute are next to nothing."""
    assert Day().live(45, 1.0).state is PENDING
    assert Day().live(75, 1.0).state is FIRING
    assert Day().live(5 * MINUTE, 0.03).state is PENDING


def test_an_hour_is_known_although_readings_are_kept_for_minutes() -> None:
    day = Day(a_burn(FAST))
    day.live(20 * MINUTE, 0.0)
    day.live(40 * MINUTE, 0.03)
    assert day.say().state is FIRING
    kept = day.windows.since("traffic.requests", "m1", day.born)
    assert len(kept) < 80, "five minutes and some"


def test_what_the_ledger_says_is_what_all_readings_would_say() -> None:
    day = Day(a_burn(FAST))
    kept, everything = burn.Ledger(day.condition), Windows(7 * HOUR)
    for minute in range(70):
        day.live(MINUTE, 0.02 if minute % 7 else 0.5)
        everything.add(r for key in ("requests", "errors") for r in _last_minute(day, f"traffic.{key}"))
        seen = replace(evidence(view=day.view, policy=day.policy, alive_since=NOON), windows=day.windows)
        kept.take(seen, day.now)
        for over_s in (5 * MINUTE, HOUR):
            counted = kept.within(seen, over_s, day.now)
            assert counted.bad == sum(
                r.value or 0.0 for r in everything.since("traffic.errors", "m1", day.now - over_s)
            )
            assert counted.total == min(over_s, day.now - day.born) / EVERY_S * 100


def _last_minute(day: Day, key: str) -> list[Reading]:
    return day.windows.since(key, "m1", day.now - MINUTE)


def test_no_more_is_kept_than_a_bounded_number_of_steps() -> None:
    days = a_burn(BurnWindow(over_s=7 * 24 * HOUR, and_s=MINUTE, rate=1.0))
    assert 7 * 24 * HOUR / burn.step_s(days) <= burn.STEPS_MAX
    assert burn.step_s(a_burn(FAST)) == 30.0
    assert burn.recent_s(a_burn(BurnWindow(over_s=72 * HOUR, and_s=6 * HOUR, rate=1.0))) == burn.RECENT_S_MAX


def test_a_restarted_machine_takes_nothing_back() -> None:
    day = Day(a_burn(FAST))
    day.live(20 * MINUTE, 0.0)
    day.live(30 * MINUTE, 0.04)
    lives = tuple(replace(t, since=day.now) for t in day.view.cohort)
    day.view = replace(day.view, cohort=lives)
    assert day.live(MINUTE, 0.04).state is FIRING


def test_another_release_begins_with_a_budget_of_its_own() -> None:
    day = Day(a_burn(FAST))
    assert day.live(20 * MINUTE, 0.5).state is FIRING
    day.born = day.now
    day.view = replace(day._view(), candidate="sha256:next")
    assert day.live(MINUTE, 0.02).state is PENDING


def test_so_few_requests_say_nothing() -> None:
    day = Day(a_burn(FAST, min_count=5000.0))
    found = day.live(10 * MINUTE, 1.0)
    assert found.state is CLEAR
    assert "too little traffic to judge, 2000 of 5000 in 5 m" in found.sentence


def test_one_sick_machine_of_four_is_not_the_release() -> None:
    found = Day(a_burn(FAST), machines=4).live(30 * MINUTE, 0.3, 0.0)
    assert (found.state, found.blame, found.machines) == (FIRING, Blame.MACHINE, ("m1",))


def test_without_readings_it_is_blind_and_says_so() -> None:
    day = Day()
    day.live(10 * MINUTE, 0.0)
    day.now += 5 * MINUTE
    found = day.say()
    assert found.state is BLIND
    assert found.sentence.startswith("no readings of traffic.requests")


def test_a_guard_that_stood_still_counts_on_where_it_can() -> None:
    day = Day(a_burn(FAST))
    day.live(20 * MINUTE, 0.0)
    day.now += 3 * HOUR
    assert day.live(2 * MINUTE, 0.0).state is CLEAR
    assert day.live(20 * MINUTE, 0.2).state is FIRING


def test_a_clock_that_was_put_back_begins_the_ledger_anew() -> None:
    day = Day(a_burn(FAST))
    day.live(30 * MINUTE, 0.5)
    day.windows.clear()
    day.now -= 20 * MINUTE
    assert day.live(45, 0.1).state is PENDING


def test_judging_once_goes_by_the_readings_that_are_there() -> None:
    day = Day(a_burn(FAST))
    day.live(4 * MINUTE, 1.0)
    seen = replace(evidence(view=day.view, policy=day.policy, alive_since=NOON), windows=day.windows)
    (found,) = judge_all(seen, day.now)
    assert (found.state, found.value) == (FIRING, 1.0)


def test_a_finding_holds_only_until_something_leaves_a_window() -> None:
    day = Day(a_burn(FAST))
    found = day.live(20 * MINUTE, 0.0)
    assert day.now < found.holds_until <= day.now + 31.0


def test_rules_that_do_not_burn_have_no_ledger() -> None:
    rule = Rule(name="x", condition=a_burn(), then=a_rule().then)
    ledgers = burn.Ledgers()
    ledgers.take(evidence(policy=a_policy(), view=a_view()), NOON)
    with pytest.raises(KeyError):
        ledgers.judge(rule, a_burn(), evidence(), NOON)


def test_days_of_budget_make_no_other_signal_s_readings_be_kept_for_days() -> None:
    days = a_policy(a_rule(a_burn(BurnWindow(over_s=72 * HOUR, and_s=6 * HOUR, rate=1.0))))
    assert horizon_s(days) < HOUR
