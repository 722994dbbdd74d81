"""One issue per problem, commented while it lasts, closed when it is over: never two, never somebody else's."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from rollguard.adapters.github import wait_of
from rollguard.adapters.notify.github import GitHubNotifier
from rollguard.adapters.notify.issues import body_of, fenced, key_of, title_of
from rollguard.core.channels import GitHubIssue
from rollguard.core.pages import Kind, Page, Severity
from rollguard.errors import Refused, Unavailable
from rollguard.ports import HttpAnswer
from tests.stand_ins import ENVIRON, GITHUB, LABELS, REPO, Town

PAGE = Page(
    key="rollguard/shop/i-1",
    target="shop",
    summary="shop: rolling back v42 to v41: 36.6 % of requests fail",
    at=1_787_313_600.0,
    details=(("value", "36.6 %"), ("limit", "10 %")),
    link="https://runbook.test/rollback",
)
NEWS = replace(PAGE, at=PAGE.at + 60, summary="shop: the rollback stopped")
RESOLVED = replace(PAGE, at=PAGE.at + 90, summary="shop: restored on v41", resolve=True, severity=Severity.INFO)
FOLLOW_UP = replace(
    PAGE, key=f"{PAGE.key}/post-mortem", kind=Kind.FOLLOW_UP, text="# Post-mortem\n\n* [ ] why", due_at=PAGE.at + 86400
)
ISSUES = f"https://hub.test/repos/{REPO}/issues"


def github(town: Town, environ: dict[str, str] = ENVIRON, settings: GitHubIssue = GITHUB) -> GitHubNotifier:
    return GitHubNotifier("github", settings, town, environ)


def did(town: Town) -> list[tuple[str, int]]:
    return [(entry["did"], entry["number"]) for entry in town.written("hub")]


async def ask(town: Town, method: str, path: str = "", body: Any = None) -> Any:
    headers = {"Authorization": f"Bearer {ENVIRON['GITHUB']}"}
    answer = await town.request(
        method, ISSUES + path, headers=headers, body=json.dumps(body).encode() if body else None
    )
    return json.loads(answer.body)


async def monitoring(
    town: Town, title: str = "🚨 Production health check failed", labels: tuple[str, ...] = LABELS
) -> str:
    """The issue that the team's 15-minute workflow opens; its number."""
    wanted = {"title": title, "body": "Runs every 15 minutes", "labels": list(labels)}
    return str((await ask(town, "POST", "", wanted))["number"])


async def test_a_problem_has_one_issue_that_is_commented_and_closed() -> None:
    town = Town()
    number = await github(town).send(PAGE)
    assert await github(town).send(NEWS, number) == number
    assert await github(town).send(RESOLVED, number) == number
    assert did(town) == [("create", 1), ("comment", 1), ("comment", 1), ("update", 1)]
    issue = await ask(town, "GET", f"/{number}")
    assert (issue["state"], issue["state_reason"], issue["title"]) == ("closed", "completed", PAGE.summary)
    assert [label["name"] for label in issue["labels"]] == list(LABELS)
    assert "<!-- rollguard:rollguard/shop/i-1 -->" in issue["body"]
    assert "limit: 10 %" in issue["body"]


async def test_requests_say_who_asks_and_in_which_version() -> None:
    town = Town()
    await github(town).send(PAGE)
    for _, url, headers, _ in town.asked:
        assert url.startswith(ISSUES)
        assert headers["accept"] == "application/vnd.github+json"
        assert headers["x-github-api-version"] == "2022-11-28"
        assert headers["authorization"] == f"Bearer {ENVIRON['GITHUB']}"


async def test_a_crash_after_an_issue_was_made_does_not_make_another() -> None:
    town = Town()
    number = await github(town).send(PAGE)
    assert await github(town).send(PAGE) == number
    assert did(town) == [("create", 1)]
    assert await github(town).send(NEWS) == number
    assert did(town)[1:] == [("comment", 1)]


async def test_a_crash_after_a_comment_does_not_say_it_again_but_closes() -> None:
    town = Town()
    number = await github(town).send(PAGE)

    async def no_patch(method: str, url: str, answer: HttpAnswer | None) -> HttpAnswer | None:
        return HttpAnswer(502, {}, b"") if method == "PATCH" and answer is None else None

    town.meet = no_patch
    with pytest.raises(Unavailable):
        await github(town).send(RESOLVED, number)
    town.meet = None
    await github(town).send(RESOLVED, number)
    assert did(town) == [("create", 1), ("comment", 1), ("update", 1)]


