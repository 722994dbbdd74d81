"""JSON that passes through unchanged: numbers stay the very text they were, unknown keys stay where they were."""

from __future__ import annotations

import json
from typing import Any

from rollguard.adapters.http import excerpt
from rollguard.errors import BadAnswer


class Number(str):
    """A JSON number as it was written: 1.0, 1e3 and twenty digits come out again as they went in."""

    __slots__ = ()


def load(body: bytes, request: str) -> Any:
    """The document in ``body``, every number a ``Number``. Raises ``BadAnswer``, also for a key that is there twice."""
    try:
        return json.loads(
            body,
            parse_int=Number,
            parse_float=Number,
            parse_constant=_no_constant,
            object_pairs_hook=_no_key_twice,
        )
    except _Twice as twice:
        raise BadAnswer(f"{excerpt(str(twice), 120)}: the same key twice: {request}") from None
    except (ValueError, RecursionError):
        raise BadAnswer(f"not JSON, or nested too deep: {request}") from None


def dump(value: Any) -> bytes:
    """The document as compact JSON. Raises ``BadAnswer`` when it is nested too deep."""
    try:
        return _text(value).encode()
    except RecursionError:
        raise BadAnswer("nested too deep to be sent on") from None


def _text(value: Any) -> str:
    if isinstance(value, Number):
        return str(value)
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(key)}:{_text(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_text, value)) + "]"
    return json.dumps(value)


class _Twice(ValueError):
    """Which of the two counts, only their reader could say."""


def _no_key_twice(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise _Twice(next(name for name in names if names.count(name) > 1))
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
