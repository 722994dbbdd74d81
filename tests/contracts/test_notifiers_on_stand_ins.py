"""A whole incident told to Slack, GitHub and PagerDuty over sockets, while each of them has a bad day."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rollguard.adapters.clock import SystemClock
from rollguard.adapters.http import AiohttpTransport
from rollguard.adapters.journal.sqlite import SqliteJournal
from rollguard.adapters.notify.registry import build_notifiers, channel_kinds
from rollguard.core.pages import Kind, Page, Severity
from rollguard.engine import outbox
from rollguard.engine.outbox import Outbox
from rollguard.engine.record import Record
from rollguard.ports import Vitals
from tests.localfly.running import get, running
from tests.stand_ins import ENVIRON, GITHUB, PAGER, SLACK, policy_of

KEY = "rollguard/shop/i-1"
BAD_DAY = (
    {"do": "429", "retry_after_s": 1},
    {"do": "500"},
    {"do": "pass"},
    {"do": "drop-after"},
    {"do": "drop"},
    {"do": "503"},
)


def pages(at: float) -> list[Page]:
    first = Page(key=KEY, target="shop", summary="rolling back", at=at, details=(("limit", "10 %"),))
    return [
        first,
        replace(first, kind=Kind.CHANGE, key="rollguard/shop/changes", summary="a rollback begins"),
        replace(first, kind=Kind.ACKNOWLEDGE, summary="ada is at it", severity=Severity.INFO),
        replace(first, summary="handed over to you"),
        replace(first, summary="restored", resolve=True, severity=Severity.INFO),
        replace(first, kind=Kind.FOLLOW_UP, key=f"{KEY}/post-mortem", summary="post-mortem", text="# Why", due_at=at),
    ]


async def test_all_of_it_arrives_in_order_and_github_has_one_issue_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in {"BACK_OFF_S_MIN": 0.05, "BACK_OFF_S_MAX": 0.2}.items():
        monkeypatch.setattr(outbox, name, seconds)
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        urls = {}
        for name in ("pager", "chat", "hub"):
            stand_in = await stack.enter_async_context(running(name, "--out", str(tmp_path / name)))
            await get(stand_in.url, "/local/v1/faults", "POST", json.dumps({"faults": BAD_DAY}).encode())
            urls[name] = stand_in.url
        policy = policy_of(
            replace(PAGER, url=f"{urls['pager']}/v2/enqueue", change_url=f"{urls['pager']}/v2/change/enqueue"),
            replace(SLACK, url=f"{urls['chat']}/api"),
            replace(GITHUB, url=urls["hub"]),
        )
        journal, transport = SqliteJournal.open(tmp_path / "data" / "journal.db", "shop"), AiohttpTransport()
        stack.push_async_callback(transport.close)
        stack.push_async_callback(journal.close)
        record = Record(journal, channel_kinds(policy), Vitals())
        box = Outbox(journal, build_notifiers(policy, transport, ENVIRON), clock, record)
        delivering = asyncio.create_task(box.deliver_forever())
        for page in pages(clock.now()):
            await record.add(pages=[page])
        async with asyncio.timeout(30.0):
            while await journal.outbox_waiting():
                await asyncio.sleep(0.05)
        delivering.cancel()
        await asyncio.gather(delivering, return_exceptions=True)

    def took(name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (tmp_path / name).read_text().splitlines()]

    actions = list(dict.fromkeys((e["event_action"], e.get("payload", {}).get("summary")) for e in took("pager")))
    assert [action for action, _ in actions] == ["trigger", "acknowledge", "trigger", "resolve"]
    assert {e["payload"]["summary"] for e in took("pager.changes.jsonl")} == {"a rollback begins"}
    issues = [(entry["did"], entry["number"]) for entry in took("hub")]
    story = [did for did, number in issues if number == next(n for did, n in issues if did == "comment")]
    assert story == ["create", "comment", "comment", "comment", "update"]
    assert [did for did, _ in issues].count("create") == 2, "the issue and the post-mortem"
    said = [e["text"].split(" ", 1)[1] for e in took("chat") if e["did"] == "post"]
    in_thread = [words for words in dict.fromkeys(said) if words != "post-mortem"]
    assert in_thread == ["rolling back", "ada is at it", "handed over to you", "restored"]