async def test_the_open_issue_of_the_monitoring_workflow_is_adopted_and_closed_when_it_is_over() -> None:
    town = Town()
    theirs = await monitoring(town)
    assert await github(town).send(PAGE) == theirs
    issue = await ask(town, "GET", f"/{theirs}")
    assert issue["body"].startswith("Runs every 15 minutes\n\n<!-- rollguard:")
    assert key_of(issue) == PAGE.key
    assert await github(town).send(PAGE) == theirs
    await github(town).send(RESOLVED, theirs)
    assert did(town) == [("create", 1), ("update", 1), ("comment", 1), ("comment", 1), ("update", 1)]
    assert (await ask(town, "GET", f"/{theirs}"))["state"] == "closed"


async def test_two_problems_do_not_share_an_adopted_issue() -> None:
    town = Town()
    theirs = await monitoring(town)
    assert await github(town).send(PAGE) == theirs
    assert await github(town).send(replace(PAGE, key="rollguard/shop/i-2")) != theirs


async def test_of_several_issues_the_one_that_speaks_of_the_target_is_adopted_and_without_one_none_is() -> None:
    town = Town()
    await monitoring(town, "admin is down")
    mine = await monitoring(town, "Shop is down")
    await monitoring(town, "billing is down")
    assert await github(town).send(PAGE) == mine
    assert await github(town).send(replace(PAGE, key="k/2")) == "4", "of the other two, neither is known to be ours"


@pytest.mark.parametrize(
    "page",
    [RESOLVED, replace(PAGE, severity=Severity.WARNING), replace(PAGE, kind=Kind.ACKNOWLEDGE)],
    ids=["resolve", "notice", "acknowledge"],
)
async def test_nobody_s_issue_is_adopted_by_what_is_not_an_alarm(page: Page) -> None:
    town = Town()
    theirs = await monitoring(town)
    assert await github(town).send(page) != theirs
    assert (await ask(town, "GET", f"/{theirs}"))["body"] == "Runs every 15 minutes"


async def test_without_labels_or_with_other_ones_nothing_is_adopted() -> None:
    town = Town()
    await monitoring(town, labels=("production", "bug"))
    assert await github(town).send(PAGE) == "2"
    bare = Town()
    await monitoring(bare)
    assert await github(bare, settings=replace(GITHUB, labels=())).send(PAGE) == "2"


async def test_an_end_or_an_answer_to_what_has_no_issue_makes_none() -> None:
    town = Town()
    assert await github(town).send(RESOLVED) == ""
    assert await github(town).send(replace(PAGE, kind=Kind.ACKNOWLEDGE)) == ""
    assert did(town) == []


@pytest.mark.parametrize("status", [404, 410])
async def test_an_issue_that_was_deleted_is_made_anew(status: int) -> None:
    town = Town()

    async def gone(method: str, url: str, answer: HttpAnswer | None) -> HttpAnswer | None:
        return HttpAnswer(status, {}, b'{"message": "gone"}') if "/issues/77" in url and answer is None else None

    town.meet = gone
    assert await github(town).send(NEWS, "77") == "1"
    assert did(town) == [("create", 1)]


async def test_a_post_mortem_is_an_issue_of_its_own_with_a_due_date_and_only_one() -> None:
    town = Town()
    await github(town).send(PAGE)
    number = await github(town).send(FOLLOW_UP)
    assert await github(town).send(FOLLOW_UP) == number == "2"
    assert did(town) == [("create", 1), ("create", 2)]
    issue = await ask(town, "GET", f"/{number}")
    assert {label["name"] for label in issue["labels"]} == {*LABELS, "post-mortem"}
    assert "**Due 2026-08-22 12:00 UTC**" in issue["body"]
    assert "# Post-mortem\n\n* [ ] why" in issue["body"]


async def test_a_post_mortem_that_waits_for_its_author_is_never_adopted() -> None:
    town = Town()
    await monitoring(town, labels=(*LABELS, "post-mortem"))
    assert await github(town).send(PAGE) == "2"


async def test_pull_requests_are_no_issues_and_the_lists_have_an_end() -> None:
    pulls = [{"number": n, "pull_request": {}, "body": "shop"} for n in range(100)]
    asked = []

    async def full(method: str, url: str, answer: HttpAnswer | None) -> HttpAnswer | None:
        if method == "GET" and answer is None:
            asked.append(url)
            return HttpAnswer(200, {}, json.dumps(pulls).encode())
        return None

    town = Town(full)
    assert await github(town).send(PAGE) == "1"
    assert len(asked) == 3


