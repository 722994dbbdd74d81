"""After a rollback: what a restart mends is restarted, once; what it cannot mend is left alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from rollguard.core import events as ev
from rollguard.core.policy import Verify
from tests.simulation.shop import BAD, FINE, POLICY, Books, Shop, open_shop, shipped
from tests.simulation.stage import GOOD, GUARD, Stage

LIMITED = replace(POLICY, rules=tuple(r for r in POLICY.rules if r.name not in {"critical-alerts", "health-degraded"}))
"""What is left for the verification to find: a restored process that calls itself ill."""


def restarts(stage: Stage) -> list[str]:
    events = stage.app.ledger.events
    return [e["machine"] for e in reversed(events) if e["owner"] == GUARD and e["kind"] == "restart"]


def ill(shop: Shop) -> None:
    """Every process has seen its database away: until it restarts, its uptime says so."""
    for machine in shop.machines:
        for _ in range(500):
            shop.inside(machine).monitor.checked("cache", "down")


async def restored(shop: Shop) -> None:
    """The bad release is out, and taken back; what was restored has just begun to be judged."""
    await shop.flyctl(BAD)
    for _ in range(200):
        if [e for e in await shop.stage.history() if isinstance(e, ev.GoalEnded)]:
            return
        await asyncio.sleep(5)
    raise AssertionError("it was never taken back")


async def until_restarting(shop: Shop) -> None:
    """The first machine was told to restart."""
    for _ in range(900):
        if restarts(shop.stage):
            return
        await asyncio.sleep(1)
    raise AssertionError("nothing was restarted")


def ends(books: Books) -> list[str]:
    return [e.result for e in books.of(ev.Verified)]


def story_of(then: Callable[[Shop], None], minutes: float) -> Callable[[Shop], object]:
    async def story(shop: Shop) -> None:
        await restored(shop)
        then(shop)
        await shop.wait(minutes)

    return story


def test_machines_that_a_restart_mends_are_restarted_once_and_then_it_is_restored() -> None:
    books = open_shop(story_of(ill, 17), policy=LIMITED)  # type: ignore[arg-type]
    assert sorted(restarts(books.stage)) == sorted(books.stage.app.machines)
    assert ends(books) == ["restored"], books.pages
    assert any("restarted once" in page for page in books.pages)
    assert not [v for v in books.stage.app.ledger.violations if v.owner == GUARD]


def test_one_after_the_other_and_never_under_the_floor() -> None:
    books = open_shop(story_of(ill, 17), policy=LIMITED)  # type: ignore[arg-type]
    intents = [e for e in books.of(ev.StepIntended) if e.kind == "restart"]
    done = [e for e in books.of(ev.StepDone) if e.kind == "restart"]
    assert [e.machine for e in intents] == [e.machine for e in done]
    assert all(after.at >= before.at for before, after in zip(done, intents[1:], strict=False))


def test_a_policy_that_only_pages_restarts_nothing() -> None:
    policy = replace(LIMITED, verify=replace(LIMITED.verify, restart=False))
    books = open_shop(story_of(ill, 8), policy=policy)  # type: ignore[arg-type]
    assert restarts(books.stage) == []
    assert ends(books) == ["not better"]


def test_a_restored_release_that_fails_as_the_bad_one_did_is_left_alone() -> None:
    def also_bad(shop: Shop) -> None:
        for machine in shop.machines:
            shop.town.mood(machine, error_share=1.0)

    books = open_shop(story_of(also_bad, 6))  # type: ignore[arg-type]
    assert restarts(books.stage) == []
    assert ends(books) == ["not better"]
    assert "not the release" in books.pages[-1]
    assert len(books.of(ev.GoalSet)) == 1, "no second rollback, no roll-forward"
    assert books.stage.digests == {GOOD.digest}


def test_a_pause_stops_the_restarts() -> None:
    async def story(shop: Shop) -> None:
        await restored(shop)
        ill(shop)
        await until_restarting(shop)
        await shop.acts.pause("ann", "let me look")
        await shop.wait(6)

    books = open_shop(story, policy=LIMITED)
    assert len(restarts(books.stage)) == 1
    assert ends(books) == ["not better"]


def test_a_deploy_in_the_middle_ends_the_restarts() -> None:
    async def story(shop: Shop) -> None:
        await restored(shop)
        ill(shop)
        await until_restarting(shop)
        await shop.flyctl(FINE)
        await shop.wait(3)

    books = open_shop(story, policy=LIMITED)
    assert len(restarts(books.stage)) <= 2
    assert books.stage.digests == {FINE.digest}


def test_one_sick_machine_is_restarted_only_where_the_policy_says_so_and_once_an_hour() -> None:
    async def story(shop: Shop) -> None:
        await shipped(shop)
        for _ in range(3):
            shop.town.mood(shop.machines[0], error_share=1.0)
            await shop.wait(4)

    for wanted in (True, False):
        policy = replace(POLICY, rollback=replace(POLICY.rollback, restart_sick=wanted))
        books = open_shop(story, policy=policy)
        assert restarts(books.stage) == ([min(books.stage.app.machines)] if wanted else [])
        assert not books.rolled_back


def test_restarting_is_the_default_of_the_law() -> None:
    assert Verify().restart
