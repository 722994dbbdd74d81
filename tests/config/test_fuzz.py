"""Whatever a file holds, the answer is a policy or a ``PolicyError``: never a traceback, never a hang."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from rollguard.config.loader import lints, parse_policy
from rollguard.config.problems import PROBLEMS_MAX
from rollguard.errors import PolicyError
from tests.config.policies import FULL, GOOD, RULES

SOUND = st.sampled_from((GOOD, FULL, RULES))
TOKENS = [
    *(
        "{",
        "}",
        "[",
        "]",
        ":",
        "- ",
        ",",
        "? ",
        "&a ",
        "*a",
        "!!int ",
        "|",
        ">",
        "'",
        '"',
        "#",
        "\t",
        "\n",
        "  ",
        "<<:",
    ),
    *("null", "~", "true", "-1", "1e999", ".inf", "0x1F", "9" * 30, "5s", "5%", "${A}", "${B:-x}", "$", "[key]", "?"),
    *(
        "{token}",
        "{a}",
        "(a+)+",
        "\\1",
        "1pp",
        "2026-11-27T00:00Z",
        "18:00",
        "Europe/Berlin",
        "[edge]",
        "https://a.example",
    ),
    *("{a: ", "\x00", "\x85", "\u2028", "\ufeff", "\ud800", "😀", "x" * 3000),
]


def _survives(text: str) -> None:
    problems: tuple[str, ...] = ()
    try:
        lints(parse_policy(text, "p.yaml", {"A": "s3cret\n{"}))
    except PolicyError as error:
        problems = error.problems
        assert problems
    assert len(problems) <= PROBLEMS_MAX + 1
    assert all(problem.startswith("p.yaml:") for problem in problems)
    assert "s3cret" not in "".join(problems)


@given(st.text(max_size=300))
@settings(max_examples=150, deadline=None)
def test_no_text_breaks_the_loader(text: str) -> None:
    _survives(text)


@given(st.lists(st.sampled_from(TOKENS), max_size=60).map("".join))
@settings(max_examples=150, deadline=None)
def test_no_heap_of_yaml_tokens_breaks_the_loader(text: str) -> None:
    _survives(text)


@given(SOUND, st.lists(st.tuples(st.integers(0, len(FULL)), st.sampled_from(TOKENS)), min_size=1, max_size=3))
@settings(max_examples=300, deadline=None)
def test_no_slip_of_the_keyboard_breaks_the_loader(text: str, slips: list[tuple[int, str]]) -> None:
    for at, token in slips:
        text = text[:at] + token + text[at:]
    _survives(text)


@given(SOUND, st.lists(st.integers(0, FULL.count("\n")), min_size=1, max_size=4), st.sampled_from(TOKENS))
@settings(max_examples=300, deadline=None)
def test_no_wrong_value_breaks_the_loader(text: str, numbers: list[int], token: str) -> None:
    lines = text.split("\n")
    for number in (number % len(lines) for number in numbers):
        key, colon, _ = lines[number].partition(":")
        lines[number] = f"{key}{colon} {token}"
    _survives("\n".join(lines))


VALUES = [*re.finditer(r"(?<=[:,\[{] )[^\s,{}\[\]]+", FULL)]


@given(st.lists(st.tuples(st.sampled_from(VALUES), st.sampled_from(TOKENS)), min_size=1, max_size=2))
@settings(max_examples=400, deadline=None)
def test_no_wrong_value_within_a_line_breaks_the_loader(swaps: list[tuple[re.Match[str], str]]) -> None:
    text = FULL
    for found, token in sorted(swaps, key=lambda swap: -swap[0].start()):
        text = text[: found.start()] + token + text[found.end() :]
    _survives(text)
