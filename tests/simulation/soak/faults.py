"""What goes wrong with the platform, with machines, and with the guard itself: each until it is over, then undone."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rollguard.localfly.images import Behaviour, Image
from rollguard.ports import HttpAnswer
from tests.simulation.soak import wire
from tests.simulation.soak.drawn import Trouble
from tests.simulation.soak.wire import How, Meddling, Message
from tests.simulation.stage import APP, GOOD, GUARD, NONE

if TYPE_CHECKING:
    from tests.simulation.soak.world import Soak

Act = Callable[["Soak", Trouble], Awaitable[None]]
OTHER = Image.build(f"registry.fly.io/{APP}:deployment-OTHER", Behaviour(error_share=1.0, latency_s=0.3), labels=NONE)
"""What somebody pushes under the tag of the release that the guard would go back to."""


def on_wire(how: Callable[[Soak, Trouble], How], *, for_long: bool = False) -> Act:
    """Something becomes of some messages: of the next few of a kind, or of all for a while."""

    async def act(soak: Soak, trouble: Trouble) -> None:
        until = asyncio.get_running_loop().time() + (trouble.for_s if for_long else 600.0)
        calls = frozenset({trouble.calls}) if trouble.calls else frozenset[str]()
        times = math.inf if for_long else trouble.times
        skip = 0 if for_long or trouble.moment else trouble.skip
        it = Meddling(
            how=how(soak, trouble),
            calls=calls,
            times=times,
            skip=skip,
            until=until,
            on_met=(lambda: None) if for_long else lambda: soak.happened(trouble.name),
        )
        if for_long:
            soak.happened(trouble.name)
        with soak.meddling(it):
            while not it.over:
                await asyncio.sleep(1.0)

    return act


def plainly(how: How) -> Callable[[Soak, Trouble], How]:
    return lambda soak, trouble: how


def slowly(soak: Soak, trouble: Trouble) -> How:
    return wire.late(1.0 + 11.0 * trouble.share)


def slowly_back(soak: Soak, trouble: Trouble) -> How:
    return wire.slow_back(1.0 + 11.0 * trouble.share)


def of_a_while_ago(soak: Soak, trouble: Trouble) -> How:
    """The list as it was some seconds before, from a cache in between."""
    kept: deque[tuple[float, HttpAnswer]] = deque()

    async def how(message: Message) -> HttpAnswer:
        answer, now = await message.deliver(), asyncio.get_running_loop().time()
        kept.append((now, answer))
        while len(kept) > 1 and kept[1][0] <= now - 3.0 - 9.0 * trouble.share:
            kept.popleft()
        message.lied = message.lied or kept[0][1].body != answer.body
        return kept[0][1]

    return how


def in_haste(soak: Soak, trouble: Trouble) -> How:
    """429, with or without a word on when to come again."""
    return wire.says(429, {"retry-after": str(int(1 + 40 * trouble.share))} if trouble.share < 0.7 else {})


def dying(*, after: bool) -> Callable[[Soak, Trouble], How]:
    """The guard is killed at a request of its own, before or after it took effect."""

    def how(soak: Soak, trouble: Trouble) -> How:
        async def die() -> None:
            soak.kill(rises_after_s=0.5 + trouble.for_s)

        return wire.then(die) if after else wire.first(die)

    return how


def on_platform(*, for_long: bool = False, **fault: str) -> Act:
    """A fault of the local platform, for the guard's requests: a few times, or for a while."""

    async def act(soak: Soak, trouble: Trouble) -> None:
        ((kind, _),) = fault.items()
        soak.faults.change({"owner": GUARD, "times": None if for_long else trouble.times} | fault)
        if for_long:
            soak.happened(trouble.name)
        try:
            until = asyncio.get_running_loop().time() + (trouble.for_s if for_long else 600.0)
            while getattr(soak.faults, kind) and asyncio.get_running_loop().time() < until:
                await asyncio.sleep(1.0)
            if not for_long and not getattr(soak.faults, kind):
                soak.happened(trouble.name)
                await asyncio.sleep(trouble.for_s if "stuck" in fault.values() else 0.0)
        finally:
            soak.faults.change({kind: None})

    return act


def plain(act: Act) -> Act:
    """What happens when it is begun."""

    async def counted(soak: Soak, trouble: Trouble) -> None:
        soak.happened(trouble.name)
        await act(soak, trouble)

    return counted


