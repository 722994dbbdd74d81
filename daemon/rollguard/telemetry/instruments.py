"""Every metric of the guard, with what it means and the labels it has."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from rollguard.telemetry import labels

TICK_BUCKETS_S = (0.005, 0.025, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)


class Instruments:
    """The metrics themselves, one attribute each; ``_total`` is added to counters by the library."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, help_: str, *names: str) -> Counter:
            return Counter(f"rollguard_{name}", help_, names, registry=registry)

        def gauge(name: str, help_: str, *names: str) -> Gauge:
            return Gauge(f"rollguard_{name}", help_, names, registry=registry)

        self.build_info = gauge("build_info", "1, with the version that runs.", "version")
        self.mode = gauge("mode", "1 for the most that the guard may do to the target.", "target", "mode")
        self.paused = gauge("paused", "1 while the hand brake is on.", "target")
        self.blind = gauge("blind", "1 while a rule has too little data to judge by.", "target")

        self.condition = gauge(
            "condition", "1 for the status that the condition of the target has.", "target", "condition", "status"
        )
        self.machines = gauge(
            "machines",
            "Machines by what is known of their image, and whether they serve users.",
            *("target", "image", "serving"),
        )
        self.release = gauge(
            "release_info", "1, with the release that last ran on every machine.", "target", "version", "image"
        )
        self.ready = gauge(
            "rollback_ready",
            "1 where a rollback would not fail for this reason, 0 where it would, NaN where that is not known.",
            *("target", "reason"),
        )
        self.deploying = gauge("deploying", "1 while somebody else deploys.", "target")

        self.rule_state = gauge("rule_state", "1 for the state that the rule is in.", "target", "rule", "state")
        self.rule_value = gauge("rule_value", "What the rule last saw, in base units.", "target", "rule")
        self.rule_limit = gauge("rule_limit", "What the rule holds it against, in base units.", "target", "rule")

        self.incidents_open = gauge("incidents_open", "Incidents that are not over.", "target")
        self.incident_phase = gauge(
            "incident_phase",
            "1 for what is going on: nothing, an incident, a rollback, its verification.",
            *("target", "phase"),
        )
        self.decisions = counter("decisions", "Decisions, by what was decided.", "target", "decision")
        self.rollbacks = counter("rollbacks", "Rollbacks that ended, by how.", "target", "outcome")
        self.last_rollback = gauge("last_rollback_timestamp_seconds", "When the last rollback ended.", "target")
        self.last_rollback_seconds = gauge(
            "last_rollback_duration_seconds", "How long the last rollback took, from decision to end.", "target"
        )
        self.drilling = gauge("drilling", "1 while a drill is under way.", "target")
        self.drills = counter("drills", "Drills that ended, by how.", "target", "result")
        self.last_drill = gauge(
            "last_drill_success_timestamp_seconds", "When a drill last went there and back as it must.", "target"
        )
        self.last_drill_seconds = gauge(
            "last_drill_duration_seconds", "How long each way of the last such drill took.", "target", "way"
        )
        self.writes = counter(
            "writes", "Changes asked of the platform, by kind and result.", "target", "kind", "result"
        )
        self.machine_updates = counter(
            "machine_updates", "Machines put on another image, by how far they got.", "target", "result"
        )

        self.pages_queued = counter("pages_queued", "Pages written to the outbox.", "target")
        self.pages = counter("pages", "Attempts to deliver pages, by outcome.", "target", "channel", "outcome")
        self.pages_pending = gauge("pages_pending", "Pages in the outbox, over all channels.", "target")

        self.ticks = counter("ticks", "Times that the target was looked at and judged.", "target")
        self.late_ticks = counter("ticks_late", "Ticks skipped because the one before was not over.", "target")
        self.tick_failures = counter("tick_failures", "Ticks that ended in a fault of the guard.", "target")
        self.tick_seconds = Histogram(
            "rollguard_tick_duration_seconds",
            "How long ticks took.",
            ["target"],
            buckets=TICK_BUCKETS_S,
            registry=registry,
        )
        self.last_tick = gauge("last_tick_timestamp_seconds", "When the last tick ended.", "target")
        self.last_snapshot = gauge("last_snapshot_timestamp_seconds", "When the platform was last seen.", "target")
        self.probes = counter("probes", "Readings of signals, by outcome.", "target", "signal", "outcome")

        self.journal_events = counter("journal_events", "Events written to the journal.", "target")
        self.clock_jumps = counter("clock_jumps", "Jumps of the wall clock that emptied the windows.", "target")
        self.heartbeats = counter("heartbeats", "Signs of life, by outcome.", "outcome")
        self.reload_ok = gauge("config_last_reload_successful", "1 if the policy files could last be obeyed.")
        self.reload_at = gauge(
            "config_last_reload_success_timestamp_seconds", "When the policy files could last be obeyed."
        )
        for outcome in labels.BEAT_OUTCOMES:
            self.heartbeats.labels(outcome)

    def start_at_zero(self, target: str, signals: Sequence[str], channels: Sequence[str]) -> None:
        """Create every series of a target that could be counted; those that exist keep their count."""
        for plain in (
            *(self.paused, self.blind, self.incidents_open, self.pages_pending, self.pages_queued),
            *(self.ticks, self.late_ticks, self.tick_failures, self.tick_seconds),
            *(self.deploying, self.drilling, self.journal_events, self.clock_jumps),
        ):
            plain.labels(target)
        for instrument, values in (
            (self.decisions, [labels.DECISIONS]),
            (self.rollbacks, [labels.GOAL_OUTCOMES]),
            (self.drills, [labels.DRILL_RESULTS]),
            (self.writes, [labels.CHANGES, labels.CHANGE_RESULTS]),
            (self.machine_updates, [labels.UPDATE_RESULTS]),
            (self.pages, [channels, labels.PAGE_OUTCOMES]),
            (self.probes, [signals, labels.PROBE_OUTCOMES]),
        ):
            for combination in itertools.product(*values):
                instrument.labels(target, *combination)
