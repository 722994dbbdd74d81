"""YAML as data with places: every value and key knows its line and column, and nothing in a file can surprise.

A small YAML: one document of mappings, lists and scalars. Only ``true``, ``false``, ``null``, integers and
floats are not text, so ``on:`` is a key and ``1.2.3`` a name. Anchors, aliases, merge keys and tags are refused:
a runbook is read at 3 a.m. and should say what it means where it stands.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from rollguard.config.problems import Mark, Problem, shown, split_lines
from rollguard.config.variables import expand

BYTES_MAX = 256 * 1024
DEPTH_MAX = 16
NODES_MAX = 10_000

Path = tuple[str | int, ...]

_INT = re.compile(r"[-+]?(0|[1-9]\d{0,17})", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\d{1,15}\.\d{0,15}|\.\d{1,15})", re.ASCII)
_WORDS = {"true": True, "false": False, "null": None, "~": None, "": None}
_NOT_YAML = re.compile(r"[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a value stands and how it was written, before variables. ``inside``: where its text begins, if known."""

    mark: Mark
    written: str = ""
    variables: tuple[str, ...] = ()
    inside: Mark | None = None


@dataclass(slots=True)
class Document:
    """A file as data, with the place of every value and key by path. ``broken`` paths have no usable value."""

    file: str
    lines: list[str]
    data: object = None
    values: dict[Path, Place] = field(default_factory=dict)
    keys: dict[Path, Mark] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)
    broken: set[Path] = field(default_factory=set)

    def line(self, mark: Mark) -> str:
        """The source line; empty behind the last one."""
        return self.lines[mark.line - 1] if mark.line <= len(self.lines) else ""


class _Stop(Exception):
    """The rest of the file cannot be read; the problem is already noted."""


def read_document(text: str, file: str, environ: Mapping[str, str]) -> Document:
    """Read a text of at most ``BYTES_MAX`` bytes. Never raises for what is in it: see ``problems``."""
    text = text.removeprefix("\ufeff")
    document = Document(file, split_lines(text))
    refused = _NOT_YAML.search(text)
    if len(text.encode("utf-8", "replace")) > BYTES_MAX:
        document.problems.append(Problem(Mark(1, 1), f"is larger than {BYTES_MAX // 1024} KiB"))
    elif refused:
        before = split_lines(text[: refused.start()])
        mark = Mark(len(before), len(before[-1]) + 1)
        document.problems.append(Problem(mark, f"character U+{ord(refused[0]):04X} is not allowed in YAML"))
    else:
        try:
            _Reader(document, environ).read(yaml.parse(text, Loader=yaml.CSafeLoader))
        except yaml.MarkedYAMLError as error:
            problem = _syntax(document, error)
            kept = [noted for noted in document.problems if noted.mark.line != problem.mark.line]
            document.problems[:] = [*kept, problem]
            document.data = None
        except _Stop:
            document.data = None
    return document


def _syntax(document: Document, error: yaml.MarkedYAMLError) -> Problem:
    mark = _mark(error.problem_mark or error.context_mark)
    line = document.line(mark)
    if line[mark.column - 1 : mark.column] == "\t":
        return Problem(mark, "a tab cannot indent YAML; use spaces")
    context = f", {error.context}" if error.context else ""
    started = _mark(error.context_mark).line if error.context_mark else mark.line
    since = f" that began on line {started}" if started != mark.line else ""
    quotes = "; within { } or [ ], text with ${…} goes in quotes" if "${" in line else ""
    return Problem(mark, f"not YAML: {error.problem}{context}{since}{quotes}")


