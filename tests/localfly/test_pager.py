"""The pager takes what PagerDuty would take, and writes it down without its secret."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest

from rollguard.localfly.http1 import Request, Response
from rollguard.localfly.pager import Pager
from rollguard.localfly.stand_in import Notebook

EVENT: dict[str, Any] = {
    "routing_key": "secret",
    "event_action": "trigger",
    "dedup_key": "incident-1",
    "payload": {"summary": "bad", "source": "shop", "severity": "critical"},
}


CHANGE: dict[str, Any] = {"routing_key": "secret", "payload": {"summary": "v42 was rolled back", "source": "shop"}}


def pager(pages: io.StringIO | None = None, changes: io.StringIO | None = None) -> Pager:
    return Pager(Notebook(pages or io.StringIO()), Notebook(changes or io.StringIO()))


async def sent(event: object, file: io.StringIO | None = None) -> Response:
    body = event if isinstance(event, bytes) else json.dumps(event).encode()
    return await pager(file).answer(Request("POST", "/v2/enqueue", (), body))


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


@pytest.mark.parametrize("action", ["acknowledge", "resolve"])
async def test_only_a_trigger_needs_a_payload(action: str) -> None:
    file = io.StringIO()
    event = {"routing_key": "k", "event_action": action, "dedup_key": "incident-1"}
    assert (await sent(event, file)).status == 202
    assert json.loads(file.getvalue())["event_action"] == action


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
        {**EVENT, "payload": {**EVENT["payload"], "summary": "x" * 1025}},
        {**EVENT, "dedup_key": "x" * 256},
        {**EVENT, "dedup_key": 7},
        {"routing_key": "k", "event_action": "resolve"},
        {"routing_key": "k", "event_action": "acknowledge"},
    ],
)
async def test_an_event_that_the_api_would_refuse_is_refused_and_not_written_down(event: object) -> None:
    file = io.StringIO()
    answer = await sent(event, file)
    assert answer.status == 400
    assert json.loads(answer.body)["errors"]
    assert file.getvalue() == ""


async def test_a_heartbeat_is_answered() -> None:
    assert (await pager().answer(Request("GET", "/heartbeat"))).status == 200
    assert (await pager().answer(Request("GET", "/"))).status == 404


async def changed(event: object, pages: io.StringIO, changes: io.StringIO) -> Response:
    return await pager(pages, changes).answer(Request("POST", "/v2/change/enqueue", (), json.dumps(event).encode()))


async def test_a_change_event_wakes_nobody_and_is_kept_apart_without_its_key() -> None:
    pages, changes = io.StringIO(), io.StringIO()
    answer = await changed(CHANGE, pages, changes)
    assert answer.status == 202
    assert json.loads(answer.body) == {"status": "success", "message": "Change event processed"}
    assert pages.getvalue() == ""
    assert json.loads(changes.getvalue())["payload"] == CHANGE["payload"]
    assert "secret" not in changes.getvalue()


@pytest.mark.parametrize(
    "event", [{}, {**CHANGE, "routing_key": None}, {**CHANGE, "payload": {}}, {**CHANGE, "payload": "x"}]
)
async def test_a_change_event_without_key_or_summary_is_refused(event: object) -> None:
    pages, changes = io.StringIO(), io.StringIO()
    assert (await changed(event, pages, changes)).status == 400
    assert changes.getvalue() == ""
