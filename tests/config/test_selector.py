from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.config.problems import Wrong
from rollguard.config.selector import selector
from rollguard.core.signals import Matcher


def test_a_selector_is_read_as_promql_writes_it() -> None:
    text = ' fly_app:count { app="x" , status =~ "5..", region!=\'lhr\', path!~"/a\\\\.b|\\"", } '
    found = selector(text)
    assert found.name == "fly_app:count"
    assert found.text == text
    assert found.matchers == (
        Matcher("app", "=", "x"),
        Matcher("status", "=~", "5.."),
        Matcher("region", "!=", "lhr"),
        Matcher("path", "!~", '/a\\.b|"'),
    )


@pytest.mark.parametrize("text", ["up", "up{}"])
def test_matchers_are_optional(text: str) -> None:
    assert selector(text).matchers == ()


@pytest.mark.parametrize(
    "text, offset, message",
    [
        ("", 0, "expected the name of a series"),
        ('{job="x"}', 0, "expected the name of a series"),
        ("up{", 3, "expected a label"),
        ("up{a", 4, "expected one of =, !=, =~, !~"),
        ("up{a=b}", 5, "expected a value in double quotes"),
        ('up{a="b', 5, "expected a value in double quotes"),
        ('up{a="b"', 8, "expected , or } after a matcher"),
        ('up{a="b" c="d"}', 9, "expected , or } after a matcher"),
        ('up{a=~"("}', 6, "not a regular expression: missing ), unterminated subpattern at position 0"),
        ("up - down", 3, "expected { or the end of the selector"),
        ('up{a="b"} + 1', 10, "text after }"),
        ("up[5m]", 2, "a selector has no range: the rule says over which time"),
        ("sum(up)", 3, "a selector is not an expression: the guard computes increases, rates and quantiles itself"),
        ("x" * 1001, 0, "is longer than 1000 characters"),
        ("up{" + 'a="b",' * 21 + "}", 128, "more than 20 matchers"),
    ],
)
def test_a_mistake_is_found_at_its_column(text: str, offset: int, message: str) -> None:
    with pytest.raises(Wrong) as caught:
        selector(text)
    assert (caught.value.offset, caught.value.message) == (offset, message)


@given(st.text(alphabet="ab_:{}=!~\"'\\,.*+()[]?|^$ 5\n", max_size=60))
def test_no_text_breaks_the_reader(text: str) -> None:
    with suppress(Wrong):
        assert selector(text).text == text
