"""Numbers as people write them: ``250ms``, ``1h30m``, ``1%``, ``1pp``, ``512MiB``. A unit is required where one exists.

Inside the guard there are only base units: seconds, ratios from 0 to 1, bytes, and plain numbers.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from itertools import pairwise

from rollguard.config.problems import Wrong, shown


class Dimension(StrEnum):
    """What a number counts."""

    NUMBER = "number"
    TIME = "time"
    RATIO = "share"
    POINTS = "difference of shares"
    SIZE = "size"


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number in base units, what it counts, and how it was written."""

    value: float
    dimension: Dimension
    text: str


TIME_S = {"d": Decimal(86400), "h": Decimal(3600), "m": Decimal(60), "s": Decimal(1), "ms": Decimal("0.001")}
DURATION_S_MAX = 3650 * 86400.0
DURATION_PATTERN = r"^(\d+(\.\d+)?(d|h|m|s|ms))+$"
PERCENT_PATTERN = r"^\d+(\.\d+)?%$"

_OTHERS = {
    "%": (Dimension.RATIO, Decimal("0.01")),
    "pp": (Dimension.POINTS, Decimal("0.01")),
    "B": (Dimension.SIZE, Decimal(1)),
    "kB": (Dimension.SIZE, Decimal(10**3)),
    "MB": (Dimension.SIZE, Decimal(10**6)),
    "GB": (Dimension.SIZE, Decimal(10**9)),
    "KiB": (Dimension.SIZE, Decimal(2**10)),
    "MiB": (Dimension.SIZE, Decimal(2**20)),
    "GiB": (Dimension.SIZE, Decimal(2**30)),
}
_HABITS = {  # units of other tongues, and what they are called here
    **dict.fromkeys(("sec", "secs", "second", "seconds"), "s"),
    **dict.fromkeys(("min", "mins", "minute", "minutes"), "m"),
    **dict.fromkeys(("hr", "hrs", "hour", "hours"), "h"),
    **dict.fromkeys(("day", "days"), "d"),
    **dict.fromkeys(("msec", "millis", "millisecond", "milliseconds"), "ms"),
    **dict.fromkeys(("percent", "pct"), "%"),
}
_NUMBER = re.compile(r"[-+]?\d{1,15}(\.\d{1,9})?", re.ASCII)
_PART = re.compile(r"(\d{1,15}(?:\.\d{1,9})?)([A-Za-z]+|%)", re.ASCII)
_EXAMPLES = {
    Dimension.NUMBER: "a bare number such as 3",
    Dimension.TIME: "a time such as 3000ms or 5s",
    Dimension.RATIO: "a percentage such as 1%",
    Dimension.POINTS: "percentage points such as 1pp",
    Dimension.SIZE: "a size such as 512MiB",
}
DURATION_WANTED = "a duration such as 5s, 5m or 1h"


def quantity(value: object) -> Quantity:
    """A number with or without a unit. Raises ``Wrong`` for anything else."""
    wanted = "a number with its unit, such as 5%, 3000ms or 3"
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Wrong(f"must be {wanted}", wanted=wanted)
    text = str(value)
    if not isinstance(value, str) or _NUMBER.fullmatch(text):
        return Quantity(float(value), Dimension.NUMBER, text)
    found = _with_unit(text)
    if found is None:
        raise Wrong(f"{shown(text)} is not {wanted}{_better(text)}", wanted=wanted)
    return found


def _with_unit(text: str) -> Quantity | None:
    if len(text) > 60:
        return None
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        return None
    units = [unit for _, unit in parts]
    if len(parts) == 1 and units[0] in _OTHERS:
        dimension, scale = _OTHERS[units[0]]
        return Quantity(float(Decimal(parts[0][0]) * scale), dimension, text)
    places = [list(TIME_S).index(unit) for unit in units if unit in TIME_S]
    if len(places) < len(units) or any(b <= a for a, b in pairwise(places)):
        return None
    return Quantity(float(sum(Decimal(n) * TIME_S[u] for n, u in parts)), Dimension.TIME, text)


def _better(text: str) -> str:
    """``; write 5m`` where it is plain what ``5 min`` was meant to say."""
    if len(text) > 60:
        return ""
    tight = re.sub(r"\s+", "", text)
    for guess in (tight, tight.lower()):
        spelled = re.sub(r"[A-Za-z]+", lambda unit: _HABITS.get(unit[0], unit[0]), guess)
        if _with_unit(spelled):
            return f"; write {spelled}"
    return ""


def duration_s(value: object) -> float:
    """Seconds, 0 or more. Raises ``Wrong`` without a unit, or beyond ten years."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise Wrong(f"must be {DURATION_WANTED}", wanted=DURATION_WANTED)
    try:
        found = quantity(value)
    except Wrong as wrong:
        better = _better(str(value)) or "; write 5s, 5m or 1h"
        raise Wrong(f"{shown(str(value))} is not a duration{better}", wanted=DURATION_WANTED) from wrong
    if found.dimension is Dimension.NUMBER:
        n = found.text
        units = f"{n}s" if found.value == 0 else f"{n}s, {n}m or 1h"
        raise Wrong(f"{n} has no unit; write {units}", wanted=DURATION_WANTED)
    if found.dimension is not Dimension.TIME:
        raise Wrong(f"{found.text} is a {found.dimension}, not a duration; write 5s, 5m or 1h", wanted=DURATION_WANTED)
    if found.value > DURATION_S_MAX:
        raise Wrong(f"{found.text} is longer than ten years", wanted=DURATION_WANTED)
    return found.value


def ratio(value: object) -> float:
    """A percentage as a ratio, 0 to 1. Raises ``Wrong`` without ``%`` and above 100%."""
    found = in_dimension(quantity(value), Dimension.RATIO)
    if found > 1:
        raise Wrong(f"{value} is more than 100%", wanted="a percentage up to 100%")
    return found


def in_dimension(found: Quantity, dimension: Dimension, *, unit: str = "%") -> float:
    """The value, if it counts what is wanted. ``unit`` is what to suggest to a bare number. Raises ``Wrong``."""
    if found.dimension is dimension:
        return found.value
    wanted = _EXAMPLES[dimension]
    if found.dimension is Dimension.NUMBER:
        raise Wrong(f"{found.text} has no unit; write {_suggest(found, unit)}", wanted=wanted)
    if dimension is Dimension.NUMBER:
        raise Wrong(f"{found.text} has a unit where none belongs; write {wanted}", wanted=wanted)
    raise Wrong(f"{found.text} is a {found.dimension}; write {wanted}", wanted=wanted)


def _suggest(found: Quantity, unit: str) -> str:
    if unit == "%" and 0 < found.value < 1:
        return f"{found.text}% or {_plain(found.value * 100)}%"
    return f"{found.text}{unit}"


def duration_text(seconds: float) -> str:
    """As people write it: ``1m30s``, ``250ms``, ``7d``. Whole seconds from a minute on, milliseconds below."""
    if not math.isfinite(seconds):
        return "for ever" if seconds > 0 else "?"
    if seconds < 0:
        return f"-{duration_text(-seconds)}"
    ms = round(seconds * 1000)
    if ms < 1000:
        return f"{ms}ms" if ms else "0s"
    if ms < 60_000:
        return f"{_plain(ms / 1000)}s"
    rest, parts = round(seconds), []
    for unit, size in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        parts += [f"{count}{unit}"] if count else []
    return "".join(parts)


def _plain(number: float) -> str:
    """No exponent, no needless zeros, at most three decimals."""
    return f"{number:.3f}".rstrip("0").rstrip(".")
