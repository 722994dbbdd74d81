"""A page reaches people: at once, in order, at least once, by every channel that works, and never for ever."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace

import pytest

from rollguard.adapters.journal.memory import MemoryDisk, MemoryJournal
from rollguard.core.events import Event, PageFailed, PageQueued, PageSent, Recorded
from rollguard.core.pages import Kind, Page
from rollguard.engine import outbox
from rollguard.engine.outbox import AGE_S_MAX, ATTEMPTS_MAX, KEPT_S, Outbox, back_off_s
from rollguard.engine.record import Record
from rollguard.errors import JournalError, Refused, Unavailable
from rollguard.ports import Vitals
from tests.virtual_time import EPOCH, run, wall_clock

ALERTS = frozenset({Kind.ALERT})


class VirtualClock:
    """``ports.Clock`` of the virtual loop."""

    def now(self) -> float:
        return wall_clock()

    def drift_s(self) -> float:
        return 0.0

    def reanchor(self) -> None:
        raise AssertionError("nobody jumps here")


class Channel:
    """A notifier that answers from a script, its last line for ever, and remembers when it was asked what."""

    kinds = ALERTS

    def __init__(self, name: str, *script: Exception | float | None) -> None:
        self.name = name
        self.script = list(script) or [None]
        self.asked: list[tuple[float, str]] = []

    async def send(self, page: Page, thread: str = "") -> str:
        self.asked.append((round(asyncio.get_running_loop().time(), 3), page.summary))
        answer = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(answer, Exception):
            raise answer
        await asyncio.sleep(answer or 0.0)
        return ""


@dataclass
class World:
    """A journal, its recorder, and an outbox at work."""

    channels: list[Channel]
    journal: MemoryJournal = field(default_factory=MemoryJournal)
    told: list[Event] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.record = Record(self.journal, {c.name: c.kinds for c in self.channels}, Vitals(), [self._hear])
        self.outbox = Outbox(self.journal, {c.name: c for c in self.channels}, VirtualClock(), self.record)

    def _hear(self, recorded: Recorded) -> None:
        if not isinstance(recorded.event, PageQueued):
            self.told.append(recorded.event)

    async def page(self, *summaries: str, key: str = "shop/1") -> None:
        await self.record.add(pages=[Page(key=key, target="shop", summary=s, at=wall_clock()) for s in summaries])

    @asynccontextmanager
    async def delivering(self) -> AsyncIterator[None]:
        task = asyncio.ensure_future(self.outbox.deliver_forever())
        await asyncio.sleep(1.0)
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def deliver(world: World, *summaries: str, for_s: float) -> None:
    async with world.delivering():
        await world.page(*summaries)
        await asyncio.sleep(for_s)


def test_a_page_is_sent_at_once_by_every_channel_and_told() -> None:
    world = World([Channel("pager"), Channel("hook")])
    run(deliver(world, "down", for_s=0.1))
    assert [c.asked for c in world.channels] == [[(1.0, "down")]] * 2
    assert world.told == [
        PageSent(at=EPOCH + 1.0, key="shop/1", channel=channel, attempts=1) for channel in ("pager", "hook")
    ]
    assert not world.journal.disk.waiting


def test_pages_of_one_incident_arrive_in_order_even_when_the_first_one_fails() -> None:
    pager = Channel("pager", Unavailable("503"), Unavailable("503"), None)
    run(deliver(World([pager]), "opened", "closed", for_s=60.0))
    assert [summary for _, summary in pager.asked] == ["opened", "opened", "opened", "closed"]


def test_a_channel_that_hangs_holds_neither_the_others_nor_other_incidents() -> None:
    hook, pager = Channel("hook", 3600.0), Channel("pager")

    async def story() -> None:
        world = World([hook, pager])
        async with world.delivering():
            await world.page("one", "two")
            await world.page("three", key="shop/2")
            await asyncio.sleep(5.0)

    run(story())
    assert pager.asked == [(1.0, "one"), (1.0, "three"), (1.0, "two")]
    assert hook.asked == [(1.0, "one"), (1.0, "three")]


def test_a_send_without_an_answer_is_given_up_after_ten_seconds_and_tried_again() -> None:
    world = World([Channel("hook", 3600.0, None)])
    run(deliver(world, "down", for_s=20.0))
    assert [e for e in world.told if isinstance(e, PageFailed)] == [
        PageFailed(at=EPOCH + 11.0, key="shop/1", channel="hook", error="hook did not answer within 10 s", attempts=1)
    ]
    assert isinstance(world.told[-1], PageSent)
    assert world.told[-1].attempts == 2


def test_no_channel_is_asked_more_than_four_things_at_once() -> None:
    hook = Channel("hook", 5.0)

    async def story() -> None:
        world = World([hook])
        async with world.delivering():
            for n in range(10):
                await world.page("x", key=f"shop/{n}")
            await asyncio.sleep(30.0)

    run(story())
    assert [at for at, _ in hook.asked] == [1.0] * 4 + [6.0] * 4 + [11.0] * 2


def test_a_refused_page_is_dropped_and_it_is_said() -> None:
    world = World([Channel("pager", Refused("HTTP 400: bad key"))])
    run(deliver(world, "down", for_s=3600.0))
    assert world.channels[0].asked == [(1.0, "down")]
    assert world.told == [
        PageFailed(at=EPOCH + 1.0, key="shop/1", channel="pager", error="HTTP 400: bad key", attempts=1, final=True)
    ]
    assert world.journal.disk.dropped == {1: "HTTP 400: bad key"}


def test_a_page_for_a_channel_that_the_policy_has_no_more_is_dropped_and_it_is_said() -> None:
    async def story() -> World:
        world = World([Channel("pager", Unavailable("503"))])
        async with world.delivering():
            await world.page("down")
            await asyncio.sleep(1.0)
            world.outbox.use({})
            await asyncio.sleep(10.0)
        return world

    assert run(story()).journal.disk.dropped == {1: "the policy has no channel pager any more"}


def test_a_bug_in_a_channel_is_that_channel_s_failure_alone() -> None:
    world = World([Channel("hook", KeyError("bug"), None), Channel("pager")])
    run(deliver(world, "down", for_s=10.0))
    assert [e.channel for e in world.told if isinstance(e, PageSent)] == ["pager", "hook"]
    assert "the notifier failed: KeyError('bug')" in str(world.told)


def test_the_wait_that_a_channel_asks_for_is_honoured() -> None:
    pager = Channel("pager", Unavailable("429", retry_after_s=120.0), None)
    run(deliver(World([pager]), "down", for_s=300.0))
    assert [at for at, _ in pager.asked] == [1.0, 121.0]


def test_a_channel_that_asks_for_a_wait_gets_it_for_everything_and_no_other_channel_waits() -> None:
    slack, pager = Channel("slack", Unavailable("429", retry_after_s=60.0), None), Channel("pager")

    async def story() -> None:
        world = World([slack, pager])
        async with world.delivering():
            await world.page("one")
            await asyncio.sleep(1.0)
            await world.page("two", key="shop/2")
            await asyncio.sleep(90.0)

    run(story())
    assert slack.asked == [(1.0, "one"), (61.0, "one"), (61.0, "two")]
    assert pager.asked == [(1.0, "one"), (2.0, "two")]


def test_a_channel_that_asks_for_an_hour_is_still_tried_with_new_pages_every_five_minutes() -> None:
    slack = Channel("slack", Unavailable("429", retry_after_s=3600.0), None)

    async def story() -> None:
        world = World([slack])
        async with world.delivering():
            await world.page("one")
            await asyncio.sleep(1.0)
            await world.page("two", key="shop/2")
            await asyncio.sleep(4000.0)

    run(story())
    assert slack.asked == [(1.0, "one"), (301.0, "two"), (3601.0, "one")]


def test_a_storm_for_a_channel_that_hangs_holds_back_no_page_of_another_one() -> None:
    hook, pager = Channel("hook", 3600.0), Channel("pager")

    async def story() -> None:
        world = World([hook, pager])
        async with world.delivering():
            for n in range(1000):
                await world.page("x", key=f"shop/{n}")
            await asyncio.sleep(1.0)

    run(story())
    assert len(pager.asked) == 1000
    assert {at for at, _ in pager.asked} == {1.0}


def test_what_ended_a_month_ago_is_forgotten_while_the_outbox_works(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outbox, "IDLE_S", 1800.0)
    world = World([Channel("chat", 0.0)])

    async def story() -> int:
        async with world.delivering():
            await world.page("down")
            await asyncio.sleep(KEPT_S - 7200.0)
            kept = len(world.journal.disk.ended)
            await asyncio.sleep(3 * 3600.0)
        return kept

    assert run(story()) == 1
    assert not world.journal.disk.ended


def test_a_page_goes_only_to_channels_that_have_a_form_for_it_and_back_into_its_thread() -> None:
    class Threaded(Channel):
        kinds = frozenset({Kind.ALERT, Kind.CHANGE})

        def __init__(self) -> None:
            super().__init__("chat")
            self.threads: list[str] = []

        async def send(self, page: Page, thread: str = "") -> str:
            self.threads.append(thread)
            await super().send(page, thread)
            return thread or f"thread of {page.summary}"

    chat, pager = Threaded(), Channel("pager")

    async def story() -> None:
        world = World([chat, pager])
        async with world.delivering():
            await world.page("one", "two")
            changed = Page(key="shop/changes", target="shop", summary="v42", at=wall_clock(), kind=Kind.CHANGE)
            follow = replace(changed, key="shop/pm", kind=Kind.FOLLOW_UP)
            await world.record.add(pages=[changed, follow])
            await asyncio.sleep(1.0)
        assert not world.journal.disk.waiting

    run(story())
    assert [summary for _, summary in pager.asked] == ["one", "two"]
    assert {summary for _, summary in chat.asked} == {"one", "two", "v42"}
    assert sorted(chat.threads) == ["", "", "thread of one"]


def test_a_channel_that_is_down_is_asked_ever_more_rarely_and_at_last_given_up() -> None:
    world = World([Channel("pager", Unavailable("503"))])
    run(deliver(world, "down", for_s=2 * AGE_S_MAX))
    asked = [at for at, _ in world.channels[0].asked]
    waits = [b - a for a, b in itertools.pairwise(asked)]
    assert len(asked) == ATTEMPTS_MAX
    assert 2.0 <= waits[0] <= 4.0
    assert all(150.0 <= wait <= 300.0 for wait in waits[8:])
    assert [(e.attempts, e.final) for e in world.told if isinstance(e, PageFailed)] == [
        *((2**n, False) for n in range(7)),
        (ATTEMPTS_MAX, True),
    ]
    assert not world.journal.disk.waiting


def test_a_page_that_is_a_day_old_gets_one_more_try() -> None:
    disk = MemoryDisk()

    async def first_life() -> None:
        at = EPOCH - AGE_S_MAX - 1.0
        await MemoryJournal(disk).append([], [("pager", Page(key="k", target="shop", summary="old", at=at))])

    run(first_life())
    world = World([Channel("pager", Unavailable("503"))], MemoryJournal(disk))
    run(deliver(world, for_s=3600.0))
    assert world.told == [
        PageFailed(
            at=EPOCH,
            key="k",
            channel="pager",
            error="gave up after 1 attempts: 503",
            attempts=1,
            final=True,
        )
    ]


def test_a_guard_killed_before_the_answer_sends_the_page_again_in_its_next_life() -> None:
    first = World([Channel("pager", 5.0)])
    run(deliver(first, "down", for_s=1.0))
    second = World([Channel("pager")], MemoryJournal(first.journal.disk))
    run(deliver(second, for_s=1.0))
    assert second.channels[0].asked == [(0.0, "down")]
    assert not second.journal.disk.waiting


def test_a_journal_that_cannot_be_written_ends_delivery() -> None:
    def full() -> None:
        raise JournalError("the disk is full")

    async def story() -> None:
        world = World([Channel("pager")])
        await world.page("down")
        world.journal._on_write = full
        await world.outbox.deliver_forever()

    with pytest.raises(JournalError, match="the disk is full"):
        run(story())


def test_an_idle_outbox_looks_rarely() -> None:
    looks = 0

    class Counting(MemoryJournal):
        async def outbox_due(self, now: float, limit: int = 16) -> Sequence:  # type: ignore[type-arg]
            nonlocal looks
            looks += 1
            return await super().outbox_due(now, limit)

    run(deliver(World([Channel("pager")], Counting()), for_s=3600.0))
    assert looks <= 122


def test_the_same_history_gives_the_same_waits_and_items_do_not_wait_in_step() -> None:
    assert back_off_s(7, 3) == back_off_s(7, 3)
    assert len({back_off_s(item, 3) for item in range(20)}) == 20
    assert back_off_s(1, 120, retry_after_s=1e9) == 3600.0