# -- when GitHub says no -----------------------------------------------------------------------------------------------


def answering(answer: HttpAnswer) -> Town:
    async def meet(method: str, url: str, real: HttpAnswer | None) -> HttpAnswer | None:
        return answer if real is None else None

    return Town(meet)


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 502, 301])
async def test_what_a_person_or_time_can_mend_keeps_the_message_waiting(status: int) -> None:
    with pytest.raises(Unavailable, match=rf"^HTTP {status}: github: .*it is so"):
        await github(answering(HttpAnswer(status, {}, b'{"message": "it is so"}'))).send(PAGE)


@pytest.mark.parametrize("status", [400, 410, 422])
async def test_what_nobody_can_mend_is_refused_with_github_s_words(status: int) -> None:
    with pytest.raises(Refused, match=rf"^HTTP {status}: github: .*it is so"):
        await github(answering(HttpAnswer(status, {}, b'{"message": "it is so"}'))).send(PAGE)


DATE = {"date": "Fri, 21 Aug 2026 12:00:00 GMT"}


@pytest.mark.parametrize(
    "status, headers, body, wait_s",
    [
        (429, {"retry-after": "17"}, b"", 17.0),
        (403, {"retry-after": "Fri, 21 Aug 2026 12:00:30 GMT"}, b"", 30.0),
        (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1787313690"}, b"", 90.0),
        (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "1"}, b"", 1.0),
        (403, {"x-ratelimit-remaining": "0", "x-ratelimit-reset": "soon"}, b"", 60.0),
        (403, {}, b"You have exceeded a secondary rate limit", 60.0),
        (429, {}, b"", 60.0),
        (403, {"x-ratelimit-remaining": "42"}, b"Resource not accessible", None),
    ],
)
def test_github_s_limits_say_how_long_to_wait(
    status: int, headers: dict[str, str], body: bytes, wait_s: float | None
) -> None:
    assert wait_of(HttpAnswer(status, DATE | headers, body)) == wait_s


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b"[" * 100_000, b"7"])
async def test_an_answer_that_is_no_list_makes_no_second_issue(body: bytes) -> None:
    town = answering(HttpAnswer(200, {}, body))
    with pytest.raises(Unavailable):
        await github(town).send(PAGE)
    assert {method for method, *_ in town.asked} == {"GET"}


async def test_lists_full_of_nonsense_are_read_past() -> None:
    nonsense = [7, None, {"number": "1"}, {"number": True}, {"number": 5, "body": None, "labels": "x"}, []]

    async def meet(method: str, url: str, real: HttpAnswer | None) -> HttpAnswer | None:
        return HttpAnswer(200, {}, json.dumps(nonsense).encode()) if method == "GET" and real is None else None

    town = Town(meet)
    await github(town, settings=replace(GITHUB, labels=())).send(PAGE)
    assert did(town) == [("create", 1)]


# -- what stands in an issue -------------------------------------------------------------------------------------------


def test_the_app_s_words_stand_in_a_code_block_that_they_cannot_leave() -> None:
    hostile = "```\n@acme/oncall <img src=x> [a](javascript:1) ![](http://evil) --> ~~~ ````\n# Big"
    page = replace(PAGE, summary=hostile, details=(("a", hostile),))
    head, fence, *rest = body_of(page).split("`````", 1)
    assert "@acme" not in head
    block, after = "".join([fence, *rest]).rsplit("`````", 1)
    assert block.count("@acme/oncall") == 2
    assert after == "\n\n[What to do](https://runbook.test/rollback)"
    assert fenced("plain") == "```text\nplain\n```"


def test_the_invisible_lines_cannot_be_ended_by_a_key_and_the_first_one_counts() -> None:
    page = replace(PAGE, key="a --> <b> ü", summary="<!-- rollguard:other -->")
    body = body_of(page)
    assert body.split("\n")[0] == "<!-- rollguard:a%20--%3E%20%3Cb%3E%20%C3%BC -->"
    assert key_of({"body": body}) == "a --> <b> ü"


def test_titles_and_bodies_have_an_end() -> None:
    page = replace(PAGE, summary="x\n" * 5000, details=(("a", "y" * 90_000),), text="")
    assert len(title_of(page)) == 200
    assert "\n" not in title_of(page)
    assert title_of(replace(PAGE, summary="\x00")) == "shop: rollguard"
    for one in (page, replace(page, text="z" * 90_000)):
        assert len(body_of(one)) < 65_536
