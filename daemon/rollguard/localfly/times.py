"""Times on Fly's wire: RFC 3339 stamps and Go durations."""

from __future__ import annotations

import re
from datetime import UTC, datetime

_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
DURATION_S_MAX = 24 * 3600.0
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")


def rfc3339(at: float) -> str:
    """Epoch seconds as ``2026-08-21T10:00:12.345Z``."""
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds").removesuffix("+00:00") + "Z"


def duration_s(text: object, default_s: float) -> float:
    """A Go duration ("1m30s", or nanoseconds as a number) in seconds; `default_s` where nothing readable stands."""
    if isinstance(text, int) and not isinstance(text, bool):
        return min(max(text, 0) * 1e-9, DURATION_S_MAX)
    parts = _PART.findall(text) if isinstance(text, str) else []
    total_s = sum(float(number) * _UNITS_S[unit] for number, unit in parts)
    return min(total_s, DURATION_S_MAX) if parts else default_s
