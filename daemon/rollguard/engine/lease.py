"""Holding a machine: taken, kept alive, always given back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from rollguard.core.model import Lease
from rollguard.core.plan import GUARD_LEASE, is_own
from rollguard.errors import Conflict, GuardError, Unavailable
from rollguard.ports import Clock, Held, Platform, acting

TRIES_S = 30.0


class Taken(Exception):
    """Somebody else holds the machine: the guard yields."""


@contextlib.asynccontextmanager
async def holding(platform: Platform, clock: Clock, machine: str, incident: str, ttl_s: float) -> AsyncIterator[Held]:
    """The exclusive hold on ``machine`` for the time of the block, refreshed at a third of its life.

    A lease left over from an earlier life of the guard is waited out. Raises ``Taken`` when somebody else has it,
    ``Unavailable`` or ``Refused`` when it cannot be had.
    """
    with acting():
        held = await _acquire(platform, clock, machine, f"{GUARD_LEASE} {incident}", ttl_s)
        keeper = asyncio.create_task(_keep(platform, held, ttl_s), name=f"lease {machine}")
        try:
            yield held
        finally:
            keeper.cancel()
            await asyncio.wait([keeper])  # not the keeper itself: whoever cancels us meanwhile must be heard
            with contextlib.suppress(asyncio.CancelledError):
                keeper.result()
            # It expires by itself; giving it back is a courtesy that must not fail the act.
            with contextlib.suppress(GuardError, TimeoutError):
                async with asyncio.timeout(5.0):
                    await platform.release_lease(held)


async def _acquire(platform: Platform, clock: Clock, machine: str, description: str, ttl_s: float) -> Held:
    give_up_at = clock.now() + TRIES_S + ttl_s
    while True:
        try:
            return await platform.acquire_lease(machine, description, ttl_s)
        except Conflict as error:
            lease = await _holder(platform, machine)
            if lease is not None and not is_own(lease):
                raise Taken(f"{lease.owner or 'somebody'} holds machine {machine}") from error
            if clock.now() >= give_up_at:
                raise Taken(f"machine {machine} stays held: {error}") from error
        except Unavailable:
            if clock.now() >= give_up_at:
                raise
        await asyncio.sleep(1.0)


async def _holder(platform: Platform, machine: str) -> Lease | None:
    with contextlib.suppress(Unavailable):
        return (await platform.leases([machine])).get(machine)
    return None


async def _keep(platform: Platform, held: Held, ttl_s: float) -> None:
    """Refresh until cancelled. A lease that is lost stays lost: the write under it is already over."""
    while True:
        await asyncio.sleep(ttl_s / 3)
        try:
            held = await platform.refresh_lease(held, ttl_s)
        except Unavailable:
            continue
        except GuardError:
            return
