"""Other hands: somebody else is told to roll back, followed, and believed only as far as the guard sees for itself.

The order is durable before it goes out, and goes out once: a life that ends at any instant is continued by finding what
the order began, or, where that cannot be told, by looking at the world. Nothing is ever begun a second time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from types import MappingProxyType

from rollguard.core import text
from rollguard.core.events import Delegated
from rollguard.core.executors import Machines
from rollguard.core.lifecycle import Goal
from rollguard.core.messages import mix
from rollguard.core.model import Snapshot
from rollguard.core.order import (
    CANCEL,
    KIND,
    Begun,
    Order,
    Progress,
    Work,
    changed_by_others,
    order_of,
    signs_of_others,
    standing,
    unknown_images,
)
from rollguard.core.plan import TRANSIENT
from rollguard.core.policy import Policy, Rollback
from rollguard.engine.execute import Executor, JudgeFirst
from rollguard.engine.record import Record
from rollguard.engine.steps import Stopped, pause_s
from rollguard.engine.update import CRASHES_MAX
from rollguard.errors import Conflict, Refused, Unavailable
from rollguard.ports import Clock, Delegate, Platform

FIND_S = 60.0
"""How long what was begun may take to show, where the answer to the order was lost."""
CANCEL_S = 30.0
LOOK_S = 5.0
"""Between two looks while it is at work: it needs the platform's answers more than the guard does."""
ASTRAY_S_MIN = 10.0
"""Reads may be stale: a machine that is not on the target is believed when it says so for a while."""


