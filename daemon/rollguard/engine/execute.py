"""The hands: drive a goal to its end, one conditional write at a time.

The goal is durable before the first write; every write is announced in the journal before and confirmed after. A
life that ends at any instant is continued by calling ``drive`` again: what to do next is worked out from what the
platform says, never from where the last life believed it was.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from types import MappingProxyType

from rollguard.core import text
from rollguard.core.finding import BY_PEOPLE
from rollguard.core.lifecycle import Goal
from rollguard.core.messages import mix
from rollguard.core.model import Snapshot
from rollguard.core.plan import Complete, Next, Wait, Wave, must_end, next_step, unclaimed_rows
from rollguard.core.policy import Rollback
from rollguard.core.proof import BETTER, CANNOT_TELL, WORSE, Proof, waits_for_proof
from rollguard.engine.record import Record
from rollguard.engine.roll_call import RollCall
from rollguard.engine.rows import ReleaseRow
from rollguard.engine.steps import Steps, Stopped, pause_s
from rollguard.engine.update import MachineUpdate
from rollguard.errors import JournalError, Refused, Unavailable
from rollguard.ports import Clock, Platform, acting

FLOOR_S_MAX = 60.0
FRESH_S = 2.0
LOOKS_MAX = 3
"""Looks right before a write, until one is fresh. Where the platform is slow for good the last one has to do."""
LEASES_S_MAX = 3.0
"""Who waited for longer than that, for a lease or an answer, asks again who holds the other machines."""
PROOF_POLL_S = 2.0
PATIENCE, BEHIND_S_MAX = 2.5, 150.0
"""How many times the wait the readings may take to come, from a metrics store that lies behind; and how far behind."""
SICK_S_MIN = 20.0
"""A check that fails once stands for as long as its interval: that is no verdict on the old image."""

JudgeFirst = Callable[[Goal, tuple[str, ...], float], Proof | None]
"""What the first machines show, beside their peers, since that instant; None while it cannot be told yet."""


def no_proof(goal: Goal, first: tuple[str, ...], since: float) -> Proof | None:
    """Where nothing is measured nothing can be told."""
    return None


class Executor:
    """Puts all managed machines on the goal's digest, rolling and under the floor."""

    def __init__(
        self,
        platform: Platform,
        record: Record,
        clock: Clock,
        settings: Rollback,
        judge_first: JudgeFirst = no_proof,
    ) -> None:
        self._judge_first = judge_first
        self._platform = platform
        self._record = record
        self._clock = clock
        self._settings = settings
        self._steps = Steps(record, clock)
        self._roll_call = RollCall(platform)
        self._row = ReleaseRow(platform, self._steps)
        self._machines = MachineUpdate(platform, self._steps, clock, settings, self._look_again)
        self._rest_until = 0.0
        self._leases_seen_at = -math.inf

    async def drive(self) -> tuple[str, str]:
        """Run the state's goal to its end; return (outcome, sentence). The release row is closed; the goal is not.

        Raises ``JournalError`` only: what cannot be written down is not done.
        """
        try:
            with acting():
                await self._rounds()
        except Stopped as stopped:
            end = stopped.outcome, stopped.sentence
        except (JournalError, AssertionError):
            raise
        except Exception as error:  # noqa: BLE001  (whatever it is: half-way, a person must take over, and be told)
            end = "failed", f"{type(error).__name__}: {error}"
        else:
            return "restored", "every managed machine runs the target"
        await self._row.close("failed", end[1])
        return end

    async def _rounds(self) -> None:
        known: dict[str, str] = {}
        kept_since: float | None = None
        while True:
            snapshot = await self._look()
            await self._adopt(snapshot)
            known = _known(self._steps.goal, snapshot, known)
            self._check_end(snapshot, known)
            self._heed_proof()
            if self._steps.goal.row_id is None:
                await self._row.create()
                continue
            if not self._row.said_running:
                await self._row.run()
            unsettled = [m for m, u in self._steps.goal.updates.items() if u.after is not None and not u.healthy]
            if unsettled:
                await self._wave(unsettled, self._machines.settle)
                continue
            if first := waits_for_proof(self._steps.goal, snapshot):
                await self._prove(first)  # while the proxy takes note that the first machines are well
                continue
            step = self._next(snapshot)
            kept_since = self._kept_by_floor(step, kept_since)
            rest_s = self._rest_until - self._clock.now()
            match step:
                case Wave(machines=machines, skip_launch=True):
                    await self._all([m.id for m in machines], self._machines.update_asleep)
                case Wave() if rest_s > 0:
                    await asyncio.sleep(min(rest_s, self._settings.pause_between_s))
                case Wave(machines=machines):
                    await self._wave([m.id for m in machines], self._machines.update)
                case Wait():
                    await asyncio.sleep(min(1.0, self._settings.stability_s / 4))
                case Complete():
                    self._check_nobody_left(snapshot)
                    await self._row.close("complete", "")
                    return

    def _next(self, snapshot: Snapshot) -> Next:
        return next_step(snapshot, self._steps.goal, self._settings)

    async def _prove(self, first: tuple[str, ...]) -> None:
        """Let the first machines show whether the target does better, and write it down before the rest follows."""
        since, sick_since, proof = self._clock.now(), None, None
        wait_s = self._steps.goal.first_wait_s or self._settings.first_wait_s
        patience_s = min(PATIENCE * wait_s, wait_s + BEHIND_S_MAX)
        while proof is None:
            await asyncio.sleep(min(PROOF_POLL_S, wait_s / 8))
            snapshot = await self._look()
            self._check_end(snapshot, _known(self._steps.goal, snapshot, {}))
            first, now = waits_for_proof(self._steps.goal, snapshot), self._clock.now()
            if not first:
                return  # nobody runs the candidate any more, or the first went to sleep: the next ones prove it
            sick = [m.id for m in snapshot.managed if m.id in first and not m.healthy_routable]
            sick_since = (now if sick_since is None else sick_since) if sick else None
            if sick_since is not None and now - sick_since >= max(SICK_S_MIN, 2 * self._settings.stability_s):
                proof = Proof(WORSE, f"machine {text.listing(sick)} is not healthy on the old image")
            elif not sick:
                proof = self._judge_first(self._steps.goal, first, since)
            if proof is None and now - since >= patience_s:
                proof = Proof(CANNOT_TELL, f"nothing to tell them apart by in {text.seconds(now - since)}")
        await self._steps.proven(proof, first)

    def _heed_proof(self) -> None:
        """What the first machines showed stands, in this life and the next.

        Raises ``Stopped`` unless they did better: they stay on the target, and nothing is put back on the candidate.
        """
        result, go_on_unclear = self._steps.goal.proof, self._settings.go_on_unclear
        if result == CANNOT_TELL and not go_on_unclear:
            raise Stopped("unclear", f"whether the old image does better cannot be told: {self._steps.proof_sentence}")
        if result not in {"", BETTER, CANNOT_TELL}:
            sentence = "not improved by the old image while the rest run the new one"
            raise Stopped("unproven", f"{sentence}: {self._steps.proof_sentence}")

    def _kept_by_floor(self, step: Next, since: float | None) -> float | None:
        """Since when only the floor stands in the way. A person who can add a machine should hear of it soon."""
        if not isinstance(step, Wait) or not step.by_floor:
            return None
        now = self._clock.now()
        if since is not None and now - since >= FLOOR_S_MAX:
            raise Stopped("failed", step.sentence)
        return now if since is None else since

    async def _look(self) -> Snapshot:
        """Machines, releases and leases, read afresh; until the deadline the platform may be out of reach."""
        while True:
            try:
                return await self._see_all()
            except Unavailable as error:
                if self._clock.now() >= self._steps.goal.deadline_at:
                    raise Stopped("deadline", f"the platform did not answer: {error}") from error
                await asyncio.sleep(pause_s(error))
            except Refused as error:
                raise Stopped("failed", f"the platform refuses: {error}") from error

    def _check_end(self, snapshot: Snapshot, known: Mapping[str, str] = MappingProxyType({})) -> None:
        goal, pause = self._steps.goal, self._record.state.pause
        overridden = pause is not None and pause.at < goal.set_at and goal.trigger in BY_PEOPLE
        if pause is not None and not overridden:
            raise Stopped("paused", f"paused by {pause.by}: {pause.reason}")
        end = must_end(self._steps.goal, snapshot, known, self._clock.now())
        if end is not None:
            raise Stopped(*end)

    async def _see_all(self) -> Snapshot:
        """Machines, releases and leases now."""
        at, snapshot = self._clock.now(), await self._roll_call.snapshot(self._steps.goal.instances)
        snapshot = replace(snapshot, leases=await self._platform.leases(snapshot.reachable))
        self._leases_seen_at = at
        return snapshot

    async def _look_again(self) -> Snapshot:
        """Right before a write: whether nobody came, and nobody changed a machine, since it was planned.

        Raises ``Stopped``, ``Unavailable``, ``Refused``.
        """
        for _ in range(LOOKS_MAX):
            late = self._clock.now() - self._leases_seen_at > LEASES_S_MAX
            snapshot = await (self._see_all() if late else self._roll_call.snapshot(self._steps.goal.instances))
            if self._clock.now() - snapshot.at <= FRESH_S:
                break  # else half of it may be as old as the slowest answer
        await self._adopt(snapshot)
        self._check_end(snapshot, _known(self._steps.goal, snapshot, {}))
        return snapshot

    def _check_nobody_left(self, snapshot: Snapshot) -> None:
        left = [m for m in snapshot.managed if m.digest != self._steps.goal.target]
        if left:
            tied = [m.id for m in left if m.has_volume]
            why = f" (a volume ties {text.listing(tied)} to the host)" if tied else ""
            which = text.listing([m.id for m in left])
            raise Stopped("failed", f"machine {which} cannot be reached{why}; the mix is {mix(snapshot)}")

    # -- what an earlier life, or a lost answer, left open ---------------------------------------------------------

    async def _adopt(self, snapshot: Snapshot) -> None:
        """Take note of writes that took effect without our knowing."""
        goal = self._steps.goal
        if goal.row_id is None and (mine := unclaimed_rows(goal, snapshot.releases)):
            await self._steps.done("release_create", result=mine[0].id, version=mine[0].version)
        for machine in snapshot.managed:
            update = goal.updates.get(machine.id)
            if update is None or update.after is not None or machine.instance_id == update.before:
                continue
            if self._steps.is_ours(machine):
                await self._steps.done("update", machine=machine.id, result=machine.instance_id, phase="accepted")

    async def _wave(self, machines: list[str], act: Callable[[str], Awaitable[None]]) -> None:
        """Machines that serve, changed at once. The next ones wait a while: a proxy learns late who is well again."""
        await self._all(machines, act)
        self._rest_until = self._clock.now() + self._settings.pause_between_s

    async def _all(self, machines: list[str], act: Callable[[str], Awaitable[None]]) -> None:
        """Every machine of a wave to its end; then the first thing that went wrong, if any."""
        results = await asyncio.gather(*(act(m) for m in machines), return_exceptions=True)
        for result in results:
            if isinstance(result, BaseException) and not isinstance(result, Stopped):
                raise result
        for result in results:
            if isinstance(result, Stopped):
                raise result


def _known(goal: Goal, snapshot: Snapshot, seen: Mapping[str, str]) -> dict[str, str]:
    """The instance each machine should have. A machine that appeared since the decision is taken as it is."""
    known = {m.id: seen.get(m.id, goal.instances.get(m.id, m.instance_id)) for m in snapshot.managed}
    for machine, update in goal.updates.items():
        known[machine] = update.after or update.before
    return known