# -- the platform ------------------------------------------------------------------------------------------------------


async def host_unreachable(soak: Soak, trouble: Trouble) -> None:
    """A machine's host cannot be asked; what runs there runs on."""
    machine = soak.some(trouble.share)
    if machine is None:
        return
    soak.world.set_host_status(APP, machine.id, "unreachable", soak.wall())
    try:
        await asyncio.sleep(trouble.for_s)
    finally:
        soak.world.set_host_status(APP, machine.id, "ok", soak.wall())


async def image_pruned(soak: Soak, trouble: Trouble) -> None:
    """The image to go back to is gone from the registry for a while."""
    soak.world.images.prune(GOOD.digest)
    try:
        await asyncio.sleep(trouble.for_s)
    finally:
        soak.world.images.push(GOOD)


async def tag_moved(soak: Soak, trouble: Trouble) -> None:
    """The tag of the release to go back to names another image from now on."""
    soak.world.images.push(replace(OTHER, ref=GOOD.ref))


async def token_revoked(soak: Soak, trouble: Trouble) -> None:
    tokens = soak.world.tokens
    taken = tokens.pop("guard-token", None)
    try:
        await asyncio.sleep(trouble.for_s)
    finally:
        if taken is not None:
            tokens["guard-token"] = taken


async def cut_off(soak: Soak, trouble: Trouble) -> None:
    """The guard's own network is gone, for the app, the platform and the rest of the world."""
    soak.cut_off += 1
    try:
        await asyncio.sleep(min(trouble.for_s, 40.0))
    finally:
        soak.cut_off -= 1


async def no_metrics(soak: Soak, trouble: Trouble) -> None:
    soak.metrics_out += 1
    try:
        await asyncio.sleep(trouble.for_s)
    finally:
        soak.metrics_out -= 1


# -- machines ----------------------------------------------------------------------------------------------------------


async def process_dies(soak: Soak, trouble: Trouble) -> None:
    """One machine's process ends unasked, and is started again."""
    machine = soak.some(trouble.share)
    if machine is not None and machine.alive:
        soak.mood({"crash_after_s": 0.0}, machine.id)


async def falls_asleep(soak: Soak, trouble: Trouble) -> None:
    """The proxy stops a machine that nobody needs, and a request or a person wakes it later."""
    machine = soak.some(trouble.share)
    if machine is None or machine.state != "started" or machine.lease is not None:
        return
    soak.happened(trouble.name)
    soak.stop_idle(machine)
    await asyncio.sleep(trouble.for_s)
    soak.wake(machine)


async def everything_fails(soak: Soak, trouble: Trouble) -> None:
    """All code fails alike for a while, whatever the image: the release has nothing to do with it."""
    await _mood(soak, {"error_share": 1.0}, trouble.for_s)


async def everything_is_slow(soak: Soak, trouble: Trouble) -> None:
    await _mood(soak, {"added_latency_s": 9.0}, trouble.for_s)


async def _mood(soak: Soak, mood: Mapping[str, Any], for_s: float) -> None:
    soak.mood(mood)
    try:
        await asyncio.sleep(for_s)
    finally:
        soak.mood({})


# -- the guard ---------------------------------------------------------------------------------------------------------


async def killed(soak: Soak, trouble: Trouble) -> None:
    """SIGKILL, and the next life a while later; several times."""
    for _ in range(trouble.times):
        soak.kill(rises_after_s=0.5 + trouble.for_s * trouble.share)
        await asyncio.sleep(2.0 + trouble.for_s)


async def clock_forward(soak: Soak, trouble: Trouble) -> None:
    await _clock_wrong(soak, 1.0 + trouble.for_s, trouble)


async def clock_back(soak: Soak, trouble: Trouble) -> None:
    await _clock_wrong(soak, -1.0 - trouble.for_s, trouble)


async def _clock_wrong(soak: Soak, by_s: float, trouble: Trouble) -> None:
    """The clocks where the guard lives jump, and are put right again a while later."""
    soak.watches.skew_s += by_s
    try:
        await asyncio.sleep(20.0 + 180.0 * trouble.share)
    finally:
        soak.watches.skew_s -= by_s


async def disk_full(soak: Soak, trouble: Trouble) -> None:
    """No write to the journal succeeds for a while; whoever dies of it is started again."""
    soak.full.writes_left = 0
    try:
        await asyncio.sleep(trouble.for_s)
    finally:
        soak.full.writes_left = math.inf
