"""Targets of one guard that begin to breach together are one platform event: one page, and nothing is acted on.

Two whole guards of one process, each with an app and a simulated platform of its own, in virtual time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import pytest

from rollguard.core import events as ev
from rollguard.core.model import Mode
from rollguard.core.policy import Policy
from rollguard.core.surroundings import GRACE_S, Board
from tests.simulation.elsewhere import Elsewhere
from tests.simulation.shop import Books, Shop, Town
from tests.simulation.stage import BAD, FINE, GOOD, Stage, a_policy
from tests.virtual_time import run


@dataclass
class Estate:
    """Two shops under one guard."""

    shops: tuple[Shop, Shop]
    board: Board

    def down(self, which: int, *, down: bool = True) -> None:
        """Whether the way to this shop is gone."""
        self.shops[which].town.proxy_down = down

    async def restart(self) -> None:
        """The guard's process dies, with all that it had not written down, and comes again."""
        for shop in self.shops:
            await shop.die()
        self.board.joined.clear()
        self.board.entries.clear()
        await asyncio.sleep(2)
        for shop in self.shops:
            shop.rise()


Story = Callable[[Estate], Awaitable[object]]


def named(policy: Policy, name: str) -> Policy:
    return replace(policy, target=replace(policy.target, name=name))


def two_shops(
    story: Story, *, apart_s: float = 0.0, limits: tuple[Mode, Mode] = (Mode.ENFORCE, Mode.ENFORCE), calm_s: float = 5.0
) -> tuple[Books, Books]:
    """Both have had a good release a minute ago; ``apart_s`` is by how much their rounds of probes are apart."""

    async def scene() -> tuple[Books, Books]:
        board, elsewhere = Board(), Elsewhere()
        stages = [Stage(), Stage()]
        for stage in stages:
            stage.users = Town(stage, 0.0)
            stage.around_of = elsewhere.around(board)
        async with stages[0].host, stages[1].host:
            await asyncio.sleep(30)
            shops = []
            for stage, name, limit in zip(stages, ("shop-fra", "shop-iad"), limits, strict=True):
                policy = named(a_policy(), name)
                life, guard, start = stage.born(policy, limit)
                assert isinstance(stage.users, Town)
                shops.append(Shop(stage, policy, guard, life, start(), town=stage.users))
                await asyncio.sleep(apart_s)
            await asyncio.sleep(20)
            for shop in shops:
                await shop.acts.adopt("ann", "runs since May", None)
                await shop.stage.deploy(FINE)
            await asyncio.sleep(60)
            try:
                await story(Estate((shops[0], shops[1]), board))
                await asyncio.sleep(calm_s)
            finally:
                for shop in shops:
                    await shop.end()
            one, other = [Books(await stage.history(), await stage.state(), stage) for stage in stages]
            return one, other

    return run(scene())


def left_alone(*all_books: Books) -> None:
    for books in all_books:
        assert not books.rolled_back, books.pages
        assert not books.wrote


async def both_down(estate: Estate, for_s: float = 50.0) -> None:
    estate.down(0)
    estate.down(1)
    await asyncio.sleep(for_s)


@pytest.mark.parametrize("apart_s", [0.0, 1.3, 4.9])
def test_two_targets_that_go_down_together_are_one_page_and_nothing_is_rolled_back(apart_s: float) -> None:
    one, other = two_shops(both_down, apart_s=apart_s)
    left_alone(one, other)
    (page,) = one.pages + other.pages
    assert "other targets breach at the same time: shop-" in page
    (quiet,) = [books for books in (one, other) if not books.pages]
    held = [e for e in quiet.of(ev.Decided) if e.decision == "hold"]
    assert [e.sentence.startswith("told by the page of shop-") for e in held] == [True]
    assert len(quiet.of(ev.IncidentOpened)) == 1


def test_what_ends_for_both_is_closed_for_both_with_one_word() -> None:
    async def story(estate: Estate) -> None:
        await both_down(estate)
        estate.down(0, down=False)
        estate.down(1, down=False)
        await asyncio.sleep(90)

    one, other = two_shops(story)
    left_alone(one, other)
    assert not other.pages
    assert "recovered" in one.pages[-1]
    assert one.state.incident is None
    assert other.state.incident is None


@pytest.mark.parametrize("first", [0, 1])
def test_where_one_recovers_the_other_is_still_told_of(first: int) -> None:
    """The page that spoke for both may be taken back: then the other one's comes, or what the guard does for it."""

    async def story(estate: Estate) -> None:
        await both_down(estate)
        estate.down(first, down=False)
        await asyncio.sleep(60)

    books = two_shops(story)
    assert not books[first].rolled_back
    assert books[1 - first].pages
    assert "v2" in books[1 - first].pages[-1]


def test_a_guard_that_restarts_in_the_middle_loses_no_page_and_rolls_nothing_back() -> None:
    async def story(estate: Estate) -> None:
        await both_down(estate, 17.0)
        for _ in range(3):
            await estate.restart()
            await asyncio.sleep(40)

    one, other = two_shops(story)
    left_alone(one, other)
    assert 1 <= len(one.pages + other.pages) <= 2, one.pages + other.pages


def test_one_that_may_only_observe_speaks_for_nobody() -> None:
    one, other = two_shops(both_down, limits=(Mode.OBSERVE, Mode.ENFORCE))
    left_alone(one, other)
    assert not one.pages
    assert len(other.pages) == 1


def test_a_bad_release_of_one_target_alone_is_taken_back_without_waiting_for_the_other() -> None:
    began: list[float] = []

    async def story(estate: Estate) -> None:
        shop = estate.shops[0]
        await shop.acts.adopt("ann", "it is fine", None)
        await shop.stage.deploy(BAD)
        began.append(shop.guard.clock.now())
        await shop.until(lambda: shop.guard.record.state.rollbacks, for_s=60)

    one, other = two_shops(story)
    assert one.rolled_back == [BAD.digest]
    assert float(one.of(ev.GoalSet)[0].at) - began[0] <= 20.0
    left_alone(other)
    assert not other.pages


def test_a_neighbours_single_blip_delays_a_rollback_by_no_more_than_the_grace() -> None:
    async def story(estate: Estate) -> None:
        shop, beside = estate.shops
        await shop.acts.adopt("ann", "it is fine", None)
        began = shop.guard.clock.now()
        await shop.stage.deploy(BAD)
        beside.town.proxy_down = True
        await asyncio.sleep(3)
        beside.town.proxy_down = False
        await shop.until(lambda: shop.guard.record.state.rollbacks, for_s=60)
        assert shop.guard.clock.now() - began <= 20.0 + GRACE_S

    one, other = two_shops(story)
    assert one.rolled_back == [BAD.digest]
    left_alone(other)
    assert GOOD.digest not in other.stage.digests


@pytest.mark.parametrize("onset_s", [0.1, 0.4, 0.8])
def test_who_is_sure_within_seconds_waits_until_the_others_have_looked_too(onset_s: float) -> None:
    """The other one's probes come 4.8 s later: by then this one has asked four times, every second."""

    async def story(estate: Estate) -> None:
        await asyncio.sleep((5.0 - asyncio.get_running_loop().time() % 5.0) + onset_s - 1.0)
        await both_down(estate)

    left_alone(*two_shops(story, apart_s=4.8))
