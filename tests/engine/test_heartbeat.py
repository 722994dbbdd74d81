"""The sign of life is sent while the guard is well, and only then."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from rollguard.adapters.clock import SystemClock
from rollguard.core.policy import Heartbeat
from rollguard.engine.heartbeat import beat_forever
from rollguard.errors import Unavailable
from rollguard.ports import HttpAnswer
from tests.virtual_time import run, wall_clock


class Watcher:
    """A dead man's switch that remembers when it was touched."""

    def __init__(self, *answers: int | None) -> None:
        self.answers = list(answers)
        self.beats: list[tuple[float, str, str]] = []

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout_s: float = 10.0,
        max_bytes: int = 1 << 20,
    ) -> HttpAnswer:
        self.beats.append((round(asyncio.get_running_loop().time(), 3), method, url))
        await asyncio.sleep(2.0)
        status = self.answers.pop(0) if self.answers else 200
        if status is None:
            raise Unavailable("no answer")
        return HttpAnswer(status, {}, b"")


def beats(watcher: Watcher, well: list[bool], for_s: float) -> list[str]:
    told: list[str] = []
    settings = Heartbeat(url="https://beat.test/x", every_s=60.0)

    async def story() -> None:
        beating = beat_forever(
            settings, watcher, SystemClock(wall_clock, wall_clock), lambda: well.pop(0) if well else True, told.append
        )
        task = asyncio.ensure_future(beating)
        await asyncio.sleep(for_s)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    run(story())
    return told


def test_a_well_guard_beats_at_its_interval_however_slow_the_answers() -> None:
    watcher = Watcher()
    assert beats(watcher, [], 190.0) == ["sent"] * 4
    assert watcher.beats == [(at, "GET", "https://beat.test/x") for at in (0.0, 60.0, 120.0, 180.0)]


def test_a_guard_that_is_not_well_stays_silent() -> None:
    watcher = Watcher()
    assert beats(watcher, [True, False, False], 190.0) == ["sent", "withheld", "withheld", "sent"]
    assert [at for at, _, _ in watcher.beats] == [0.0, 180.0]


def test_a_beat_that_fails_is_told_and_the_next_one_comes() -> None:
    assert beats(Watcher(500, None), [], 150.0) == ["failed", "failed", "sent"]
