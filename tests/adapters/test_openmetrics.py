"""The wanted lines of a metrics page, whatever dialect it speaks."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.adapters.signals.openmetrics import LINES_MAX, Line, is_page, parse_labels, wanted


@pytest.mark.parametrize(
    "text, labels, value, at",
    [
        ("hits 1", "", 1.0, None),
        ("hits{} 1", "", 1.0, None),
        ('hits{a="b"} 1.5e3', 'a="b"', 1500.0, None),
        ('hits{a="b",} +7', 'a="b",', 7.0, None),
        ('hits{a="b"}\t1\t1787313600000', 'a="b"', 1.0, 1_787_313_600.0),
        ("hits 1 1787313600.25", "", 1.0, 1_787_313_600.25),
        ('hits{le="1"} 9 # {trace_id="x}"} 0.67 1787313600', 'le="1"', 9.0, None),
        ('hits{le="1"} 9 1787313600 # {trace_id="x"} 0.67', 'le="1"', 9.0, 1_787_313_600.0),
        ('hits{a="} 5 \\" {"} 1\r', 'a="} 5 \\" {"', 1.0, None),
        ("hits +Inf", "", math.inf, None),
        ("hits 1 NaN", "", 1.0, None),
    ],
)
def test_a_line_is_read(text: str, labels: str, value: float, at: float | None) -> None:
    page = wanted(f"# HELP hits The hits.\n# TYPE hits counter\n{text}\nother 3\n# EOF\n".encode(), ["hits"])
    assert page.lines == (Line("hits", labels, value, at),)
    assert page.malformed == 0


def test_not_a_number_is_read_as_such() -> None:
    (line,) = wanted(b"hits NaN\n", ["hits"]).lines
    assert math.isnan(line.value)


@pytest.mark.parametrize(
    "text",
    [
        b"hits\t\n",
        b"hits one\n",
        b"hits 1_000\n",
        b"hits 0x10\n",
        b"hits 1.2.3\n",
        b"hits 1 2 3\n",
        b'hits{a="b" 1\n',
        b'hits{a="b} 1\n',
        b'hits{a="b"}1\n',
        b'hits{a="\xff"} 1\n',
        b"hits 12",
    ],
)
def test_a_malformed_or_cut_line_is_counted_and_the_others_are_read(text: bytes) -> None:
    page = wanted(b"hits 5\nother 1\n" + text, ["hits", "other"])
    assert page.malformed == 1
    assert [line.value for line in page.lines] == [5.0, 1.0]


def test_only_whole_names_are_wanted() -> None:
    page = wanted(b"hits_total 1\nmy_hits 2\nhits_created 3\n# hits 4\nhits 5\n", ["hits"])
    assert [line.value for line in page.lines] == [5.0]


def test_too_many_lines_are_said_not_read() -> None:
    page = wanted(b"hits 1\n" * (LINES_MAX + 1), ["hits"])
    assert page.overfull
    assert len(page.lines) == LINES_MAX


@pytest.mark.parametrize(
    "text, labels",
    [
        ("", {}),
        ('a="1"', {"a": "1"}),
        (' a = "1" , b="2",', {"a": "1", "b": "2"}),
        (r'a="x\\y\"z\n\q"', {"a": 'x\\y"z\n\\q'}),
        ('a="1",a="2"', None),
        ('a="1" b="2"', None),
        ("a=1", None),
        ('a="' + "x" * 5000 + '"', None),
    ],
)
def test_labels_are_read_or_refused(text: str, labels: dict[str, str] | None) -> None:
    assert parse_labels(text) == labels


@pytest.mark.parametrize(
    "body, page",
    [
        (b"", False),
        (b"<html>\n<body>502 Bad Gateway</body></html>\n", False),
        (b'{"status": "error"}\n', False),
        (b"upstream connect error", False),
        (b"# EOF\n", True),
        (b"junk\nup 1\n", True),
    ],
)
def test_a_page_is_told_from_an_error_text(body: bytes, page: bool) -> None:
    assert is_page(body) is page


@given(st.binary(max_size=400))
def test_no_bytes_are_too_strange(noise: bytes) -> None:
    page = wanted(b"hits{" + noise + b"\nhits 1\n", ["hits"])
    assert page.lines[-1].value == 1.0
    is_page(noise)


MIB_4 = 4 << 20


@pytest.mark.parametrize(
    "page",
    [
        b"hits{" + b'a="' * (MIB_4 // 3),
        b"hits{" + b"\\" * MIB_4,
        b"hits{" + b"a" * MIB_4,
        b"hits " + b"1" * MIB_4,
        b"hits" + b" " * MIB_4,
        b"hits 1" + b" " * MIB_4 + b"x",
        b"hits 1 1e" + b"1" * MIB_4 + b"x",
        b"h" * MIB_4,
        b"h\n" * (MIB_4 // 2),
        (b"h" + b" " * 1000 + b"\n") * (MIB_4 // 1002),
    ],
    ids=lambda page: page[:9].decode(),
)
def test_a_hostile_page_of_the_largest_size_costs_no_more_than_its_length(page: bytes) -> None:
    started = time.process_time()
    wanted(page + b"\n", ["hits"])
    is_page(page + b"\n")
    assert time.process_time() - started < 0.15  # some 0.02 s in truth
