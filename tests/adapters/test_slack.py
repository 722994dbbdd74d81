"""One message an incident in Slack, the rest in its thread; whatever Slack says, the words get there or wait."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.adapters.notify.slack import PLAIN, SlackNotifier, message_of
from rollguard.core.pages import Kind, Page, Severity
from rollguard.errors import Refused, Unavailable
from rollguard.ports import HttpAnswer
from tests.stand_ins import ENVIRON, SLACK, Town

PAGE = Page(
    key="rollguard/shop/i-1",
    target="shop",
    summary="shop: rolling back v42 to v41: 36.6 % of requests fail",
    at=1_787_313_600.0,
    details=(("value", "36.6 %"), ("limit", "10 %")),
    link="https://runbook.test/rollback",
)
RESOLVED = replace(PAGE, summary="shop: restored on v41", resolve=True, severity=Severity.INFO)
HOSTILE = "<!channel> <@U1> <https://evil.test|click> & *bold* @here #general `code`"


def slack(town: Town, environ: dict[str, str] = ENVIRON) -> SlackNotifier:
    return SlackNotifier("slack", SLACK, town, environ)


def said(error: str, **headers: str) -> HttpAnswer:
    return HttpAnswer(200, headers, json.dumps({"ok": False, "error": error}).encode())


class Scripted:
    """A ``Town.meet`` that answers the next requests to a method of Slack itself."""

    def __init__(self, method: str, *answers: HttpAnswer | Exception) -> None:
        self.method, self.answers = method, list(answers)

    async def __call__(self, method: str, url: str, answer: HttpAnswer | None) -> HttpAnswer | None:
        if answer is not None or not url.endswith(self.method) or not self.answers:
            return None
        first = self.answers.pop(0)
        if isinstance(first, Exception):
            raise first
        return first


def shown(entry: dict[str, Any]) -> str:
    """All words of a message's blocks."""
    blocks = entry["blocks"]
    texts = [b["text"]["text"] if "text" in b else b["elements"][0]["text"] for b in blocks]
    return "\n".join(texts)


async def test_an_incident_is_one_message_with_its_story_in_the_thread() -> None:
    town = Town()
    thread = await slack(town).send(PAGE)
    assert await slack(town).send(replace(PAGE, kind=Kind.ACKNOWLEDGE, summary="shop: ada is at it"), thread) == thread
    assert await slack(town).send(RESOLVED, thread) == thread
    root, *later = town.written("chat")
    assert (root["did"], root["to"], root["thread_ts"]) == ("post", "#engineering", None)
    assert [(entry["did"], entry["thread_ts"] or entry["ts"]) for entry in later] == [
        ("post", root["ts"]),
        ("update", root["ts"]),
    ] * 2
    assert "limit: 10 %" in shown(root)
    assert "<https://runbook.test/rollback|What to do>" in shown(root)


async def test_the_first_message_shows_how_it_stands_now_and_how_it_began() -> None:
    town = Town()
    await slack(town).send(RESOLVED, await slack(town).send(PAGE))
    update = town.written("chat")[-1]
    assert update["text"] == "✅ shop: restored on v41"
    assert f"It began 12:00:00Z {PAGE.summary}" in shown(update)


async def test_a_first_message_that_cannot_be_changed_costs_nothing_and_repeats_nothing() -> None:
    for failure in (said("cant_update_message"), HttpAnswer(500, {}, b""), Unavailable("timeout")):
        town = Town(Scripted("chat.update", failure))
        thread = await slack(town).send(PAGE)
        assert await slack(town).send(RESOLVED, thread) == thread
        assert [entry["did"] for entry in town.written("chat")] == ["post", "post"]


async def test_no_page_takes_more_than_two_calls() -> None:
    town = Town()
    thread = await slack(town).send(PAGE)
    assert len(town.asked) == 1
    await slack(town).send(RESOLVED, thread)
    assert len(town.asked) == 3


@pytest.mark.parametrize("word", ["thread_not_found", "message_not_found"])
async def test_a_thread_that_was_deleted_is_begun_anew(word: str) -> None:
    town = Town(Scripted("chat.postMessage", said(word)))
    thread = await slack(town).send(RESOLVED, "C0123456789:1.000001:12:00:00Z gone")
    [entry] = town.written("chat")
    assert entry["thread_ts"] is None
    assert thread.split(":")[:2] == [entry["channel"], entry["ts"]]


