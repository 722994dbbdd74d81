"""JSON that passes through unchanged: numbers stay the very text they were, unknown keys stay where they were."""

from __future__ import annotations

import json
from typing import Any

from rollguard.errors import BadAnswer


class Number(str):
    """A JSON number as it was written: 1.0, 1e3 and twenty digits come out again as they went in."""

    __slots__ = ()


def load(body: bytes, request: str) -> Any:
    """The document in ``body``, every number a ``Number``. Raises ``BadAnswer``."""
    try:
        return json.loads(body, parse_int=Number, parse_float=Number, parse_constant=_no_constant)
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


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")
