"""From a path in the data to a place in the file: collects every mistake, in words for the person who wrote it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

from pydantic import BaseModel, ValidationError

from rollguard.config.problems import Mark, Problem, Wrong, did_you_mean, listed, nearest, shown
from rollguard.config.yamltext import Document, Path, Place


@dataclass(slots=True)
class Complaints:
    """The mistakes found in ``document`` so far."""

    document: Document
    problems: list[Problem] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.problems.extend(self.document.problems)

    def value(self, path: Path, wrong: Wrong | str) -> None:
        """The value at ``path`` cannot stand; where it is missing, the mapping that lacks it is shown."""
        if self._known(path):
            return
        wrong = Wrong(wrong) if isinstance(wrong, str) else wrong
        place = self.document.values.get(path)
        if place and place.variables:
            names = listed((f"${{{name}}}" for name in place.variables), "and")
            self._add(place.mark, f"with {names} filled in, this is not {wrong.wanted}", wrong.secret)
        else:
            place = place or self._nearest(path)
            mark = place.inside if place.inside and wrong.offset else place.mark
            offset = wrong.offset if place.inside else 0
            self._add(Mark(mark.line, mark.column + offset), wrong.message, wrong.secret)

    def key(self, path: Path, message: str, *, secret: bool = False) -> None:
        """The key that ``path`` ends in cannot stand. ``secret``: nor may its value be shown."""
        if not self._known(path):
            place = self.document.values.get(path)
            if secret and place:
                self._add(place.mark, message, secret)
            else:
                self._add(self.document.keys.get(path) or self._nearest(path).mark, message, secret)

    def written(self, path: Path) -> str:
        """The value as it stands in the file, quoted: never what a variable stands for."""
        place = self.document.values.get(path)
        return shown(place.written) if place else "''"

    def line(self, path: Path) -> int:
        """The line of a value, or of the mapping it should be in."""
        return self._nearest(path).mark.line

    def _known(self, path: Path) -> bool:
        return any(path[:n] in self.document.broken for n in range(len(path) + 1))

    def _nearest(self, path: Path) -> Place:
        while path not in self.document.values and path:
            path = path[:-1]
        return self.document.values.get(path) or Place(Mark(1, 1))

    def _add(self, mark: Mark, message: str, secret: bool) -> None:
        self.problems.append(Problem(mark, message, secret))


def complain(error: ValidationError, root: type[BaseModel], complaints: Complaints) -> list[Path]:
    """Put pydantic's findings in our words, at their places; return their paths."""
    found = error.errors(include_url=False)
    meant = {_unknown_key(one["loc"], root, complaints) for one in found if one["type"] == "extra_forbidden"}
    for one in found:
        path, kind, context = one["loc"], one["type"], one.get("ctx", {})
        if kind == "extra_forbidden" or (kind == "missing" and path in meant):
            continue
        if kind == "missing":
            complaints.value(path, f"missing key {shown(str(path[-1]))}")
        elif kind == "value_error" and path[-1] == "[key]":
            complaints.key(path[:-1], context["error"].message)
        elif kind != "too_short" or not one["input"]:  # else it is short for want of sound entries
            complaints.value(path, _wrong(kind, context, one["msg"], complaints.written(path)))
    return [one["loc"] for one in found]


_SENTENCES: Mapping[str, str] = {
    "model_type": "a mapping",
    "model_attributes_type": "a mapping",
    "dict_type": "a mapping",
    "tuple_type": "a list",
    "greater_than_equal": "at least {ge}",
    "less_than_equal": "at most {le}",
}


def _wrong(kind: str, context: Mapping[str, Any], message: str, written: str) -> Wrong:
    if isinstance(wrong := context.get("error"), Wrong):
        return wrong
    if kind == "literal_error":
        known = re.findall(r"'([^']*)'", context["expected"]) or [context["expected"]]
        choice = f"must be {listed(known)}"
        return Wrong(choice + did_you_mean(written.strip("'"), known), wanted=listed(known))
    if kind in {"too_short", "too_long"}:
        few = kind == "too_short"
        return Wrong("must not be empty" if few else f"must have at most {context['max_length']} entries")
    if kind == "tuple_type" and written != "''":
        item = written.strip("'")
        return Wrong(f"must be a list; write [{item}]", wanted="a list")
    wanted = _SENTENCES.get(kind, "").format(**context)
    return Wrong(f"must be {wanted}", wanted=wanted) if wanted else Wrong(message)


def _unknown_key(path: Path, root: type[BaseModel], complaints: Complaints) -> Path | None:
    """Complain, and return the path that was probably meant."""
    key = str(path[-1])
    known = _keys_at(root, path[:-1])
    if f"{key}_env" in known:
        message = f"a secret must not stand in this file; write {key}_env: NAME or {key}_file: PATH"
        complaints.key(path, message, secret=True)
        return None
    near = nearest(key, known)
    here = f"; known here: {', '.join(known)}" if known else "; no key is known here"
    complaints.key(path, f"unknown key {shown(key)}{did_you_mean(key, known) or here}")
    return (*path[:-1], near) if near else None


def _keys_at(root: type[BaseModel], path: Path) -> list[str]:
    """The keys of the mapping at ``path``, found by walking the models' annotations."""
    kind: Any = root
    for step in path:
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            fields = {f.alias or name: f.annotation for name, f in kind.model_fields.items()}
            kind = fields.get(str(step))
        else:
            kind = get_args(kind)[-1] if isinstance(step, str) else get_args(kind)[0]
        kind = _without_none(kind)
    return [f.alias or name for name, f in kind.model_fields.items()] if hasattr(kind, "model_fields") else []


def _without_none(kind: Any) -> Any:
    options = [option for option in get_args(kind) if option is not type(None)]
    return options[0] if type(None) in get_args(kind) else kind
