"""How a signal is asked when somebody fails: whom, how often, for how long, and who hears of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from rollguard.core.confirm import MACHINES_MAX, again
from rollguard.core.model import EDGE, Reading
from rollguard.engine.polling import Polling
from rollguard.engine.watch import Watch
from rollguard.ports import Clock, Fleet, Vitals
from tests.builders import BAD, GOOD, a_machine, a_snapshot
from tests.engine.test_watch import Answering, a_watch
from tests.loop_clock import LoopClock
from tests.virtual_time import EPOCH, run

Fails = Callable[[str, float], bool]


@dataclass
class Asked:
    """The signal ``health`` of an app that fails as it is told to. ``rounds``: when each began, and whom it asked."""

    fails: Fails
    takes_s: float = 0.01
    name: str = "health"
    every_s: float = 5.0
    rounds: list[tuple[float, tuple[str, ...]]] = field(default_factory=list)
    out: int = 0
    most_out: int = 0

    async def read(self, fleet: Fleet, clock: Clock) -> Sequence[Reading]:
        began, everybody = clock.now(), (*fleet.started, EDGE)
        self.rounds.append((round(began - EPOCH, 3), everybody))
        failing = {s for s in everybody if self.fails(s, began - EPOCH)}
        self.out += 1
        self.most_out = max(self.most_out, self.out)
        await asyncio.sleep(self.takes_s if failing else 0.01)
        self.out -= 1
        return [
            Reading(
                "health",
                s,
                clock.now(),
                value=float(s not in failing),
                since=began,
                detail=f"HTTP {200 + 300 * (s in failing)}",
            )
            for s in everybody
        ]

    @property
    def times(self) -> list[float]:
        """When each round began."""
        return [at for at, _ in self.rounds]


def watched(source: Asked, for_s: float, *, machines: int = 2) -> tuple[Watch, list[Reading]]:
    """What a watch of so many machines, half of them on another image, has after that time."""

    async def scenario() -> tuple[Watch, list[Reading]]:
        heard: list[Reading] = []
        fleet = [a_machine(f"m{n:03}", BAD if n % 2 else GOOD) for n in range(1, machines + 1)]
        watch, _ = a_watch(Answering(a_snapshot(*fleet, at=EPOCH)), heard)
        await watch.look()
        await for_a_while(watch.poll(source), for_s)
        return watch, heard

    return run(scenario())


async def for_a_while(polling: Awaitable[object], for_s: float) -> None:
    with suppress(TimeoutError):
        async with asyncio.timeout(for_s):
            await polling


def test_after_a_failure_everybody_is_asked_every_second_until_all_are_well() -> None:
    source = Asked(lambda subject, at: subject == "m001" and 9 < at < 12.5)
    watched(source, 20.5)
    assert source.times == [0, 5, 10, 11, 12, 13, 15, 20]
    assert {subjects for _, subjects in source.rounds} == {("m001", "m002", EDGE)}, "matched: all in the same second"


def test_a_usual_round_keeps_its_time_and_takes_the_place_of_a_repeated_one() -> None:
    source = Asked(lambda subject, at: at > 1)
    watched(source, 20.5)
    assert source.times == [0, *range(5, 21)]


def test_while_an_app_hangs_no_more_than_one_round_is_out_beside_the_usual_one() -> None:
    source = Asked(lambda subject, at: at > 1, takes_s=4.0)
    watched(source, 60)
    assert source.most_out == 2
    assert [at for at in source.times if at % 5 == 0] == [*range(0, 60, 5)]
    assert len(source.times) < 2 * 60 / 4


def test_after_a_minute_of_it_the_usual_pace_is_enough() -> None:
    source = Asked(lambda subject, at: at > 1)
    watched(source, 200.5)
    repeated = [at for at in source.times if at % 5]
    assert max(repeated) < 5 + 60
    assert len(repeated) == 48


def test_a_late_usual_round_is_skipped_and_never_queued() -> None:
    async def scenario() -> None:
        vitals, began = Vitals(), []

        async def ask(repeated: bool) -> frozenset[str]:
            began.append(round(asyncio.get_running_loop().time(), 3))
            await asyncio.sleep(12.0 if len(began) == 1 else 0.0)
            return frozenset()

        await for_a_while(Polling(5.0, ask, LoopClock(), vitals).forever(), 21)
        assert (began, vitals.late_ticks) == ([0.0, 15.0, 20.0], 2)

    run(scenario())


def test_repeated_answers_are_kept_apart_and_told_to_nobody_but_those_who_compare() -> None:
    source = Asked(lambda subject, at: 9 < at < 12.5)
    watch, heard = watched(source, 16)
    usual = watch.windows.since("health", "m001", 0)
    assert [round(r.at - EPOCH) for r in usual] == [0, 5, 10, 15]
    assert [round(r.at - EPOCH) for r in watch.windows.since(again("health"), "m001", 0)] == [11, 12, 13]
    assert len(heard) == 4 * 3, "metrics count usual rounds"
    assert [(name, {r.key for r in rows}) for name, rows in watch.rounds] == [("health", {"health"})] * 7


def test_of_a_large_fleet_some_of_both_images_are_asked_again() -> None:
    source = Asked(lambda subject, at: at > 1)
    watched(source, 6.5, machines=150)
    *_, usual, repeated = (subjects for _, subjects in source.rounds)
    assert (len(usual), len(repeated)) == (151, MACHINES_MAX + 1)
    assert sum(int(m[1:]) % 2 for m in repeated if m != EDGE) == MACHINES_MAX / 2


def test_what_no_rule_is_about_is_never_asked_again() -> None:
    source = Asked(lambda subject, at: True, name="numbers", every_s=15.0)
    watched(source, 40)
    assert source.times == [0, 15, 30]


@pytest.mark.parametrize("repeated_fails", [True, False])
def test_what_a_round_raises_ends_the_polling_and_leaves_nobody_behind(repeated_fails: bool) -> None:
    async def scenario() -> None:
        async def ask(repeated: bool) -> frozenset[str]:
            if repeated is repeated_fails:
                raise ValueError("broken")
            return frozenset({"m1"})

        with pytest.raises(ValueError, match="broken"):
            await Polling(5.0, ask, LoopClock(), Vitals(), lambda: True).forever()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    run(scenario())


@pytest.mark.parametrize("by_s", [3600.0, 20.0, -20.0, -3600.0])
def test_a_clock_that_is_put_right_has_nobody_asked_without_a_pause(by_s: float) -> None:
    """Found by the soak: the next usual round lay an hour back, and until it was made the app was asked in a loop."""
    clock, asked = LoopClock(), []

    async def scenario() -> None:
        async def ask(repeated: bool) -> frozenset[str]:
            asked.append(asyncio.get_running_loop().time())
            assert len(asked) < 100, "asked in a loop"
            return frozenset({"m1"})

        polling = asyncio.create_task(for_a_while(Polling(5.0, ask, clock, Vitals(), lambda: True).forever(), 20.0))
        await asyncio.sleep(7.3)
        clock.epoch += by_s
        await polling

    run(scenario())
    assert len(asked) <= 26
    assert any(at > 12 for at in asked)  # and it goes on
