"""Where in a JSON document a value is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def lookup(document: Any, path: Sequence[str]) -> Any:
    """What is at the path: keys of objects, positions in lists. Raises ``KeyError``."""
    here = document
    for step in path:
        if isinstance(here, dict):
            here = here[step]
        elif isinstance(here, list) and step.isascii() and step.isdecimal() and int(step) < len(here):
            here = here[int(step)]
        else:
            raise KeyError(step)
    return here
