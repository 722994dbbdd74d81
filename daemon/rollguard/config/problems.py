"""Where a mistake is and how it is shown: ``file:line:column: message``, the line, and a caret."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches

PROBLEMS_MAX = 100
WIDTH_MAX = 160

_LINE_BREAK = re.compile(r"\r\n|[\r\n\x85\u2028\u2029]")  # what YAML takes for one, so that line numbers agree


class Wrong(ValueError):
    """A value that cannot stand.

    ``wanted`` completes the sentence "is not …" where the value itself must not be shown. ``offset`` counts
    characters from the start of the value to the mistake. ``secret``: the line may hold a secret; do not print it.
    """

    def __init__(self, message: str, *, wanted: str = "accepted here", offset: int = 0, secret: bool = False) -> None:
        super().__init__(message)
        self.message = message
        self.wanted = wanted
        self.offset = offset
        self.secret = secret


@dataclass(frozen=True, slots=True, order=True)
class Mark:
    """A place in a text, counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True, order=True)
class Problem:
    """One mistake. ``secret``: what stands from the mark on must not be printed."""

    mark: Mark
    message: str
    secret: bool = False


def split_lines(text: str) -> list[str]:
    """The lines of a YAML text, without their ends."""
    return _LINE_BREAK.split(text)


def render(file: str, lines: Sequence[str], problems: Iterable[Problem]) -> list[str]:
    """Problems in the order of the file, each with its line and a caret; at most ``PROBLEMS_MAX`` of them."""
    ordered = sorted(set(problems))
    cuts = {p.mark.line: p.mark.column for p in reversed(ordered) if p.secret}
    shown = [_render(file, lines, problem, cuts) for problem in ordered[:PROBLEMS_MAX]]
    if len(ordered) > PROBLEMS_MAX:
        shown.append(f"{file}: {len(ordered) - PROBLEMS_MAX} more problems are not shown")
    return shown


def _render(file: str, lines: Sequence[str], problem: Problem, cuts: Mapping[int, int]) -> str:
    line, column = problem.mark.line, problem.mark.column
    head = f"{file}:{line}:{column}: {problem.message}"
    source = lines[line - 1] if line <= len(lines) else ""
    if line in cuts and len(source) >= cuts[line]:
        source = source[: cuts[line] - 1] + "…"
    at = min(column - 1, len(source))
    start = max(0, at - WIDTH_MAX // 2) if len(source) > WIDTH_MAX else 0
    visible = "".join(c if c.isprintable() else " " for c in source[start : start + WIDTH_MAX])
    return f"{head}\n{visible.rstrip()}\n{' ' * (at - start)}^" if visible.strip() else head


def shown(word: str) -> str:
    """What was written, in quotes, on one line and not endless."""
    text = "".join(c if c.isprintable() else "\ufffd" for c in word[:61])
    return f"'{text[:60]}…'" if len(word) > 60 else f"'{text}'"


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that ``word`` was probably meant to be."""
    near = get_close_matches(word[:100], list(known), n=1, cutoff=0.6)
    return near[0] if near else None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'interval'?`` or, when nothing is near, nothing."""
    near = nearest(word, known)
    return f"; did you mean '{near}'?" if near else ""


def listed(words: Iterable[str], last: str = "or") -> str:
    """``a, b or c``."""
    *head, tail = list(words) or ["nothing"]
    return f"{', '.join(head)} {last} {tail}" if head else tail
