from __future__ import annotations

from rollguard.config.lints import lints
from tests.config.policies import GOOD, edited, load

MIGRATION = "interlocks: {migration: {label: db, allow: [none], unknown: allow}}\n"
HEARTBEAT = "heartbeat: {url: https://beat.example}\n"
FIT = GOOD.replace("min_requests: 50\n    then: rollback", "min_requests: 50\n    then: page")
FIT += MIGRATION + HEARTBEAT + "mode: enforce\n"


def test_a_policy_that_may_act_and_reaches_people_has_nothing_to_warn_of() -> None:
    assert lints(load(FIT)) == []


def test_what_a_mode_keeps_from_happening_is_said() -> None:
    assert lints(load(FIT.replace("mode: enforce", "mode: page"))) == [
        "p.yaml: mode is page: 3 rules with then: rollback will only page"
    ]
    assert lints(load(FIT.replace("mode: enforce", "mode: observe"))) == [
        "p.yaml: mode is observe: 3 rules with then: rollback will only record"
    ]
    own = FIT.replace("failing: 3 in a row", "failing: 3 in a row\n    mode: page")
    assert lints(load(own)) == ["p.yaml:26: mode page keeps rule 'down' from rolling back"]


def test_a_policy_that_can_hardly_ever_roll_back_is_pointed_out() -> None:
    assert lints(load(FIT.replace("unknown: allow", "unknown: block"))) == [
        "p.yaml: migration has unknown: block: a release whose image has no label 'db' can never be rolled back"
    ]
    (warning,) = lints(load(FIT.replace(MIGRATION, "")))
    assert warning.startswith("p.yaml: no interlocks.migration: nothing keeps a rollback from going past")


def test_an_absolute_limit_that_may_roll_back_has_no_guarantee() -> None:
    text = edited("version: 1", "version: 1\nmode: enforce") + MIGRATION + HEARTBEAT
    (warning,) = lints(load(text))
    assert warning.startswith("p.yaml:31: rule 'errors' may roll back on an absolute limit, which has no statistical")


def test_counters_of_machines_need_an_edge_rule_beside_them() -> None:
    (warning,) = lints(load(FIT.replace("timeout: 2s", "scope: [machine]")))
    assert warning.startswith("p.yaml:30: rule 'errors' counts what machines answered; when all of them are dead")
    edge = FIT.replace(
        "      url: https://shop.example/metrics", "      url: https://shop.example/edge\n      machine_label: none"
    )
    assert lints(load(edge.replace("timeout: 2s", "scope: [machine]"))) == []


def test_a_guard_that_reaches_nobody_is_pointed_out() -> None:
    silent = FIT.replace("notify:\n  page: [pagerduty: {routing_key_env: KEY}]\n", "").replace(HEARTBEAT, "")
    assert lints(load(silent)) == [
        "p.yaml: no notify.page: a page would reach nobody",
        "p.yaml: no heartbeat: nobody is told when this guard itself is down",
    ]
