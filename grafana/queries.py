"""What the panels ask of Prometheus, and the words for its numbers."""

from __future__ import annotations

from collections.abc import Mapping

from grafana.build import BLUE, GREEN, GREY, ORANGE, RED, YELLOW, Said

TARGET = 'target=~"$target"'
RANGE = "[$__rate_interval]"


def coded(metric: str, label: str, codes: Mapping[str, int], by: str, also: str = "") -> str:
    """One number for the one value of ``label`` whose series is 1; a value that is not in ``codes`` is 0."""
    parts = [
        f'{f"{number} * " if number != 1 else ""}{metric}{{{TARGET}{also},{label}="{value}"}}'
        for value, number in codes.items()
    ]
    return f"sum by ({by}) ({' or '.join(parts)})"


def recent(metric: str, by: str, also: str = "") -> str:
    """How many there were lately. The rounding undoes what ``increase`` adds at the edges of its window."""
    return f"round(sum by ({by}) (increase({metric}{{{TARGET}{also}}}{RANGE})))"


def holds(condition: str) -> str:
    """1 where a condition of the target is True."""
    return f'max by (target) (rollguard_condition{{{TARGET},condition="{condition}",status="True"}})'


def conditions(names: str, codes: Mapping[str, int]) -> str:
    """The status of some conditions as a number, so that each kind of condition has colours of its own."""
    return coded("rollguard_condition", "status", codes, "target, condition", f',condition=~"{names}"')


def since(what: str) -> str:
    """Seconds since something happened."""
    return f"time() - max by (target) (rollguard_{what}_timestamp_seconds{{{TARGET}}})"


RULE_CODES = {"blind": 1, "pending": 2, "firing": 3}
RULE_WORDS = {
    0: Said("clear", GREEN),
    1: Said("blind", GREY),
    2: Said("pending", YELLOW),
    3: Said("firing", RED),
}
PHASE_CODES = {"open": 1, "acting": 2, "verifying": 3}
PHASE_WORDS = {
    0: Said("calm", GREEN),
    1: Said("incident", ORANGE),
    2: Said("rolling back", RED),
    3: Said("verifying", BLUE),
}
CONDITION_CODES = (
    ("Observed|Healthy", {"True": 1, "False": 2, "Unknown": 3}),
    ("RollbackReady", {"True": 1, "False": 6, "Unknown": 3}),
    ("Acting|Held", {"True": 4, "False": 5, "Unknown": 3}),
)
CONDITION_WORDS = {
    1: Said("yes", GREEN),
    2: Said("no", RED),
    3: Said("unknown", GREY),
    4: Said("yes", ORANGE),
    5: Said("no", GREEN),
    6: Said("no", ORANGE),
}
NO_OR_YES = {0: Said("no", GREEN), 1: Said("yes", ORANGE)}
IMAGES = {"proven": GREEN, "unproven": BLUE, "rejected": RED}
SHARE = (
    f'sum by (target, signal) (rate(rollguard_probes_total{{{TARGET},outcome="%s"}}{RANGE}))'
    f" / sum by (target, signal) (rate(rollguard_probes_total{{{TARGET}}}{RANGE}))"
)
QUANTILE = f"histogram_quantile(%s, sum by (le) (rate(rollguard_tick_duration_seconds_bucket{{{TARGET}}}{RANGE})))"
