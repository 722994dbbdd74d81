"""Killed at any await between a decision and the end of its pages, the next life says all of it, once.

The loop counts the instants between two steps of any task while an undisturbed story is told to PagerDuty, Slack,
GitHub and a webhook. Then, for each of them, the story is told anew with a SIGKILL at exactly that instant: nothing
the dead life still tries gets out, what arrived has arrived, and a new life starts on the same disk a second later.

Once means: PagerDuty and the webhook's receiver can tell a repeat by its key or ID, GitHub gets none at all, and Slack,
which knows no such key, gets at most that message of a key twice that was in the air.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any, TypeVar

import pytest

from rollguard.adapters.journal.memory import MemoryDisk, MemoryJournal
from rollguard.adapters.notify.registry import build_notifiers, channel_kinds
from rollguard.core import events as ev
from rollguard.core.pages import Kind, Page, Severity
from rollguard.engine.outbox import Outbox
from rollguard.engine.record import Record
from rollguard.ports import HttpAnswer, OutboxItem, Vitals
from tests.simulation.stage import Killed, Life
from tests.simulation.trouble import MovableClock, Watches
from tests.stand_ins import ENVIRON, GITHUB, HOOK, PAGER, SLACK, Town, policy_of
from tests.virtual_time import EPOCH, VirtualTimeLoop

T = TypeVar("T")
INSTANTS_MIN = 100
PARTS = 4
POLICY = policy_of(PAGER, SLACK, GITHUB, HOOK)
KEY = "rollguard/shop/i-1"


def a_page(n: int, summary: str, **but: Any) -> Page:
    return Page(**{"key": KEY, "target": "shop", "summary": summary, "at": EPOCH + n} | but)


STORY = (
    a_page(0, "rolling back"),
    a_page(1, "a rollback begins", kind=Kind.CHANGE, key="rollguard/shop/changes"),
    a_page(2, "ada is at it", kind=Kind.ACKNOWLEDGE),
    a_page(3, "handed over to you"),
    a_page(4, "restored", resolve=True, severity=Severity.INFO),
    a_page(5, "post-mortem", kind=Kind.FOLLOW_UP, key=f"{KEY}/post-mortem", text="# Post-mortem", due_at=EPOCH),
)


class CountingLoop(VirtualTimeLoop):
    """Counts its own rounds once told to, and calls ``kill`` in the round of that number."""

    def __init__(self, kill_at: int | None) -> None:
        super().__init__()
        self.instants, self.kill_at = 0, kill_at
        self.counting = False
        self.kill: Callable[[], None] = lambda: None

    def _run_once(self) -> None:
        if self.counting:
            self.instants += 1
            if self.instants == self.kill_at:
                self.kill()
        super()._run_once()  # type: ignore[misc]


class MortalJournal(MemoryJournal):
    """A disk that takes a moment before and after each write, and no write of a dead life."""

    def __init__(self, disk: MemoryDisk, life: Life) -> None:
        super().__init__(disk)
        self._life = life

    async def append(self, events: Sequence[ev.Event], pages: Sequence[tuple[str, Page]] = ()) -> Sequence[ev.Recorded]:
        return await self._slowly(lambda: super(MortalJournal, self).append(events, pages))

    async def outbox_due(self, now: float, limit: int = 16) -> Sequence[OutboxItem]:
        return await self._slowly(lambda: super(MortalJournal, self).outbox_due(now, limit))

    async def outbox_done(self, item: int, delivered_at: float, thread: str = "") -> None:
        await self._slowly(lambda: super(MortalJournal, self).outbox_done(item, delivered_at, thread))

    async def outbox_again(self, item: int, due_at: float, error: str) -> None:
        await self._slowly(lambda: super(MortalJournal, self).outbox_again(item, due_at, error))

    async def _slowly(self, work: Callable[[], Awaitable[T]]) -> T:
        await asyncio.sleep(0.001)
        self._life.check()
        done = await work()
        await asyncio.sleep(0.001)
        self._life.check()
        return done


@dataclass
class Wire:
    """``ports.Transport`` into town: a request takes a moment to arrive, and so does its answer."""

    life: Life
    town: Town

    async def request(self, method: str, url: str, **rest: Any) -> HttpAnswer:
        await asyncio.sleep(0.01)
        self.life.check()
        answer = await self.town.request(method, url, **rest)
        await asyncio.sleep(0.01)
        self.life.check()
        return answer


@dataclass
class Outcome:
    """What everybody heard."""

    instants: int
    town: Town
    history: list[ev.Event]
    dropped: Mapping[int, str]
    killed: bool = field(default=False)

    def texts(self, did: str) -> list[str]:
        return [entry["text"] for entry in self.town.written("chat") if entry["did"] == did]


async def live(life: Life, disk: MemoryDisk, town: Town) -> None:
    """One life: it goes on with the story where the journal ends, and returns when everything is told."""
    journal = MortalJournal(disk, life)
    record = Record(journal, channel_kinds(POLICY), Vitals())
    said = sum(isinstance(entry.event, ev.PageQueued) for entry in await record.open())
    clock = MovableClock(Watches())
    outbox = Outbox(journal, build_notifiers(POLICY, Wire(life, town), ENVIRON, clock.now), clock, record)
    delivering = asyncio.create_task(outbox.deliver_forever())
    try:
        for page in STORY[said:]:
            await record.add(pages=[page])
            await asyncio.sleep(0.03)
        async with asyncio.timeout(3600):
            while disk.waiting:
                await asyncio.sleep(0.05)
    except Killed:
        pass
    finally:
        delivering.cancel()
        await asyncio.gather(delivering, return_exceptions=True)


def story(kill_at: int | None) -> Outcome:
    loops: list[CountingLoop] = []

    def factory() -> CountingLoop:
        loops.append(CountingLoop(kill_at))
        return loops[0]

    async def tell() -> Outcome:
        loop, town, disk, life = loops[0], Town(), MemoryDisk(), Life()
        task = asyncio.create_task(live(life, disk, town))

        def kill() -> None:
            life.alive = False
            task.cancel()

        loop.kill, loop.counting = kill, True
        await asyncio.wait([task])
        loop.counting = False
        if not life.alive:
            await asyncio.sleep(1.0)
            await live(Life(), disk, town)
        history = [entry.event for entry in await MemoryJournal(disk).replay()]
        return Outcome(loop.instants, town, history, disk.dropped, not life.alive)

    with asyncio.Runner(loop_factory=factory) as runner:
        return runner.run(tell())


def check(outcome: Outcome) -> None:
    """All of it, in order, once."""
    town, more = outcome.town, int(outcome.killed)
    assert not outcome.dropped
    queued = [(e.key, e.summary) for e in outcome.history if isinstance(e, ev.PageQueued)]
    assert queued == [(page.key, page.summary) for page in STORY], "what was decided was written down once"

    actions = [event["event_action"] for event in town.written("pages")]
    assert [action for action, _ in groupby(actions)] == ["trigger", "acknowledge", "trigger", "resolve"]
    assert len(actions) <= 4 + more
    assert {event["dedup_key"] for event in town.written("pages")} == {KEY}
    assert 1 <= len(town.written("changes")) <= 1 + more

    ids = [(body["data"]["key"], message) for message, body in town.hooked]
    assert len(set(ids)) == len(STORY)
    assert at_most_one_repeat_a_key(ids, more)

    issues = [(entry["did"], entry["number"]) for entry in town.written("hub")]
    assert sorted(set(issues)) == [("comment", 1), ("create", 1), ("create", 2), ("update", 1)]
    assert issues.count(("create", 1)) == issues.count(("create", 2)) == 1
    assert issues.count(("comment", 1)) == 3

    posts = outcome.texts("post")
    assert {text.split(" ", 1)[1] for text in posts} == {p.summary for p in STORY if p.kind is not Kind.CHANGE}
    assert at_most_one_repeat_a_key([("/post-mortem" if "post-mortem" in text else KEY, text) for text in posts], more)
    assert outcome.texts("update")[-1] == "✅ restored"


def at_most_one_repeat_a_key(sent: Sequence[tuple[str, str]], more: int) -> bool:
    """Of each key one message is in the air at a time, and so no more than one is sent again after a kill."""
    repeats = Counter(key for key, _ in sent) - Counter(key for key, _ in set(sent))
    return all(count <= more for count in repeats.values())


@pytest.fixture(scope="module")
def undisturbed() -> Outcome:
    outcome = story(None)
    check(outcome)
    return outcome


def test_an_undisturbed_story_has_many_instants_to_die_at(
    undisturbed: Outcome, record_property: Callable[[str, object], None]
) -> None:
    record_property("instants between two steps of an incident's pages", undisturbed.instants)
    assert undisturbed.instants >= INSTANTS_MIN
    assert not undisturbed.killed


@pytest.mark.parametrize("part", range(PARTS))
def test_killed_at_any_instant_the_next_life_says_all_of_it_once(undisturbed: Outcome, part: int) -> None:
    for instant in range(1 + part, undisturbed.instants + 1, PARTS):
        try:
            check(story(instant))
        except AssertionError as error:
            raise AssertionError(f"killed at instant {instant} of {undisturbed.instants}: {error}") from error