class _Reader:
    """Builds data from parser events, iteratively fed, so that depth is known before it costs anything."""

    def __init__(self, document: Document, environ: Mapping[str, str]) -> None:
        self._doc = document
        self._environ = environ
        self._nodes = 0

    def read(self, events: Iterator[yaml.Event]) -> None:
        for event in events:
            if isinstance(event, yaml.DocumentStartEvent):
                if () in self._doc.values:
                    self._stop(event, "a second document begins here; a policy file holds one")
                self._doc.data = self._node(next(events), events, ())
        if () not in self._doc.values:
            self._doc.problems.append(Problem(Mark(1, 1), "the file is empty"))

    def _node(self, event: yaml.Event, events: Iterator[yaml.Event], path: Path) -> object:
        self._nodes += 1
        if self._nodes > NODES_MAX or len(path) > DEPTH_MAX:
            self._stop(event, f"more than {NODES_MAX} values or {DEPTH_MAX} levels")
        self._doc.values[path] = Place(_mark(event.start_mark))
        self._refuse_extras(event, path)
        match event:
            case yaml.ScalarEvent():
                return self._scalar(event, path)
            case yaml.SequenceStartEvent():
                return self._sequence(events, path)
            case yaml.MappingStartEvent():
                return self._mapping(events, path)
        return None  # an alias, already refused

    def _sequence(self, events: Iterator[yaml.Event], path: Path) -> list[object]:
        items: list[object] = []
        while not isinstance(event := next(events), yaml.SequenceEndEvent):
            items.append(self._node(event, events, (*path, len(items))))
        return items

    def _mapping(self, events: Iterator[yaml.Event], path: Path) -> dict[str, object]:
        found: dict[str, object] = {}
        while not isinstance(event := next(events), yaml.MappingEndEvent):
            key = self._key(event, events, path)
            if key is None or (*path, key) in self._doc.keys:
                self._node(next(events), events, (*path, "?", self._nodes))  # read past it
                continue
            self._doc.keys[(*path, key)] = _mark(event.start_mark)
            found[key] = self._node(next(events), events, (*path, key))
        return found

    def _key(self, event: yaml.Event, events: Iterator[yaml.Event], path: Path) -> str | None:
        """The key's text, or None with the problem noted."""
        if not isinstance(event, yaml.ScalarEvent):
            self._problem(event, "a key must be a plain word")
            self._node(event, events, (*path, "?", self._nodes))
            return None
        self._refuse_extras(event, path)
        key = event.value
        if key == "<<" and not event.style:
            self._problem(event, "merge keys are not supported; write the keys out")
            return None
        if (first := self._doc.keys.get((*path, key))) is not None:
            self._problem(event, f"duplicate key {shown(key)} (first used on line {first.line})")
        return key

    def _scalar(self, event: yaml.ScalarEvent, path: Path) -> object:
        mark, text = _mark(event.start_mark), event.value
        value = _resolve(text) if not event.style else text
        quote = 1 if event.style in {"'", '"'} else 0
        begins = mark.column - 1 + quote
        verbatim = self._doc.line(mark)[begins : begins + len(text)] == text
        inside = Mark(mark.line, begins + 1) if verbatim else None
        names: tuple[str, ...] = ()
        if isinstance(value, str):
            expanded = expand(value, self._environ)
            value, names = expanded.value, expanded.names
            for offset, message in expanded.problems:
                at = Mark(inside.line, inside.column + offset) if inside else mark
                self._doc.problems.append(Problem(at, message))
                self._doc.broken.add(path)
        self._doc.values[path] = Place(mark, text, names, inside)
        return value

    def _refuse_extras(self, event: yaml.Event, path: Path) -> None:
        if isinstance(event, yaml.AliasEvent):
            self._problem(event, "aliases are not supported; write the value out")
            self._doc.broken.add(path)
        elif getattr(event, "anchor", None) is not None:
            self._problem(event, "anchors are not supported; write the value out where it is used")
        elif getattr(event, "tag", None) is not None:
            self._problem(event, "tags are not supported; put text in quotes")

    def _problem(self, event: yaml.Event, message: str) -> None:
        self._doc.problems.append(Problem(_mark(event.start_mark), message))

    def _stop(self, event: yaml.Event, message: str) -> None:
        self._problem(event, message)
        raise _Stop


def _resolve(text: str) -> object:
    """A plain scalar by YAML 1.2's JSON-like rules; everything else is text."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


def _mark(mark: Any) -> Mark:
    """From either parser's mark, whose class differs; counted from 1."""
    return Mark(mark.line + 1, mark.column + 1) if mark else Mark(1, 1)
