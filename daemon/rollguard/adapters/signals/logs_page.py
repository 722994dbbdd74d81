"""One page of an app's log, as Fly's API tells it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rollguard.core import jsontext
from rollguard.core.patterns import CHARS_MAX
from rollguard.errors import BadAnswer

LINES_MAX = 1000
TOKEN_CHARS_MAX = 200
_ID_CHARS_MAX = 100
_MACHINE = re.compile(r"[A-Za-z0-9_-]{1,64}")
_COLOUR = re.compile(r"\x1b\[[0-9;]{0,20}[A-Za-z]")


@dataclass(frozen=True, slots=True)
class Line:
    """What a machine's process said, without colours and cut to what patterns see. ``at`` is the platform's time.

    ``machine`` is empty where no machine is named.
    """

    id: str
    at: float
    machine: str
    text: str


@dataclass(frozen=True, slots=True)
class LogPage:
    """The lines of an answer in its order, how many more were not well formed, and the token to go on with."""

    lines: Sequence[Line]
    malformed: int
    next_token: str


def parse(body: bytes) -> LogPage:
    """Read an answer. Raises ``BadAnswer`` when it is none of the log's."""
    try:
        document = jsontext.parse(body)
    except ValueError as error:
        raise BadAnswer(str(error)) from None
    data = document.get("data") if isinstance(document, dict) else None
    if not isinstance(data, list):
        raise BadAnswer("no list of lines in the answer")
    if len(data) > LINES_MAX:
        raise BadAnswer(f"more than {LINES_MAX} lines at once")
    lines = [line for item in data if (line := _line(item)) is not None]
    meta = document.get("meta")
    return LogPage(lines, len(data) - len(lines), _token(meta.get("next_token") if isinstance(meta, dict) else None))


def _line(item: Any) -> Line | None:
    attributes = item.get("attributes") if isinstance(item, dict) else None
    if not isinstance(attributes, dict):
        return None
    at, message = _epoch_s(attributes.get("timestamp")), attributes.get("message")
    if at is None or not isinstance(message, str):
        return None
    instance, named = attributes.get("instance"), item.get("id")
    machine = instance if isinstance(instance, str) and _MACHINE.fullmatch(instance) else ""
    return Line(
        id=named if isinstance(named, str) and 0 < len(named) <= _ID_CHARS_MAX else f"{at} {machine} {hash(message)}",
        at=at,
        machine=machine,
        text=_COLOUR.sub("", message[: 2 * CHARS_MAX])[:CHARS_MAX],
    )


def _epoch_s(timestamp: Any) -> float | None:
    if not isinstance(timestamp, str) or len(timestamp) > 40:
        return None
    try:
        at = datetime.fromisoformat(timestamp)
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC).timestamp()
    except (ValueError, OverflowError):  # also of an instant that is beyond the calendar in our zone
        return None


def _token(token: Any) -> str:
    """Empty where there is none that could be sent back."""
    text = str(token) if isinstance(token, int) and not isinstance(token, bool) else token
    return text if isinstance(text, str) and len(text) <= TOKEN_CHARS_MAX and text.isprintable() else ""
