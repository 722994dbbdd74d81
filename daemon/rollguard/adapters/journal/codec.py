"""Events and pages as the text that the journal keeps, and back."""

from __future__ import annotations

import dataclasses
import gc
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rollguard.core.event_json import from_json, to_json
from rollguard.core.events import Event, Recorded
from rollguard.core.pages import Kind, Page, Severity
from rollguard.errors import JournalError

ENTRY_CHARS_MAX = 1 << 20
ERROR_CHARS_MAX = 500


def event_text(event: Event) -> str:
    """The event as one JSON line. Raises ``JournalError`` for what could not be read back."""
    return _text(to_json(event), type(event).__name__)


def read_events(rows: Sequence[tuple[int, str]]) -> list[Recorded]:
    """The events that ``event_text`` wrote, as (seq, text). Raises ``JournalError`` naming the entry at fault."""
    try:
        # One call for all: half the time of one call each, and a restart waits for it.
        with _no_collection():
            whole = json.loads(f"[{','.join(text for _, text in rows)}]")
            return [Recorded(seq, from_json(data)) for (seq, _), data in zip(rows, whole, strict=True)]
    except (ValueError, TypeError, AttributeError):
        return [_read_event(seq, text) for seq, text in rows]


@contextmanager
def _no_collection() -> Iterator[None]:
    """So many values at once, all of them kept: looking through them for garbage again and again is a third of it."""
    collects = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collects:
            gc.enable()


def _read_event(seq: int, text: str) -> Recorded:
    try:
        return Recorded(seq, from_json(json.loads(text)))
    except (ValueError, TypeError, AttributeError) as broken:
        raise JournalError(
            f"journal entry {seq} cannot be read ({broken}): use the version of rollguard that wrote it"
        ) from broken


def page_text(page: Page) -> str:
    """The page as one JSON line."""
    return _text({f.name: getattr(page, f.name) for f in dataclasses.fields(page)}, "page")


def read_page(item: int, text: str) -> Page:
    """The page that ``page_text`` wrote, also in an older version. Raises ``JournalError`` naming the outbox item."""
    try:
        data = json.loads(text)
        known = {f.name: data[f.name] for f in dataclasses.fields(Page) if f.name in data}
        details = tuple((name, value) for name, value in known.pop("details"))
        kind = Kind(data.get("kind", Kind.ALERT))
        return Page(**known | {"severity": Severity(data["severity"]), "kind": kind, "details": details})
    except (ValueError, TypeError, KeyError) as broken:
        raise JournalError(f"outbox item {item} cannot be read: {broken!r}") from broken


def error_text(error: str) -> str:
    """An error as it is kept: short, and free of half characters that a file cannot hold."""
    return error[:ERROR_CHARS_MAX].encode(errors="replace").decode()


def _text(data: Mapping[str, Any], what: str) -> str:
    try:
        text = json.dumps(data, separators=(",", ":"))
    except (TypeError, ValueError, RecursionError) as bad:
        raise JournalError(f"{what} cannot be written as JSON: {bad}") from bad
    if len(text) > ENTRY_CHARS_MAX:
        raise JournalError(f"{what} is too large for the journal: {len(text)} characters, at most {ENTRY_CHARS_MAX}")
    return text
