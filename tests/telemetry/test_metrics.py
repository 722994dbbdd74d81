"""The guard in numbers: named by the rules, there from the start, few, and true."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.openmetrics.parser import text_string_to_metric_families as open_metrics
from prometheus_client.parser import text_string_to_metric_families as prometheus_text

from rollguard.core import events as e
from rollguard.core.conditions import Condition
from rollguard.core.lifecycle import TargetState
from rollguard.core.model import Mode
from rollguard.core.policy import Action, Policy, Reported, Rule, Target
from rollguard.core.signals import HttpSignal, SecretRef
from rollguard.telemetry.metrics import Metrics
from tests.builders import GOOD, a_snapshot


def policy(*rules: str, mode: Mode = Mode.PAGE) -> Policy:
    return Policy(
        target=Target(name="shop", app="shop", token=SecretRef(env="TOKEN")),
        signals=(
            HttpSignal(
                name="health", every_s=5.0, url="/", scopes=frozenset(), timeout_s=4.0, ok_status=frozenset({200})
            ),
        ),
        rules=tuple(Rule(name=rule, condition=Reported(kinds=("x",)), then=Action.PAGE) for rule in rules),
        mode=mode,
    )


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    metrics = Metrics(registry, "1.2.3")
    metrics.guard(policy("hard-down", "server-errors"), ["pagerduty", "webhook"])
    return metrics


def text(metrics: Metrics) -> str:
    body, content_type = metrics.render("")
    assert content_type.startswith("text/plain")
    return body.decode()


def series(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    """The samples of one metric that are not 0, by their label values without the target's."""
    return {
        tuple(v for k, v in sample.labels.items() if k != "target"): sample.value
        for family in prometheus_text(text(metrics))
        for sample in family.samples
        if sample.name == f"rollguard_{name}" and sample.value
    }


def firing(rule: str = "hard-down", after: str = "firing") -> e.RuleChanged:
    return e.RuleChanged(at=1.0, rule=rule, before="clear", after=after, sentence="s", value=0.07, limit=0.05)


def a_goal_set() -> e.GoalSet:
    return e.GoalSet(
        at=5.0, incident="i", candidate="c", target="t", target_ref="r", target_version=1, after_version=2,
        trigger="rule", by="rollguard", reason="policy", deadline_at=600.0,
    )  # fmt: skip


def a_drill(result: str, at: float) -> e.DrillEnded:
    return e.DrillEnded(at=at, drill="d", result=result, sentence="s", machines=1, there_s=41.0, back_s=38.0)


def test_names_and_units_follow_the_rules_of_prometheus(metrics: Metrics) -> None:
    metrics.tick("shop", at=5.0, seconds=0.1)
    metrics.snapshot("shop", at=5.0)
    metrics.finding("shop", "hard-down", 0.07, 0.05)
    metrics.observe(e.FullyDeployed(at=5.0, digest=GOOD, version=41), "shop")
    metrics.observe(a_goal_set(), "shop")
    metrics.observe(e.GoalEnded(at=6.0, incident="i", outcome="restored", sentence="s"), "shop")
    metrics.observe(a_drill("ok", at=8.0), "shop")
    metrics.conditions("shop", [Condition(type="Held", status="False", reason="Free", message="m")])
    metrics.fleet("shop", a_snapshot(), TargetState())
    metrics.readiness("shop", None)
    families = list(prometheus_text(text(metrics)))
    assert len(families) > 25
    for family in families:
        assert re.fullmatch(r"rollguard_[a-z_]+", family.name), family.name
        assert family.documentation.endswith("."), family.name
        assert family.type in {"counter", "gauge", "histogram"}, family.name
        assert not re.search(r"_(ms|milliseconds|minutes|percent|count|created)$", family.name), family.name
        assert family.samples, f"{family.name} has no series"
        for sample in family.samples:
            assert sample.name.endswith("_total") == (family.type == "counter"), sample.name
            assert set(sample.labels) <= LABELS[family.name.removeprefix("rollguard_")] | {"le"}, sample


PER_TARGET = (
    "paused", "blind", "incidents_open", "deploying", "pages_queued", "pages_pending", "ticks", "ticks_late",
    "tick_failures", "tick_duration_seconds", "last_tick_timestamp_seconds", "last_snapshot_timestamp_seconds",
    "drilling", "last_drill_success_timestamp_seconds",
    "journal_events", "clock_jumps", "last_rollback_timestamp_seconds", "last_rollback_duration_seconds",
)  # fmt: skip

LABELS: Mapping[str, set[str]] = {
    **{name: {"target"} for name in PER_TARGET},
    "build_info": {"version"},
    "mode": {"target", "mode"},
    "condition": {"target", "condition", "status"},
    "machines": {"target", "image", "serving"},
    "release_info": {"target", "version", "image"},
    "incident_phase": {"target", "phase"},
    "rollback_ready": {"target", "reason"},
    "rule_state": {"target", "rule", "state"},
    "rule_value": {"target", "rule"},
    "rule_limit": {"target", "rule"},
    "decisions": {"target", "decision"},
    "rollbacks": {"target", "outcome"},
    "drills": {"target", "result"},
    "last_drill_duration_seconds": {"target", "way"},
    "writes": {"target", "kind", "result"},
    "machine_updates": {"target", "result"},
    "pages": {"target", "channel", "outcome"},
    "probes": {"target", "signal", "outcome"},
    "heartbeats": {"outcome"},
    "config_last_reload_successful": set(),
    "config_last_reload_success_timestamp_seconds": set(),
}


