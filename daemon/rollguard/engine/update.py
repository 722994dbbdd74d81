"""One machine: held, written once, and watched until it is well on the target digest."""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace

from rollguard.core import text
from rollguard.core.lifecycle import Update
from rollguard.core.model import Machine, Snapshot
from rollguard.core.plan import spare
from rollguard.core.policy import Rollback
from rollguard.engine.lease import Taken, holding
from rollguard.engine.steps import Steps, Stopped, pause_s
from rollguard.errors import Conflict, Refused, Unavailable
from rollguard.ports import Clock, Held, Platform

WRITE_TRIES = 3
READ_TRIES = 8
CRASHES_MAX = 2
ASLEEP = frozenset({"stopped", "suspended"})


class MachineUpdate:
    """Puts single machines on the goal's digest."""

    def __init__(
        self,
        platform: Platform,
        steps: Steps,
        clock: Clock,
        settings: Rollback,
        look_again: Callable[[], Awaitable[Snapshot]],
    ) -> None:
        self._platform = platform
        self._steps = steps
        self._clock = clock
        self._settings = settings
        self._look_again = look_again
        self._unwritten: Counter[str] = Counter()
        self._poll_s = min(1.0, max(0.1, settings.stability_s / 4))
        self._one_write = asyncio.Lock()

    async def update(self, machine: str) -> None:
        """Hold, write, watch. Raises ``Stopped``; the lease is given back in every case."""
        await self._under_lease(machine, skip_launch=False)

    async def update_asleep(self, machine: str) -> None:
        """The same for a machine that is stopped and stays so. Raises ``Stopped``."""
        await self._under_lease(machine, skip_launch=True)

    async def _under_lease(self, machine: str, *, skip_launch: bool) -> None:
        settings = self._settings
        try:
            async with holding(
                self._platform, self._clock, machine, self._steps.goal.incident, settings.lease_ttl_s
            ) as held:
                async with self._one_write:
                    written = await self._write(held, skip_launch=skip_launch)
                if not written:
                    return
                if skip_launch:
                    await self._verify_asleep(machine)
                else:
                    await self._settle(machine)
        except Taken as error:
            raise Stopped("yielded", str(error)) from error
        except Unavailable as error:
            await self._steps.failed("update", error, machine)  # the next round looks, with patience, and goes on
        except (Conflict, Refused) as error:
            await self._steps.failed("update", error, machine)
            raise Stopped("failed", f"machine {machine} could not be updated: {error}") from error

    async def _write(self, held: Held, *, skip_launch: bool) -> bool:
        """The one write on a machine, conditional on the instance that was planned for; False: plan again.

        Right before it the world is looked at once more: whether the machine is still held, still sleeps or runs,
        whether the goal still stands and the floor still allows it. Writes of one wave go out one after the other, so
        that each sees what the one before it has taken down.
        """
        goal = self._steps.goal
        current = await self._machine(held.machine)
        if not await self._is_ours(held):
            return False
        snapshot = await self._look_again()
        expected = (
            goal.updates[held.machine].before if held.machine in goal.updates else goal.instances.get(held.machine)
        )
        if expected is not None and current.instance_id != expected:
            raise Stopped("yielded", f"machine {held.machine} was changed by somebody else")
        asleep = current.state in ASLEEP and not current.crashed
        if skip_launch and not asleep and not current.standby:
            return False  # somebody woke it: it serves now
        peers = [self._in_flight(m) for m in snapshot.managed if m.group == current.group]
        serves = current.healthy_routable or any(m.id == current.id and m.healthy_routable for m in peers)
        if serves and not current.standby and not spare(peers, self._settings):
            return False
        return await self._send(held, current, skip_launch=asleep)

    def _in_flight(self, machine: Machine) -> Machine:
        """One that another write of this wave took down is not asleep, though it may look so while it is replaced."""
        update = self._steps.goal.updates.get(machine.id)
        taken_down = update is not None and update.after == machine.instance_id and not update.healthy
        return replace(machine, state="updating") if taken_down and machine.state in {*ASLEEP, "created"} else machine

    async def _is_ours(self, held: Held) -> bool:
        """Whether the machine is still held: after an outage the lease may have expired, or somebody cleared it."""
        try:
            await self._platform.refresh_lease(held, self._settings.lease_ttl_s)
        except Refused:
            return False
        except Conflict as error:
            raise Stopped("yielded", str(error)) from error
        return True

    async def _send(self, held: Held, current: Machine, *, skip_launch: bool) -> bool:
        """After an unclear answer the machine is read: a new instance with our mark is our write."""
        goal = self._steps.goal
        await self._steps.intend("update", held.machine, current.instance_id)
        try:
            after = await self._platform.update(
                held,
                instance_id=current.instance_id,
                image=goal.target_ref,
                metadata=self._steps.marks(),
                skip_launch=skip_launch,
            )
        except (Conflict, Unavailable) as error:
            await self._steps.failed("update", error, held.machine)
            await asyncio.sleep(pause_s(error))
            seen = await self._machine(held.machine)
            if seen.instance_id == current.instance_id:
                self._unwritten[held.machine] += 1
                if self._unwritten[held.machine] >= WRITE_TRIES:
                    raise Stopped("failed", f"machine {held.machine} could not be updated: {error}") from error
                return False
            if not self._steps.is_ours(seen):
                raise Stopped("yielded", f"machine {held.machine} was changed by somebody else") from error
            after = seen.instance_id
        await self._steps.done("update", machine=held.machine, result=after, phase="accepted")
        return True

    async def settle(self, machine: str) -> None:
        """What an earlier life began, or an outage cut off: watch until it is well. Raises ``Stopped``."""
        try:
            await self._settle(machine)
        except Unavailable as error:
            await self._steps.failed("update", error, machine)
        except (Conflict, Refused) as error:
            raise Stopped("failed", f"machine {machine} could not be read: {error}") from error

    async def _settle(self, machine: str) -> None:
        """Wait until the new instance is started, on the target digest, and its checks have passed for a while."""
        update = self._steps.goal.updates[machine]
        if update.after is None:
            return
        give_up_at = self._clock.now() + self._settings.wait_timeout_s
        await self._wait_started(machine, update.after, give_up_at)
        stable_since: float | None = None
        older = max((e.at for e in (await self._machine(machine)).exits), default=-math.inf)
        why = "its checks never passed"
        while self._clock.now() < give_up_at:
            seen = await self._machine(machine)
            self._check_instance(seen, update)
            crashes = sum(not e.requested and e.at > older for e in seen.exits)
            if crashes >= CRASHES_MAX or seen.crashed:
                raise Stopped("failed", f"machine {machine} crashes on the restored image")
            if _ended_by_itself(seen):
                raise Stopped("failed", f"machine {machine} ends by itself on the restored image")
            if seen.state in ASLEEP:
                break  # on the right digest: nothing more to prove
            if seen.healthy_routable or (seen.started and seen.cordoned and seen.checks_pass):
                stable_since = self._clock.now() if stable_since is None else stable_since
                if self._clock.now() - stable_since >= self._settings.stability_s:
                    break
            else:
                stable_since = None
                why = f"it is {seen.state}, checks {_checks(seen)}"
            await asyncio.sleep(self._poll_s)
        else:
            raise Stopped(
                "failed",
                f"machine {machine} is not healthy within {text.seconds(self._settings.wait_timeout_s)}: {why}",
            )
        await self._steps.done("update", machine=machine, result=update.after, phase="healthy")

    async def _verify_asleep(self, machine: str) -> None:
        """A sleeping machine is done when it has the right digest and sleeps. One that wakes must be well."""
        update = self._steps.goal.updates[machine]
        give_up_at = self._clock.now() + self._settings.wait_timeout_s
        while self._clock.now() < give_up_at:
            seen = await self._machine(machine)
            self._check_instance(seen, update)
            if seen.started:
                await self._settle(machine)
                return
            if seen.state in {"stopped", "suspended", "created"} and seen.digest == self._steps.goal.target:
                await self._steps.done("update", machine=machine, result=update.after or "", phase="healthy")
                return
            await asyncio.sleep(self._poll_s)
        raise Stopped("failed", f"machine {machine} did not come to rest on the target image")

    def _check_instance(self, seen: Machine, update: Update) -> None:
        """The platform may quietly put a machine back on its previous version; others may take it away."""
        if seen.instance_id == update.before:
            raise Stopped("failed", f"the platform put machine {seen.id} back on its previous version")
        if seen.instance_id != update.after or not seen.managed:
            raise Stopped("yielded", f"machine {seen.id} was changed by somebody else")
        if seen.started and seen.digest != self._steps.goal.target:
            raise Stopped("failed", f"machine {seen.id} runs {text.short(seen.digest)}, not the target")

    async def _wait_started(self, machine: str, instance: str, give_up_at: float) -> None:
        while (left_s := give_up_at - self._clock.now()) > 0:
            try:
                if await self._platform.wait_started(machine, instance, min(60.0, max(1.0, left_s))):
                    return
            except Unavailable:
                await asyncio.sleep(1.0)
            seen = await self._machine(machine)
            if seen.instance_id != instance or seen.state in ASLEEP or not seen.managed:
                return  # ``_settle`` says what that means

    async def _machine(self, machine: str) -> Machine:
        """One machine, read afresh, with bounded patience."""
        for attempt in range(READ_TRIES):
            try:
                return await self._platform.machine(machine)
            except Unavailable as error:
                if attempt == READ_TRIES - 1:
                    raise
                await asyncio.sleep(pause_s(error, min(5.0, 0.5 * 2**attempt)))
        raise AssertionError("unreachable")


def _ended_by_itself(machine: Machine) -> bool:
    """Whether what should serve came to rest, and nobody had asked for that: no idleness, whatever its exit code."""
    last = max(machine.exits, key=lambda e: e.at, default=None)
    serves = machine.has_services or machine.has_checks
    return serves and machine.state == "stopped" and last is not None and not last.requested


def _checks(machine: Machine) -> str:
    return ", ".join(f"{c.name} {c.status}" for c in machine.checks[:5]) or "none reported"
