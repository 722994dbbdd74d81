"""What a policy's comparisons may get wrong together, and what nobody promises."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rollguard.core.budgets import Burn, BurnWindow
from rollguard.core.model import Mode
from rollguard.core.policy import Action, Compared, Comparing, Crashed, Policy, Probes, Quantile, Ratio, Reported, Rule
from rollguard.core.promise import PAGED, promise, shares
from tests.builders import a_policy, a_rule

ERRORS = Compared(
    of=Ratio(bad="traffic.errors", total="traffic.requests", over_s=120.0, limit=1.0, above=True, min_count=0.0)
)
LATENCY = Compared(
    of=Quantile(key="traffic.latency", q=0.95, over_s=120.0, limit=1.0, above=True, min_count=0.0), factor=1.5
)
PROBES = Compared(of=Probes(signal="health"))
BURN = Burn(
    bad="traffic.errors",
    total="traffic.requests",
    objective=0.999,
    windows=(BurnWindow(over_s=3600.0, and_s=300.0, rate=14.4),),
)


TOGETHER = (
    "p.yaml: relative rules together: fewer than 1 healthy release in 1000 is ever rolled back (errors 1 in 2500, "
    "slow 1 in 3333 and probes 1 in 3333), as long as it keeps within what the app did before"
)


def rule(name: str, condition: Compared, then: Action = Action.ROLLBACK) -> Rule:
    return a_rule(condition, name=name, then=then, origin=f"p.yaml:{len(name)}")


def policy(*rules: Rule, alpha: float = 0.001) -> Policy:
    return a_policy(*rules, path="p.yaml", comparing=Comparing(alpha=alpha))


def test_every_kind_has_its_weight_and_all_together_are_what_was_promised() -> None:
    parts = shares(policy(rule("errors", ERRORS), rule("slow", LATENCY), rule("probes", PROBES)))
    assert parts == pytest.approx({"errors": 0.0004, "slow": 0.0003, "probes": 0.0003})


def test_a_kind_that_is_not_there_leaves_its_part_to_the_others() -> None:
    assert shares(policy(rule("errors", ERRORS))) == pytest.approx({"errors": 0.001})
    assert shares(policy(rule("slow", LATENCY), rule("probes", PROBES))) == pytest.approx(
        {"slow": 0.0005, "probes": 0.0005}
    )


def test_rules_of_one_kind_share_alike() -> None:
    parts = shares(policy(rule("a", LATENCY), rule("b", LATENCY), rule("probes", PROBES), rule("c", LATENCY)))
    assert parts == pytest.approx({"a": 0.0005 / 3, "b": 0.0005 / 3, "c": 0.0005 / 3, "probes": 0.0005})


@pytest.mark.parametrize("alpha", [0.1, 0.001, 1e-6])
def test_however_many_rules_there_are_they_are_never_more_than_alpha(alpha: float) -> None:
    kinds = (ERRORS, LATENCY, PROBES)
    for many in range(1, 9):
        rules = [rule(f"r{n}", kinds[n % 3]) for n in range(many)]
        parts = shares(policy(*rules, alpha=alpha))
        assert sum(parts.values()) == pytest.approx(alpha)
        assert min(parts.values()) > 0


def test_what_only_pages_has_a_budget_of_its_own() -> None:
    parts = shares(policy(rule("errors", ERRORS), rule("slower", LATENCY, Action.PAGE)))
    assert parts == pytest.approx({"errors": 0.001, "slower": PAGED})


def test_absolute_rules_have_no_part_in_it() -> None:
    assert shares(a_policy(a_rule(), a_rule(BURN), a_rule(Reported(kinds=("security",))))) == {}


def test_the_promise_is_said_in_one_sentence() -> None:
    said = promise(policy(rule("errors", ERRORS), rule("slow", LATENCY), rule("probes", PROBES)), machines=4)
    assert said == [TOGETHER]


def test_what_only_pages_is_promised_for_itself() -> None:
    (said,) = promise(policy(rule("slower", LATENCY, Action.PAGE)))
    assert said.startswith(
        "p.yaml: relative rules that page, together: fewer than 1 healthy release in 50 is paged for "
    )


def test_an_app_of_one_machine_is_told_what_a_bad_minute_may_do() -> None:
    rules = policy(rule("errors", ERRORS))
    assert "this app has one machine" in promise(rules, machines=1)[1]
    assert "on an app of one machine" in promise(rules)[1]
    assert "up to 3 % of watches roll back a healthy release" in promise(rules)[1]
    assert len(promise(rules, machines=2)) == 1
    assert len(promise(policy(rule("errors", ERRORS, Action.PAGE)), machines=1)) == 1, "a page rolls nothing back"


def test_every_absolute_rule_that_may_roll_back_is_named_with_its_place() -> None:
    rules = (
        a_rule(origin="p.yaml:7"),
        a_rule(BURN, origin="p.yaml:9"),
        a_rule(Crashed(signal="machines", k=2, within_s=300.0), origin="p.yaml:12"),
        a_rule(BURN, name="only-pages", then=Action.PAGE),
        replace(a_rule(BURN, name="observed"), mode=Mode.OBSERVE),
        a_rule(Reported(kinds=("security",)), name="a-person"),
    )
    assert [line.partition(" may roll")[0] for line in promise(a_policy(*rules))] == [
        "p.yaml:7: no guarantee: rule 'not-responding'",
        "p.yaml:9: no guarantee: rule 'burn'",
        "p.yaml:12: no guarantee: rule 'crashed'",
    ]
