"""The chat takes what Slack would take, and says no as Slack does: in an answer of 200."""

from __future__ import annotations

import io
import json
from typing import Any
from urllib.parse import urlencode

import pytest

from rollguard.localfly.chat import TOKEN, Chat, channel_id
from rollguard.localfly.http1 import Request
from rollguard.localfly.stand_in import Notebook

POST, UPDATE = "/api/chat.postMessage", "/api/chat.update"
JSON = "application/json; charset=utf-8"
HELLO = {"channel": "#incidents", "text": "rolling back"}


class Room:
    """A chat and what it wrote down."""

    def __init__(self, **options: Any) -> None:
        self.file = io.StringIO()
        self.chat = Chat(Notebook(self.file), **options)

    async def call(self, path: str, body: Any, *, token: str = TOKEN, kind: str = JSON) -> dict[str, Any]:
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = [("content-type", kind), *([("authorization", f"Bearer {token}")] if token else [])]
        answer = await self.chat.answer(Request("POST", path, headers, raw))
        assert answer.status == 200
        return dict(json.loads(answer.body))

    @property
    def written(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.file.getvalue().splitlines()]


async def test_a_message_gets_a_name_by_which_it_is_threaded_and_updated() -> None:
    room = Room()
    first = await room.call(POST, HELLO)
    assert first["ok"] is True
    assert first["message"]["text"] == "rolling back"
    reply = await room.call(POST, {**HELLO, "text": "1 of 4", "thread_ts": first["ts"]})
    updated = await room.call(UPDATE, {"channel": first["channel"], "ts": first["ts"], "text": "rolled back"})
    assert (updated["ok"], updated["ts"], updated["text"]) == (True, first["ts"], "rolled back")
    assert float(reply["ts"]) > float(first["ts"])
    told = [(entry["did"], entry["text"], entry["thread_ts"]) for entry in room.written]
    assert told == [
        ("post", "rolling back", None),
        ("post", "1 of 4", first["ts"]),
        ("update", "rolled back", None),
    ]
    assert all(entry["channel"] == channel_id("incidents") and entry["at"] > 0 for entry in room.written)


async def test_no_two_messages_have_the_same_name() -> None:
    room = Room()
    names = {(await room.call(POST, HELLO))["ts"] for _ in range(100)}
    assert len(names) == 100


async def test_forms_are_taken_as_json_is() -> None:
    room = Room()
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": "*bad*"}}]
    form = urlencode({**HELLO, "blocks": json.dumps(blocks)}).encode()
    assert (await room.call(POST, form, kind="application/x-www-form-urlencoded"))["ok"]
    assert room.written[0]["blocks"] == blocks


@pytest.mark.parametrize(("token", "error"), [("", "not_authed"), ("xoxb-other", "invalid_auth")])
async def test_only_known_tokens_speak(token: str, error: str) -> None:
    room = Room()
    assert await room.call(POST, HELLO, token=token) == {"ok": False, "error": error}
    assert (await room.call("/api/auth.test", {}, token=token))["error"] == error
    assert (await room.call("/api/auth.test", {}))["ok"]
    assert room.written == []


SECTION = {"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3001}}


@pytest.mark.parametrize(
    ("path", "body", "error"),
    [
        (POST, {"text": "x"}, "channel_not_found"),
        (POST, {"channel": "#incidents"}, "no_text"),
        (POST, {**HELLO, "text": "x" * 40_001}, "msg_too_long"),
        (POST, {**HELLO, "text": 7}, "invalid_arguments"),
        (POST, {**HELLO, "blocks": [{}] * 51}, "invalid_blocks"),
        (POST, {**HELLO, "blocks": [SECTION]}, "invalid_blocks"),
        (POST, {**HELLO, "blocks": ["x"]}, "invalid_arguments"),
        (POST, {**HELLO, "thread_ts": "1.000000"}, "thread_not_found"),
        (POST, b"{", "invalid_json"),
        (POST, b"[" * 100_000, "invalid_json"),
        (POST, b"[]", "json_not_object"),
        (UPDATE, {**HELLO, "ts": "1.000000"}, "channel_not_found"),  # a name: an update wants the ID
        (UPDATE, {**HELLO, "channel": "C0123456789", "ts": "1.000000"}, "message_not_found"),
        (UPDATE, {**HELLO, "channel": "C0123456789"}, "message_not_found"),
        ("/api/chat.delete", HELLO, "unknown_method"),
    ],
)
async def test_a_mistake_has_slacks_word_for_it_and_is_not_written_down(path: str, body: Any, error: str) -> None:
    room = Room()
    assert await room.call(path, body) == {"ok": False, "error": error}
    assert room.written == []


@pytest.mark.parametrize(("kind", "error"), [("", "missing_post_type"), ("text/plain", "invalid_post_type")])
async def test_a_body_must_say_what_it_is(kind: str, error: str) -> None:
    assert (await Room().call(POST, HELLO, kind=kind))["error"] == error


async def test_where_channels_are_named_there_are_no_others() -> None:
    room = Room(channels=["#incidents"])
    assert (await room.call(POST, HELLO))["ok"]
    assert (await room.call(POST, {**HELLO, "channel": "#lunch"}))["error"] == "channel_not_found"


async def test_its_next_life_knows_the_messages_of_the_last() -> None:
    before = Room()
    first = await before.call(POST, HELLO)
    after = Room()
    after.chat = Chat(Notebook(after.file, before.written))
    assert (await after.call(UPDATE, {"channel": first["channel"], "ts": first["ts"], "text": "over"}))["ok"]
    assert float((await after.call(POST, {**HELLO, "thread_ts": first["ts"]}))["ts"]) > float(first["ts"])
