"""A rollback can be seen in the numbers: who runs what, what is going on, how long the last one took."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from rollguard.core import events as ev
from rollguard.core.conditions import Condition
from rollguard.core.lifecycle import TargetState
from rollguard.telemetry.fleet import composition, standing
from rollguard.telemetry.metrics import Metrics
from tests.builders import (
    BAD,
    GOOD,
    NOON,
    OLDER,
    a_machine,
    a_record,
    a_rollback,
    a_snapshot,
    a_state,
    an_incident,
    machines,
)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def metrics(registry: CollectorRegistry) -> Metrics:
    return Metrics(registry, "1.2.3")


def shown(registry: CollectorRegistry, name: str) -> dict[tuple[str, ...], float]:
    """The samples of one metric that are not 0, by their label values without the target's."""
    return {
        tuple(v for k, v in sorted(sample.labels.items()) if k != "target"): sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == f"rollguard_{name}" and sample.value
    }


def goal_set(at: float) -> ev.GoalSet:
    return ev.GoalSet(
        at=at, incident="i", candidate=BAD, target=GOOD, target_ref="ref", target_version=41, after_version=42,
        trigger="rule", by="rollguard", reason="policy", deadline_at=at + 600.0,
    )  # fmt: skip


def goal_ended(at: float, outcome: str = "restored") -> ev.GoalEnded:
    return ev.GoalEnded(at=at, incident="i", outcome=outcome, sentence="s")


# -- images -----------------------------------------------------------------------------------------------------------


def test_an_image_is_unproven_until_it_is_proven_and_rejected_once_it_was_left() -> None:
    fresh, proven = a_record(BAD, proven_at=None), a_record(GOOD, proven_at=NOON)
    state = a_state(proven, fresh)
    assert [standing(digest, state) for digest in (GOOD, BAD, OLDER)] == ["proven", "unproven", "unproven"]
    left = a_state(proven, fresh, rollbacks=(a_rollback(BAD, GOOD),))
    assert [standing(digest, left) for digest in (GOOD, BAD)] == ["proven", "rejected"]


def test_an_image_that_a_person_vouched_for_after_the_rollback_is_proven_again() -> None:
    rollback = a_rollback(BAD, GOOD)
    for proven_at, expected in ((rollback.at - 1.0, "rejected"), (rollback.at + 1.0, "proven")):
        state = a_state(a_record(BAD, proven_at=proven_at), rollbacks=(rollback,))
        assert standing(BAD, state) == expected


def test_managed_machines_are_counted_by_image_and_by_whether_they_serve() -> None:
    state = a_state(a_record(GOOD, proven_at=NOON), a_record(BAD, proven_at=None))
    snapshot = a_snapshot(*machines(BAD, BAD, GOOD), a_machine("m4", GOOD, well=False), a_machine("m5", managed=False))
    assert composition(snapshot, state) == {("unproven", True): 2, ("proven", True): 1, ("proven", False): 1}


def test_the_mix_of_images_moves_with_the_machines(metrics: Metrics, registry: CollectorRegistry) -> None:
    state = a_state(a_record(GOOD, proven_at=NOON), a_record(BAD, proven_at=None), rollbacks=(a_rollback(BAD, GOOD),))
    for fleet, expected in (
        ((BAD, BAD), {("rejected", "true"): 2.0}),
        ((GOOD, BAD), {("rejected", "true"): 1.0, ("proven", "true"): 1.0}),
        ((GOOD, GOOD), {("proven", "true"): 2.0}),
    ):
        metrics.fleet("shop", a_snapshot(*machines(*fleet)), state)
        assert shown(registry, "machines") == expected


def test_before_the_platform_was_seen_no_machine_is_shown(metrics: Metrics, registry: CollectorRegistry) -> None:
    metrics.fleet("shop", None, TargetState())
    assert not any(sample.name == "rollguard_machines" for f in registry.collect() for sample in f.samples)


# -- what is going on -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("phase", ["open", "acting", "verifying"])
def test_exactly_one_phase_is_shown(metrics: Metrics, registry: CollectorRegistry, phase: str) -> None:
    metrics.fleet("shop", None, TargetState())
    assert shown(registry, "incident_phase") == {("none",): 1.0}
    metrics.fleet("shop", None, TargetState(incident=an_incident(phase=phase)))
    assert shown(registry, "incident_phase") == {(phase,): 1.0}


def test_a_condition_has_exactly_one_status_and_unknown_ones_make_no_series(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    for status in ("Unknown", "False", "True"):
        metrics.conditions("shop", [Condition(type="RollbackReady", status=status, reason="r", message="m")])
    metrics.conditions("shop", [Condition(type="Ghost", status="True", reason="r", message="m")])
    assert shown(registry, "condition") == {("RollbackReady", "True"): 1.0}


# -- the last rollback, releases --------------------------------------------------------------------------------------


def test_the_last_rollback_is_dated_and_timed(metrics: Metrics, registry: CollectorRegistry) -> None:
    metrics.observe(goal_set(NOON), "shop")
    assert shown(registry, "last_rollback_timestamp_seconds") == {}
    metrics.observe(goal_ended(NOON + 75.0), "shop")
    assert shown(registry, "last_rollback_timestamp_seconds") == {(): NOON + 75.0}
    assert shown(registry, "last_rollback_duration_seconds") == {(): 75.0}


def test_a_rollback_that_went_on_in_the_next_life_is_timed_as_a_whole(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    metrics.restore(goal_set(NOON), "shop")
    metrics.observe(goal_ended(NOON + 90.0, "deadline"), "shop")
    assert shown(registry, "last_rollback_duration_seconds") == {(): 90.0}
    assert shown(registry, "rollbacks_total") == {("deadline",): 1.0}


def test_a_wall_clock_set_back_in_a_rollback_makes_no_negative_duration(
    metrics: Metrics, registry: CollectorRegistry
) -> None:
    metrics.observe(goal_set(NOON), "shop")
    metrics.observe(goal_ended(NOON - 5.0), "shop")
    assert shown(registry, "last_rollback_duration_seconds") == {}


def test_one_release_at_a_time_is_the_one_that_runs_everywhere(metrics: Metrics, registry: CollectorRegistry) -> None:
    metrics.restore(ev.FullyDeployed(at=NOON, digest=GOOD, version=41), "shop")
    assert shown(registry, "release_info") == {("900d900d900d", "41"): 1.0}
    metrics.observe(ev.FullyDeployed(at=NOON, digest=BAD, version=None), "shop")
    assert shown(registry, "release_info") == {("bad0bad0bad0", ""): 1.0}


def test_a_deploy_by_somebody_else_is_a_level(metrics: Metrics, registry: CollectorRegistry) -> None:
    metrics.restore(ev.DeployBegan(at=NOON, owner="ci", sign="lease"), "shop")
    assert shown(registry, "deploying") == {(): 1.0}
    metrics.observe(ev.DeployEnded(at=NOON, owner="ci"), "shop")
    assert shown(registry, "deploying") == {}
