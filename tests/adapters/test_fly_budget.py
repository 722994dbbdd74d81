"""Fly's rate limits are kept by the guard itself, and what acts goes before what watches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.adapters.fly.budget import BUCKETS_MAX, HINT_S_MAX, ONE_MACHINE, USUAL, Budget
from rollguard.errors import Unavailable
from rollguard.ports import Held, acting, is_acting
from tests.adapters.fly_answers import LEASE, M1, MACHINE, ULID, Fly
from tests.adapters.scripted_transport import says
from tests.virtual_time import run

LIST, ONE = "GET /v1/apps/my-app/machines", f"GET /v1/apps/my-app/machines/{M1}"


def budget() -> Budget:
    return Budget(lambda action: ONE_MACHINE if action == ONE else USUAL)


def taken(of: Budget, action: str, now: float, *, acting: bool) -> int:
    """How many go through at that instant."""
    count = 0
    while of.take(action, now, acting=acting) == 0:
        count += 1
    return count


def test_what_acts_may_use_the_burst_and_what_watches_leaves_the_reserve() -> None:
    assert taken(budget(), LIST, 0.0, acting=True) == 3
    assert taken(budget(), LIST, 0.0, acting=False) == 1
    assert taken(budget(), ONE, 0.0, acting=True) == 10
    assert taken(budget(), ONE, 0.0, acting=False) == 4


def test_after_any_watching_an_act_finds_its_reserve() -> None:
    for action, reserve in ((LIST, USUAL.reserve), (ONE, ONE_MACHINE.reserve)):
        both = budget()
        taken(both, action, 0.0, acting=False)
        assert taken(both, action, 0.0, acting=True) == reserve


def test_each_action_and_each_machine_has_its_own_limit() -> None:
    one = budget()
    assert [taken(one, action, 0.0, acting=True) for action in ("POST /m1", "POST /m2", "DELETE /m1")] == [3, 3, 3]


@given(st.lists(st.tuples(st.floats(0, 5), st.booleans()), max_size=60))
def test_never_more_than_the_burst_and_the_rate_go_through(asked: list[tuple[float, bool]]) -> None:
    one, now, sent = budget(), 0.0, []
    for pause_s, acts in asked:
        now += pause_s
        if one.take(LIST, now, acting=acts) == 0:
            sent.append(now)
    for first, at in enumerate(sent):
        within = [t for t in sent[first:] if t <= at + 10.0]
        assert len(within) <= USUAL.burst + 10.0 * USUAL.rate + 1e-6


@given(st.floats(0, 100), st.booleans(), st.integers(0, 5))
def test_whoever_comes_again_when_told_to_is_let_through(at: float, acts: bool, before: int) -> None:
    one = budget()
    for _ in range(before):
        one.take(LIST, at, acting=True)
    wait_s = one.take(LIST, at, acting=acts)
    assert wait_s == 0 or one.take(LIST, at + wait_s, acting=acts) == 0


def test_a_clock_that_goes_back_refills_nothing() -> None:
    one = budget()
    taken(one, LIST, 100.0, acting=True)
    assert one.take(LIST, 50.0, acting=True) > 0
    assert one.take(LIST, 52.0, acting=True) == 0


def test_a_refusal_empties_the_bucket_and_the_hint_doubles_until_one_is_admitted() -> None:
    one = budget()
    assert [one.refused(LIST, 0.0) for _ in range(5)] == [1.0, 2.0, 4.0, 8.0, HINT_S_MAX]
    assert one.take(LIST, 0.5, acting=True) > 0
    one.admitted(LIST)
    assert one.refused(LIST, 60.0) == 1.0


def test_buckets_are_bounded_and_the_one_unused_for_longest_goes_first() -> None:
    one = budget()
    for number in range(BUCKETS_MAX + 1):
        taken(one, f"POST /m{number}", 0.0, acting=True)
    assert one.take("POST /m0", 0.0, acting=True) == 0
    assert one.take(f"POST /m{BUCKETS_MAX}", 0.0, acting=True) > 0


# -- the client --------------------------------------------------------------------------------------------------------


def seconds(story: Callable[[], Coroutine[Any, Any, object]]) -> float:
    """How long that takes, in virtual time."""

    async def timed() -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        await story()
        return loop.time() - began

    return round(run(timed()), 6)


def looks(fly: Fly, times: int) -> Callable[[], Coroutine[Any, Any, object]]:
    async def look() -> None:
        for _ in range(times):
            await fly.platform.snapshot()

    return look


def test_a_caller_waits_for_its_turn_in_place_of_failing() -> None:
    assert seconds(looks(Fly(), 1)) == 0.0
    assert seconds(looks(Fly(), 4)) == pytest.approx(3 / USUAL.rate, abs=0.01)


def test_an_act_does_not_wait_for_what_watches() -> None:
    fly = Fly()

    async def story() -> None:
        watching = asyncio.create_task(looks(fly, 5)())
        await asyncio.sleep(0)
        assert not is_acting()
        with acting():
            loop = asyncio.get_running_loop()
            began = loop.time()
            await asyncio.gather(*(asyncio.create_task(fly.platform.snapshot()) for _ in range(2)))
            assert loop.time() - began < 1e-6, "tasks begun in the block act as well"
        assert not is_acting()
        await watching

    run(story())


def test_a_write_is_never_held_up_by_the_reserve() -> None:
    lease = f"/v1/apps/my-app/machines/{M1}/lease"
    fly = Fly({f"POST {lease}": {"data": LEASE}})

    async def story() -> None:
        for _ in range(3):
            await fly.platform.acquire_lease(M1, "rollguard i1", 13)

    assert seconds(story) == 0.0


def test_a_turn_that_would_come_too_late_is_unavailable_and_nothing_was_sent() -> None:
    fly = Fly()

    async def story() -> None:
        tasks = [asyncio.create_task(fly.platform.leases([M1])) for _ in range(40)]
        results = await asyncio.gather(*tasks, return_exceptions=True)
        late = [r for r in results if isinstance(r, Unavailable)]
        sent = sum(asked.path.endswith("/lease") for asked in fly.asked)
        assert late
        assert sent + len(late) == 40
        assert all("not sent, to keep to the rate limit: GET" in str(r) and r.retry_after_s for r in late)

    fly.answers[f"GET /v1/apps/my-app/machines/{M1}/lease"] = says({"error": "lease not found"}, 404)
    assert seconds(story) <= 15.0


def test_429_says_when_to_come_again_longer_each_time_and_what_was_admitted_ends_that() -> None:
    fly = Fly({LIST: says({"error": "rate limited"}, 429)})

    async def hint_s() -> float | None:
        with acting(), pytest.raises(Unavailable, match="HTTP 429") as caught:
            await fly.platform.snapshot()
        return caught.value.retry_after_s

    async def story() -> None:
        assert [await hint_s() for _ in range(3)] == [1.0, 2.0, 4.0]
        fly.answers[LIST] = [MACHINE]
        with acting():
            await fly.platform.snapshot()
        fly.answers[LIST] = says({}, 429, retry_after="7")
        assert await hint_s() == 7.0
        fly.answers[LIST] = says({}, 429)
        assert await hint_s() == 2.0

    run(story())


def test_429_of_graphql_is_unavailable_with_a_hint_too() -> None:
    fly = Fly({"POST /graphql": says({}, 429)})

    async def story() -> None:
        with pytest.raises(Unavailable) as caught:
            await fly.platform.resolve("x")
        assert caught.value.retry_after_s == 1.0

    run(story())


def test_a_long_poll_keeps_its_own_time() -> None:
    fly = Fly({f"{ONE}/wait": {"ok": True}})
    held = Held(M1, "n", 0.0, ULID)

    async def story() -> None:
        for _ in range(4):
            await fly.platform.wait_started(held.machine, ULID, 60.0)

    seconds(story)
    assert {asked.timeout_s for asked in fly.asked} == {70.0}
