"""A list is read as any JSON reader would, however much of it was known before; only what changed is read again."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollguard.adapters.fly.listing import Listing
from rollguard.errors import BadAnswer

SCALARS = st.none() | st.booleans() | st.integers() | st.text(max_size=6)
ITEMS = st.dictionaries(st.text(max_size=4), SCALARS | st.lists(SCALARS, max_size=3), max_size=3)
LISTS = st.lists(ITEMS, max_size=5)
SPACES = st.sampled_from([None, 1, "\t"])


def plain() -> Listing[Any]:
    return Listing(lambda document, place, request: document)


@settings(deadline=None)
@given(st.lists(st.tuples(LISTS, SPACES, st.booleans()), min_size=1, max_size=5))
def test_any_sequence_of_lists_is_read_as_each_of_them_alone(lists: list[tuple[list[Any], Any, bool]]) -> None:
    listing = plain()
    for items, indent, ascii_ in lists:
        body = json.dumps(items, indent=indent, ensure_ascii=ascii_).encode()
        assert listing.read(body, "GET x") == items


@settings(deadline=None)
@given(LISTS, st.data())
def test_a_list_that_is_damaged_anywhere_is_read_as_json_would_or_not_at_all(items: list[Any], data: Any) -> None:
    text = json.dumps(items)
    listing = plain()
    listing.read(text.encode(), "GET x")
    place = data.draw(st.integers(0, len(text)))
    damaged = text[:place] + data.draw(st.sampled_from(["", ",", "]", "}", " ", '"', "x"])) + text[place + 1 :]
    try:
        wanted = json.loads(damaged)
    except ValueError:
        wanted = None
    if isinstance(wanted, list) and all(isinstance(item, dict) for item in wanted):
        assert listing.read(damaged.encode(), "GET x") == wanted
    else:
        with pytest.raises(BadAnswer):
            listing.read(damaged.encode(), "GET x")


def test_only_the_items_that_changed_are_read_again() -> None:
    read: list[int] = []

    def translate(document: Any, place: int, request: str) -> Any:
        read.append(place)
        return document["at"]

    listing, items = Listing(translate), [{"at": n} for n in range(4)]
    for changed in ((), (2,), (0, 3)):
        read.clear()
        for place in changed:
            items[place] = {"at": items[place]["at"] + 100}
        assert listing.read(json.dumps(items).encode(), "GET x") == [item["at"] for item in items]
        assert tuple(read) == (changed or (0, 1, 2, 3))
    read.clear()
    assert len(listing.read(json.dumps(items).encode(), "GET x")) == 4
    assert read == []


@pytest.mark.parametrize(
    "body",
    [b"", b"{}", b"[", b"[{}", b"[{},]", b"[,{}]", b"[{}{}]", b"[{}]x", b"[{}][", b"[1]", b"[null]", b"\xff", b"[[]]"],
)
def test_what_is_no_list_of_objects_is_an_error_that_names_the_request(body: bytes) -> None:
    listing = plain()
    assert listing.read(b'[{"a":1}]', "GET x") == [{"a": 1}]
    with pytest.raises(BadAnswer, match="GET x"):
        listing.read(body, "GET x")
    assert listing.read(b'[{"a":1}]', "GET x") == [{"a": 1}]
