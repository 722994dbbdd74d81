"""Numbers and lists as people read them. Percent and milliseconds exist only here and in policy files."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime


def percent(ratio: float) -> str:
    """0.0312 → ``3.1 %``; what is not nothing is never shown as 0."""
    value = ratio * 100
    return "under 0.1 %" if 0 < value < 0.05 else f"{_tenths(value)} %"


def seconds(value_s: float) -> str:
    """90 → ``1 m 30 s``; 0.25 → ``250 ms``."""
    if value_s < 0.9995:
        return f"{value_s * 1000:.0f} ms"
    if value_s < 59.95:
        return f"{_tenths(value_s)} s"
    parts = ((86400, "d"), (3600, "h"), (60, "m"), (1, "s"))
    rest = round(value_s)
    words: list[str] = []
    for size, unit in parts:
        count, rest = divmod(rest, size)
        if count:
            words.append(f"{count} {unit}")
    return " ".join(words[:2])


def _tenths(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")


def clock(at: float) -> str:
    """The UTC time of day of an instant: ``11:55:03Z``."""
    return datetime.fromtimestamp(at, UTC).strftime("%H:%M:%SZ")


def stamp(at: float) -> str:
    """An instant as machines read it: ``2026-08-21T11:55:03Z``."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def listing(names: Sequence[str], most: int = 5) -> str:
    """``a, b and c``; beyond ``most`` names the rest is counted."""
    shown = list(names[:most])
    if len(names) > most:
        shown.append(f"{len(names) - most} more")
    if len(shown) < 2:
        return "".join(shown)
    return f"{', '.join(shown[:-1])} and {shown[-1]}"


def short(digest: str) -> str:
    """``sha256:0123456789ab…`` → ``0123456789ab``."""
    return digest.removeprefix("sha256:")[:12]


def one_line(words: str, chars_max: int) -> str:
    """Foreign text on one line: at most so many characters, and nothing that a terminal or a reader would obey."""
    printable = "".join(c if c.isprintable() else " " for c in words[: chars_max * 4])
    line = " ".join(printable.split())
    return line if len(line) <= chars_max else line[: chars_max - 1] + "…"
