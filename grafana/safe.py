"""Is it safe? What the guard sees, and whether it would act on it."""

from __future__ import annotations

from grafana.build import BLUE, GREEN, GREY, ORANGE, RED, Panel, Query, Said, Series, Stat, Timeline
from grafana.queries import IMAGES, NO_OR_YES, RULE_CODES, RULE_WORDS, TARGET, coded, holds, recent, since

PANELS: tuple[Panel, ...] = (
    Stat(
        title="Ready to roll back",
        about="Whether a rule that fired this instant would be answered by a rollback. If not: `rollguard explain`.",
        queries=[Query(holds("RollbackReady"), "{{target}}")],
        unit="none",
        width=4,
        words={0: Said("no", ORANGE), 1: Said("yes", GREEN)},
    ),
    Stat(
        title="Mode",
        about="The most that the guard may do: look, wake people, or act.",
        queries=[Query(coded("rollguard_mode", "mode", {"page": 1, "enforce": 2}, "target"), "{{target}}")],
        unit="none",
        width=4,
        words={0: Said("observe", GREY), 1: Said("page", BLUE), 2: Said("enforce", GREEN)},
    ),
    Stat(
        title="Paused",
        about="A person put the hand brake on: nothing is rolled back until `rollguard resume`.",
        queries=[Query(f"max by (target) (rollguard_paused{{{TARGET}}})", "{{target}}")],
        unit="none",
        width=3,
        words=NO_OR_YES,
    ),
    Stat(
        title="Held by a person",
        about="Paused, or held for a while with `rollguard hold`.",
        queries=[Query(holds("Held"), "{{target}}")],
        unit="none",
        width=3,
        words=NO_OR_YES,
    ),
    Stat(
        title="Blind",
        about="A rule has too little data to judge by. What cannot be seen is not acted on.",
        queries=[Query(f"max by (target) (rollguard_blind{{{TARGET}}})", "{{target}}")],
        unit="none",
        width=3,
        words=NO_OR_YES,
    ),
    Stat(
        title="Open incidents",
        about="Incidents that are not over: something fires, a rollback is under way, or its result is being judged.",
        queries=[Query(f"sum by (target) (rollguard_incidents_open{{{TARGET}}})", "{{target}}")],
        unit="short",
        width=3,
        steps=((None, GREEN), (1.0, RED)),
    ),
    Stat(
        title="Release on every machine",
        about="The release that last ran on every managed machine, and the beginning of its image's digest.",
        queries=[Query(f"rollguard_release_info{{{TARGET}}}", "v{{version}} · {{image}}")],
        unit="none",
        width=4,
        names=True,
    ),
    Timeline(
        title="What a rollback needs",
        about="Looked at once a minute. No: a rollback that is due now would fail for it. Nothing is drawn where it is"
        " not known. Tag and config are only told: the guard goes back by digest, and changes the image only.",
        queries=[
            Query(
                f"max by (target, reason) (rollguard_rollback_ready{{{TARGET}}} >= 0)",
                "{{reason}} · {{target}}",
            )
        ],
        width=12,
        height=7,
        words={0: Said("no", ORANGE), 1: Said("yes", GREEN)},
    ),
    Stat(
        title="Since the last good drill",
        about="How long ago a rehearsal last went there and back as it must: `rollguard drill`.",
        queries=[Query(since("last_drill_success"), "{{target}}")],
        unit="s",
        width=3,
        height=7,
    ),
    Stat(
        title="Length of the last good drill",
        about="How long each way of it took.",
        queries=[
            Query(f"max by (target, way) (rollguard_last_drill_duration_seconds{{{TARGET}}})", "{{way}} · {{target}}")
        ],
        unit="s",
        width=3,
        height=7,
    ),
    Series(
        title="Drills",
        about="Rehearsals that ended, by how, and whether one is under way.",
        queries=[
            Query(recent("rollguard_drills_total", "target, result"), "{{result}} · {{target}}"),
            Query(f"max by (target) (rollguard_drilling{{{TARGET}}})", "under way · {{target}}"),
        ],
        unit="short",
        decimals=0,
        width=6,
        height=7,
    ),
    Timeline(
        title="Rules",
        about="The state of every rule. Pending: over its limit, but not for long enough yet, or on too few machines.",
        queries=[Query(coded("rollguard_rule_state", "state", RULE_CODES, "target, rule"), "{{rule}} · {{target}}")],
        width=12,
        height=11,
        words=RULE_WORDS,
    ),
    Series(
        title="Machines by image",
        about="Proven: the guard would go back to it. Unproven: has not run clean for long enough. Rejected: it was"
        " rolled back. Dashed: machines that serve users. A rollback turns red into green, machine by machine.",
        queries=[
            Query(f"sum by (image) (rollguard_machines{{{TARGET}}})", "{{image}}"),
            Query(f'sum(rollguard_machines{{{TARGET},serving="true"}})', "serving users"),
        ],
        unit="short",
        decimals=0,
        width=12,
        height=11,
        stacked=True,
        colors={**IMAGES, "serving users": "text"},
        dashed=["serving users"],
    ),
    Series(
        title="$rule",
        about="What the rule saw last (line) and what it is held against (dashed), in base units: ratios from 0 to 1,"
        " seconds, failures in a row.",
        queries=[
            Query(f'max by (target) (rollguard_rule_value{{{TARGET},rule=~"$rule"}})', "{{target}}"),
            Query(f'max by (target) (rollguard_rule_limit{{{TARGET},rule=~"$rule"}})', "limit"),
        ],
        unit="short",
        width=6,
        height=6,
        limits="B",
        from_zero=False,
        repeat="rule",
    ),
)
