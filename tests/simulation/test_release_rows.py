"""One rollback, one release row: whatever becomes of the answers, none is made twice, none of others is touched."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest

from rollguard.core import events as ev
from rollguard.localfly.messages import ApiRequest
from tests.simulation.siege import Siege, besiege
from tests.simulation.stage import APP, BAD, GOOD, GUARD


async def make_row(siege: Siege, image: str, token: str) -> str:
    """A release row of whoever has the token; its ID."""
    wanted = {"app_name": APP, "build_id": 0, "definition": {"app": APP}, "image": image, "strategy": "ROLLING"}
    headers = {"authorization": f"Bearer {token}"}
    asked = ApiRequest.of("POST", "https://fly/api/v1/releases", headers, json.dumps(wanted).encode())
    answer = await siege.stage.api.handle(asked)
    return str(json.loads(answer.body)["release"]["id"])


async def target_of(siege: Siege) -> str:
    await siege.until(lambda: siege.guard.record.state.goal)
    goal = siege.guard.record.state.goal
    assert goal is not None
    return goal.target_ref


def meanwhile(siege: Siege, after_s: float, act: Callable[[], Awaitable[object]]) -> Callable[[], Awaitable[object]]:
    """Begin ``act`` that long after this is called, and go on at once."""

    async def begin() -> None:
        async def later() -> None:
            await asyncio.sleep(after_s)
            await act()

        siege.aside(later())

    return begin


@pytest.mark.parametrize("status", [504, 502, 408])
@pytest.mark.parametrize("takes_effect", [False, True], ids=["before", "after"])
def test_an_answer_that_does_not_say_whether_a_row_was_made_makes_no_second_one(
    status: int, takes_effect: bool
) -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        siege.trouble.on("row create", times=3, status=status, takes_effect=takes_effect)
        await siege.ended()

    after = besiege(story)
    assert after.rows == [(3, "complete")]
    assert after.outcomes == ["restored"]


@pytest.mark.parametrize("late_s", [3.0, 8.0, 30.0])
def test_a_row_that_appears_late_does_not_stop_the_rollback_and_is_marked_failed(late_s: float) -> None:
    """The gateway gave up, the platform did not: when its row appears, the second one is at work already."""

    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        image = await target_of(siege)
        late = meanwhile(siege, late_s, lambda: make_row(siege, image, "guard-token"))
        siege.trouble.on("row create", status=504, act=late)
        await siege.ended()

    after = besiege(story, late_rows=1)
    assert after.stage.digests == {GOOD.digest}
    assert after.outcomes == ["restored"]
    assert sorted(status for _, status in after.rows) == ["complete", "failed"]


@pytest.mark.parametrize("end", ["a pause", "a foreign release"])
def test_a_row_whose_making_was_never_confirmed_is_closed_when_the_goal_ends_first(end: str) -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)

        async def stop() -> None:
            if end == "a pause":
                await siege.acts.pause("eve", "stop")
            else:
                await make_row(siege, BAD.ref, "ci-token")

        siege.trouble.on("row create", status=504, takes_effect=True, act=meanwhile(siege, 0.5, stop))
        await siege.ended()

    after = besiege(story)
    assert after.rows == [(3, "failed")]
    assert after.outcomes in (["paused"], ["yielded"])
    assert not after.writes("update")


def test_it_is_closed_also_when_the_platform_comes_back_only_after_the_deadline() -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)

        async def begin() -> None:
            siege.trouble.outage(1000)

        siege.trouble.on("row create", lost=True, takes_effect=True, act=begin)
        await siege.ended()

    after = besiege(story, settle_s=300)
    assert after.outcomes == ["deadline"]
    assert after.rows == [(3, "failed")]


def test_a_row_of_somebody_else_for_the_same_image_is_neither_taken_for_ones_own_nor_touched() -> None:
    """They deploy the very digest in the second in which the guard's answer is lost: theirs is marked running."""

    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        image = await target_of(siege)

        async def deploy() -> None:
            row = await make_row(siege, image, "ci-token")
            await siege.call("PATCH", f"/api/v1/releases/{row}", {"status": "running", "metadata": None})

        siege.trouble.on("row create", status=504, act=meanwhile(siege, 0.5, deploy))
        await siege.ended()

    after = besiege(story)
    assert after.outcomes == ["yielded"]
    assert after.rows == []
    assert not after.writes("update")
    theirs = [r for r in after.stage.app.releases if r.version == 3]
    assert [(r.user == GUARD, r.status) for r in theirs] == [(False, "running")]
    assert not after.of(ev.StepDone)


def test_a_platform_that_cannot_make_rows_leaves_none_and_says_so() -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        siege.trouble.on("row create", times=100, status=422)
        await siege.ended()

    after = besiege(story)
    assert (after.outcomes, after.rows) == (["failed"], [])
