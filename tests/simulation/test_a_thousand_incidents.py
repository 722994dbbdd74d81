"""A thousand incidents within an hour, a receiver that fails, stalls and restarts: none is lost, none is doubled.

Doubled means what it means to PagerDuty: a second alert of the same key. Once through an hour of virtual time with the
guard killed now and then, and once with processes, sockets and a file, where time is compressed.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
import zlib
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from rollguard.adapters.clock import SystemClock
from rollguard.adapters.http import AiohttpTransport
from rollguard.adapters.journal.memory import MemoryDisk, MemoryJournal
from rollguard.adapters.journal.sqlite import SqliteJournal
from rollguard.adapters.notify.registry import build_notifiers, channel_kinds
from rollguard.core.channels import PagerDuty
from rollguard.core.pages import Page, Severity
from rollguard.core.policy import Policy
from rollguard.core.signals import SecretRef
from rollguard.engine import outbox
from rollguard.engine.outbox import Outbox
from rollguard.engine.record import Record
from rollguard.errors import Unavailable
from rollguard.ports import Clock, HttpAnswer, Journal, Transport, Vitals
from tests.localfly.running import PATIENCE_S, get, running
from tests.simulation.trouble import MovableClock, Watches
from tests.stand_ins import ENVIRON, PAGER, Town, policy_of
from tests.virtual_time import EPOCH, run

INCIDENTS = 1000


def opened(n: int, at: float) -> Page:
    return Page(key=f"rollguard/shop/i-{n}", target="shop", summary=f"incident {n}: down", at=at)


def closed(n: int, at: float) -> Page:
    return Page(
        key=f"rollguard/shop/i-{n}",
        target="shop",
        summary=f"incident {n}: restored",
        at=at,
        resolve=True,
        severity=Severity.INFO,
    )


def alerts(events: Iterable[Mapping[str, Any]]) -> dict[str, list[str]]:
    """What PagerDuty makes of these events: for each key its alerts, as "open" or "resolved"."""
    made: dict[str, list[str]] = defaultdict(list)
    for event in events:
        of_key = made[event["dedup_key"]]
        if event["event_action"] == "trigger" and (not of_key or of_key[-1] == "resolved"):
            of_key.append("open")
        elif event["event_action"] == "resolve" and of_key:
            of_key[-1] = "resolved"
    return made


def check(events: Iterable[Mapping[str, Any]]) -> None:
    assert alerts(events) == {f"rollguard/shop/i-{n}": ["resolved"] for n in range(INCIDENTS)}


@asynccontextmanager
async def a_life(
    policy: Policy, journal: Journal, transport: Transport, environ: Mapping[str, str], clock: Clock
) -> AsyncIterator[Record]:
    """A record and its outbox at work, until they are killed."""
    record = Record(journal, channel_kinds(policy), Vitals())
    await record.open()
    box = Outbox(journal, build_notifiers(policy, transport, environ, clock.now), clock, record)
    delivering = asyncio.create_task(box.deliver_forever())
    try:
        yield record
    finally:
        delivering.cancel()
        await asyncio.gather(delivering, return_exceptions=True)


# -- in an hour of virtual time ----------------------------------------------------------------------------------------


async def weather(method: str, url: str, answer: HttpAnswer | None) -> HttpAnswer | None:
    """Ten minutes of 503, five of silence, five of "too many requests", ten in which answers get lost; and so on."""
    now = asyncio.get_running_loop().time()
    await asyncio.sleep(0.05)
    match int(now % 3000 // 300):
        case 1 | 2 if answer is None:
            return HttpAnswer(503, {}, b"")
        case 3:
            await asyncio.sleep(3600.0)
        case 4 if answer is None:
            return HttpAnswer(429, {"retry-after": "20"}, b"")
        case 5 | 6 if answer is not None and zlib.crc32(f"{now}".encode()) % 2:
            raise Unavailable("the connection was cut")
    return None


def test_none_is_lost_and_none_is_doubled_in_an_hour_of_bad_weather() -> None:
    town, disk = Town(weather), MemoryDisk()
    dice = random.Random(7)
    todo = []
    for n in range(INCIDENTS):
        at = dice.uniform(0.0, 3600.0)
        todo += [(at, n, opened), (at + dice.uniform(1.0, 300.0), n, closed)]
    todo.sort(key=lambda one: one[0])

    async def story() -> None:
        loop = asyncio.get_running_loop()
        for life in itertools.count():
            journal, clock = MemoryJournal(disk), MovableClock(Watches())
            async with a_life(policy_of(PAGER), journal, town, ENVIRON, clock) as record:
                dies_at = loop.time() + dice.uniform(100.0, 500.0)
                while todo and todo[0][0] < dies_at:
                    at, n, page = todo.pop(0)
                    await asyncio.sleep(max(0.0, at - loop.time()))
                    await record.add(pages=[page(n, EPOCH + at)])
                while (todo or disk.waiting) and loop.time() < dies_at:
                    await asyncio.sleep(1.0)
            if not todo and not disk.waiting:
                assert life > 5, "the guard was to be killed now and then"
                return

    run(story())
    assert not disk.dropped
    assert len(town.written("pages")) > 2 * INCIDENTS, "some answers were to be lost"
    assert len(town.asked) > 3 * INCIDENTS, "the receiver was to fail"
    check(town.written("pages"))


# -- with processes, sockets and a file --------------------------------------------------------------------------------


async def script(url: str, *faults: Mapping[str, Any]) -> None:
    await get(url, "/local/v1/faults", "POST", json.dumps({"faults": faults}).encode())


async def misery(out: Path, addresses: list[str], stop: asyncio.Event) -> None:
    """Keep a pager that fails, stalls, loses answers and is killed and started again, until ``stop``; then a sound one.

    The first address that ``addresses`` gets is the pager's, in all of its lives.
    """
    port = "0"
    while not stop.is_set():
        async with running("pager", "--out", str(out), "--append", "--port", port) as pager:
            port = str(urlsplit(pager.url).port)
            addresses.append(pager.url)
            for faults in (
                [{"do": "503", "times": 30}, {"do": "429", "times": 5, "retry_after_s": 1}],
                [{"do": "hang", "times": None}],
                [{"do": "drop-after", "times": 20}, {"do": "drop", "times": 20}],
            ):
                await script(pager.url, *faults)
                await asyncio.sleep(0.4)
                await script(pager.url)
                await asyncio.sleep(0.4)
            pager.process.kill()
            await pager.process.wait()
        await asyncio.sleep(0.3)  # nobody listens
    async with running("pager", "--out", str(out), "--append", "--port", port):
        await asyncio.sleep(3600.0)


async def until(true: Callable[[], object], within_s: float = PATIENCE_S) -> None:
    async with asyncio.timeout(within_s):
        while not true():
            await asyncio.sleep(0.01)


async def test_none_is_lost_and_none_is_doubled_by_processes_that_fail_stall_and_die(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in {"SEND_S": 0.3, "BACK_OFF_S_MIN": 0.05, "BACK_OFF_S_MAX": 0.5, "IDLE_S": 0.5}.items():
        monkeypatch.setattr(outbox, name, seconds)
    out, path = tmp_path / "pages.jsonl", tmp_path / "data" / "journal.db"
    addresses: list[str] = []
    stop = asyncio.Event()
    trouble = asyncio.create_task(misery(out, addresses, stop))
    clock, transport = SystemClock(), AiohttpTransport()
    try:
        await until(lambda: addresses)
        pager = PagerDuty(routing_key=SecretRef(env="PD_KEY"), url=f"{addresses[0]}/v2/enqueue", change_url="")
        lives = 4
        for life in range(lives):
            journal = SqliteJournal.open(path, "shop")
            async with a_life(policy_of(pager), journal, transport, ENVIRON, clock) as record:
                for n in range(life, INCIDENTS, lives):
                    await record.add(pages=[opened(n, clock.now())])
                    await record.add(pages=[closed(n, clock.now())])
                if life == lives - 1:
                    stop.set()
                    async with asyncio.timeout(90.0):
                        while await journal.outbox_waiting():
                            await asyncio.sleep(0.05)
            await journal.close()
    finally:
        trouble.cancel()
        await asyncio.gather(trouble, return_exceptions=True)
        await transport.close()
    assert len(addresses) >= 2, "the receiver was to be restarted"
    events = [json.loads(line) for line in out.read_text().splitlines()]
    assert len(events) > 2 * INCIDENTS, "some answers were to be lost"
    check(events)
