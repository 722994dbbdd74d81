"""Is the guard itself well? Its eyes, its clockwork, its policy."""

from __future__ import annotations

from grafana.build import GREEN, ORANGE, RED, Panel, Query, Said, Series, Stat, Timeline
from grafana.queries import CONDITION_CODES, CONDITION_WORDS, QUANTILE, RANGE, SHARE, TARGET, conditions, since

PANELS: tuple[Panel, ...] = (
    Timeline(
        title="Conditions",
        about="As in `rollguard status`: does it see, is the app well, could it act, is it acting, is it held?",
        queries=[Query(conditions(names, codes), "{{condition}} · {{target}}") for names, codes in CONDITION_CODES],
        width=12,
        words=CONDITION_WORDS,
    ),
    Series(
        title="Not seen for",
        about="How long ago the platform was seen, and a tick ended. A tick lasts as long as the rollback in it.",
        queries=[
            Query(since("last_snapshot"), "platform · {{target}}"),
            Query(since("last_tick"), "tick · {{target}}"),
        ],
        unit="s",
        width=6,
    ),
    Series(
        title="Tick duration",
        about="How long it takes to judge once. A rollback is driven inside a tick; it ends in the highest bucket.",
        queries=[
            Query(QUANTILE % quantile, name) for quantile, name in (("0.5", "median"), ("0.95", "95th percentile"))
        ],
        unit="s",
        width=6,
    ),
    Series(
        title="Ticks",
        about="How often the target is judged; late: a round of signals was skipped; failed: the guard's own fault.",
        queries=[
            Query(f"sum(rate(rollguard_ticks_total{{{TARGET}}}{RANGE}))", "ticks"),
            Query(f"sum(rate(rollguard_ticks_late_total{{{TARGET}}}{RANGE}))", "late"),
            Query(f"sum(rate(rollguard_tick_failures_total{{{TARGET}}}{RANGE}))", "failed"),
        ],
        unit="ops",
        width=6,
        colors={"ticks": GREEN, "late": ORANGE, "failed": RED},
    ),
    Series(
        title="Readings that failed",
        about="Share of each signal's readings that said no. All of them for long: the app, or the signal's address.",
        queries=[Query(SHARE % "failed", "{{signal}} · {{target}}")],
        unit="percentunit",
        width=6,
    ),
    Series(
        title="Readings that are missing",
        about="Share of each signal's readings without an answer that can be used. This is what makes the guard blind.",
        queries=[Query(SHARE % "gap", "{{signal}} · {{target}}")],
        unit="percentunit",
        width=6,
    ),
    Series(
        title="Journal and heartbeat",
        about="Events written to the journal, signs of life by outcome, and jumps of the clock, each in a second.",
        queries=[
            Query(f"sum(rate(rollguard_journal_events_total{{{TARGET}}}{RANGE}))", "journal events"),
            Query(f"sum by (outcome) (rate(rollguard_heartbeats_total{RANGE}))", "heartbeat {{outcome}}"),
            Query(f"sum(rate(rollguard_clock_jumps_total{{{TARGET}}}{RANGE}))", "clock jumps"),
        ],
        unit="ops",
        width=6,
        colors={"heartbeat withheld": ORANGE, "heartbeat failed": RED},
    ),
    Stat(
        title="Obeys the policy in the folder",
        about="No: the newest policy file has a mistake, and the one before is obeyed. `rollguard check`.",
        queries=[Query("min(rollguard_config_last_reload_successful)", "policy")],
        unit="none",
        width=8,
        words={0: Said("no", RED), 1: Said("yes", GREEN)},
    ),
    Stat(
        title="Policy read",
        about="How long ago the policy files could last be obeyed.",
        queries=[Query("time() - max(rollguard_config_last_reload_success_timestamp_seconds)", "policy")],
        unit="s",
        width=8,
    ),
    Stat(
        title="Version",
        about="The guard's own version.",
        queries=[Query("rollguard_build_info", "{{version}}")],
        unit="none",
        width=8,
        names=True,
    ),
)
