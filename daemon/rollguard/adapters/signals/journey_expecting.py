"""What an answer of a journey must be, and what is taken from it.

Nothing of what the app said is ever repeated: it may be somebody's secret. A failure names the expectation, and of
the value found only its kind and length.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from rollguard.adapters.http import excerpt
from rollguard.core import jsontext
from rollguard.core.jsonpath import lookup
from rollguard.core.patterns import capturing, pattern
from rollguard.core.signals import Capture, Step, Where
from rollguard.ports import HttpAnswer

BODY_BYTES_MAX = 1 << 20
BODY_MAX = "1 MiB"
VALUE_CHARS_MAX = 2000
_SHOWN_MAX = 60
_SCALAR = str | int | float | bool


class Unmet(Exception):
    """The answer is not what was expected; the message says what, in words that may be shown to anybody."""


class Page:
    """An answer's body as text and as JSON, each made once and only when asked for."""

    def __init__(self, answer: HttpAnswer, *, whole: bool) -> None:
        self.answer = answer
        self.whole = whole

    @cached_property
    def text(self) -> str:
        return self.answer.body.decode(errors="replace")

    @cached_property
    def json(self) -> Any:
        """The document. Raises ``Unmet``."""
        if not self.whole:
            raise Unmet(f"more than {BODY_MAX} of JSON")
        try:
            return jsontext.parse(self.answer.body, strict=True)
        except ValueError as error:
            raise Unmet(str(error)) from None


class Expectations:
    """The expectations and captures of one step. Raises ``ValueError`` for a pattern that will not do."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._headers = {name: pattern(text) for name, text in step.expect.headers.items()}
        self._texts = {c.name: capturing(c.what) for c in step.capture if c.where is Where.TEXT}

    def check(self, page: Page) -> None:
        """Raises ``Unmet`` for the first thing that is not as expected; its message is empty for the status."""
        expect, answer = self._step.expect, page.answer
        if answer.status not in expect.status:
            raise Unmet("")
        for name, wanted in self._headers.items():
            value = answer.headers.get(name.lower())
            if value is None:
                raise Unmet(f"no header {_shown(name)}")
            if not wanted.found(value):
                raise Unmet(f"header {_shown(name)} is not as expected")
        for text in expect.texts:
            if text not in page.text:
                raise Unmet(f"no text '{_shown(text)}'" + ("" if page.whole else f" in the first {BODY_MAX}"))
        for path, equal in expect.json:
            found = _at(page, path)
            if not _same(found, equal):
                raise Unmet(f"{_shown('.'.join(path))} is {_kind(found)}, not as expected")

    def captured(self, page: Page) -> Mapping[str, str]:
        """The values for later steps, by name. Raises ``Unmet`` without one, or for one that cannot be sent on."""
        return {capture.name: _sendable(capture.name, self._capture(capture, page)) for capture in self._step.capture}

    def _capture(self, capture: Capture, page: Page) -> Any:
        match capture.where:
            case Where.HEADER:
                return page.answer.headers.get(capture.what.lower())
            case Where.TEXT:
                return self._texts[capture.name].group(page.text)
            case Where.JSON:
                return _at(page, tuple(capture.what.split(".")))


def _sendable(name: str, value: Any) -> str:
    """The value as text. Raises ``Unmet`` when it is none, or is more than a plain short value of one line."""
    if value is None or value == "":
        raise Unmet(f"nothing to capture as {_shown(name)}")
    if not isinstance(value, _SCALAR):
        raise Unmet(f"{_shown(name)} is {_kind(value)}, nothing to capture")
    text = value if isinstance(value, str) else json.dumps(value)
    if len(text) > VALUE_CHARS_MAX:
        raise Unmet(f"{_shown(name)} is longer than {VALUE_CHARS_MAX} characters")
    if not text.isprintable() or text in {".", ".."}:  # which would end a header, or lead to another path
        raise Unmet(f"{_shown(name)} has characters that cannot be sent on")
    return text


def _at(page: Page, path: tuple[str, ...]) -> Any:
    try:
        return lookup(page.json, path)
    except KeyError:
        raise Unmet(f"no {_shown('.'.join(path))} in the answer") from None


def _same(found: Any, wanted: str | float | bool | None) -> bool:
    """Equal in kind and value; 1 and 1.0 are the same number, true is none."""
    if isinstance(found, bool) or isinstance(wanted, bool):
        return found is wanted
    if isinstance(wanted, int | float):
        return isinstance(found, int | float) and found == wanted
    return type(found) is type(wanted) and bool(found == wanted)


def _kind(value: Any) -> str:
    """What sort of value it is, without the value."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return f"a string of {len(value)} characters"
        case list():
            return f"a list of {len(value)}"
    return "an object"


def _shown(words: str) -> str:
    return excerpt(words, _SHOWN_MAX)
