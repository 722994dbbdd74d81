"""The hub keeps issues as GitHub does: found by label and state, paged, commented, closed."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from rollguard.localfly.http1 import Request, Response
from rollguard.localfly.hub import TOKEN, Hub
from rollguard.localfly.stand_in import Notebook

ISSUES = "/repos/acme/shop/issues"
BAD = {"title": "Release v42 is bad", "body": "12 % errors", "labels": ["production", "automated"]}


class Desk:
    """A hub and what it wrote down."""

    def __init__(self, **options: Any) -> None:
        self.file = io.StringIO()
        self.hub = Hub(Notebook(self.file), **options)

    async def call(self, method: str, target: str, body: Any = None, **headers: str | None) -> Response:
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        named = {"host": "hub:1", "user_agent": "test", "authorization": f"Bearer {TOKEN}", **headers}
        pairs = [(name.replace("_", "-"), value) for name, value in named.items() if value is not None]
        return await self.hub.answer(Request(method, target, pairs, raw))

    async def ask(self, method: str, target: str, body: Any = None, status: int = 200) -> Any:
        answer = await self.call(method, target, body)
        assert answer.status == status, answer.body
        return json.loads(answer.body)

    @property
    def written(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.file.getvalue().splitlines()]


async def test_an_issue_is_opened_commented_and_closed() -> None:
    desk = Desk()
    issue = await desk.ask("POST", ISSUES, BAD, 201)
    assert (issue["number"], issue["state"], issue["closed_at"]) == (1, "open", None)
    assert [label["name"] for label in issue["labels"]] == BAD["labels"]
    comment = await desk.ask("POST", f"{ISSUES}/1/comments", {"body": "rolled back"}, 201)
    assert comment["issue_url"].endswith("/issues/1")
    closed = await desk.ask("PATCH", f"{ISSUES}/1", {"state": "closed", "state_reason": "completed"})
    assert (closed["state"], closed["state_reason"], closed["comments"]) == ("closed", "completed", 1)
    assert closed["closed_at"]
    assert await desk.ask("GET", f"{ISSUES}/1") == closed
    assert [comment["body"] for comment in await desk.ask("GET", f"{ISSUES}/1/comments")] == ["rolled back"]
    told = [(entry["did"], entry["repo"], entry["number"]) for entry in desk.written]
    assert told == [(did, "acme/shop", 1) for did in ("create", "comment", "update")]
    assert desk.written[0]["title"] == BAD["title"]


async def test_a_list_is_of_open_issues_with_all_the_labels_newest_first() -> None:
    desk = Desk()
    for labels in (["production"], ["production", "Automated"], [{"name": "production"}, {"name": "automated"}]):
        await desk.ask("POST", ISSUES, {"title": "x", "labels": labels}, 201)
    await desk.ask("PATCH", f"{ISSUES}/2", {"state": "closed"})

    async def numbers(query: str) -> list[int]:
        return [issue["number"] for issue in await desk.ask("GET", f"{ISSUES}?{query}")]

    assert await numbers("") == [3, 1]
    assert await numbers("labels=production,automated") == [3]
    assert await numbers("labels=production,automated&state=all") == [3, 2]
    assert await numbers("state=closed") == [2]
    assert await numbers("state=all&direction=asc") == [1, 2, 3]
    assert await desk.ask("GET", "/repos/acme/other/issues") == []


async def test_a_long_list_comes_in_pages_that_link_to_each_other() -> None:
    desk = Desk()
    for number in range(5):
        await desk.ask("POST", ISSUES, {"title": str(number)}, 201)
    seen: list[str] = []
    target = f"{ISSUES}?per_page=2&state=open"
    for _ in range(3):
        answer = await desk.call("GET", target)
        seen += [issue["title"] for issue in json.loads(answer.body)]
        links = links_of(answer)
        target = links.get('rel="next"', "").removeprefix("http://hub:1")
    assert seen == ["4", "3", "2", "1", "0"]
    assert set(links) == {'rel="prev"', 'rel="first"'}
    assert json.loads((await desk.call("GET", f"{ISSUES}?page=99")).body) == []
    assert (await desk.call("GET", f"{ISSUES}?per_page=100")).header("link") is None


def links_of(answer: Response) -> dict[str, str]:
    """The neighbours of a page by what they are."""
    pairs = [link.split("; ") for link in (answer.header("link") or "").split(", ")]
    return {rel: url.strip("<>") for url, rel in pairs}


async def test_every_page_is_bounded_whatever_is_asked() -> None:
    desk = Desk()
    for number in range(101):
        await desk.ask("POST", ISSUES, {"title": str(number)}, 201)
    for query, count in (("", 30), ("?per_page=1000", 100), ("?per_page=x", 30), ("?per_page=0", 1)):
        assert len(await desk.ask("GET", ISSUES + query)) == count


async def test_an_issue_can_be_opened_again() -> None:
    desk = Desk()
    await desk.ask("POST", ISSUES, BAD, 201)
    await desk.ask("PATCH", f"{ISSUES}/1", {"state": "closed", "state_reason": "not_planned"})
    issue = await desk.ask("PATCH", f"{ISSUES}/1", {"state": "open"})
    assert (issue["state"], issue["state_reason"], issue["closed_at"]) == ("open", "reopened", None)


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": None}, 401),
        ({"authorization": "Bearer other"}, 401),
        ({"authorization": f"token {TOKEN}"}, 200),
        ({"user_agent": None}, 403),
        ({"x_github_api_version": "1999-01-01"}, 400),
        ({"x_github_api_version": "2022-11-28"}, 200),
    ],
)
async def test_who_asks_must_be_known_and_say_who_it_is(headers: dict[str, str | None], status: int) -> None:
    answer = await Desk().call("GET", ISSUES, **headers)
    assert answer.status == status
    assert (b"message" in answer.body) is (status != 200)


@pytest.mark.parametrize(
    ("method", "target", "body", "status"),
    [
        ("POST", ISSUES, b"{", 400),
        ("POST", ISSUES, b"[" * 100_000, 400),
        ("POST", ISSUES, [], 400),
        ("POST", ISSUES, {}, 422),
        ("POST", ISSUES, {"title": ""}, 422),
        ("POST", ISSUES, {"title": "x" * 257}, 422),
        ("POST", ISSUES, {"title": "x", "body": "x" * 65_537}, 422),
        ("POST", ISSUES, {"title": "x", "labels": "production"}, 422),
        ("POST", ISSUES, {"title": "x", "labels": [{}]}, 422),
        ("PATCH", f"{ISSUES}/1", {"state": "gone"}, 422),
        ("PATCH", f"{ISSUES}/1", {"state": ["closed"]}, 422),
        ("PATCH", f"{ISSUES}/1", {"state_reason": "bored"}, 422),
        ("POST", f"{ISSUES}/1/comments", {}, 422),
        ("GET", f"{ISSUES}?state=odd", None, 422),
        ("GET", f"{ISSUES}/2", None, 404),
        ("PATCH", f"{ISSUES}/2", {}, 404),
        ("POST", f"{ISSUES}/2/comments", {"body": "x"}, 404),
        ("DELETE", f"{ISSUES}/1", None, 404),
        ("GET", "/repos/acme", None, 404),
        ("GET", f"{ISSUES}/comments", None, 404),
    ],
)
async def test_what_makes_no_sense_is_refused_and_changes_nothing(
    method: str, target: str, body: Any, status: int
) -> None:
    desk = Desk()
    before = await desk.ask("POST", ISSUES, BAD, 201)
    answer = await desk.call(method, target, body)
    assert answer.status == status
    assert json.loads(answer.body)["message"]
    assert await desk.ask("GET", f"{ISSUES}/1") == before
    assert len(desk.written) == 1


async def test_where_repositories_are_named_there_are_no_others() -> None:
    desk = Desk(repos=["acme/shop"])
    assert (await desk.call("GET", ISSUES)).status == 200
    assert (await desk.call("GET", "/repos/acme/other/issues")).status == 404


async def test_its_next_life_knows_the_issues_of_the_last() -> None:
    before = Desk()
    await before.ask("POST", ISSUES, BAD, 201)
    await before.ask("POST", f"{ISSUES}/1/comments", {"body": "x"}, 201)
    await before.ask("PATCH", f"{ISSUES}/1", {"state": "closed"})
    after = Desk()
    after.hub = Hub(Notebook(after.file, before.written))
    assert await after.ask("GET", f"{ISSUES}/1") == await before.ask("GET", f"{ISSUES}/1")
    assert (await after.ask("POST", ISSUES, BAD, 201))["number"] == 2