class Delegation(Executor):
    """Has all managed machines put on the goal's digest by a ``Delegate``. Same contract as ``Executor.drive``."""

    def __init__(
        self, delegate: Delegate, app: str, platform: Platform, record: Record, clock: Clock, settings: Rollback
    ) -> None:
        super().__init__(platform, record, clock, settings)
        self._delegate = delegate
        self._app = app
        self._images: dict[str, str | None] = {}
        self._seen: dict[str, str] = {}

    async def _rounds(self) -> None:
        try:
            order = order_of(self._app, self._steps.goal)
        except ValueError as error:
            raise Stopped("failed", str(error)) from error
        begun = await self._begin(order)
        try:
            told = await self._follow(begun)
        except Stopped as stopped:
            left = await self._call_off(begun)
            raise Stopped(stopped.outcome, stopped.sentence + left) from stopped
        await self._believe(told)

    # -- telling ----------------------------------------------------------------------------------------------------

    async def _begin(self, order: Order) -> Begun | None:
        """Tell it, unless a life has done so, or may have; what is at work then, or None where that cannot be told."""
        known = self._steps.goal.delegate
        if known:
            return Begun(known)
        begun = await self._tell(order) if known is None else None
        begun = begun or await self._find(order)
        if begun is not None:
            await self._note(Progress(work=Work.RUNNING, link=begun.link), begun.id)
        return begun

    async def _tell(self, order: Order) -> Begun | None:
        """The one order, after a last look: from here on the signs of a deploy are no sign of others."""
        snapshot = await super()._look()
        super()._check_end(snapshot, dict(self._steps.goal.instances))
        await self._steps.intend(KIND)
        try:
            begun = await self._delegate.begin(order)
        except (Refused, Conflict) as error:
            await self._steps.failed(KIND, error)
            raise Stopped("failed", f"{self._delegate.name} did not begin: {error}") from error
        except Unavailable as error:
            await self._steps.failed(KIND, error)
            return None
        await self._steps.done(KIND, result=begun.id)
        return begun

    async def _find(self, order: Order) -> Begun | None:
        give_up_at = self._clock.now() + FIND_S
        while True:
            try:
                if (begun := await self._delegate.find(order)) is not None:
                    return begun
            except (Unavailable, Conflict, Refused) as error:
                await self._steps.failed(KIND, error)
            if self._clock.now() >= give_up_at:
                return None
            try:
                await self._see()
            except Stopped as stopped:
                raise Stopped(stopped.outcome, stopped.sentence + at_large(self._steps.goal)) from stopped
            await asyncio.sleep(self._delegate.poll_s)

    # -- following --------------------------------------------------------------------------------------------------

    async def _follow(self, begun: Begun | None) -> Progress:
        """Its last word, or what comes to one. Raises ``Stopped`` when people or time end the goal."""
        if begun is None:
            told = Progress(work=Work.LOST, sentence="whether it began cannot be told; it may still be at work")
            await self._note(told)
            return told
        give_up_at = self._steps.goal.set_at + self._delegate.timeout_s
        look_at = 0.0
        while True:
            if self._clock.now() >= look_at:
                await self._see()
                look_at = self._clock.now() + LOOK_S
            told = await self._ask(begun)
            if told.work is not Work.RUNNING:
                await self._note(told)
                return told
            if self._clock.now() >= give_up_at:
                so_far = f": {told.sentence}" if told.sentence else ""
                within = text.seconds(self._delegate.timeout_s)
                raise Stopped("failed", f"{self._delegate.name} was not done within {within}{so_far}")
            await asyncio.sleep(self._delegate.poll_s)

    async def _ask(self, begun: Begun) -> Progress:
        """What cannot be asked is taken to be at work, until its time is over."""
        try:
            return await self._delegate.progress(begun)
        except (Unavailable, Conflict, Refused) as error:
            return Progress(work=Work.RUNNING, sentence=f"it cannot be asked: {error}")

    async def _call_off(self, begun: Begun | None) -> str:
        """Ask it to stop, and wait a little; what people must know where it may go on all the same."""
        told = Progress(work=Work.RUNNING)
        if begun is not None:
            await self._steps.intend(CANCEL)
            try:
                async with asyncio.timeout(CANCEL_S):
                    await self._delegate.cancel(begun)
                    told = await self._end_of(begun)
            except (Unavailable, Conflict, Refused, TimeoutError) as error:
                await self._steps.failed(CANCEL, error)
            else:
                await self._steps.done(CANCEL)
                await self._note(told)
        return f"; {self._delegate.name} may still be at work" if told.work is Work.RUNNING else ""

    async def _end_of(self, begun: Begun) -> Progress:
        while True:
            told = await self._delegate.progress(begun)
            if told.work is not Work.RUNNING:
                return told
            await asyncio.sleep(self._delegate.poll_s)

    async def _note(self, told: Progress, known_as: str = "") -> None:
        await self._record.add(
            Delegated(
                at=self._clock.now(),
                incident=self._steps.goal.incident,
                executor=self._delegate.name,
                state=told.work,
                id=known_as,
                sentence=told.sentence,
                link=told.link,
                output=told.output,
            )
        )

    # -- seeing -----------------------------------------------------------------------------------------------------

    async def _believe(self, told: Progress) -> None:
        """Until every managed machine is well on the target, and stays so. Raises ``Stopped`` where that is not so."""
        if told.work is Work.FAILED:
            now_on = mix(await self._see())
            raise Stopped("failed", f"{self._delegate.name} failed: {told.sentence}; the mix is {now_on}")
        give_up_at = self._clock.now() + self._settings.wait_timeout_s
        began_at = self._clock.now()
        well_since: float | None = None
        astray_since: float | None = None
        while True:
            snapshot = await self._see()
            now, goal = self._clock.now(), self._steps.goal
            found = standing(goal, snapshot)
            _check_crashes(snapshot, began_at)
            astray_since = (astray_since or now) if found.astray else None
            if astray_since is not None and now - astray_since >= max(ASTRAY_S_MIN, self._settings.stability_s):
                runs = f"machine {found.astray[0].id} runs {text.short(found.astray[0].digest) or 'an unknown image'}"
                raise Stopped("failed", f"{self._word(told)}; {runs}, not the target; the mix is {mix(snapshot)}")
            well_since = (well_since or now) if found.is_well else None
            if well_since is not None and now - well_since >= self._settings.stability_s:
                return await self._confirm(snapshot)
            if now >= give_up_at:
                sick = text.listing([m.id for m in (*found.unwell, *found.astray)])
                raise Stopped("failed", f"{self._word(told)}; machine {sick} is not healthy on the target")
            await asyncio.sleep(min(1.0, max(0.1, self._settings.stability_s / 4)))

    def _word(self, told: Progress) -> str:
        if told.work is Work.SUCCEEDED:
            return f"{self._delegate.name} said success"
        return f"{self._delegate.name}: {told.sentence}"

    async def _confirm(self, snapshot: Snapshot) -> None:
        """Each machine as it was read back."""
        for machine in snapshot.managed:
            await self._steps.done("update", machine=machine.id, result=machine.instance_id, phase="healthy")

    async def _look(self) -> Snapshot:
        """Machines and releases; who holds a machine says nothing while somebody else rolls back."""
        while True:
            try:
                return await self._roll_call.snapshot(self._steps.goal.instances)
            except Unavailable as error:
                if self._clock.now() >= self._steps.goal.deadline_at:
                    raise Stopped("deadline", f"the platform did not answer: {error}") from error
                await asyncio.sleep(pause_s(error))
            except Refused as error:
                raise Stopped("failed", f"the platform refuses: {error}") from error

    async def _see(self) -> Snapshot:
        """The world, read afresh, unless people or time end the goal: then ``Stopped``."""
        snapshot = await self._look()
        for ref in unknown_images(self._steps.goal, snapshot, self._images):
            try:
                self._images[ref] = await self._platform.resolve(ref)
            except Unavailable:
                break  # the next round asks again
            except Refused:
                self._images[ref] = None
        self._check_end(snapshot)
        born = self._steps.goal.instances
        known = [m for m in snapshot.managed if m.state not in TRANSIENT or m.id not in {*born, *self._seen}]
        self._seen |= {m.id: m.instance_id for m in known}
        return snapshot

    def _check_end(self, snapshot: Snapshot, known: Mapping[str, str] = MappingProxyType({})) -> None:
        """Pause, time, and other people: whoever rolls back gives some of their signs as well."""
        super()._check_end(signs_of_others(self._steps.goal, snapshot, self._images))
        if machine := changed_by_others(self._steps.goal, snapshot, self._seen):
            raise Stopped("yielded", f"machine {machine.id} was changed by somebody else")


def _check_crashes(snapshot: Snapshot, since: float) -> None:
    for machine in snapshot.managed:
        crashes = sum(not e.requested and e.at > since for e in machine.exits)
        if crashes >= CRASHES_MAX or machine.crashed:
            raise Stopped("failed", f"machine {machine.id} crashes on the restored image")


def hands_of(
    goal: Goal,
    policy: Policy,
    delegate: Delegate | None,
    platform: Platform,
    record: Record,
    clock: Clock,
    judge_first: JudgeFirst,
) -> Executor | None:
    """Who carries the goal on: whoever began it, or nobody. Two at once would undo each other's work."""
    settings = policy.rollback
    if goal.executor != settings.executor.name:
        return None
    if isinstance(settings.executor, Machines):
        return Executor(platform, record, clock, settings, judge_first)
    return Delegation(delegate, policy.target.app, platform, record, clock, settings) if delegate else None


def at_large(goal: Goal) -> str:
    """What people must know where somebody was told to roll back, and nobody follows that any more."""
    return f"; {goal.executor} may still be at work" if goal.delegate is not None else ""
