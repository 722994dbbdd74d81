"""Patterns from a policy: those that no text can keep busy."""

from __future__ import annotations

import time

import pytest

from rollguard.core.patterns import CHARS_MAX, PLACES_MAX, capturing, pattern

USUAL = [
    r"\berror\b",
    r"(?i)unhandled",
    r"(error|fatal|panic): .*nil",
    r"^\S+ \S+ ERROR",
    r"HTTP 5\d\d",
    r"status=5\d\d .* path=/api/\S+",
    r"foo.*|bar.*x|baz.*y",
    r"took \d{4,6} ?ms",
    r"(?P<kind>Type|Range)?Error",
    r"[)(|*]+ at",
    r"x{}y{z",
]


@pytest.mark.parametrize("text", USUAL)
def test_a_usual_pattern_passes(text: str) -> None:
    pattern(text)


@pytest.mark.parametrize(
    "text, why",
    [
        (r"(a+)+$", "a group that is repeated"),
        (r"(a|a)*b", "a group that is repeated"),
        (r"(?:a?){50}b", "a group that is repeated"),
        (r".*.*x", "busy for long"),
        (r"\w+\s*=\s*\w+;", "busy for long"),
        (r"x{2,}y{1,}z", "busy for long"),
        ("a?" * 30 + "b", "busy for long"),
        ("(a|b)" * 20 + "c", "busy for long"),
        (r"(a)\1", "a back reference"),
        (r"(?=a)b", "only (…)"),
        (r"(?<!a)b", "only (…)"),
        (r"(?x) a", "only (…)"),
        (r"a(?#b)", "only (…)"),
        (r"(((", "not a regular expression"),
        (r"a{99999999999999999999}", "not a regular expression"),
        (r"*", "not a regular expression"),
        ("a" * 301, "more than 300 characters"),
    ],
)
def test_a_pattern_that_may_take_for_ever_is_refused_with_the_reason(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as refused:
        pattern(text)
    assert why in str(refused.value)


@pytest.mark.parametrize("text", [*USUAL, r"a?.*b", r"(a|aa|aaa|a|a|a|a|a).*b", r"a{0,8}.*b", r"^a*a*b"])
@pytest.mark.parametrize("hostile", ["a" * 10**6, "error: " * 10**5, "5 " * 10**6, "foobarbaz" * 10**5, "(" * 10**6])
def test_no_text_keeps_a_pattern_that_passed_busy(text: str, hostile: str) -> None:
    allowed, began = pattern(text), time.process_time()
    allowed.found(hostile)
    assert time.process_time() - began < 2  # some 0.1 s in truth


def test_only_the_first_characters_of_a_text_are_seen() -> None:
    assert pattern("x$").found("a" * (CHARS_MAX - 1) + "x")
    assert not pattern("x").found("a" * CHARS_MAX + "x")


@pytest.mark.parametrize(
    "text, prefix",
    [
        ("abc", "abc"),
        (r"\(abc\) [0-9]", "(abc) "),
        ("abc?d", "ab"),
        ("abc*", "ab"),
        ("ab(c)", "ab"),
        ("^ab", ""),
        ("ab|cd", ""),
        ("(?i)ab", ""),
        (r"ab\d", "ab"),
        ("abc(d|e)f", "abc"),
    ],
)
def test_the_prefix_is_what_every_match_begins_with(text: str, prefix: str) -> None:
    assert pattern(text).prefix == prefix


CSRF = r'name="csrf" value="([^"]+)"'


def test_a_value_is_captured_anywhere_in_a_page() -> None:
    page = 'name="csrf" content="no"' + "x" * 300_000 + 'name="csrf" value="t0ken"'
    assert capturing(CSRF).group(page) == "t0ken"
    assert capturing(CSRF).group("name=csrf") is None
    assert capturing("abc(d)?e").group("abce") is None


def test_a_page_full_of_beginnings_is_given_up_soon() -> None:
    began = time.process_time()
    assert capturing(r"abc(.+)!").group("abc" * 350_000) is None
    assert time.process_time() - began < 2
    assert capturing(r"abc(\d)").group("abc" * PLACES_MAX + "abc1") is None
    assert capturing(r"abc(\d)").group("abc" * (PLACES_MAX - 1) + "abc1") == "1"


@pytest.mark.parametrize(
    "text, why",
    [("abc", "needs one group"), ("abc(a)(b)", "has 2"), ("(abc)", "must begin with 3"), ("ab(c)", "must begin with")],
)
def test_a_pattern_to_capture_with_has_one_group_behind_plain_text(text: str, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        capturing(text)


def test_a_long_run_of_one_character_behind_an_open_repeat_is_refused() -> None:
    """A text of that character is compared with the whole run at every place: 2000 * 2000 * 250 times."""
    with pytest.raises(ValueError, match="keep this pattern busy"):
        pattern("a*" + "a" * 250 + "b")
    assert pattern(r"^=====.*=====$").found("===== it failed =====")
