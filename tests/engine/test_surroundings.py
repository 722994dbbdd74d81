"""Looking around: what counts as down, what the platform says of itself, and who else is in trouble."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import pytest

from rollguard.adapters.http import Saturated
from rollguard.core.policy import Dependency, Interlocks
from rollguard.core.surroundings import GRACE_S, REMEMBERED_S, TOLD_S_MAX, Address, Board, Trouble
from rollguard.engine.surroundings import FEED_EVERY_S, SURE_S, LookAround, incidents
from rollguard.errors import Unavailable
from rollguard.ports import HttpAnswer
from tests.builders import a_policy
from tests.loop_clock import LoopClock
from tests.virtual_time import run

CONTROL, OTHER_CONTROL, DATABASE = "https://wire.example/", "https://other.example/", "https://database.example/"
FEED = "https://platform.example/v1/incidents"
LIMITS = Interlocks(
    control=(CONTROL, OTHER_CONTROL),
    dependencies=(Dependency(name="database", url=DATABASE),),
    status_feed=FEED,
)
POLICY = a_policy(interlocks=LIMITS)


class World:
    """Answers by address: a status, or an error; 200 unless told otherwise."""

    def __init__(self) -> None:
        self.answers: dict[str, int | Exception | bytes] = {}
        self.asked: list[str] = []

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
        self.asked.append(url)
        answer = self.answers.get(url, 200)
        if isinstance(answer, Exception):
            raise answer
        if isinstance(answer, bytes):
            return HttpAnswer(200, {}, answer)
        return HttpAnswer(answer, {}, b"")


def looking(world: World, board: Board | None = None) -> LookAround:
    return LookAround(POLICY, world, LoopClock(), board)


def down(addresses: tuple[Address, ...]) -> list[str]:
    return [a.name for a in addresses if a.down]


def test_an_address_is_down_after_two_failures_in_a_row_and_well_after_one_answer() -> None:
    async def scene() -> None:
        world = World()
        around = looking(world)
        world.answers[CONTROL] = Unavailable("timeout after 3s: GET wire.example/")
        await around.look()
        assert down(around.now.control) == []
        assert [a.failures for a in around.now.control] == [1, 0]
        await around.look()
        assert down(around.now.control) == [CONTROL]
        world.answers.clear()
        await around.look()
        assert down(around.now.control) == []

    run(scene())


@pytest.mark.parametrize(
    "status, is_down", [(200, False), (302, False), (404, False), (499, False), (500, True), (503, True)]
)
def test_a_dependency_is_well_below_500_but_any_answer_shows_that_the_wire_works(status: int, is_down: bool) -> None:
    async def scene() -> None:
        world = World()
        world.answers = {DATABASE: status, CONTROL: status}
        around = looking(world)
        await around.look()
        await around.look()
        assert bool(down(around.now.dependencies)) is is_down
        assert down(around.now.control) == []

    run(scene())


def test_right_before_an_act_a_first_failure_is_looked_at_again_at_once() -> None:
    async def scene() -> None:
        world = World()
        around = looking(world)
        await around.look()
        world.answers[DATABASE] = 503
        began = asyncio.get_running_loop().time()
        await around.make_sure()
        assert down(around.now.dependencies) == ["database"]
        assert asyncio.get_running_loop().time() - began <= 1.5

    run(scene())


def test_an_outage_that_is_over_is_remembered_with_its_end() -> None:
    async def scene() -> None:
        world, clock = World(), LoopClock()
        around = LookAround(POLICY, world, clock)
        began = clock.now()
        world.answers[DATABASE] = 503
        await around.look()
        await asyncio.sleep(10)
        await around.look()
        await asyncio.sleep(10)
        world.answers.clear()
        await around.look()
        (database,) = around.now.dependencies
        assert not database.down
        assert database.was_down_since(began + 9)
        assert not database.was_down_since(began + 11)

    run(scene())


def test_the_platforms_list_is_read_once_a_minute_and_a_broken_one_says_nothing() -> None:
    async def scene() -> None:
        world = World()
        world.answers[FEED] = json.dumps({"incidents": [{"name": "API down", "status": "investigating"}]}).encode()
        around = looking(world)
        task = asyncio.create_task(around.look_forever())
        await asyncio.sleep(FEED_EVERY_S * 2 + 1)
        assert around.now.incidents == ("API down",)
        assert world.asked.count(FEED) == 3
        world.answers[FEED] = b"<html>"
        await asyncio.sleep(FEED_EVERY_S)
        assert around.now.incidents == ()
        task.cancel()
        await asyncio.wait({task})

    run(scene())


@pytest.mark.parametrize(
    "document",
    [
        None,
        [],
        {},
        {"incidents": None},
        {"incidents": {"name": "x"}},
        {"incidents": [1, None, "x"]},
        {"incidents": "abc"},
    ],
)
def test_a_list_of_another_shape_names_no_incident(document: object) -> None:
    assert incidents(document) == ()


def test_only_what_is_not_over_is_an_incident_and_its_name_is_bounded_and_on_one_line() -> None:
    rows = [
        {"name": "over", "resolved_at": "2026-08-21T10:00:00Z"},
        {"name": "over too", "status": "resolved"},
        {"name": "a\nb\x1b[31m" + "x" * 500, "status": "investigating"},
        {"status": "monitoring"},
        *({"name": f"n{n}"} for n in range(20)),
    ]
    found = incidents({"incidents": rows})
    assert len(found) == 5
    assert found[0].startswith("a b [31mxxx")
    assert len(found[0]) == 120
    assert found[1] == "an incident without a name"


def test_targets_of_one_guard_see_each_others_trouble_and_not_their_own() -> None:
    async def scene() -> None:
        board, world, clock = Board(), World(), LoopClock()
        around = looking(world, board)
        board.tell("another", Trouble(since=7.0), clock.now())
        around.tell_neighbours(Trouble(since=5.0))
        assert [(n.name, n.firing_since) for n in around.now.neighbours] == [("another", 7.0)]
        assert [n.firing_since for n in board.others("another", clock.now())] == [5.0]
        assert around.now.known_at == clock.now()
        around.tell_neighbours(Trouble())
        assert [(n.firing_since, n.until) for n in board.others("another", clock.now())] == [(5.0, clock.now())]
        assert around.now.known_at is None

    run(scene())


def test_a_target_that_tells_nothing_any_more_holds_nobody_for_ever() -> None:
    board = Board()
    board.tell("dead", Trouble(since=7.0), 10.0)
    assert board.others("mine", 10.0 + TOLD_S_MAX)
    assert not board.others("mine", 11.0 + TOLD_S_MAX)


def test_trouble_that_is_over_is_remembered_for_a_while_and_one_that_flickers_is_one() -> None:
    board = Board()
    board.tell("another", Trouble(since=7.0, told=True), 10.0)
    board.tell("another", Trouble(), 20.0)
    (seen,) = board.others("mine", 20.0)
    assert (seen.firing_since, seen.until, seen.told, seen.lasting) == (7.0, 20.0, True, False)
    board.tell("another", Trouble(since=24.0), 25.0)
    (seen,) = board.others("mine", 25.0)
    assert (seen.firing_since, seen.until, seen.told) == (7.0, None, False)
    board.tell("another", Trouble(), 30.0)
    board.tell("another", Trouble(since=60.0), 61.0)
    assert [n.firing_since for n in board.others("mine", 61.0)] == [60.0]
    board.tell("another", Trouble(), 70.0)
    board.tell("another", Trouble(), 70.0 + REMEMBERED_S)
    assert board.others("mine", 70.0 + REMEMBERED_S)
    board.tell("another", Trouble(), 71.0 + REMEMBERED_S)
    assert not board.others("mine", 71.0 + REMEMBERED_S)


def test_who_joined_and_has_told_nothing_yet_is_waited_for_a_moment() -> None:
    board = Board()
    for name in ("mine", "another", "third"):
        board.join(name, 10.0)
    board.tell("third", Trouble(), 11.0)
    assert board.unheard("mine", 10.0 + GRACE_S) == ("another",)
    assert board.unheard("mine", 11.0 + GRACE_S) == ()


class Slow(World):
    """Some addresses take their time, or never answer at all."""

    def __init__(self, **takes_s: float) -> None:
        super().__init__()
        self.takes_s = {CONTROL: takes_s.get("control", 0.0), OTHER_CONTROL: takes_s.get("other", 0.0)}
        self.takes_s[DATABASE] = takes_s.get("database", 0.0)

    async def request(self, method: str, url: str, **but: Any) -> HttpAnswer:
        try:
            async with asyncio.timeout(but["timeout_s"]):
                await asyncio.sleep(self.takes_s[url])
        except TimeoutError:
            raise Unavailable("timeout") from None
        return await super().request(method, url, **but)


@pytest.mark.parametrize(
    "takes_s, at_most_s, said_down",
    [
        ({"control": 99.0}, 0.01, []),
        ({"control": 99.0, "other": 99.0}, SURE_S, [CONTROL, OTHER_CONTROL]),
        ({"database": 2.9}, SURE_S, []),
        ({"database": 99.0}, SURE_S, ["database"]),
        ({"control": 99.0, "other": 99.0, "database": 99.0}, SURE_S, [CONTROL, OTHER_CONTROL, "database"]),
    ],
)
def test_no_act_waits_long_for_addresses_that_hang(
    takes_s: dict[str, float], at_most_s: float, said_down: list[str]
) -> None:
    async def scene() -> None:
        around = looking(Slow(**takes_s))
        began = asyncio.get_running_loop().time()
        await around.make_sure()
        assert asyncio.get_running_loop().time() - began <= at_most_s + 0.01
        assert down(around.now.control) + down(around.now.dependencies) == said_down

    run(scene())


def test_two_looks_that_overlap_are_one_look() -> None:
    async def scene() -> None:
        around = looking(Slow(database=99.0))
        await asyncio.gather(around.look(), around.look())
        assert down(around.now.dependencies) == []
        await around.look()
        assert down(around.now.dependencies) == ["database"]

    run(scene())


def test_a_question_that_never_left_the_guard_says_nothing_about_anybody() -> None:
    async def scene() -> None:
        world = World()
        around = looking(world)
        world.answers = {DATABASE: Saturated("no free connection"), CONTROL: Saturated("no free connection")}
        for _ in range(3):
            await around.look()
            await around.make_sure()
        assert down(around.now.control) + down(around.now.dependencies) == []

    run(scene())


def test_another_policy_forgets_the_addresses_that_it_does_not_name() -> None:
    async def scene() -> None:
        world = World()
        world.answers = {DATABASE: 503, CONTROL: Unavailable("refused: GET wire.example/")}
        around = looking(world)
        await around.look()
        around.obey(a_policy(interlocks=Interlocks(control=(CONTROL,))))
        assert [a.name for a in around.now.control] == [CONTROL]
        assert around.now.control[0].failures == 1
        assert around.now.dependencies == ()

    run(scene())
