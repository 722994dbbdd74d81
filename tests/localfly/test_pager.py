"""The pager takes what PagerDuty would take, and writes it down without its secret."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from rollguard.localfly.http1 import Request, Response
from rollguard.localfly.pager import Pager

EVENT: dict[str, Any] = {
    "routing_key": "secret",
    "event_action": "trigger",
    "dedup_key": "incident-1",
    "payload": {"summary": "bad", "source": "shop", "severity": "critical"},
}


async def sent(event: object, file: io.StringIO | None = None) -> Response:
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    return await Pager(file or io.StringIO()).answer(Request("POST", "/v2/enqueue", (), body))


async def test_an_event_is_accepted_and_written_down_without_its_routing_key() -> None:
    file = io.StringIO()
    answer = await sent(EVENT, file)
    assert answer.status == 202
    assert json.loads(answer.body) == {
        "status": "success",
        "message": "Event processed",
        "dedup_key": "incident-1",
    }
    kept = json.loads(file.getvalue())
    assert kept["payload"] == EVENT["payload"]
    assert kept["at"] > 0
    assert "secret" not in file.getvalue()


async def test_a_resolve_needs_no_payload() -> None:
    event = {"routing_key": "k", "event_action": "resolve", "dedup_key": "incident-1"}
    assert (await sent(event)).status == 202


async def test_a_trigger_without_a_key_gets_one() -> None:
    event = {name: value for name, value in EVENT.items() if name != "dedup_key"}
    assert json.loads((await sent(event)).body)["dedup_key"]


@pytest.mark.parametrize(
    "event",
    [
        b"{",
        b"[]",
        b"[" * 100_000,
        {},
        {**EVENT, "routing_key": ""},
        {**EVENT, "event_action": "shout"},
        {**EVENT, "payload": None},
        {**EVENT, "payload": {**EVENT["payload"], "severity": "bad"}},
        {**EVENT, "payload": {**EVENT["payload"], "summary": ""}},
        {"routing_key": "k", "event_action": "resolve"},
    ],
)
async def test_an_event_that_the_api_would_refuse_is_refused_and_not_written_down(event: object) -> None:
    file = io.StringIO()
    answer = await sent(event, file)
    assert answer.status == 400
    assert json.loads(answer.body)["errors"]
    assert file.getvalue() == ""


async def test_a_heartbeat_is_answered() -> None:
    assert (await Pager(io.StringIO()).answer(Request("GET", "/heartbeat"))).status == 200
    assert (await Pager(io.StringIO()).answer(Request("GET", "/"))).status == 404
