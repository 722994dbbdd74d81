"""JSON from strangers, read only as far as it cannot keep the guard busy."""

from __future__ import annotations

import json
from typing import Any, NoReturn

PARTS_MAX = 250_000
"""Values of lists and objects, counted by brackets and commas."""
KEYS_MAX = 100_000
"""Keys of objects, counted by colons: they cost three times as much."""

_NOT_PARTS = bytes(set(range(256)) - set(b"[{,"))
_NOT_KEYS = bytes(set(range(256)) - set(b":"))


def parse(body: bytes, *, strict: bool = False) -> Any:
    """The document. ``strict``: without ``NaN`` and ``Infinity``, which are no JSON but which some apps write.

    Raises ``ValueError`` in words for people. It takes less than a tenth of a second: 4 MiB of ``[],[],`` would take
    half a second and 150 MB, so parts are counted first. Marks within texts count too.
    """
    if len(body.translate(None, _NOT_PARTS)) > PARTS_MAX or len(body.translate(None, _NOT_KEYS)) > KEYS_MAX:
        raise ValueError("JSON with too many values")
    try:
        return json.loads(body, parse_constant=_refuse if strict else None)
    except (ValueError, RecursionError):
        raise ValueError("not JSON, or nested too deep") from None


def _refuse(name: str) -> NoReturn:
    raise ValueError(name)
