"""Frozen values with slots, made and replaced quickly.

A restart replays every event of the journal before the guard sees anything: there the way in which ``dataclasses`` sets
the fields of a frozen value, one guarded call each, costs more than all the rest. These set the slots themselves.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

T = TypeVar("T")

_new = object.__new__
Put = Callable[[Any, Any], None]


@dataclasses.dataclass(frozen=True, slots=True)
class _Shape:
    """The fields of a class in order: how all are read, how each is set, and what it is where nobody says."""

    read: Callable[[Any], tuple[Any, ...]]
    places: Mapping[str, int]
    puts: tuple[Put, ...]
    given: tuple[tuple[str, Put, Callable[[], Any] | None], ...]


def replace(value: T, **changes: Any) -> T:
    """``dataclasses.replace`` for a frozen value with slots. Raises ``TypeError`` for what is no field of it."""
    cls = type(value)
    shape = _shape(cls)
    values = list(shape.read(value))
    for name, to in changes.items():
        if name not in shape.places:
            raise TypeError(f"{cls.__name__} has no field {name!r}")
        values[shape.places[name]] = to
    made = _new(cls)
    for put, one in zip(shape.puts, values, strict=True):
        put(made, one)
    return made


def made(cls: type[T], values: Mapping[str, Any]) -> T:
    """A value of the class from those ``values`` that are fields of it. Raises ``TypeError`` where one is missing."""
    one = _new(cls)
    for name, put, default in _shape(cls).given:
        if name in values:
            put(one, values[name])
        elif default is not None:
            put(one, default())
        else:
            raise TypeError(f"{cls.__name__}: {name} is missing")
    return one


def _shape_of(cls: Any) -> _Shape:
    fields = dataclasses.fields(cls)
    names = [f.name for f in fields]
    puts: list[Put] = [getattr(cls, name).__set__ for name in names]
    read = attrgetter(*names) if len(names) > 1 else lambda value: (getattr(value, names[0]),)
    return _Shape(
        read=read,
        places={name: place for place, name in enumerate(names)},
        puts=tuple(puts),
        given=tuple((f.name, put, _default(f)) for f, put in zip(fields, puts, strict=True)),
    )


def _default(field: dataclasses.Field[Any]) -> Callable[[], Any] | None:
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory
    if field.default is not dataclasses.MISSING:
        return lambda: field.default
    return None


_shape: Callable[[Any], _Shape] = cache(_shape_of)