def test_the_open_metrics_form_is_valid_too(metrics: Metrics) -> None:
    body, content_type = metrics.render("application/openmetrics-text; version=1.0.0")
    assert content_type.startswith("application/openmetrics-text")
    families = {family.name for family in open_metrics(body.decode())}  # type: ignore[no-untyped-call]
    assert families >= {"rollguard_rollbacks", "rollguard_rule_state"}


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_has_nothing_to_say(metrics: Metrics) -> None:
    done = subprocess.run(["promtool", "check", "metrics"], input=text(metrics), capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_counter_is_there_at_zero_before_anything_happens(metrics: Metrics) -> None:
    shown = text(metrics)
    for line in (
        'rollguard_rollbacks_total{outcome="restored",target="shop"} 0.0',
        'rollguard_decisions_total{decision="would-rollback",target="shop"} 0.0',
        'rollguard_pages_total{channel="webhook",outcome="dropped",target="shop"} 0.0',
        'rollguard_probes_total{outcome="gap",signal="health",target="shop"} 0.0',
        'rollguard_writes_total{kind="update",result="failed",target="shop"} 0.0',
        'rollguard_rule_state{rule="hard-down",state="clear",target="shop"} 1.0',
        'rollguard_rule_state{rule="hard-down",state="firing",target="shop"} 0.0',
        'rollguard_heartbeats_total{outcome="withheld"} 0.0',
        'rollguard_build_info{version="1.2.3"} 1.0',
    ):
        assert f"{line}\n" in shown


@pytest.mark.parametrize(
    "event, counter, labels",
    [
        (
            e.Decided(at=1.0, incident="i", decision="rollback", trigger="rule", sentence="s"),
            "decisions_total",
            ("rollback",),
        ),
        (
            e.Decided(at=1.0, incident="i", decision="dance", trigger="rule", sentence="s"),
            "decisions_total",
            ("other",),
        ),
        (e.GoalEnded(at=1.0, incident="i", outcome="yielded", sentence="s"), "rollbacks_total", ("yielded",)),
        (e.StepIntended(at=1.0, incident="i", kind="update", machine="m"), "writes_total", ("update", "intended")),
        (e.StepDone(at=1.0, incident="i", kind="release_create"), "writes_total", ("release_create", "done")),
        (
            e.StepDone(at=1.0, incident="i", kind="update", phase="accepted"),
            "machine_updates_total",
            ("accepted",),
        ),
        (e.StepDone(at=1.0, incident="i", kind="update", phase="healthy"), "machine_updates_total", ("healthy",)),
        (e.StepFailed(at=1.0, incident="i", kind="update", error="e"), "machine_updates_total", ("failed",)),
        (e.PageQueued(at=1.0, key="k", summary="s", severity="critical"), "pages_queued_total", ()),
        (e.PageSent(at=1.0, key="k", channel="webhook", attempts=1), "pages_total", ("webhook", "sent")),
        (
            e.PageFailed(at=1.0, key="k", channel="webhook", error="e", attempts=1),
            "pages_total",
            ("webhook", "failed"),
        ),
        (
            e.PageFailed(at=1.0, key="k", channel="webhook", error="e", attempts=1, final=True),
            "pages_total",
            ("webhook", "dropped"),
        ),
        (e.ClockJumped(at=1.0, by_s=3.0), "clock_jumps_total", ()),
        (e.TickFailed(at=1.0, error="e", failures=1), "tick_failures_total", ()),
    ],
)
def test_an_event_is_counted_once(metrics: Metrics, event: e.Event, counter: str, labels: tuple[str, ...]) -> None:
    metrics.observe(event, "shop")
    assert series(metrics, counter) == {labels: 1.0}
    assert series(metrics, "journal_events_total") == {(): 1.0}


def test_a_machine_that_becomes_healthy_is_not_a_second_write(metrics: Metrics) -> None:
    for phase in ("accepted", "healthy"):
        metrics.observe(e.StepDone(at=1.0, incident="i", kind="update", phase=phase), "shop")
    assert series(metrics, "writes_total") == {("update", "done"): 1.0}


def test_a_rule_is_in_exactly_one_state_and_shows_its_numbers(metrics: Metrics) -> None:
    for after in ("pending", "firing"):
        metrics.observe(firing(after=after), "shop")
    assert series(metrics, "rule_state") == {("hard-down", "firing"): 1.0, ("server-errors", "clear"): 1.0}
    assert series(metrics, "rule_value") == {("hard-down",): 0.07}
    metrics.finding("shop", "hard-down", 0.5, None)
    assert series(metrics, "rule_value") == {("hard-down",): 0.5}
    assert series(metrics, "rule_limit") == {("hard-down",): 0.05}


def test_the_guard_is_blind_while_any_rule_is(metrics: Metrics) -> None:
    for rule in ("hard-down", "server-errors"):
        metrics.observe(firing(rule, "blind"), "shop")
    metrics.observe(firing("hard-down", "clear"), "shop")
    assert series(metrics, "blind") == {(): 1.0}
    metrics.observe(firing("server-errors", "clear"), "shop")
    assert series(metrics, "blind") == {}


def test_pauses_and_open_incidents_are_levels(metrics: Metrics) -> None:
    metrics.observe(e.PauseSet(at=1.0, by="ada", reason="x"), "shop")
    metrics.observe(e.IncidentOpened(at=1.0, incident="i1", candidate="c", sentence="s"), "shop")
    assert (series(metrics, "paused"), series(metrics, "incidents_open")) == ({(): 1.0}, {(): 1.0})
    metrics.observe(e.PauseLifted(at=2.0, by="ada", reason="x"), "shop")
    metrics.observe(e.IncidentClosed(at=2.0, incident="i1", outcome="restored"), "shop")
    assert (series(metrics, "paused"), series(metrics, "incidents_open")) == ({}, {})


def test_after_a_restart_levels_are_as_they_were_and_nothing_is_counted_again(metrics: Metrics) -> None:
    for event in (
        e.PauseSet(at=1.0, by="ada", reason="x"),
        e.IncidentOpened(at=1.0, incident="i1", candidate="c", sentence="s"),
        e.GoalEnded(at=1.0, incident="i1", outcome="failed", sentence="s"),
    ):
        metrics.restore(event, "shop")
    assert (series(metrics, "paused"), series(metrics, "incidents_open")) == ({(): 1.0}, {(): 1.0})
    assert series(metrics, "rollbacks_total") == {}
    assert series(metrics, "journal_events_total") == {}


def test_a_reloaded_policy_shows_its_rules_and_mode_and_keeps_the_counts(metrics: Metrics) -> None:
    metrics.observe(firing("server-errors", "blind"), "shop")
    metrics.observe(firing("hard-down"), "shop")
    metrics.observe(e.ClockJumped(at=1.0, by_s=3.0), "shop")
    metrics.guard(policy("hard-down", "slow", mode=Mode.ENFORCE), ["pagerduty"])
    assert series(metrics, "rule_state") == {("hard-down", "firing"): 1.0, ("slow", "clear"): 1.0}
    assert "server-errors" not in text(metrics)
    metrics.guard(policy("hard-down", mode=Mode.ENFORCE), ["pagerduty"])  # "slow" goes without ever having a value
    assert series(metrics, "blind") == {}
    assert series(metrics, "mode") == {("enforce",): 1.0}
    assert series(metrics, "clock_jumps_total") == {(): 1.0}


def test_a_rule_that_the_policy_has_not_makes_no_series(metrics: Metrics) -> None:
    metrics.observe(firing("ghost"), "shop")
    assert "ghost" not in text(metrics)


def test_what_is_no_event_is_shown_too(metrics: Metrics) -> None:
    metrics.tick("shop", at=100.0, seconds=0.3)
    metrics.late_tick("shop")
    metrics.snapshot("shop", at=99.0)
    for ok in (True, True, False, None):
        metrics.probe("shop", "health", ok)
    metrics.pages_waiting("shop", 3)
    metrics.heartbeat("sent")
    metrics.reload(True, at=7.0)
    metrics.reload(False, at=8.0)
    assert series(metrics, "ticks_total") == {(): 1.0}
    assert series(metrics, "tick_duration_seconds_sum") == {(): 0.3}
    assert series(metrics, "last_tick_timestamp_seconds") == {(): 100.0}
    assert series(metrics, "ticks_late_total") == {(): 1.0}
    assert series(metrics, "last_snapshot_timestamp_seconds") == {(): 99.0}
    assert series(metrics, "probes_total") == {("ok", "health"): 2.0, ("failed", "health"): 1.0, ("gap", "health"): 1.0}
    assert series(metrics, "pages_pending") == {(): 3.0}
    assert series(metrics, "heartbeats_total") == {("sent",): 1.0}
    assert series(metrics, "config_last_reload_successful") == {}
    assert series(metrics, "config_last_reload_success_timestamp_seconds") == {(): 7.0}


def test_the_last_drill_that_went_as_it_must_is_shown_and_outlives_a_restart(metrics: Metrics) -> None:
    metrics.restore(a_drill("ok", at=500.0), "shop")
    metrics.observe(a_drill("failed", at=900.0), "shop")
    assert series(metrics, "last_drill_success_timestamp_seconds") == {(): 500.0}
    assert series(metrics, "last_drill_duration_seconds") == {("there",): 41.0, ("back",): 38.0}
    assert series(metrics, "drills_total") == {("failed",): 1.0}
    assert series(metrics, "drilling") == {}
