"""Regular expressions on foreign text: only those that no text can keep busy.

Python's ``re`` tries one choice after the other. How many there may be is known from the pattern: for each place to
begin at, the product of what its repeats and alternatives leave open. A pattern is refused when that is too much for
``CHARS_MAX`` characters, which is all that it ever sees. In practice: one open repeat (``.*``, ``\\S+``), two behind a
``^``; one at the very end is free, since nothing can fail behind it. Repeats of groups, where choices would multiply
within themselves, look-around and back references are refused altogether.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass

CHARS_MAX = 2000
PATTERN_CHARS_MAX = 300
STEPS_MAX = 10 * CHARS_MAX**2
"""The worst text then takes a tenth of a second, the worst pattern that nobody would write some more."""

PREFIX_CHARS_MIN = 3
PLACES_MAX = 1000

_TOKEN = re.compile(
    r"""(?P<escape>\\.) | (?P<set>\[\^?\]?(?:\\.|[^\]\\])*\]) | (?P<open>\((?:\?(?:P<\w+>|:))?(?!\?)) | (?P<close>\))
      | (?P<special>\(\?) | (?P<bar>\|) | (?P<repeat>(?:[*+?]|\{(?P<low>\d*)(?P<comma>,?)(?P<high>\d*)(?<!\{)\})[?+]?)
      | (?P<plain>.)""",
    re.VERBOSE | re.DOTALL,
)
_IGNORE_CASE = "(?i)"


@dataclass(frozen=True, slots=True)
class Pattern:
    """A pattern that passed. ``prefix`` is the plain text that every match begins with; it may be empty."""

    regex: re.Pattern[str]
    prefix: str

    def found(self, text: str) -> bool:
        """Whether it is in the first ``CHARS_MAX`` characters of the text."""
        return self.regex.search(text[:CHARS_MAX]) is not None

    def group(self, text: str) -> str | None:
        """What its group takes at the first match in a text of any length; None without one.

        Tried at the first ``PLACES_MAX`` places where the prefix stands, each time for ``CHARS_MAX`` characters.
        """
        at = text.find(self.prefix)
        for _ in range(PLACES_MAX):
            if at < 0:
                break
            if match := self.regex.match(text, at, at + CHARS_MAX):
                return match[1]
            at = text.find(self.prefix, at + 1)
        return None


def pattern(text: str) -> Pattern:
    """The pattern, compiled. Raises ``ValueError`` with what is wrong with it, for the one who wrote it."""
    if len(text) > PATTERN_CHARS_MAX:
        raise ValueError(f"a pattern of more than {PATTERN_CHARS_MAX} characters")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of a future meaning: today's is the one that is used
            regex = re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(f"not a regular expression: {error}") from None
    tokens = [*_TOKEN.finditer(text.removeprefix(_IGNORE_CASE))]
    if _steps(tokens) > STEPS_MAX:
        raise ValueError("a text could keep this pattern busy for long: use one .* or +, or split it into patterns")
    return Pattern(regex, "" if text.startswith(_IGNORE_CASE) else _prefix(tokens))


def capturing(text: str) -> Pattern:
    """A pattern that takes a value out of a page: one group, behind plain text. Raises ``ValueError``."""
    found = pattern(text)
    if found.regex.groups != 1:
        raise ValueError(f"a pattern to capture with needs one group, ( ), and has {found.regex.groups}")
    if len(found.prefix) < PREFIX_CHARS_MIN:
        raise ValueError(f"a pattern to capture with must begin with {PREFIX_CHARS_MIN} plain characters or more")
    return found


def _steps(tokens: list[re.Match[str]]) -> float:
    """How many choices ``CHARS_MAX`` characters may cost. Raises ``ValueError`` for what may take for ever."""
    groups, length, before = [[1.0]], 0, ""  # by open group: the choices in each of its alternatives so far
    for place, token in enumerate(tokens):
        kind = token.lastgroup or ""
        match kind:
            case "escape" if token[0][1] in "123456789":
                raise ValueError("a back reference, which may take for ever")
            case "special":
                raise ValueError("only (…), (?:…) and (?P<name>…) are allowed, and (?i) at the very beginning")
            case "open":
                groups.append([1.0])
            case "bar":
                groups[-1].append(1.0)
            case "plain" | "escape" if place and token[0] == tokens[place - 1][0]:
                length += 5  # "aaaa": a text of these is compared with all of them at every place
            case "close":
                inside = sum(groups.pop())
                groups[-1][-1] *= inside
            case "repeat":
                low, high = _counts(token)
                if before == "close" and (low, high) != (0, 1):
                    raise ValueError("a group that is repeated, which may take for ever: only ? may stand behind one")
                length += low
                if before == "close" or any(t.lastgroup != "close" for t in tokens[place + 1 :]):
                    groups[-1][-1] *= high - low + 1
        before = kind
    anchored = bool(tokens) and tokens[0][0] in {"^", r"\A"} and len(groups[0]) == 1
    return (1 if anchored else CHARS_MAX) * sum(groups[0]) * (1 + length / 100)


def _counts(token: re.Match[str]) -> tuple[int, int]:
    """How often at least and at most; more than the text has characters counts as that."""
    if token[0][0] != "{":
        return {"*": (0, CHARS_MAX), "+": (1, CHARS_MAX), "?": (0, 1)}[token[0][0]]
    low = min(int(token["low"] or 0), CHARS_MAX)
    high = int(token["high"] or CHARS_MAX) if token["comma"] else low
    return low, min(high, CHARS_MAX)


def _prefix(tokens: list[re.Match[str]]) -> str:
    """The plain text at the beginning, as far as nothing about it is open."""
    depth, found = 0, ""
    for token in tokens:
        depth += {"open": 1, "close": -1}.get(token.lastgroup or "", 0)
        if token.lastgroup == "bar" and depth == 0:
            return ""
    for token in tokens:
        if token.lastgroup == "plain" and token[0] not in ".^$":
            found += token[0]
        elif token.lastgroup == "escape" and not token[0][1].isalnum():
            found += token[0][1]
        else:
            return found[:-1] if token.lastgroup == "repeat" else found
    return found
