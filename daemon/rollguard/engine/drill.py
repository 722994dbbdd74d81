"""The hands of a drill: one way of it, with the same writes, checks and manners as a rollback.

Each way is a goal in the journal before its first write. What a life leaves half-done the next one looks at and takes
back; the way there is never begun again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from rollguard.core import text
from rollguard.core.drill import BACK, NO_ROW, THERE, Drill
from rollguard.core.events import DrillMoved, StepDone
from rollguard.core.goal import Goal
from rollguard.core.messages import mix
from rollguard.core.model import Machine, Snapshot
from rollguard.core.plan import TRANSIENT, Next, Wait
from rollguard.core.policy import Rollback
from rollguard.core.rehearsal import next_move
from rollguard.engine.execute import Executor
from rollguard.engine.record import Record
from rollguard.engine.rows import ReleaseRow
from rollguard.engine.steps import Steps, Stopped
from rollguard.engine.update import MachineUpdate
from rollguard.ports import Clock, Held, Platform

CALLED_BACK, HOME = "called back", "home"
SLICE_S = 5.0
"""How long a wait for a start goes on before it is asked whether the drill is called back."""
UNSURE_S = 15.0
"""How long a write of which nobody knows whether it took effect may still be on its way: as long as its lease lived."""
HURRIED_S = 60.0


class DrillSteps(Steps):
    """One ``way`` of the state's drill. ``until`` stands in for its deadline."""

    def __init__(self, record: Record, clock: Clock, way: str, until: float | None) -> None:
        super().__init__(record, clock)
        self.way = way
        self._until = until

    @property
    def drill(self) -> Drill:
        """The drill as the journal has it now."""
        drill = self._record.state.drill
        assert drill is not None, "a drill is forgotten only for the next one"
        return drill

    @property
    def goal(self) -> Goal:
        """What this way wants."""
        goal = self.drill.goal(self.way)
        return goal if self._until is None else replace(goal, deadline_at=self._until)

    def is_ours(self, machine: Machine) -> bool:
        """Whether the machine carries the mark of a write of this way."""
        return machine.drill == self.goal.incident

    def marks(self) -> dict[str, str]:
        """Where no release row is made, the machine stays with the release that it is of."""
        mark = {"rollguard_drill": self.goal.incident}
        return mark if self.goal.row_id == NO_ROW else super().marks() | mark

    async def moved(self, machine: str, took: Mapping[str, float]) -> None:
        """How long each part of a machine's way took."""
        drill, now = self.drill, self._clock.now()
        await self._record.add(DrillMoved(at=now, drill=drill.id, machine=machine, way=self.way, **took))

    async def adopt_there(self, machine: Machine) -> None:
        """A write of the way there took effect without our knowing."""
        done = StepDone(
            at=self._clock.now(),
            incident=self.drill.there.incident,
            kind="update",
            machine=machine.id,
            result=machine.instance_id,
            phase="accepted",
        )
        await self._record.add(done)


class NoRow(ReleaseRow):
    """Where the list of releases stays as it is."""

    @property
    def said_running(self) -> bool:
        """Nothing is to be said."""
        return True

    async def close(self, status: str, error: str, tries: int = 1) -> bool:
        """There is nothing to close."""
        return True


PARTS = ("lease_s", "accepted_s", "started_s", "healthy_s", "stable_s")


class DrillMoves(MachineUpdate):
    """Puts machines on an image as a rollback does, with a watch in its hand. ``heed`` raises when it is called back;
    ``hurried``: it is enough that the machine is started on its image.
    """

    def __init__(
        self,
        platform: Platform,
        steps: DrillSteps,
        clock: Clock,
        settings: Rollback,
        look_again: Callable[[], Awaitable[Snapshot]],
        heed: Callable[[], None],
        *,
        hurried: bool,
    ) -> None:
        super().__init__(platform, steps, clock, settings, look_again)
        self._of = steps
        self._heed = heed
        self._hurried = hurried
        self._settling: set[str] = set()
        self._began: dict[str, float] = {}
        self._took: dict[str, dict[str, float]] = {}

    async def _under_lease(self, machine: str, *, skip_launch: bool) -> None:
        self._began.setdefault(machine, self._clock.now())
        await super()._under_lease(machine, skip_launch=skip_launch)

    async def _write(self, held: Held, *, skip_launch: bool) -> bool:
        self._note(held.machine, "lease_s")
        written = await super()._write(held, skip_launch=skip_launch)
        if written:
            self._note(held.machine, "accepted_s")
        return written

    async def _settle(self, machine: str) -> None:
        self._settling.add(machine)
        try:
            await (self._come_home(machine) if self._hurried else super()._settle(machine))
        finally:
            self._settling.discard(machine)
        if not self._steps.goal.updates[machine].healthy:
            return
        self._note(machine, "stable_s")
        took = self._took.get(machine, {})
        if all(part in took for part in PARTS):
            await self._of.moved(machine, took)
        elif machine in self._began and self._of.way == THERE:
            raise Stopped(CALLED_BACK, f"machine {machine} fell asleep on the target: nothing is proven by it")

    async def _come_home(self, machine: str) -> None:
        """A rule fires: its checks are waited for by whoever judges now."""
        update = self._steps.goal.updates[machine]
        assert update.after is not None, "what was not written is not waited for"
        await self._wait_started(machine, update.after, self._clock.now() + HURRIED_S)
        seen = await self._machine(machine)
        self._check_instance(seen, update)
        if seen.state in TRANSIENT:
            raise Stopped("failed", f"machine {machine} did not start within {text.seconds(HURRIED_S)}")
        raise Stopped(HOME, f"machine {machine} is started on the image that serves; its checks were not waited for")

    async def _wait_started(self, machine: str, instance: str, give_up_at: float) -> None:
        while self._clock.now() < give_up_at:
            await super()._wait_started(machine, instance, min(give_up_at, self._clock.now() + SLICE_S))
            seen = await self._machine(machine)
            if seen.instance_id != instance or seen.state not in TRANSIENT:
                self._note(machine, "started_s")
                return

    async def _machine(self, machine: str) -> Machine:
        if machine in self._settling:
            self._heed()
        seen = await super()._machine(machine)
        if machine in self._settling and seen.checks_pass and seen.started:
            if "healthy_s" not in self._took.get(machine, {}):
                self._note(machine, "healthy_s")
        elif machine in self._settling:
            self._took.get(machine, {}).pop("healthy_s", None)
        return seen

    def _note(self, machine: str, part: str) -> None:
        if machine in self._began:
            since = self._clock.now() - self._began[machine]
            self._took.setdefault(machine, {})[part] = round(since, 3)


