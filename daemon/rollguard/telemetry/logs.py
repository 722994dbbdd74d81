"""The log: one line a record on stderr, JSON for machines, ``KEY=value`` for a terminal."""

from __future__ import annotations

import json
import logging
import sys
import traceback
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TextIO

from rollguard.core.event_json import to_json
from rollguard.core.events import Event, Recorded
from rollguard.telemetry.sentences import said
from rollguard.telemetry.text import safe

LOGGER = logging.getLogger("rollguard")
ITEMS_MAX = 20
TRACE_CHARS_MAX = 8000
KEYS_ONLY = ("labels", "configs")
"""Of images, and hashes of whole configurations, by which secrets could be guessed: the journal has their values."""


def set_up(environ: Mapping[str, str], stream: TextIO | None = None) -> None:
    """Send all records of this process to ``stream`` (stderr), in the form that suits it.

    ``ROLLGUARD_LOG`` is ``json`` or ``text``; unset, a terminal gets text. Calling again replaces the first set-up.
    """
    out = sys.stderr if stream is None else stream
    form = environ.get("ROLLGUARD_LOG", "").strip().lower() or ("text" if out.isatty() else "json")
    handler = logging.StreamHandler(out)
    handler.setFormatter(TextFormatter() if form == "text" else JsonFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.INFO)


def log_event(recorded: Recorded, target: str) -> None:
    """One line for one event: its sentence, and its fields beside it."""
    event = recorded.event
    level, sentence = said(event)
    if LOGGER.isEnabledFor(level):
        fields = {"target": target, "seq": recorded.seq, **_fields(event)}
        LOGGER.log(level, "%s", sentence, extra={"event": type(event).__name__, "fields": fields})


class JsonFormatter(logging.Formatter):
    """A record as a JSON object in one line."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(_parts(record), ensure_ascii=False, separators=(", ", ": "))


class TextFormatter(logging.Formatter):
    """A record as a time, a level, a sentence, and ``KEY=value`` for the rest."""

    def format(self, record: logging.LogRecord) -> str:
        parts = _parts(record)
        head = f"{parts.pop('ts')} {parts.pop('level').upper():<7} {parts.pop('message')}"
        return " ".join([head, *(f"{key}={_value(value)}" for key, value in parts.items())])


def _parts(record: logging.LogRecord) -> dict[str, Any]:
    """What is told of a record, in the order of reading; every text in it is safe."""
    parts: dict[str, Any] = {
        "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "event": getattr(record, "event", "log"),
        "message": safe(record.getMessage()),
        **{key: _safe_value(value) for key, value in getattr(record, "fields", {}).items()},
    }
    if record.name != LOGGER.name:
        parts["logger"] = record.name
    if record.exc_info and record.exc_info[0]:
        parts["error"] = safe("".join(traceback.format_exception(*record.exc_info))[-TRACE_CHARS_MAX:], TRACE_CHARS_MAX)
    return parts


def _fields(event: Event) -> dict[str, Any]:
    """The event's own fields, but for the empty ones, those in the sentence, and the values of ``KEYS_ONLY``."""
    data = to_json(event)
    data |= {name: sorted(data[name]) for name in KEYS_ONLY if name in data}
    return {k: v for k, v in data.items() if k not in {"event", "at", "sentence"} and v not in (None, "", [])}


def _safe_value(value: Any) -> Any:
    match value:
        case bool() | int() | None:
            return value
        case float():
            return value if abs(value) < float("inf") else str(value)  # JSON has neither infinity nor NaN
        case str():
            return safe(value)
        case Mapping():
            return {safe(str(k)): _safe_value(v) for k, v in list(value.items())[:ITEMS_MAX]}
        case Sequence():
            return [_safe_value(item) for item in value[:ITEMS_MAX]]
        case _:
            return safe(str(value))


def _value(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if text and not set(text) & {" ", '"', "="} else json.dumps(text, ensure_ascii=False)
