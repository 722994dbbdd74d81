"""``${NAME}`` and ``${NAME:-default}`` in the values of a policy; ``$$`` is a dollar sign."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

VALUE_CHARS_MAX = 8192

_DOLLAR = re.compile(r"\$(?:(?P<literal>\$)|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<default>:-[^}$]*)?\})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class Expanded:
    """A value after its variables were replaced. ``names`` are theirs; ``problems`` pairs of offset and message."""

    value: str
    names: tuple[str, ...] = ()
    problems: tuple[tuple[int, str], ...] = ()


def expand(text: str, environ: Mapping[str, str]) -> Expanded:
    """Replace variables once; what they hold is taken as it is. An empty variable counts as unset for a default."""
    if "$" not in text:
        return Expanded(text)
    names: list[str] = []
    problems: list[tuple[int, str]] = []

    def replace(found: re.Match[str]) -> str:
        name, default = found["name"], found["default"]
        if found["literal"]:
            return "$"
        if name is None:
            problems.append((found.start(), "after $ comes {NAME}, {NAME:-default} or, for a dollar sign, another $"))
            return ""
        names.append(name)
        value = environ.get(name)
        if default is not None:
            return value or default[2:]
        if value is None:
            message = f"the environment has no variable {name}; set it, or write a default: ${{{name}:-…}}"
            problems.append((found.start(), message))
        return value or ""

    value = _DOLLAR.sub(replace, text)
    if len(value) > VALUE_CHARS_MAX:
        problems.append((0, f"is longer than {VALUE_CHARS_MAX} characters once its variables are filled in"))
    return Expanded(value, tuple(names), tuple(problems))
