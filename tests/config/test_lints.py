from __future__ import annotations

from rollguard.config.lints import lints
from tests.config.policies import FULL, GOOD, load

CONTROL = "control: [https://control.example]"
MIGRATION = f"interlocks: {{migration: {{label: db, allow: [none], unknown: allow}}, {CONTROL}}}\n"
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
    (warning,) = lints(load(FIT.replace(MIGRATION, f"interlocks: {{{CONTROL}}}\n")))
    assert warning.startswith("p.yaml: no interlocks.migration: nothing keeps a rollback from going past")


def test_counters_of_machines_need_an_edge_rule_beside_them() -> None:
    (warning,) = lints(load(FIT.replace("timeout: 2s", "scope: [machine]")))
    assert warning.startswith("p.yaml:30: rule 'errors' counts what machines answered; when all of them are dead")
    edge = FIT.replace(
        "      url: https://shop.example/metrics", "      url: https://shop.example/edge\n      machine_label: none"
    )
    assert lints(load(edge.replace("timeout: 2s", "scope: [machine]"))) == []


def test_a_guard_that_reaches_nobody_is_pointed_out() -> None:
    page = "  page: [pagerduty: {routing_key_env: KEY}]\n"
    assert lints(load(FIT.replace(f"notify:\n{page}", "").replace(HEARTBEAT, ""))) == [
        "p.yaml: no notify.page: a page would reach nobody",
        "p.yaml: no heartbeat: nobody is told when this guard itself is down",
    ]
    slack = "[slack: {token_env: S, channel: '#x'}]"
    assert lints(load(FIT.replace(page, f"  tell: {slack}\n"))) == [
        "p.yaml: no notify.page: a page would reach nobody (notify.tell and notify.record are read later)"
    ]
    assert lints(load(FIT.replace(page, f"  page: {slack}\n"))) == [
        "p.yaml: notify.page has only channels that wake nobody: add pagerduty or webhook"
    ]
    off = slack.replace("'#x'", "''")
    assert lints(load(FIT.replace(page, f"  page: {off}\n"))) == ["p.yaml: no notify.page: a page would reach nobody"]


WIDE = FULL + "mode: enforce\n"
BY_PROBE = (
    "p.yaml: migration has unknown: block: a release whose image has no label 'schema' can never be rolled back either "
    "if https://shop.example/schema did not tell the schema under it"
)
SALE = (
    "p.yaml: freeze 'sale' holds rollbacks for 3d5h, longer than release_age: what is deployed early in it can never "
    "be rolled back"
)


def test_a_probe_of_the_schema_must_have_answered() -> None:
    assert lints(load(WIDE)) == [BY_PROBE, SALE]
    assert lints(load(WIDE.replace("    allow: [none]\n", "    allow: [none]\n    unknown: allow\n"))) == [SALE]


def test_a_freeze_that_outlives_the_time_in_which_releases_are_guarded_is_pointed_out() -> None:
    assert lints(load(WIDE.replace("rollback: page", "rollback: allow"))) == [BY_PROBE]
    assert lints(load(WIDE.replace("watch: 2h", "watch: 2h\n  release_age: 4d"))) == [BY_PROBE]
    weekend = WIDE.replace("rollback: page", "rollback: allow").replace(
        "days: [fri, sat]", "rollback: page, days: [fri]"
    )
    assert lints(load(weekend)) == [BY_PROBE]
    assert lints(load(weekend.replace("for: 14h", "for: 60h")))[1].startswith(
        "p.yaml: freeze 'weekend' holds rollbacks"
    )


def test_without_a_control_address_the_guard_takes_its_own_trouble_for_the_app_s() -> None:
    control = '  control: [https://control.example, "${CONTROL:-}"]\n'
    assert control in WIDE
    for without in ("", '  control: ["${CONTROL:-}"]\n'):
        said = lints(load(WIDE.replace(control, without)))[2:]
        assert said[0] == "p.yaml: no interlocks.control: a guard that is cut off itself takes the app for dead"
        assert [line.partition(": rule ")[2][:8] for line in said[1:]] == ["'slower'"], "more-errors only pages"
    assert lints(load(WIDE.replace(control, without), CONTROL="https://control.example")) == [BY_PROBE, SALE]


def test_an_address_of_the_app_itself_proves_nothing_about_the_world_around_it() -> None:
    own = "is the app itself (https://SHOP.example:443/up): a release that is down may hold its own rollback"
    said = lints(load(WIDE, CONTROL="https://SHOP.example:443/up", SEARCH="https://SHOP.example:443/up"))
    assert said[2:] == [f"p.yaml: a control address {own}", f"p.yaml: the dependency 'search' {own}"]
    assert lints(load(WIDE, CONTROL="https://shop.example:8443/up")) == [BY_PROBE, SALE], "another server"


def test_comparisons_of_machines_need_an_edge_rule_beside_them() -> None:
    inside = WIDE.replace("scope: [machine, edge]", "scope: [machine]")
    assert lints(load(inside))[2].startswith("p.yaml:62: rule 'slower' counts what machines answered; when all of them")
    assert lints(load(inside.replace("machine_label: instance", "machine_label: none"))) == [BY_PROBE, SALE]
