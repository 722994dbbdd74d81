"""JSON from strangers: what is read, what is refused, and that neither takes long."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.core.jsontext import KEYS_MAX, PARTS_MAX, parse

MIB_4 = 4 << 20
ANY = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(ANY)
def test_what_was_written_is_read(document: Any) -> None:
    assert parse(json.dumps(document).encode()) == document


@given(st.binary(max_size=60))
def test_no_bytes_are_too_strange(noise: bytes) -> None:
    with suppress(ValueError):
        parse(noise)


@pytest.mark.parametrize("body", [b"", b"<html>", b"\xff", b"[" * 10**5, b"9" * 5000, b'{"a": 1e'])
def test_what_is_no_json_is_refused_in_words_for_people(body: bytes) -> None:
    with pytest.raises(ValueError, match=r"^not JSON, or nested too deep$"):
        parse(body)


def test_numbers_that_are_none_are_refused_only_where_that_is_asked() -> None:
    assert parse(b'{"p95": NaN, "up": 1}')["up"] == 1
    with pytest.raises(ValueError, match="not JSON"):
        parse(b'{"p95": NaN, "up": 1}', strict=True)


@pytest.mark.parametrize(
    "body",
    [
        b"[" + b"[]," * (MIB_4 // 3) + b"1]",
        b"[" + b"{}," * (MIB_4 // 3) + b"1]",
        b"[" + b"1," * (MIB_4 // 2) + b"1]",
        b"{" + b",".join(b'"%x":1' % n for n in range(MIB_4 // 10)) + b"}",
        ("[" + "1," * (MIB_4 // 8) + "1]").encode("utf-32"),
    ],
    ids=["lists", "objects", "numbers", "keys", "in wide characters"],
)
def test_a_document_of_small_parts_is_refused_before_it_is_taken_apart(body: bytes) -> None:
    began = time.process_time()
    with pytest.raises(ValueError, match=r"^JSON with too many values$"):
        parse(body)
    assert time.process_time() - began < 0.1


def test_at_its_bounds_a_document_is_read() -> None:
    assert len(parse(b"[" + b"1," * (PARTS_MAX - 1) + b"1]")) == PARTS_MAX
    assert len(parse(b"{" + b",".join(b'"%x":1' % n for n in range(KEYS_MAX)) + b"}")) == KEYS_MAX