@dataclass(frozen=True, slots=True, kw_only=True)
class Hands:
    """What every way of a drill needs."""

    platform: Platform
    record: Record
    clock: Clock
    settings: Rollback
    why_back: Callable[[], str]


class DrillLeg(Executor):
    """Drives one ``way`` of the state's drill. ``until``: another deadline than its own."""

    def __init__(self, hands: Hands, way: str, until: float | None = None) -> None:
        super().__init__(hands.platform, hands.record, hands.clock, hands.settings)
        self._why_back = hands.why_back
        steps = DrillSteps(hands.record, hands.clock, way, until)
        self._steps = self._of = steps
        if way == BACK:  # a proxy learns late who is well: not every machine that got there is known to be
            self._rest_until = hands.clock.now() + hands.settings.pause_between_s * steps.drill.began.whole
        whole, hurried = steps.drill.began.whole, steps.drill.hurried
        self._row = ReleaseRow(hands.platform, steps) if whole else NoRow(hands.platform, steps)
        self._machines = DrillMoves(
            hands.platform, steps, hands.clock, hands.settings, self._look_again, self._heed, hurried=hurried
        )

    async def survey(self) -> Snapshot:
        """Where everything is before it turns back, with what took effect taken note of, and the row closed.

        Raises ``Stopped`` where people, or the platform, leave no way back to go; ``JournalError``.
        """
        snapshot = await self._look()
        await self._adopt(snapshot)
        goal = self._steps.goal
        seen = {m: u.after or u.before for m, u in goal.updates.items()}
        await self.close_row("failed")
        super()._check_end(snapshot, {**goal.instances, **seen, **self._as_left(snapshot)})
        return snapshot

    async def close_row(self, status: str) -> None:
        """What is still open of this way's release rows is closed, if it can be had. Raises ``JournalError``."""
        goal = self._steps.goal
        if goal.row_intended and not goal.row_closed:
            await self._row.close(status, "" if status == "complete" else "the drill did not get there")

    def _heed(self) -> None:
        if self._of.way == THERE and (why := self._why_back()):
            raise Stopped(CALLED_BACK, why)

    def _check_end(self, snapshot: Snapshot, known: Mapping[str, str] = MappingProxyType({})) -> None:
        known = {**known, **self._as_left(snapshot)} if self._of.way == BACK else known
        super()._check_end(snapshot, known)
        self._heed()

    def _as_left(self, snapshot: Snapshot) -> dict[str, str]:
        """Machines as the way there may have left them: written, or put back by the platform itself."""
        drill = self._of.drill
        back = drill.back.updates if drill.back is not None else {}
        there = {m: u for m, u in drill.there.updates.items() if m not in back}
        instances = {m.id: m.instance_id for m in snapshot.managed}
        return {m: i for m, u in there.items() if (i := instances.get(m)) in {u.before, u.after} and i is not None}

    def _next(self, snapshot: Snapshot) -> Next:
        drill, goal = self._of.drill, self._steps.goal
        unsure = [m for m, u in drill.there.updates.items() if u.after is None]
        if self._of.way == BACK and unsure and self._clock.now() < goal.set_at + UNSURE_S:
            return Wait(f"whether machine {text.listing(unsure)} was updated is not known yet")
        if drill.began.whole:
            return super()._next(snapshot)
        if gone := set(drill.began.machines) - {m.id for m in snapshot.managed}:
            raise Stopped("yielded", f"machine {text.listing(sorted(gone))} is gone")
        step = next_move(snapshot, drill.began.machines, goal.target, self._settings)
        if drill.hurried and self._of.way == BACK and isinstance(step, Wait) and step.by_floor:
            raise Stopped("failed", step.sentence)
        return step

    async def _adopt(self, snapshot: Snapshot) -> None:
        there = self._of.drill.there
        for machine in snapshot.managed if self._of.way == BACK else ():
            update = there.updates.get(machine.id)
            unknown = update is not None and update.after is None and machine.instance_id != update.before
            if unknown and machine.drill == there.incident:
                await self._of.adopt_there(machine)
        await super()._adopt(snapshot)

    def _check_nobody_left(self, snapshot: Snapshot) -> None:
        drill = self._of.drill
        mine = snapshot.managed if drill.began.whole else [m for m in snapshot.managed if m.id in drill.began.machines]
        left = [m.id for m in mine if m.digest != self._steps.goal.target]
        if left:
            raise Stopped("failed", f"machine {text.listing(left)} cannot be reached; the mix is {mix(snapshot)}")
