"""Which series to read, as PromQL writes it: ``name{label="value",status=~"5.."}``."""

from __future__ import annotations

import re
import warnings

from rollguard.config.problems import Wrong
from rollguard.core.signals import Matcher, Selector

CHARS_MAX = 1000
MATCHERS_MAX = 20

_WANTED = 'a selector such as http_requests_total{status=~"5.."}'
_NAME = re.compile(r"[A-Za-z_:][A-Za-z0-9_:]*")
_LABEL = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_OP = re.compile(r"=~|!~|!=|=")
_QUOTED = re.compile(r'"((?:[^"\\\n]|\\.)*)"' r"|'((?:[^'\\\n]|\\.)*)'")
_ESCAPES = {"n": "\n", "t": "\t", "\\": "\\", '"': '"', "'": "'"}
_SPACE = re.compile(r"\s*")


def selector(value: object) -> Selector:
    """Read one selector. Raises ``Wrong`` with the offset of the first mistake."""
    if not isinstance(value, str):
        raise Wrong(f"must be {_WANTED}", wanted=_WANTED)
    if len(value) > CHARS_MAX:
        raise Wrong(f"is longer than {CHARS_MAX} characters", wanted=_WANTED)
    return _Parser(value).selector()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0

    def selector(self) -> Selector:
        name = self._take(_NAME, "the name of a series")
        matchers = self._matchers() if self._eat("{") else ()
        if self._rest():
            raise self._wrong(self._after_the_end())
        return Selector(name[0], matchers, self._text)

    def _matchers(self) -> tuple[Matcher, ...]:
        found: list[Matcher] = []
        while not self._eat("}"):
            found.append(self._matcher())
            if len(found) > MATCHERS_MAX:
                raise self._wrong(f"more than {MATCHERS_MAX} matchers")
            if not self._eat(",") and not self._rest().startswith("}"):
                raise self._wrong("expected , or } after a matcher")
        return tuple(found)

    def _matcher(self) -> Matcher:
        label = self._take(_LABEL, "a label")[0]
        op = self._take(_OP, "one of =, !=, =~, !~")[0]
        self._skip_space()
        start = self._at
        quoted = self._take(_QUOTED, "a value in double quotes")
        value = re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[0]), quoted[1] if quoted[1] is not None else quoted[2])
        if op in {"=~", "!~"}:
            self._check_regex(value, start)
        return Matcher(label, op, value)

    def _check_regex(self, pattern: str, start: int) -> None:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # of a future meaning: today's is the one that is used
                re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            self._at = start
            raise self._wrong(f"not a regular expression: {error}") from error

    def _after_the_end(self) -> str:
        rest = self._rest()
        if rest.startswith("("):
            return "a selector is not an expression: the guard computes increases, rates and quantiles itself"
        if rest.startswith("["):
            return "a selector has no range: the rule says over which time"
        return "expected { or the end of the selector" if "}" not in self._text[: self._at] else "text after }"

    def _take(self, pattern: re.Pattern[str], what: str) -> re.Match[str]:
        self._skip_space()
        found = pattern.match(self._text, self._at)
        if found is None:
            raise self._wrong(f"expected {what}")
        self._at = found.end()
        return found

    def _eat(self, char: str) -> bool:
        if eaten := self._rest().startswith(char):
            self._at += 1
        return eaten

    def _rest(self) -> str:
        self._skip_space()
        return self._text[self._at :]

    def _skip_space(self) -> None:
        found = _SPACE.match(self._text, self._at)
        assert found is not None  # it matches nothing too
        self._at = found.end()

    def _wrong(self, message: str) -> Wrong:
        return Wrong(message, wanted=_WANTED, offset=self._at)
