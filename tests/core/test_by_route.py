"""Limits that are held for each value of a label, such as the route; and the counters behind them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace

from rollguard.core.budgets import ByLabel
from rollguard.core.counters import CounterBook, Sample
from rollguard.core.finding import Blame, Finding, RuleState
from rollguard.core.judge import judge
from rollguard.core.model import GapKind, Reading
from rollguard.core.parts import CHARS_MAX, OTHERS, Parts, parted
from rollguard.core.policy import Ratio, Rule
from rollguard.core.signals import Split
from tests.builders import GOOD, HEALTH, NOON, TRAFFIC, a_policy, a_rule, a_tenure, a_view, evidence, readings

CLEAR, PENDING, FIRING, BLIND = RuleState.CLEAR, RuleState.PENDING, RuleState.FIRING, RuleState.BLIND
POLICY = a_policy(signals=(HEALTH, replace(TRAFFIC, split=Split("route"))))

Routes = Mapping[str, tuple[float, float]]
"""By route: requests every 15 s, and how many of them are errors."""


def rule(**but: object) -> Rule:
    """More than 10 % of at least 50 requests of a route within a minute."""
    settings: dict[str, object] = {"over_s": 60.0, "limit": 0.1, "above": True, "min_count": 50.0}
    settings["by"] = ByLabel("route")
    return a_rule(Ratio(bad="traffic.errors", total="traffic.requests", **settings | but))  # type: ignore[arg-type]


def traffic(routes: Routes, *, subject: str = "m1", rounds: int = 4, until: float = NOON) -> list[Reading]:
    found = []
    for n in range(rounds):
        at = until - 15.0 * n
        for place, key in enumerate(("requests", "errors")):
            parts = tuple((name, counts[place]) for name, counts in sorted(routes.items()) if counts[place])
            value = sum(count for _, count in parts)
            found.append(Reading(key=f"traffic.{key}", subject=subject, at=at, since=at - 15, value=value, parts=parts))
    return found


def finding(routes: Routes, **but: object) -> Finding:
    return judge(rule(**but), evidence(traffic(routes), policy=POLICY), NOON)


# -- the verdict -------------------------------------------------------------------------------------------------------


def test_a_route_that_breaks_its_limit_names_itself() -> None:
    """All together are at 2 %."""
    found = finding({"/": (900.0, 0.0), "/checkout": (50.0, 20.0)})
    assert (found.state, found.blame, found.value) == (FIRING, Blame.RELEASE, 0.4)
    words = "route /checkout: traffic.errors / traffic.requests 40 % of 200 in 1 m, above 10 % since "
    assert found.sentence.startswith(words)


def test_the_worst_of_several_routes_comes_first() -> None:
    found = finding({"/": (900.0, 0.0), "/cart": (50.0, 10.0), "/checkout": (50.0, 20.0)})
    assert found.sentence.startswith("route /checkout: ")
    assert found.sentence.endswith("; also /cart")


def test_a_route_without_traffic_enough_says_nothing() -> None:
    found = finding({"/": (100.0, 0.0), "/rare": (12.0, 12.0)})
    assert (found.state, found.value) == (CLEAR, 0.0)
    said = "traffic.errors / traffic.requests by route: 1 with traffic enough, worst is / with 0 %, limit 10 %"
    assert found.sentence == said


def test_where_no_route_has_traffic_enough_nothing_fires() -> None:
    found = finding({"/a": (10.0, 10.0), "/b": (10.0, 10.0), "/c": (10.0, 10.0)})
    assert (found.state, found.value) == (CLEAR, None), "together they would be 100 % of 120"


def test_all_routes_beyond_the_most_are_one_more() -> None:
    found = finding({"/": (100.0, 0.0), OTHERS: (50.0, 25.0)})
    assert found.sentence.startswith("route all others: ")


def test_a_route_s_name_cannot_lead_a_reader_astray() -> None:
    found = finding({"/x\x1b[31m\nall is well" + "y" * 200: (50.0, 25.0)})
    assert "\x1b" not in found.sentence
    assert "\n" not in found.sentence
    assert len(found.sentence) < 200


def test_a_route_must_stay_beyond_its_limit_as_long_as_the_rule_says() -> None:
    assert finding({"/": (50.0, 25.0)}, for_s=60.0).state is PENDING
    rows = traffic({"/": (50.0, 25.0)}, rounds=10)
    assert judge(rule(for_s=60.0), evidence(rows, policy=POLICY), NOON).state is FIRING


def test_one_sick_machine_is_found_behind_a_route() -> None:
    rows = [traffic({"/": (50.0, 40.0 if n == 1 else 0.0)}, subject=f"m{n}") for n in range(1, 5)]
    found = judge(rule(), evidence(*rows, view=a_view(4), policy=POLICY), NOON)
    assert (found.state, found.blame, found.machines) == (FIRING, Blame.MACHINE, ("m1",))


def test_old_machines_with_the_same_trouble_on_the_same_route_clear_the_release() -> None:
    bad: Routes = {"/": (50.0, 25.0)}
    view = a_view(1, others=[a_tenure("m2", GOOD)])
    found = judge(rule(), evidence(traffic(bad), traffic(bad, subject="m2"), view=view, policy=POLICY), NOON)
    assert found.blame is Blame.EVERYONE


def test_what_came_before_the_machine_s_present_life_is_not_counted() -> None:
    view = a_view(cohort=(a_tenure("m1", since=NOON - 15),))
    found = judge(rule(), evidence(traffic({"/": (20.0, 20.0)}), view=view, policy=POLICY), NOON)
    assert found.state is CLEAR, "20 of 80"


def test_the_guard_s_own_probes_are_left_in() -> None:
    rows = [traffic({"/health": (50.0, 25.0)}), readings("fail " * 12)]
    assert judge(rule(), evidence(*rows, policy=POLICY), NOON).value == 0.5


def test_without_readings_it_is_blind() -> None:
    assert judge(rule(), evidence(policy=POLICY), NOON).state is BLIND
    gap = [Reading(key=f"traffic.{k}", subject="m1", at=NOON, gap=GapKind.NO_ANSWER) for k in ("requests", "errors")]
    assert judge(rule(), evidence(gap, policy=POLICY), NOON).state is BLIND


# -- the counters ------------------------------------------------------------------------------------------------------


def book(most: int = 20) -> CounterBook:
    return CounterBook(["t.errors", "t.requests"], parts=most)


def page(routes: Routes, at: float) -> list[Sample]:
    """What a page shows: both counters of each route, since the beginning."""
    return [
        Sample(key, "m1", f"{key}{route}", counts[place], at=at, part=route)
        for route, counts in routes.items()
        for place, key in enumerate(("t.requests", "t.errors"))
    ]


def test_a_counter_s_increase_is_told_apart_by_its_label() -> None:
    counters = book()
    counters.take(page({"/a": (10.0, 0.0), "/b": (5.0, 1.0)}, NOON), NOON)
    requests, errors = sorted(
        counters.take(page({"/a": (30.0, 2.0), "/b": (5.0, 1.0), "/new": (7.0, 0.0)}, NOON + 15), NOON + 15),
        key=lambda r: r.key,
        reverse=True,
    )
    assert (requests.value, requests.parts) == (27.0, (("/a", 20.0), ("/new", 7.0)))
    assert (errors.value, errors.parts) == (2.0, (("/a", 2.0),))


def test_a_reset_counts_what_came_since_in_its_own_part() -> None:
    counters = book()
    counters.take(page({"/a": (1000.0, 0.0), "/b": (500.0, 0.0)}, NOON), NOON)
    found = {r.key: r for r in counters.take(page({"/a": (3.0, 0.0), "/b": (510.0, 0.0)}, NOON + 15), NOON + 15)}
    assert found["t.requests"].parts == (("/a", 3.0), ("/b", 10.0))


def test_the_parts_are_as_much_as_the_whole() -> None:
    counters, routes = book(most=3), {f"/{n}": (float(n), 0.0) for n in range(10)}
    counters.take(page(routes, NOON), NOON)
    routes = {name: (count + 5, 1.0) for name, (count, _) in routes.items()}
    for reading in counters.take(page(routes, NOON + 15), NOON + 15):
        assert sum(count for _, count in reading.parts) == reading.value
        assert {name for name, _ in reading.parts} == {OTHERS, "/7", "/8", "/9"}, "the busiest of the first page"


def test_unsplit_counters_have_no_parts() -> None:
    counters = CounterBook(["t.requests", "t.errors"])
    counters.take(page({"/a": (1.0, 0.0)}, NOON), NOON)
    assert all(r.parts == () for r in counters.take(page({"/a": (2.0, 0.0)}, NOON + 15), NOON + 15))


def test_what_was_chosen_once_stays() -> None:
    parts = Parts(2)
    assert parts.of([("s1", "/a", 5.0), ("s2", "/b", 9.0), ("s3", "/c", 1.0)]) == {"s1": "/a", "s2": "/b", "s3": OTHERS}
    assert parts.of([("s3", "/c", 900.0), ("s1", "/a", 5.0)]) == {"s3": OTHERS, "s1": "/a"}


def test_a_page_of_absurd_routes_is_bounded() -> None:
    parts = Parts(5)
    flood = [(f"s{n}", f"/{n}" + "x" * 4000, float(n)) for n in range(2000)]
    found = parts.of(flood)
    assert len(set(found.values())) == 6
    assert all(len(name) <= CHARS_MAX for name in found.values())


def test_counts_that_are_none_choose_no_route() -> None:
    parts = Parts(1).of([("s1", "/nan", math.nan), ("s2", "/inf", math.inf), ("s3", "/minus", -5.0), ("s4", "/a", 1.0)])
    assert set(parts.values()) == {OTHERS, "/a"}


def test_series_without_the_label_are_among_the_others() -> None:
    parts = Parts(5).of([("s1", "", 100.0), ("s2", "/a", 1.0)])
    assert parted({"s1": 3.0, "s2": 0.0, "unknown": 9.0}, parts) == ((OTHERS, 3.0),)
