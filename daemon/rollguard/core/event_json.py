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
    known = _fields(cls.__name__)
    values: dict[str, Any] = {k: tuple(v) if known[k] else v for k, v in data.items() if k in known}
    return cls(**values)


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return dict(value) if isinstance(value, Mapping) else value


@functools.cache
def _fields(kind: str) -> dict[str, bool]:
    """The fields of an event, and whether each is a tuple (a list in JSON)."""
    cls = EVENTS[kind]
    hints = typing.get_type_hints(cls)
    return {f.name: _is_tuple(hints[f.name]) for f in dataclasses.fields(cls)}


def _is_tuple(hint: Any) -> bool:
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return any(_is_tuple(arg) for arg in typing.get_args(hint))
    return origin is tuple
