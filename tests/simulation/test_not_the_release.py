"""What is not the release: each cause has its stated verdict, and none rolls back (docs/not-the-release.md).

Every story runs the whole guard with every signal of the shipped policy, in the mode ``enforce``, against a simulated
HotDash with users, in virtual time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from rollguard.core import events as ev
from rollguard.core.finding import RuleState
from rollguard.core.policy import Policy
from tests.simulation.elsewhere import DATABASE, OTHER_WIRE, WIRE, Elsewhere, looking
from tests.simulation.shop import BAD, FINE, POLICY, Books, Shop, Town, image, open_shop, shipped
from tests.simulation.stage import GOOD, Stage

COMPARING = replace(POLICY, comparing=replace(POLICY.comparing, block_s=60.0))
"""As shipped, but a block is learnt in a minute."""
SAME = image("SAME", latency_s=0.12, boots_in_s=0.4)
LEARNS_MINUTES = 6.0

Before = Callable[[Stage, Town], Awaitable[object]]


def guarded(story: Callable[[Shop, Elsewhere], Awaitable[object]], policy: Policy = POLICY, **but: object) -> Books:
    """A shop whose guard looks at two control addresses and at the database by itself."""
    elsewhere = Elsewhere()

    async def before(stage: Stage, town: Town) -> None:
        stage.around_of = elsewhere.around()

    async def told(shop: Shop) -> None:
        await story(shop, elsewhere)

    return open_shop(told, policy=looking(policy), before=before, **but)  # type: ignore[arg-type]


def moods(shop: Shop, **behaviour: float) -> None:
    """All machines behave so; without words as their image again."""
    for machine in shop.machines:
        shop.town.mood(machine, **behaviour)


# -- controls ----------------------------------------------------------------------------------------------------------


def test_a_dependency_that_is_down_is_named_and_nothing_is_rolled_back() -> None:
    async def story(shop: Shop, elsewhere: Elsewhere) -> None:
        await shipped(shop)
        elsewhere.down = {DATABASE}
        moods(shop, error_share=1.0)
        await shop.wait(5)
        elsewhere.down = set()
        moods(shop)
        await shop.wait(3)

    books = guarded(story)
    books.leaves_alone(pages=4)
    assert "not the release: the dependency database is down since" in books.pages[0]


def test_while_no_control_address_answers_the_guard_calls_itself_cut_off() -> None:
    """The platform still answers: by that alone the app would be down."""

    async def story(shop: Shop, elsewhere: Elsewhere) -> None:
        await shipped(shop)
        elsewhere.down = {WIRE, OTHER_WIRE}
        shop.town.proxy_down = True
        await shop.wait(4)
        elsewhere.down = set()
        shop.town.proxy_down = False
        await shop.wait(2)

    books = guarded(story)
    books.leaves_alone(pages=4)
    assert any("the guard itself is cut off: no control address answers" in page for page in books.pages), books.pages


def test_one_control_address_that_answers_is_enough_to_act() -> None:
    async def story(shop: Shop, elsewhere: Elsewhere) -> None:
        elsewhere.down = {WIRE}
        await shop.flyctl(BAD)
        await shop.wait(4)

    assert guarded(story).rolled_back == [BAD.digest]


def test_while_a_dependency_is_down_no_comparison_gathers_evidence() -> None:
    """Three times as slow for four minutes, and the database away: afterwards nothing of it is held against anybody."""
    log_odds: list[float] = []

    async def story(shop: Shop, elsewhere: Elsewhere) -> None:
        await shop.wait(LEARNS_MINUTES)
        await shop.stage.deploy(SAME)
        await shop.wait(2)
        elsewhere.down = {DATABASE}
        await asyncio.sleep(12)
        moods(shop, latency_s=0.36)
        await shop.wait(4)
        log_odds.extend(f.odds or 0.0 for f in shop.guard.findings if f.rule.name.startswith("slower"))
        moods(shop)
        elsewhere.down = set()
        await shop.wait(4)

    books = guarded(story, COMPARING, images=(GOOD, SAME))
    books.leaves_alone()
    assert log_odds
    assert max(log_odds) < 20.0
    assert not books.fired


# -- before the release ------------------------------------------------------------------------------------------------


def test_what_was_slow_already_before_the_release_is_not_its_doing() -> None:
    """The last ten minutes are part of what is tolerated, whatever the release before it did on a good day."""

    async def story(shop: Shop) -> None:
        await shop.wait(LEARNS_MINUTES)
        moods(shop, latency_s=0.3)
        await shop.wait(11)
        await shop.stage.deploy(SAME)
        await shop.until(lambda: all(shop.stage.host.app_of(m) for m in shop.machines))
        moods(shop, latency_s=0.3)
        await shop.wait(10)

    books = open_shop(story, images=(GOOD, SAME), policy=COMPARING)
    books.leaves_alone(pages=3)


def test_the_hours_of_earlier_days_survive_a_restart_of_the_guard() -> None:
    counted: list[float] = []

    def requests(shop: Shop) -> float:
        rows = shop.guard.comparing.relatives.hours.hours.values()
        return sum(hour.total for hours in rows for hour in hours.values())

    async def story(shop: Shop) -> None:
        await shop.wait(11)
        counted.append(requests(shop))
        await shop.die_and_rise()
        await asyncio.sleep(10)
        counted.append(requests(shop))

    open_shop(story)
    assert counted[0] >= counted[1] > counted[0] / 3  # they are written every five minutes


# -- the source of the numbers -----------------------------------------------------------------------------------------


def test_a_store_that_answers_the_same_old_points_again_is_stale_and_said_once() -> None:
    seen: list[str] = []

    async def story(shop: Shop) -> None:
        await shipped(shop)
        kept: list[bytes] = []

        def same(text: bytes) -> bytes:
            kept.append(text)
            return kept[0]

        shop.town.lie = same
        await shop.wait(4)
        seen.extend(f.sentence for f in shop.guard.findings if f.state is RuleState.BLIND)
        shop.town.lie = None
        await shop.wait(2)

    books = open_shop(story)
    books.leaves_alone(pages=2)
    assert any("blind on" in page for page in books.pages), books.pages
    assert any("stale" in sentence for sentence in seen), seen


def test_an_app_without_users_is_neither_blind_nor_bad() -> None:
    said: dict[str, str] = {}

    async def story(shop: Shop) -> None:
        await shop.wait(LEARNS_MINUTES)
        await shop.stage.deploy(SAME)
        await shop.wait(10)
        said.update({f.rule.name: f"{f.state} {f.sentence}" for f in shop.guard.findings})

    books = open_shop(story, images=(GOOD, SAME), policy=COMPARING, rps=0.0)
    books.leaves_alone()
    assert not any(state.startswith("blind") for state in said.values()), said
    assert (
        said["errors-blatant"]
        == "clear traffic.errors / traffic.requests: too little traffic to judge, 0 of 50 in 30 s"
    )


# -- the fleet ---------------------------------------------------------------------------------------------------------


def in_two_regions(size: int) -> Before:
    async def before(stage: Stage, town: Town) -> None:
        for number, machine in enumerate(stage.app.machines.values()):
            machine.region = "fra" if number < size else "iad"

    return before


@pytest.mark.parametrize("machines, out", [(4, 2), (6, 2)])
def test_one_region_that_is_out_is_named_and_nothing_is_rolled_back(machines: int, out: int) -> None:
    async def story(shop: Shop) -> None:
        await shipped(shop)
        for machine in shop.stage.app.machines.values():
            if machine.region == "fra":
                shop.town.mood(machine.id, error_share=1.0)
        await shop.wait(4)

    books = open_shop(story, machines=machines, before=in_two_regions(out))
    books.leaves_alone(pages=4)
    assert books.pages
    assert all("not the release" in page for page in books.pages), books.pages


def test_a_release_that_is_bad_in_every_region_is_taken_back() -> None:
    async def story(shop: Shop) -> None:
        await shop.flyctl(BAD)
        await shop.wait(5)

    books = open_shop(story, before=in_two_regions(2))
    assert books.rolled_back == [BAD.digest]


def test_a_cold_start_of_all_machines_at_once_is_no_regression() -> None:
    """Nobody listens for eight seconds, and the first minute is slow."""

    async def story(shop: Shop) -> None:
        await shop.wait(LEARNS_MINUTES)
        shop.town.cold_s = 8.0
        await shop.stage.deploy(SAME)
        await shop.until(lambda: all(shop.stage.host.app_of(m) for m in shop.machines))
        moods(shop, latency_s=0.25)
        await asyncio.sleep(25)
        moods(shop)
        await shop.wait(6)

    open_shop(story, images=(GOOD, SAME), policy=COMPARING).leaves_alone()


def test_machines_that_go_to_sleep_are_not_asked_and_not_missed() -> None:
    async def story(shop: Shop) -> None:
        await shipped(shop)
        for machine in shop.machines[1:]:
            await shop.machine(machine, "stop")
        await shop.wait(4)
        for machine in shop.machines[1:]:
            await shop.machine(machine, "start")
        await shop.wait(2)

    open_shop(story).leaves_alone()


# -- the release -------------------------------------------------------------------------------------------------------


def test_a_digest_that_returns_is_paged_as_already_rolled_back_whatever_its_release_is_called() -> None:
    async def story(shop: Shop) -> None:
        await shop.flyctl(BAD)
        await shop.wait(10)
        assert shop.guard.record.state.rollbacks
        await shop.flyctl(BAD)
        await shop.wait(3)

    books = open_shop(story)
    assert books.rolled_back == [BAD.digest]
    assert any("was already rolled back at" in page for page in books.pages), books.pages


def test_a_release_row_whose_id_returns_with_another_image_is_judged_by_what_runs() -> None:
    """Row numbers are only what people call a release: they are read, and trusted for nothing."""

    async def story(shop: Shop) -> None:
        await shop.flyctl(FINE)
        await shop.wait(2)
        rows = shop.stage.app.releases
        newest = max(rows, key=lambda row: row.version)
        older = min(rows, key=lambda row: row.version)
        newest.id, newest.version = older.id, older.version
        await shop.wait(3)
        await shop.flyctl(BAD)
        await shop.wait(4)

    books = open_shop(story)
    assert BAD.digest not in {e.target for e in books.of(ev.GoalSet)}
    assert FINE.digest not in books.rolled_back
