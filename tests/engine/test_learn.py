"""What the guard learns of a release outlives it, within bounds."""

from __future__ import annotations

import math

import pytest

from rollguard.adapters.journal.memory import MemoryDisk, MemoryJournal
from rollguard.core.baseline import DIGESTS_MAX, Block, Share, Times
from rollguard.core.events import TickFailed
from rollguard.core.policy import Comparing, Interlocks
from rollguard.engine import learn
from rollguard.engine.learn import NAME, Learner
from rollguard.engine.record import Record
from rollguard.ports import Vitals
from tests.builders import BAD, GOOD, NOON

COMPARING = Comparing(block_s=300.0, blocks=24)


def learner(disk: MemoryDisk | None = None) -> Learner:
    return Learner(Record(MemoryJournal(disk), {}, Vitals()))


def block(digest: str = GOOD, end: float = NOON, bounds: int = 0) -> Block:
    buckets = (*((float(n), float(n)) for n in range(1, bounds + 1)), (math.inf, 1000.0))
    return Block(digest, end - 300, end, {"errors": Share(1.0, 3000.0)}, {"latency": Times(buckets)})


async def test_what_one_life_learnt_the_next_one_knows() -> None:
    disk = MemoryDisk()
    await learner(disk).load(GOOD, [block()], COMPARING, NOON)
    after = learner(disk)
    await after.open(NOON)
    known = after.known(GOOD)
    assert known is not None
    assert (known.how, known.blocks) == ("recorded", (block(),))
    assert after.known(BAD) is None


async def test_a_recording_takes_the_place_of_what_was_known() -> None:
    learnt = learner()
    await learnt.load(GOOD, [block(end=NOON - 600), block(end=NOON - 300)], COMPARING, NOON)
    baseline = await learnt.load(GOOD, [block(BAD)], COMPARING, NOON)
    assert [(b.digest, b.end) for b in baseline.blocks] == [(GOOD, NOON)]


async def test_only_the_newest_digests_are_remembered() -> None:
    learnt = learner()
    for number in range(DIGESTS_MAX + 2):
        await learnt.load(f"sha256:{number}", [block()], COMPARING, NOON)
    assert [n for n in range(DIGESTS_MAX + 2) if learnt.known(f"sha256:{n}")] == list(range(2, DIGESTS_MAX + 2))


async def test_what_is_kept_has_a_size_that_the_oldest_give_way_to(monkeypatch: pytest.MonkeyPatch) -> None:
    disk, most = MemoryDisk(), 20_000
    monkeypatch.setattr(learn, "CHARS_MAX", most)
    learnt = learner(disk)
    for digest in (BAD, GOOD):
        await learnt.load(digest, [block(end=NOON + 300 * n, bounds=200) for n in range(24)], COMPARING, NOON)
        assert len(disk.kept[NAME]) <= most
    known = learnt.known(GOOD)
    assert known is not None
    assert learnt.known(BAD) is None
    assert known.blocks[-1].end == NOON + 300 * 23


async def test_what_cannot_be_read_is_said_and_forgotten_and_learnt_anew() -> None:
    disk = MemoryDisk(kept={NAME: "{}"})
    learnt = learner(disk)
    await learnt.open(NOON)
    (said,) = [e.event for e in await MemoryJournal(disk).replay()]
    assert isinstance(said, TickFailed)
    assert "is forgotten: not a kept baseline" in said.error
    await learnt.load(GOOD, [block()], COMPARING, NOON)
    assert learnt.known(GOOD) is not None


async def test_without_a_proven_older_release_there_is_nothing_to_compare_with() -> None:
    assert learner().baseline(BAD, Interlocks(), NOON) == (None, "no older release was proven")
