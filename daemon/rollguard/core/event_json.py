"""Events as JSON and back: ``to_json`` and ``from_json`` are each other's inverse.

A journal written by an older guard can still be read: unknown fields are ignored, missing ones take their default.
"""

from __future__ import annotations

import dataclasses
import functools
import types
import typing
from collections.abc import Mapping
from typing import Any

from rollguard.core.events import Event
from rollguard.core.frozen import made

EVENTS: dict[str, type[Event]] = {cls.__name__: cls for cls in Event.__subclasses__()}


def to_json(event: Event) -> dict[str, Any]:
    """The event as plain JSON types, its kind under ``"event"``."""
    return {
        "event": type(event).__name__,
        **{f.name: _plain(getattr(event, f.name)) for f in dataclasses.fields(event)},
    }


def from_json(data: Mapping[str, Any]) -> Event:
    """The event that ``to_json`` wrote. Raises ``ValueError`` for a kind that is not known."""
    cls = EVENTS.get(str(data.get("event")))
    if cls is None:
        raise ValueError(f"unknown event {data.get('event')!r}")
    lists = [name for name in _tuples(cls.__name__) if name in data]
    return made(cls, {**data, **{name: tuple(data[name]) for name in lists}} if lists else data)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value


@functools.cache
def _tuples(kind: str) -> tuple[str, ...]:
    """The fields of a kind of event that are tuples (lists in JSON)."""
    hints = typing.get_type_hints(EVENTS[kind])
    return tuple(f.name for f in dataclasses.fields(EVENTS[kind]) if _is_tuple(hints[f.name]))


def _is_tuple(hint: Any) -> bool:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_is_tuple(arg) for arg in typing.get_args(hint))
    return origin is tuple
