"""Reads the wanted lines of a Prometheus or OpenMetrics page, and only those.

A page has thousands of lines and a policy wants a few names, so names are searched as bytes and only their lines are
taken apart: about a microsecond a wanted line, next to nothing for the rest.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

LINES_MAX = 50_000
LABELS_CHARS_MAX = 4096
HEAD_BYTES = 1 << 16
_MS_FROM = 1e11  # as seconds that is the year 5138, as milliseconds 1973: nobody means the other one

_LABELS = rb'(?:[^"}\n]++|"(?:[^"\\\n]++|\\.)*+")*+'
_NUMBER = rb"[-+]?(?:[0-9.]++(?:[eE][-+]?[0-9]++)?+|[Ii]nf(?:inity)?|[Nn]a[Nn])"
_REST = re.compile(
    rb"(?:\{(?P<labels>" + _LABELS + rb")\})?[ \t]++(?P<value>" + _NUMBER + rb")"
    rb"(?:[ \t]++(?P<at>" + _NUMBER + rb"))?+[ \t]*+(?:#[^\n]*+)?\r?\n"
)
_LABEL = re.compile(r'\s*([a-zA-Z_][\w]*)\s*=\s*"((?:[^"\\]|\\.)*+)"\s*(?:,|$)', re.ASCII)
_SAMPLE = rb"[a-zA-Z_:][\w:]*+(?:\{" + _LABELS + rb"\})?[ \t]++" + _NUMBER + rb"(?:[ \t]|\r?$)"
_ANY_LINE = re.compile(rb"^(?:# (?:HELP|TYPE|UNIT|EOF)\b|" + _SAMPLE + rb")", re.MULTILINE)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_ESCAPES = {"n": "\n", '"': '"', "\\": "\\"}


@dataclass(frozen=True, slots=True)
class Line:
    """One sample as written: ``labels`` still as text, ``at`` in epoch seconds where the page says it."""

    name: str
    labels: str
    value: float
    at: float | None


@dataclass(frozen=True, slots=True)
class Page:
    """The wanted lines, how many looked wanted but were not well formed, and whether more than the limit came."""

    lines: tuple[Line, ...]
    malformed: int = 0
    overfull: bool = False


def is_page(body: bytes) -> bool:
    """Whether at least one of the first lines is of the format: an HTML page or an error text has none."""
    return _ANY_LINE.search(body[:HEAD_BYTES]) is not None


def wanted(body: bytes, names: Iterable[str]) -> Page:
    """The lines of these metric names. A line without its end counts as malformed: the page may be cut short."""
    text = b"\n" + body
    lines: list[Line] = []
    malformed = 0
    for name in sorted(set(names)):
        needle, position = b"\n" + name.encode(), 0
        while (position := text.find(needle, position)) >= 0:
            position += len(needle)
            if text[position : position + 1] not in {b"{", b" ", b"\t"}:
                continue
            line = _line(name, _REST.match(text, position))
            if line is None:
                malformed += 1
            elif len(lines) >= LINES_MAX:
                return Page(tuple(lines), malformed, overfull=True)
            else:
                lines.append(line)
    return Page(tuple(lines), malformed)


def _line(name: str, match: re.Match[bytes] | None) -> Line | None:
    if match is None:
        return None
    try:
        return Line(name, (match["labels"] or b"").decode(), float(match["value"]), _instant(match["at"]))
    except ValueError:
        return None


def _instant(stamp: bytes | None) -> float | None:
    """Epoch seconds: Prometheus' text format writes milliseconds, OpenMetrics seconds."""
    at = math.nan if stamp is None else float(stamp)
    if not math.isfinite(at):
        return None
    return at / 1000 if at > _MS_FROM else at


def parse_labels(text: str) -> Mapping[str, str] | None:
    """``a="x",b="y"`` as a mapping, escapes resolved; None when that is not what it is."""
    labels: dict[str, str] = {}
    position, end = 0, len(text.rstrip())
    while position < end:
        match = _LABEL.match(text, position) if end <= LABELS_CHARS_MAX else None
        if match is None or match[1] in labels:
            return None
        labels[match[1]] = _ESCAPE.sub(lambda escape: _ESCAPES.get(escape[1], escape[0]), match[2])
        position = match.end()
    return labels