async def test_an_acknowledgement_of_nothing_is_not_said() -> None:
    town = Town()
    assert await slack(town).send(replace(PAGE, kind=Kind.ACKNOWLEDGE)) == ""
    assert not town.asked


@pytest.mark.parametrize(
    "word", ["channel_not_found", "invalid_auth", "not_authed", "is_archived", "missing_scope", "fatal_error", "☃"]
)
async def test_what_a_person_or_time_can_mend_keeps_the_message_waiting(word: str) -> None:
    with pytest.raises(Unavailable, match=rf"^slack says {word}"):
        await slack(Town(Scripted("chat.postMessage", said(word)))).send(PAGE)


async def test_the_stand_in_s_own_refusals_say_what_to_do() -> None:
    with pytest.raises(Unavailable, match=r"slack says invalid_auth \(set the token of the bot"):
        await slack(Town(), ENVIRON | {"SLACK": "xoxb-wrong"}).send(PAGE)
    with pytest.raises(Unavailable, match="SLACK is missing or empty"):
        await slack(Town(), {}).send(PAGE)


@pytest.mark.parametrize(
    "answer",
    [said("ratelimited", **{"retry-after": "17"}), HttpAnswer(429, {"retry-after": "17"}, b"")],
    ids=["in words", "by status"],
)
async def test_the_wait_that_slack_asks_for_is_passed_on(answer: HttpAnswer) -> None:
    with pytest.raises(Unavailable) as told:
        await slack(Town(Scripted("chat.postMessage", answer))).send(PAGE)
    assert told.value.retry_after_s == 17.0


async def test_where_slack_does_not_like_the_form_the_words_are_sent_alone() -> None:
    town = Town(Scripted("chat.postMessage", said("invalid_blocks")))
    await slack(town).send(PAGE)
    [entry] = town.written("chat")
    assert (entry["blocks"], entry["text"]) == ([], f"🔴 {PAGE.summary}")
    with pytest.raises(Refused, match="msg_too_long"):
        await slack(Town(Scripted("chat.postMessage", said("invalid_blocks"), said("msg_too_long")))).send(PAGE)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"[" * 100_000, b'{"ok": 1}', b'{"error": {"a": 1}}'])
async def test_an_answer_that_is_no_yes_is_none(body: bytes) -> None:
    with pytest.raises(Unavailable):
        await slack(Town(Scripted("chat.postMessage", HttpAnswer(200, {}, body)))).send(PAGE)


@pytest.mark.parametrize("ts", ["", 17, None, "x" * 101, "1:2"])
async def test_a_message_that_cannot_be_found_again_was_delivered_all_the_same(ts: object) -> None:
    answer = HttpAnswer(200, {}, json.dumps({"ok": True, "channel": "C1", "ts": ts}).encode())
    assert await slack(Town(Scripted("chat.postMessage", answer))).send(PAGE) == ""


def test_the_app_s_words_are_words_no_mention_no_link_no_formatting() -> None:
    page = replace(PAGE, summary=HOSTILE, details=((HOSTILE, HOSTILE),), link=f"https://x.test/{HOSTILE}")
    message = message_of(page, began=HOSTILE)
    assert "<" not in message["text"]
    assert (PLAIN["mrkdwn"], message["parse"]) == (False, "none")
    kinds = [block["text"]["type"] if "text" in block else block["elements"][0]["type"] for block in message["blocks"]]
    assert set(kinds) == {"plain_text"}


def test_follow_ups_say_when_they_are_due_in_their_details_and_not_the_whole_document() -> None:
    page = replace(PAGE, kind=Kind.FOLLOW_UP, text="# Post-mortem\n" * 1000, details=(("due", "tomorrow"),))
    assert len(json.dumps(message_of(page))) < 3000


@given(st.text(max_size=40).map(lambda t: t * 300), st.integers(0, 40))
def test_no_page_is_larger_than_slack_takes(words: str, lines: int) -> None:
    message = message_of(replace(PAGE, summary=words, details=((words[:50], words),) * lines), began=words[:300])
    blocks = message["blocks"]
    assert len(blocks) <= 50
    assert all(0 < len(b["text"]["text"].encode("utf-16-le", "replace")) // 2 <= 3000 for b in blocks if "text" in b)
    assert len(message["text"]) <= 40_000
