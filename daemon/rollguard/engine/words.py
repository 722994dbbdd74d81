"""Who and why, as people write them: bounded, printable, and never empty."""

from __future__ import annotations

from rollguard.errors import Refused

DRILLING = "a drill is under way: rollguard hold calls it back at once, and it is over in a minute or so"
REASON_MAX = 500
WHO_MAX = 80


def who(by: str) -> str:
    """The name of whoever acts."""
    return _printable(by)[:WHO_MAX] or "somebody"


def why(reason: str) -> str:
    """The reason of an act. Raises ``Refused`` where there is none."""
    reason = _printable(reason).strip()
    if not reason:
        raise Refused("a reason is needed: --reason …")
    return reason[:REASON_MAX]


def _printable(words: str) -> str:
    return "".join(c if c.isprintable() else " " for c in words)
