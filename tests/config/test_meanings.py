"""What journeys, stores, comparisons, calendars and channels of a policy file mean once they are read."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from rollguard.config.loader import load_policy
from rollguard.core.budgets import Burn, BurnWindow, ByLabel, ByRegion
from rollguard.core.calendars import Freeze, frozen
from rollguard.core.channels import GitHubIssue, PagerDuty, Slack
from rollguard.core.policy import (
    Compared,
    Comparing,
    Condition,
    Dependency,
    Failing,
    Gauge,
    Migration,
    Policy,
    Probes,
    Quantile,
    Quorum,
    Ratio,
    Reports,
    SchemaProbe,
    Threshold,
)
from rollguard.core.signals import (
    Capture,
    Expect,
    JourneySignal,
    LogsSignal,
    Matcher,
    PrometheusSignal,
    Query,
    Scope,
    ScrapeSignal,
    SecretRef,
    Selector,
    Split,
    Step,
    Where,
)
from tests.config.policies import FULL, RULES, complaints, edited, load

ROOT = Path(__file__).parents[2]
PRODUCTION = ROOT / "config" / "hotdash-production.yaml"
POLICY = load(FULL)


def test_a_store_is_asked_for_raw_series_and_for_expressions() -> None:
    assert POLICY.signal("store") == PrometheusSignal(
        name="store",
        every_s=15,
        url="https://metrics.example/prometheus/shop",
        timeout_s=10,
        counters={
            "errors": Selector("responses", (Matcher("status", "=~", "5.."),), 'responses{status=~"5.."}'),
            "requests": Selector("responses", (), "responses"),
        },
        histograms={"latency": Selector("seconds_bucket", (), "seconds_bucket")},
        values={"memory": Query("sum by (instance) (memory_bytes)"), "load": Query("max(load)")},
        machine_label="instance",
        token=SecretRef(env="METRICS_TOKEN"),
        counts_probes=False,
        max_age_s=90,
    )
    edge = load(edited("machine_label: instance", "machine_label: none", FULL)).signal("store")
    assert isinstance(edge, PrometheusSignal)
    assert edge.machine_label is None


def test_an_expression_has_the_unit_that_it_is_said_to_have() -> None:
    store = load(FULL.replace("{query: max(load)}", "{query: max(load), unit: ms}")).signal("store")
    assert isinstance(store, PrometheusSignal)
    assert store.values["load"] == Query("max(load)", 0.001)


def test_a_journey_is_a_row_of_requests() -> None:
    journey = POLICY.signal("checkout")
    assert isinstance(journey, JourneySignal)
    assert (journey.every_s, journey.timeout_s, journey.scopes) == (30, 8, {Scope.MACHINE, Scope.EDGE})
    assert journey.steps == (
        Step(
            name="step-1",
            url="https://shop.example/login",
            capture=(Capture("token", Where.TEXT, 'name="csrf" value="(\\w+)"'),),
        ),
        Step(
            name="login",
            url="https://shop.example/login",
            method="POST",
            headers={"X-Csrf": "{token}"},
            form={"email": "a@b.example", "csrf": "{token}", "remember": ""},
            expect=Expect(status=frozenset({200, 302}), headers={"location": "^/home"}),
            capture=(Capture("session", Where.HEADER, "x-session"),),
        ),
        Step(
            name="cart",
            url="https://shop.example/cart/{session}",
            method="PUT",
            body='{"items": [{"sku": 1, "note": "{session}"}], "gift": false}',
            expect=Expect(
                status=frozenset({201}),
                texts=("cart", "total"),
                json=((("ok",), True), (("lines", "0", "sku"), 1), (("state",), "open")),
            ),
            capture=(Capture("order", Where.JSON, "order.id"),),
        ),
        Step(
            name="forget",
            url="https://shop.example/cart/{order}",
            method="DELETE",
            expect=Expect(status=frozenset({204})),
        ),
    )


def test_one_status_or_text_needs_no_list_and_a_journey_asks_the_edge_unless_told_otherwise() -> None:
    text = FULL.replace("text: [cart, total]", "text: cart").replace("      scope: [machine, edge]\n", "")
    journey = load(text).signal("checkout")
    assert isinstance(journey, JourneySignal)
    assert journey.scopes == {Scope.EDGE}
    assert journey.steps[2].expect.texts == ("cart",)


def test_true_and_one_are_not_the_same_in_what_is_expected() -> None:
    journey = POLICY.signal("checkout")
    assert isinstance(journey, JourneySignal)
    assert [type(value) for _, value in journey.steps[2].expect.json] == [bool, float, str]


@pytest.mark.parametrize("body", ["[1, 2]", "text with {token}", "0", "false", '""', "{deep: {er: [1.5, true]}}"])
def test_a_body_may_be_anything_that_json_can_say(body: str) -> None:
    assert complaints(edited('{items: [{sku: 1, note: "{session}"}], gift: false}', body, FULL)) == []


def test_what_the_environment_says_can_be_sent_unless_it_looks_like_a_captured_name() -> None:
    text = edited("email: a@b.example", 'email: "${EMAIL}"', FULL)
    journey = load(text, EMAIL="robot@b.example").signal("checkout")
    assert isinstance(journey, JourneySignal)
    assert journey.steps[1].form["email"] == "robot@b.example"
    said = complaints(text, {"EMAIL": "{s3cret}"})
    assert said, "braces in it would be filled in"
    assert "s3cret" not in "".join(said)


def test_the_journey_of_the_document_is_one() -> None:
    document = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
    (written,) = re.findall(r"^```yaml\n(  shop:\n.*?)^```$", document, re.MULTILINE | re.DOTALL)
    policy = load(FULL.replace("signals:\n", f"signals:\n{written}", 1), ROBOT_PASSWORD="s3cret")
    journey = policy.signal("shop")
    assert isinstance(journey, JourneySignal)
    assert [step.method for step in journey.steps] == ["GET", "POST", "POST", "DELETE"]
    assert journey.steps[1].form["password"] == "s3cret"


def test_lines_of_the_log_are_matched_by_patterns() -> None:
    assert POLICY.signal("lines") == LogsSignal(name="lines", every_s=15, timeout_s=5, match=("(?i)error", "ECONN"))


def test_a_comparison_leaves_its_limit_to_the_baseline() -> None:
    conditions = {rule.name: rule.condition for rule in POLICY.rules}
    slower, more = conditions["slower"], conditions["more-errors"]
    assert slower == Compared(
        of=Quantile(key="store.latency", q=0.95, over_s=120, limit=math.inf, above=True, min_count=100, for_s=30),
        factor=1.5,
    )
    assert isinstance(more, Compared)
    assert isinstance(more.of, Ratio)
    assert (more.factor, more.add) == (2.0, pytest.approx(0.01))
    assert POLICY.comparing == Comparing(block_s=600, blocks=12, settle_s=60)


def test_rules_may_be_about_journeys_their_steps_and_expressions() -> None:
    rules = {rule.name: rule for rule in POLICY.rules}
    assert rules["checkout"].condition == Failing(signal="checkout", k=2)
    assert rules["checkout"].quorum == Quorum(machines=0.5, or_edge=True)
    assert rules["slow-login"].condition == Threshold(key="checkout.login", limit=0.9, above=True, for_s=60)
    assert rules["memory"].condition == Threshold(key="store.memory", limit=400 * 2**20, above=True, for_s=120)
    assert POLICY.verify.require == ("checkout",)


def test_what_is_around_the_app_can_be_switched_off_by_the_environment() -> None:
    limits = POLICY.interlocks
    assert limits.control == ("https://control.example",)
    assert limits.dependencies == (Dependency(name="database", url="https://database.example", timeout_s=1),)
    on = load(FULL, CONTROL="https://other.example", SEARCH="https://search.example").interlocks
    assert on.control == ("https://control.example", "https://other.example")
    assert [one.name for one in on.dependencies] == ["database", "search"]
    assert (limits.watch_s, limits.look_every_s, limits.others_within_s) == (7200, 3, 0)
    assert load(edited("https://status.example/incidents", '""', FULL)).interlocks.status_feed == ""


def test_a_freeze_is_once_or_every_week() -> None:
    sale, weekend = POLICY.interlocks.freeze
    assert sale == Freeze(
        name="sale",
        holds_rollback=True,
        begins_at=datetime(2026, 11, 27, tzinfo=UTC).timestamp(),
        ends_at=datetime(2026, 11, 30, 5, tzinfo=UTC).timestamp(),
    )
    assert weekend == Freeze(
        name="weekend",
        holds_rollback=False,
        days=frozenset({4, 5}),
        from_s=18 * 3600,
        length_s=14 * 3600,
        zone=ZoneInfo("Europe/Berlin"),
    )
    friday_night = datetime(2026, 7, 10, 20, tzinfo=ZoneInfo("Europe/Berlin")).timestamp()
    assert weekend.until(friday_night) == friday_night + 12 * 3600
    assert frozen(POLICY.interlocks.freeze, friday_night) is None, "it does not hold rollbacks"
    assert load(FULL.replace(", zone: Europe/Berlin", "")).interlocks.freeze[1].zone == ZoneInfo("UTC")


def test_the_schema_is_read_where_the_app_tells_it() -> None:
    probe = SchemaProbe(url="https://shop.example/schema", path=("db", "version"), timeout_s=2)
    assert POLICY.interlocks.migration == Migration(label="schema", allow=("none",), probe=probe)


def test_a_time_may_be_compared_with_what_it_was() -> None:
    policy = load(edited("    above: 900ms\n    for: 1m\n", "    worse_than_baseline: {factor: 1.5}\n", FULL))
    slow = next(rule for rule in policy.rules if rule.name == "slow-login")
    assert slow.condition == Compared(of=Gauge(key="checkout.login"), factor=1.5)
    held = load(edited("    above: 900ms\n", "    worse_than_baseline: {factor: 1.5}\n", FULL)).rules[1].condition
    assert isinstance(held, Compared)
    assert held.of.for_s == 60


def test_the_first_machines_and_what_follows_them() -> None:
    back = POLICY.rollback
    assert (back.first, back.first_wait_s, back.go_on_unclear, back.restart_sick) == (2, 45, True, True)
    assert not back.first_wait_auto
    thin = load(edited("wait: 45s", "wait: auto", FULL)).rollback
    assert (thin.first_wait_s, thin.first_wait_auto) == (90, True)
    assert not POLICY.verify.restart
    assert load(edited("otherwise: [page]", "otherwise: [restart, page]", FULL)).verify.restart
    assert load(edited("  otherwise: [page]\n", "", FULL)).verify.restart
    assert POLICY.approval_s == 300
    assert POLICY.reports == Reports(token=SecretRef(file="/run/secrets/reports"))


def test_a_channel_without_an_address_is_off() -> None:
    chat = Slack(token=SecretRef(env="SLACK"), channel="#engineering")
    assert POLICY.page == (PagerDuty(routing_key=SecretRef(env="KEY"), change_url=""),)
    assert POLICY.tell == (chat,)
    assert POLICY.record == (GitHubIssue(token=SecretRef(env="GITHUB"), repo="acme/shop", labels=("production",)),)
    assert load(FULL, CHAT="C0123").tell == (chat, Slack(token=SecretRef(env="SLACK"), channel="C0123"))
    assert load(FULL.replace("repo: acme/shop", 'repo: "${REPO:-}"')).record == ()


def test_the_shipped_policy_needs_no_more_secrets_than_its_environment_asks_for() -> None:
    bare = load_policy(PRODUCTION, {})
    assert (bare.tell, bare.record, bare.interlocks.dependencies, bare.heartbeat) == ((), (), (), None)
    assert len(bare.interlocks.control) == 2
    environ = {
        "SLACK_CHANNEL": "#engineering",
        "GITHUB_ISSUES_REPO": "acme/hot-dash",
        "HOTDASH_DEPENDENCY": "https://database.example",
        "CONTROL_URL": "http://127.0.0.1:1/",
    }
    full = load_policy(PRODUCTION, environ)
    assert full.tell == (Slack(token=SecretRef(env="SLACK_BOT_TOKEN"), channel="#engineering"),)
    assert [type(channel) for channel in full.record] == [GitHubIssue]
    assert full.interlocks.dependencies[0].name == "database"
    assert full.interlocks.control[0] == "http://127.0.0.1:1/"


def test_the_shipped_policy_compares_and_walks_as_the_runbook_says() -> None:
    policy = load_policy(PRODUCTION, {})
    rules = {rule.name: rule for rule in policy.rules}
    said = {name: (rule.then.value, rule.condition) for name, rule in rules.items()}
    compared = {
        name: (then, condition.factor, condition.add)
        for name, (then, condition) in said.items()
        if isinstance(condition, Compared)
    }
    assert compared == {
        "slower-by-half": ("rollback", 1.5, 0.0),
        "slower-by-a-fifth": ("page", 1.2, 0.0),
        "more-errors": ("page", 1.0, pytest.approx(0.01)),
    }
    assert said["critical-function"] == ("rollback", Failing(signal="critical-paths", k=2))
    assert policy.verify.require == ("health", "monitoring", "critical-paths")
    journey = policy.signal("critical-paths")
    assert isinstance(journey, JourneySignal)
    assert [step.name for step in journey.steps] == ["home", "login", "data"]
    assert journey.steps[2].expect.json == ((("success",), True),)


@pytest.mark.parametrize(
    "headers, why",
    [
        ('{Host: "{token}"}', "a captured value cannot be sent as Host: no page decides whom we ask"),
        ('{fly-prefer-region: "{token}"}', "a captured value cannot be sent as fly-prefer-region"),
        ('{X-Forwarded-Host: "a{token}"}', "a captured value cannot be sent as X-Forwarded-Host"),
        ("{Fly-Force-Instance-Id: m1}", "Fly-Force-Instance-Id is set by the guard itself"),
        ('{Content-Length: "9"}', "Content-Length is set by the guard itself"),
    ],
)
def test_no_page_decides_by_a_header_whom_a_journey_asks(headers: str, why: str) -> None:
    said = complaints(edited('{X-Csrf: "{token}"}', headers, FULL))
    assert why in said[0]
    assert complaints(edited('{X-Csrf: "{token}"}', "{Host: shop.example}", FULL)) == []


# -- rules of every kind -----------------------------------------------------------------------------------------------

ASKED = load(RULES)


def rules_of(policy: Policy) -> dict[str, Condition]:
    return {rule.name: rule.condition for rule in policy.rules}


def test_what_is_compared_needs_no_window_of_its_own() -> None:
    found = rules_of(ASKED)
    assert found["probes-worse"] == Compared(of=Probes(signal="health"))
    assert found["errors-worse"] == Compared(
        of=Ratio(
            bad="traffic.errors", total="traffic.requests", over_s=120, limit=math.inf, above=True, min_count=0, for_s=0
        )
    )
    assert found["slower"] == Compared(
        of=Quantile(key="traffic.latency", q=0.95, over_s=120, limit=math.inf, above=True, min_count=0, for_s=0),
        factor=1.5,
    )


def test_what_is_compared_may_still_be_held_back() -> None:
    more = "worse_than_baseline: {}\n    over: 5m\n    for: 1m\n    min_requests: 9\n"
    found = rules_of(load(RULES.replace("worse_than_baseline: {}\n", more)))
    assert found["probes-worse"] == Compared(of=Probes(signal="health", over_s=300, for_s=60, min_count=9))
    errors = found["errors-worse"]
    assert isinstance(errors, Compared)
    assert isinstance(errors.of, Ratio)
    assert (errors.of.over_s, errors.of.for_s, errors.of.min_count) == (300, 60, 9)


def test_a_window_that_is_only_shown_is_never_shorter_than_two_readings_are_apart() -> None:
    slower = rules_of(load(RULES.replace("every: 15s", "every: 4m").replace("over: 2m", "over: 5m")))["slower"]
    assert isinstance(slower, Compared)
    assert slower.of.over_s == 240


def test_a_budget_is_an_objective_and_pairs_of_windows() -> None:
    assert rules_of(ASKED)["budget"] == Burn(
        bad="edge.errors",
        total="edge.requests",
        objective=0.999,
        windows=(
            BurnWindow(over_s=3600, and_s=300, rate=14.4),
            BurnWindow(over_s=3 * 86400, and_s=6 * 3600, rate=1),
        ),
        min_count=100,
    )


def test_without_windows_a_budget_has_the_usual_two() -> None:
    start, end = RULES.index("      windows:\n"), RULES.index("    min_requests: 100\n")
    budget = rules_of(load(RULES[:start] + RULES[end:]))["budget"]
    assert isinstance(budget, Burn)
    assert [(w.over_s, w.and_s, w.rate) for w in budget.windows] == [(3600, 300, 14.4), (21600, 1800, 6)]


def test_a_limit_is_held_by_region_or_by_the_label_of_its_signal() -> None:
    split = {
        name: of.by for name, of in rules_of(ASKED).items() if isinstance(of, Ratio | Quantile) and of.by is not None
    }
    assert split == {"in-a-region": ByRegion(), "slow-in-a-region": ByRegion(), "on-a-route": ByLabel("route")}
    traffic = ASKED.signal("traffic")
    assert isinstance(traffic, ScrapeSignal)
    assert traffic.split == Split("route", 10)


def test_a_store_s_counters_are_split_alike() -> None:
    text = edited("      values:\n", "      split: {label: route}\n      values:\n", FULL)
    store = load(text).signal("store")
    assert isinstance(store, PrometheusSignal)
    assert store.split == Split("route", 20)


def test_both_counters_of_a_split_ratio_are_of_the_signal_that_is_split() -> None:
    other = "  other: {scrape: {url: 'https://shop.example/other', counters: {all: x}}, every: 15s}\n  edge:\n"
    text = RULES.replace("  edge:\n", other).replace("traffic.requests\n    over: 2m", "other.all\n    over: 2m")
    assert complaints(text)[0].endswith("both counters must be of the signal that is split")


def test_how_long_machines_settle_may_be_left_to_what_earlier_releases_did() -> None:
    assert ASKED.comparing == Comparing(settle_s=30, settle_auto=True, alpha=1 / 5000)
    assert load(RULES.replace("settle: auto", "settle: 1m")).comparing == Comparing(settle_s=60, alpha=1 / 5000)
    without = RULES.replace("comparison: {settle: auto, healthy_rolled_back: 1 in 5000}\n", "")
    assert load(without).comparing == Comparing(settle_s=30, settle_auto=False, alpha=0.001)


def test_one_machine_may_be_given_less_time_to_be_well_again() -> None:
    assert load(RULES.replace("settle: auto", "settle: auto, alone: 30s")).comparing.alone_s == 30
    assert load(RULES.replace("settle: auto", "settle: auto, alone: 0s")).comparing.alone_s == 0
