"""What did it do? Incidents, rollbacks, writes and pages."""

from __future__ import annotations

from grafana.build import BLUE, GREEN, GREY, ORANGE, RED, YELLOW, Panel, Query, Series, Stat, Timeline
from grafana.queries import PHASE_CODES, PHASE_WORDS, TARGET, coded, recent, since

PANELS: tuple[Panel, ...] = (
    Timeline(
        title="Incident",
        about="What is going on: nothing, an incident, machines being put back, or the restored release being judged.",
        queries=[Query(coded("rollguard_incident_phase", "phase", PHASE_CODES, "target"), "{{target}}")],
        width=12,
        height=6,
        words=PHASE_WORDS,
    ),
    Stat(
        title="Last rollback took",
        about="From the decision to its end, however it ended.",
        queries=[Query(f"max by (target) (rollguard_last_rollback_duration_seconds{{{TARGET}}})", "{{target}}")],
        unit="s",
        width=4,
        height=6,
    ),
    Stat(
        title="Last rollback ended",
        about="How long ago.",
        queries=[Query(since("last_rollback"), "{{target}}")],
        unit="s",
        width=4,
        height=6,
    ),
    Stat(
        title="Rollbacks in this time",
        about="Rollbacks that ended in the time shown, by how. Anything but restored was handed over to people.",
        queries=[
            Query(
                f"round(sum by (outcome) (increase(rollguard_rollbacks_total{{{TARGET}}}[$__range]))) > 0",
                "{{outcome}}",
                instant=True,
            )
        ],
        unit="short",
        width=4,
        height=6,
    ),
    Series(
        title="Decisions",
        about="Decisions that were written down lately; would-…: the mode did not allow it.",
        queries=[Query(recent("rollguard_decisions_total", "decision"), "{{decision}}")],
        unit="short",
        decimals=0,
        width=6,
        stacked=True,
        colors={"rollback": RED, "page": ORANGE, "would-rollback": YELLOW, "would-page": BLUE, "hold": GREY},
    ),
    Series(
        title="Machine updates",
        about="Machines put on another image lately: accepted by the platform, healthy on it, or failed.",
        queries=[Query(recent("rollguard_machine_updates_total", "result"), "{{result}}")],
        unit="short",
        decimals=0,
        width=6,
        colors={"accepted": BLUE, "healthy": GREEN, "failed": RED},
    ),
    Series(
        title="Writes to the platform",
        about="Changes asked of the platform lately, by kind; failed ones apart.",
        queries=[
            Query(recent("rollguard_writes_total", "kind", ',result="done"'), "{{kind}}"),
            Query(recent("rollguard_writes_total", "kind", ',result="failed"') + " > 0", "{{kind}} failed"),
        ],
        unit="short",
        decimals=0,
        width=6,
        stacked=True,
    ),
    Series(
        title="Pages",
        about="Pages written to the outbox lately, what became of them by channel, and (dashed) those that wait now.",
        queries=[
            Query(recent("rollguard_pages_queued_total", "target"), "queued"),
            Query(recent("rollguard_pages_total", "channel, outcome"), "{{channel}} {{outcome}}"),
            Query(f"sum(rollguard_pages_pending{{{TARGET}}})", "waiting"),
        ],
        unit="short",
        decimals=0,
        width=6,
        colors={"queued": BLUE, "waiting": ORANGE},
        dashed=["waiting"],
    ),
)
