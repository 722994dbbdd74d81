"""A release that is slower than the one before it, judged by comparison.

By the shipped policy: half as slow again is taken back, a fifth is for people to consider. The guard itself has learnt
what the good release does.
"""

from __future__ import annotations

import asyncio
import math
from dataclasses import replace
from statistics import NormalDist

from rollguard.core import events as ev
from rollguard.core.model import Reading
from rollguard.core.recording import Look, Recording, Runs, recorded
from rollguard.localfly.counters import BOUNDS_S
from tests.simulation.shop import BEGINS_S, POLICY, Shop, first, image, open_shop
from tests.simulation.stage import GOOD
from tests.virtual_time import EPOCH

SLOW = image("SLOW", latency_s=0.12 * 2.2)
SLOWER = image("SLOWER", latency_s=0.12 * 1.4)
SAME = image("SAME", latency_s=0.12, boots_in_s=0.4)
IMAGES = (GOOD, SLOW, SLOWER, SAME)
LEARNS_MINUTES = 6.0


COMPARING = replace(POLICY, comparing=replace(POLICY.comparing, block_s=60.0))
"""As shipped, but a block is learnt in a minute."""


def test_a_release_more_than_twice_as_slow_is_taken_back_by_comparison() -> None:
    async def story(shop: Shop) -> None:
        await shop.wait(LEARNS_MINUTES)
        await shop.stage.deploy(SLOW)
        await shop.wait(12)

    books = open_shop(story, images=IMAGES, policy=COMPARING)
    books.takes_back(SLOW)
    (decided,) = [e for e in books.of(ev.Decided) if e.decision == "rollback"]
    assert decided.trigger == "relative rule"
    assert "evidence this strong would turn up in fewer than 1 of" in decided.sentence
    assert first(books, ev.GoalSet) - BEGINS_S - 60 * LEARNS_MINUTES <= 180
    assert "restored" in books.pages[-1]


def test_a_restored_release_that_is_slower_than_it_used_to_be_is_not_called_restored() -> None:
    """What made the new release slow makes the old one slow as well: its own baseline tells."""

    async def story(shop: Shop) -> None:
        await shop.wait(LEARNS_MINUTES)
        await shop.stage.deploy(SLOW)
        await shop.ended()
        for machine in shop.machines:
            shop.town.mood(machine, latency_s=0.12 * 2.2)
        await shop.wait(4)

    books = open_shop(story, images=IMAGES, policy=COMPARING)
    assert books.rolled_back == [SLOW.digest]
    assert [e.result for e in books.of(ev.Verified)][:1] == ["not better"]


def test_40_percent_slower_is_paged_to_be_considered_and_nothing_is_touched() -> None:
    async def story(shop: Shop) -> None:
        await shop.wait(LEARNS_MINUTES)
        await shop.stage.deploy(SLOWER)
        await shop.wait(9)

    books = open_shop(story, images=IMAGES, policy=COMPARING)
    books.leaves_alone(pages=3)
    assert books.fired == {"slower-by-a-fifth"}
    assert "consider a rollback: slower-by-a-fifth: traffic.latency beyond" in books.pages[0]


def test_what_was_learnt_survives_a_restart_of_the_guard() -> None:
    async def story(shop: Shop) -> None:
        await shop.wait(LEARNS_MINUTES)
        await shop.die_and_rise()
        await shop.wait(0.5)
        await shop.stage.deploy(SLOW)
        await shop.wait(5)

    open_shop(story, images=IMAGES, policy=COMPARING).takes_back(SLOW)


def test_a_recording_of_the_good_release_is_compared_with_at_once() -> None:
    """Half an hour of it, made yesterday and loaded by a person who vouches for it."""
    said: list[str] = []

    async def story(shop: Shop) -> None:
        said.append(
            await shop.acts.adopt("ann", "recorded yesterday", None, recorded(a_recording(shop.machines), COMPARING))
        )
        await shop.stage.deploy(SLOW)
        await shop.wait(7)

    books = open_shop(story, images=IMAGES, policy=COMPARING, proven=False)
    books.takes_back(SLOW)
    assert "24 blocks of 28800 requests, recorded" in said[0]
    (loaded,) = books.of(ev.BaselineLoaded)
    assert (loaded.digest, loaded.blocks, loaded.by, loaded.reason) == (GOOD.digest, 24, "ann", "recorded yesterday")


def a_recording(machines: list[str]) -> Recording:
    """20 requests a second on the good release, as long as they take."""
    start = EPOCH - 86400.0
    runs = {machine: Runs(GOOD.digest, start - 3600.0, True) for machine in machines}
    below = {bound: NormalDist().cdf(math.log(bound / 0.12) / 0.5) for bound in BOUNDS_S}
    each = 300.0 / len(machines)
    buckets = (*((bound, each * part) for bound, part in below.items()), (math.inf, each))
    readings = [
        Reading(
            key="traffic.latency", subject=m, at=start + 15 * n, since=start + 15 * (n - 1), value=each, buckets=buckets
        )
        for n in range(1, 121)
        for m in machines
    ]
    return Recording(
        target=COMPARING.target.name, policy="", at=start, looks=(Look(start, runs),), readings=tuple(readings)
    )


def test_a_guard_that_has_learnt_nothing_yet_compares_nothing_and_says_so() -> None:
    said: list[str] = []

    async def story(shop: Shop) -> None:
        await shop.stage.deploy(SLOW)
        await shop.wait(4)
        said.extend(f.sentence for f in shop.guard.findings if f.rule.name == "slower-by-half")

    open_shop(story, images=IMAGES, policy=COMPARING).leaves_alone()
    assert "nothing to compare with yet" in said[0]


def test_a_release_is_not_compared_while_it_settles() -> None:
    """Each machine is twice as slow for the first 25 seconds after its start, as after a cold one."""

    async def story(shop: Shop) -> None:
        await shop.wait(LEARNS_MINUTES)
        await shop.stage.deploy(SAME)
        await all_cold(shop, 25.0)
        await shop.wait(6)

    books = open_shop(story, images=IMAGES, policy=COMPARING)
    books.leaves_alone()
    assert not books.fired


def test_a_restart_of_all_machines_is_not_slower_than_before_it() -> None:
    async def story(shop: Shop) -> None:
        await shop.wait(LEARNS_MINUTES)
        await shop.stage.deploy(SAME)
        await shop.wait(3)
        for machine in shop.machines:
            await shop.machine(machine, "restart")
        await all_cold(shop, 25.0)
        await shop.wait(5)

    books = open_shop(story, images=IMAGES, policy=COMPARING)
    books.leaves_alone()
    assert not books.fired


async def all_cold(shop: Shop, for_s: float) -> None:
    """Every machine is slow for a while."""
    await shop.until(lambda: all(shop.stage.host.app_of(m) for m in shop.machines))
    for machine in shop.machines:
        shop.town.mood(machine, latency_s=0.3)
    await asyncio.sleep(for_s)
    for machine in shop.machines:
        shop.town.mood(machine)
