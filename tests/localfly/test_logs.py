"""The app's log: who may read it, how it is paged, and that it never grows without end."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rollguard.localfly.http1 import Request
from rollguard.localfly.logs import LogBook
from tests.localfly.simulated import APP, Fly, at, first, image, live, settled

LOGS = f"/api/v1/apps/{APP}/logs"


def book(*messages: str, lines_max: int = 5000) -> LogBook:
    """A log of these lines, all of the same moment."""
    filled = LogBook(lines_max)
    for message in messages:
        filled.add(message, instance="m1", region="ord", now=1000.0)
    return filled


def texts(page: tuple[list[Any], int]) -> list[str]:
    return [line.message for line in page[0]]


def test_without_a_token_the_newest_hundred_come_oldest_first() -> None:
    assert texts(book(*map(str, range(250))).page()) == [str(number) for number in range(150, 250)]


def test_tokens_page_through_every_line_once_and_then_wait_for_more() -> None:
    log = book(*map(str, range(250)))
    seen: list[str] = []
    token = 0
    while texts(page := log.page(token)):
        seen += texts(page)
        token = page[1]
    assert seen == [str(number) for number in range(250)]
    log.add("late", instance="m1", region="ord", now=1000.0)
    assert texts(log.page(token)) == ["late"]


def test_the_token_of_a_filtered_page_skips_the_lines_of_others() -> None:
    log = book("ours")
    log.add("theirs", instance="m2", region="fra", now=1000.0)
    lines, token = log.page(instance="m1")
    assert [line.message for line in lines] == ["ours"]
    assert log.page(token) == ([], token)
    assert texts(log.page(region="fra")) == ["theirs"]


def test_an_empty_log_has_a_token_that_misses_nothing() -> None:
    log = book()
    _, token = log.page()
    log.add("first", instance="m1", region="ord", now=1000.0)
    assert texts(log.page(token)) == ["first"]


def test_only_the_newest_lines_are_kept_and_none_is_endless() -> None:
    log = book("x" * 100_000, "a", "b", lines_max=2)
    assert texts(log.page()) == ["a", "b"]
    log.add("y" * 100_000, instance="m1", region="ord", now=1000.0)
    assert len(texts(log.page())[-1]) == 4000


@pytest.mark.parametrize(
    ("message", "level"),
    [
        ("error: GET / 500", "error"),
        ("info: serves", "info"),
        ("panic: x", "info"),
        ("no level at all", "info"),
        ("", "info"),
    ],
)
def test_the_word_before_the_colon_is_the_level(message: str, level: str) -> None:
    assert book(message).page()[0][0].level == level


def test_a_failed_page_is_a_line_in_the_shape_of_flys_log() -> None:
    async def story(fly: Fly) -> None:
        bad = image("BAD", broken_page="/products")
        fly.world.images.push(bad)
        app = fly.deploy(machines=2, image=bad.ref)
        await settled(app)
        machine = first(app)
        inside = fly.host.app_of(machine.id)
        assert inside is not None
        await inside.answer(Request("GET", "/products?q=1"))
        answer = await fly.get(f"{LOGS}?next_token=&instance={machine.id}&region=ord")
        line = answer["data"][-1]
        assert line["id"] == answer["meta"]["next_token"]
        assert line["attributes"] | {"timestamp": ""} == {
            "timestamp": "",
            "message": "error: GET /products 500 Unexpected Server Error",
            "level": "error",
            "instance": machine.id,
            "region": "ord",
            "meta": {"instance": machine.id, "region": "ord"},
        }
        assert (await fly.get(f"{LOGS}?next_token={answer['meta']['next_token']}"))["data"] == []

    live(story)


def test_an_exit_is_a_line_of_the_platforms_own() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(machines=1)
        await settled(app)
        await fly.call("POST", at(first(app), "/restart"))
        await settled(app)
        said = [line["attributes"]["message"] for line in (await fly.get(LOGS))["data"]]
        assert "Main child exited normally with code: 0" in said

    live(story)


def test_only_a_token_of_the_app_reads_its_log() -> None:
    async def story(fly: Fly) -> None:
        fly.deploy(machines=0)
        assert (await fly.call("GET", LOGS, token="stranger")).status == 401
        assert (await fly.call("GET", "/api/v1/apps/other/logs")).status == 404
        assert (await fly.call("GET", LOGS)).status == 200

    live(story)


@pytest.mark.parametrize("token", ["-1", "x", "1.5", "9" * 5000, "²"])
def test_a_token_that_is_none_is_refused(token: str) -> None:
    async def story(fly: Fly) -> None:
        fly.deploy(machines=0)
        answer = await fly.call("GET", f"{LOGS}?next_token={token}")
        assert answer.status == 400
        assert "next_token" in json.loads(answer.body)["error"]

    live(story)
