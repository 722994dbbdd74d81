"""Answers as large as they may be: while one is worked off, everything else the guard has to do goes on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from itertools import count
from typing import Any

import pytest

from rollguard.adapters.signals.journey import JourneySource
from rollguard.adapters.signals.json import JsonSource
from rollguard.adapters.signals.prometheus import PrometheusSource
from rollguard.adapters.signals.scrape import ScrapeSource
from rollguard.core.model import Reading
from rollguard.core.signals import Expect, JourneySignal, JsonValue, Scope, Step
from rollguard.ports import Fleet, HttpAnswer, SignalSource
from tests.adapters.prometheus_of import ENVIRON, matrix, signal
from tests.adapters.scripted_transport import Script, ScriptedTransport, says
from tests.adapters.signals_of import NOON, RESPONSES, SECONDS, HandClock, json_signal, scrape_signal

MACHINES = tuple(f"m{n}" for n in range(400))


def page(grown: int) -> HttpAnswer:
    """400 machines with 20 buckets each: 600 KiB."""
    rows = (
        f'seconds_bucket{{app="shop",instance="{machine}",le="{bound}"}} {grown + place}\n'
        for machine in MACHINES
        for place, bound in enumerate([*range(1, 20), "+Inf"])
    )
    return says("".join(rows).encode())


def series(grown: int) -> HttpAnswer:
    """400 machines with nine samples each: 140 KiB."""
    times = [NOON + 15 * place for place in range(-7, 2)]
    return matrix(
        *(
            ({"__name__": "responses", "app": "shop", "instance": machine}, [(at, grown) for at in times])
            for machine in MACHINES
        )
    )


def scraping(script: Script) -> SignalSource:
    return ScrapeSource(scrape_signal(counters={}, histograms={"latency": SECONDS}), ScriptedTransport(script), ENVIRON)


def asking(script: Script) -> SignalSource:
    return PrometheusSource(signal(counters={"requests": RESPONSES}), ScriptedTransport(script), ENVIRON)


async def turns_during(read: Any) -> tuple[Sequence[Reading], int]:
    """What a round yields, and how often somebody else had a turn while it went on."""
    turns = count()

    async def somebody_else() -> None:
        while True:
            next(turns)
            await asyncio.sleep(0)

    other = asyncio.create_task(somebody_else())
    try:
        return await read, next(turns)
    finally:
        other.cancel()


@pytest.mark.parametrize("source, answer", [(scraping, page), (asking, series)])
async def test_others_have_their_turns_and_the_readings_are_the_same(source: Any, answer: Any) -> None:
    grown, clock = [100], HandClock()
    reading = source(lambda asked: answer(grown[0]))
    await reading.read(Fleet(MACHINES), clock)
    clock.at, grown[0] = clock.at + 15, 160
    readings, turns = await turns_during(reading.read(Fleet(MACHINES), clock))
    assert {r.subject: r.value for r in readings} == dict.fromkeys(MACHINES, 60.0)
    assert turns > 2, "the page is taken apart beside the loop"


def probing(script: Script) -> SignalSource:
    value = JsonValue(name="up", path=("up",))
    return JsonSource(json_signal(value, scopes=frozenset({Scope.MACHINE})), ScriptedTransport(script))


def walking(script: Script) -> SignalSource:
    step = Step(name="page", url="https://shop.test/", expect=Expect(json=((("up",), 1),)))
    signal = JourneySignal(name="up", every_s=30, scopes=frozenset({Scope.MACHINE}), timeout_s=60, steps=(step,))
    return JourneySource(signal, ScriptedTransport(script))


@pytest.mark.parametrize("source", [probing, walking])
async def test_machines_that_all_answer_at_once_are_worked_off_one_by_one(source: Any) -> None:
    large = b'{"up": 1, "noise": [' + b"0," * 20_000 + b"0]}"
    reading = source(lambda asked: HttpAnswer(200, {}, large))
    readings, turns = await turns_during(reading.read(Fleet(MACHINES[:40]), HandClock()))
    assert {r.value for r in readings if r.key in {"monitoring.up", "up"}} == {1.0}
    assert turns > 40


@pytest.mark.parametrize("source", [scraping, asking])
async def test_what_is_wrong_with_a_large_answer_is_told_as_of_a_small_one(source: Any) -> None:
    reading = source(lambda asked: says(b"<html>" * 100_000))
    (gap, *_) = await reading.read(Fleet(MACHINES), HandClock())
    assert gap.gap == "bad answer"
