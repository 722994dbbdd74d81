"""Whatever an app, a store, a log or a feed says: an answer, or an error that the guard knows."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from yarl import URL

from rollguard.adapters.signals import logs_page, prometheus_wire
from rollguard.adapters.signals.cookies import CookieJar
from rollguard.adapters.signals.journey_expecting import Expectations, Page, Unmet
from rollguard.adapters.signals.journey_filling import fill
from rollguard.core import text
from rollguard.core.signals import Capture, Step, Where
from rollguard.engine.surroundings import incidents
from rollguard.errors import BadAnswer
from rollguard.ports import HttpAnswer

NAMES = st.sampled_from(
    [
        *("data", "attributes", "timestamp", "message", "instance", "id", "meta", "next_token", "incidents", "name"),
        *("status", "result", "metric", "values", "value", "resultType", "warnings", "isPartial", "resolved_at"),
    ]
)
WORDS = st.text(max_size=20) | st.sampled_from(
    ["\ud800", "\x1b[2J", "2026-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "NaN", "1e999", "success", "matrix"]
)
ANY = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**400), 10**400) | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(NAMES, inner, max_size=6),
    max_leaves=15,
)


def wire(document: Any) -> bytes:
    return json.dumps(document).encode()


@given(ANY)
def test_no_shape_of_a_log_is_too_strange(said: Any) -> None:
    line = {"id": said, "attributes": {"timestamp": said, "message": "boom", "instance": said}}
    timely = {"id": said, "attributes": {"timestamp": "2026-01-01T00:00:00Z", "message": "boom", "instance": said}}
    for document in (said, {"data": said}, {"data": [line, timely, said], "meta": {"next_token": said}}):
        with suppress(BadAnswer):
            for some in logs_page.parse(wire(document)).lines:
                text.stamp(some.at).encode()
                some.machine.encode()


@given(ANY, ANY)
def test_no_shape_of_a_stores_answer_is_too_strange(said: Any, more: Any) -> None:
    ones = [{"metric": {"instance": "m1"}, "values": [[said, "1"], [1, more]]}, {"metric": said, "value": [1, "2"]}]
    for kind in ("matrix", "vector", "scalar"):
        for result in (said, ones):
            document = {"status": "success", "data": {"resultType": kind, "result": result}, "warnings": more}
            with suppress(BadAnswer):
                prometheus_wire.parse_result(wire(document))
            prometheus_wire.parse_error(wire(said))


@given(ANY)
def test_no_feed_is_too_strange_and_what_it_says_is_one_harmless_line(said: Any) -> None:
    for line in (*incidents(said), *incidents({"incidents": said}), *incidents({"incidents": [{"name": said}]})):
        assert line.isprintable()
        assert len(line) <= 120


@given(st.text(max_size=60), st.text(max_size=60))
def test_no_cookie_breaks_a_header_or_reaches_another_host(name: str, rest: str) -> None:
    jar = CookieJar()
    jar.take("https://shop.test/x", f"{name}={rest}; Domain=test; expires={rest}\n{rest}; path=/", now=0.0)
    assert jar.header("https://shop.test/x").isprintable()
    assert jar.header("https://other.test/x") == ""


CAPTURED = st.text(min_size=1, max_size=12) | st.lists(
    st.sampled_from(
        [*"./\\@:#?%&=; ", "..", "%2e", "2e", "http://", "evil.test", "\r\n", "\x00", "。", "／", "\u2028"]
    ),
    min_size=1,
    max_size=5,
).map("".join)


@pytest.mark.parametrize("template", ["/a/{v}", "/a/{v}/b", "/{v}", "/a?x={v}&y=1", "?x={v}", "/.{v}x", "/a{v}"])
@settings(max_examples=60)
@given(said=CAPTURED)
def test_a_captured_value_changes_nothing_of_an_address_but_its_own_place(template: str, said: str) -> None:
    step = Step(name="s", url="https://shop.test" + template, capture=(Capture("v", Where.HEADER, "x-v"),))
    with suppress(Unmet):
        known = Expectations(step).captured(Page(HttpAnswer(200, {"x-v": said}, b""), whole=True))
        asked, plain = URL(fill(step, known).url), URL("https://shop.test" + template.replace("{v}", "v"))
        assert (asked.scheme, asked.host, asked.port, asked.user, asked.fragment) == (
            "https",
            "shop.test",
            443,
            None,
            "",
        )
        assert asked.raw_path.count("/") == plain.raw_path.count("/")
        assert asked.query == {name: said if name == "x" else value for name, value in plain.query.items()}
