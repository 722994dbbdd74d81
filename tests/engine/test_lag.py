"""A guard whose own loop is late holds nothing against anybody that it may have missed itself."""

from __future__ import annotations

import asyncio
import time

import pytest

from rollguard.adapters.http import AiohttpTransport
from rollguard.adapters.signals.http import HttpSource
from rollguard.core.late import excused
from rollguard.core.model import GapKind, Reading
from rollguard.core.signals import Scope
from rollguard.engine.lag import AFRESH_S, PULSE_S, STILL_S, Lag
from rollguard.engine.surroundings import LookAround
from rollguard.errors import Unavailable
from rollguard.ports import Fleet, HttpAnswer
from tests.adapters import hostile
from tests.adapters.signals_of import HandClock, http_signal
from tests.builders import HEALTH, NOON, TRAFFIC
from tests.engine.test_surroundings import POLICY
from tests.loop_clock import LoopClock
from tests.virtual_time import VirtualTimeLoop, run


def stand_still(for_s: float) -> None:
    """Nothing runs, and time goes on."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualTimeLoop)
    loop.now_s += for_s


def test_a_loop_that_runs_on_time_was_never_late() -> None:
    async def scene() -> None:
        lag = Lag()
        task = asyncio.create_task(lag.mind_forever())
        await asyncio.sleep(600.3)
        assert lag.late_s(0.0) == 0.0
        assert lag.afresh_s == 0.0
        task.cancel()

    run(scene())


def test_a_loop_that_stood_still_knows_for_how_long_at_once_and_a_minute_later() -> None:
    async def scene() -> None:
        lag = Lag()
        task = asyncio.create_task(lag.mind_forever())
        await asyncio.sleep(10.2)
        before = lag.now()
        stand_still(20.0)
        assert lag.late_s(before) == pytest.approx(20.0, abs=PULSE_S)
        assert lag.afresh_s == AFRESH_S
        await asyncio.sleep(1.0)
        assert lag.late_s(before) == pytest.approx(20.0, abs=PULSE_S)
        assert 0.0 < lag.afresh_s <= AFRESH_S
        await asyncio.sleep(60.0)
        assert lag.late_s(lag.now() - 30.0) == 0.0
        assert lag.afresh_s == 0.0
        task.cancel()

    run(scene())


def test_a_short_standstill_excuses_and_suspends_nothing_for_longer() -> None:
    async def scene() -> None:
        lag = Lag()
        task = asyncio.create_task(lag.mind_forever())
        await asyncio.sleep(1.0)
        stand_still(STILL_S - 1.0)
        await asyncio.sleep(1.0)
        assert lag.late_s(0.0) > 3.0
        assert lag.afresh_s == 0.0
        task.cancel()

    run(scene())


def answered(value: float | None, detail: str) -> Reading:
    return Reading(key="health", subject="m1", at=NOON, value=value, detail=detail)


TIMEOUT, ERROR, FINE = answered(0.0, "timeout after 2s"), answered(0.0, "HTTP 503"), answered(1.0, "HTTP 200")


def test_only_what_nobody_answered_is_excused_and_says_why() -> None:
    gap, error, fine = excused([TIMEOUT, ERROR, FINE], HEALTH, 0.6)
    assert (gap.value, gap.gap, gap.detail) == (None, GapKind.LATE, "the guard itself stood still for 0.6s")
    assert (error, fine) == (ERROR, FINE)


@pytest.mark.parametrize("late_s", [0.0, 0.2, 0.49])
def test_a_little_lateness_excuses_nothing(late_s: float) -> None:
    assert excused([TIMEOUT], HEALTH, late_s) == [TIMEOUT]


def test_counters_are_as_good_as_ever_however_late_they_are_read() -> None:
    counted = Reading(key="traffic.errors", subject="m1", at=NOON, since=NOON - 35, value=3.0)
    assert excused([counted], TRAFFIC, 20.0) == [counted]


async def test_a_real_loop_that_blocks_makes_a_timeout_that_is_excused() -> None:
    """The answer was there all the time; nobody came to read it."""
    lag, transport = Lag(), AiohttpTransport()
    pulse = asyncio.create_task(lag.mind_forever())
    fine = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

    async def block() -> None:
        await asyncio.sleep(0.01)
        time.sleep(1.0)

    async with hostile.server(hostile.hangs_after(fine)) as url:
        signal = http_signal(url=url, timeout_s=0.3, scopes=frozenset({Scope.EDGE}))
        began = lag.now()
        blocked = asyncio.create_task(block())
        readings = await HttpSource(signal, transport).read(Fleet(), HandClock())
        late_s = lag.late_s(began)
        await blocked
    pulse.cancel()
    await transport.close()
    assert all(r.value != 0.0 for r in excused(readings, signal, late_s)), (readings, late_s)


class Hanging:
    """Nobody answers, and the guard stands still for a while each time."""

    def __init__(self, still_s: float) -> None:
        self.still_s = still_s

    async def request(self, method: str, url: str, *, timeout_s: float = 10.0, max_bytes: int = 0) -> HttpAnswer:
        stand_still(self.still_s)
        await asyncio.sleep(max(0.0, timeout_s - self.still_s))
        raise Unavailable(f"timeout after {timeout_s:g}s: {method} {url}")


@pytest.mark.parametrize("still_s, is_down", [(0.0, True), (1.0, True), (20.0, False)])
def test_a_guard_that_stood_still_itself_calls_no_dependency_down(still_s: float, is_down: bool) -> None:
    async def scene() -> None:
        around = LookAround(POLICY, Hanging(still_s), LoopClock())  # type: ignore[arg-type]
        await around.look()
        await around.look()
        assert [a.down for a in around.now.dependencies] == [True] * is_down

    run(scene())
