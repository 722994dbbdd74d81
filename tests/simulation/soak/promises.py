"""The seven promises of the guard, each as what may never be, checked at every event and every write."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rollguard.core import events as ev
from rollguard.core.policy import Policy
from tests.simulation.soak.books import Books, Goal
from tests.simulation.soak.drawn import Drawn
from tests.simulation.soak.truth import Truth, Write, awake, now
from tests.simulation.stage import GUARD
from tests.virtual_time import wall_clock

RACE_S = 2.0
"""What happens so shortly before an act cannot be known to who acts: one tick, one read."""
AFRESH_S = 45.0
"""Nobody acts on an older look than that, however slow the platform answers."""
SPEAKS_WITHIN_S = 45.0
WRITES = {"update", "restart", "stop", "destroy", "suspend", "row create", "row patch"}


@dataclass(frozen=True, slots=True)
class Violation:
    """A promise that was broken: by its name, at a second of the story, and how."""

    promise: str
    at: float
    sentence: str

    def __str__(self) -> str:
        return f"{self.promise}: {self.sentence} (at {self.at:.1f} s)"


@dataclass(slots=True)
class Scene:
    """What every promise looks at."""

    drawn: Drawn
    policy: Policy
    truth: Truth
    books: Books
    broken: list[Violation]
    skewed: Callable[[], bool]
    """Whether the guard's clock and the platform's tell different times."""
    checks: int = 0
    sees_since: float | None = None
    """Since when a guard lives, sees the platform and can write."""


class Promise:
    """One of the seven. ``event``, ``write`` and ``minute`` are told what happened."""

    name = ""

    def __init__(self, scene: Scene) -> None:
        self.scene, self.truth, self.books = scene, scene.truth, scene.books

    def holds(self, true: object, sentence: str) -> None:
        """Count a check, and note it where it fails."""
        self.scene.checks += 1
        if not true:
            self.scene.broken.append(Violation(self.name, now(), sentence))

    def event(self, event: ev.Event) -> None: ...

    def write(self, write: Write) -> None: ...

    def look(self) -> None:
        """Once in a while, whatever happens."""


class OneRollback(Promise):
    """Never two of one digest, never without need, never against others, never past what policy allows."""

    name = "1 one rollback"

    def event(self, event: ev.Event) -> None:
        if not isinstance(event, ev.GoalSet):
            return
        goal, earlier = self.books.goals[-1], self.books.goals[:-1]
        self.holds(not any(g.open for g in earlier), "a goal while another one is open")
        self._not_there_already(goal)
        self._not_past_a_migration(goal)
        self._no_further_than_allowed(goal)
        if goal.automatic:
            before = [g for g in earlier if g.automatic]
            self.holds(
                all(g.event.candidate != event.candidate for g in before), "two automatic rollbacks of one digest"
            )
            cooldown_s = self.scene.policy.interlocks.cooldown_s
            self.holds(all(goal.at - g.at >= cooldown_s - 5.0 for g in earlier), "a rollback in the cooldown")
            self.holds(self.books.held_at(goal.at) >= goal.at - RACE_S, "a rollback against a person's pause or hold")
            self._nobody_deploys(goal)

    def _not_there_already(self, goal: Goal) -> None:
        digest, since = self.truth.all_on
        known = self.truth.knows_since("list")
        self.holds(digest != goal.event.target or since > known, "every machine ran the target already")
        self.holds(known >= goal.at - AFRESH_S, "decided without a fresh look at the machines")

    def _not_past_a_migration(self, goal: Goal) -> None:
        if goal.event.candidate == self.scene.drawn.image.digest:
            self.holds(self.scene.drawn.lock != "migration", "past a migration that nobody knows")

    def _no_further_than_allowed(self, goal: Goal) -> None:
        e, order = goal.event, self.books.order
        self.holds(e.target != e.candidate, "the target is the candidate")
        self.holds(e.target in self.books.proven, "the target was never proven")
        if e.target in order and e.candidate in order and goal.automatic:
            bad = {g.event.candidate for g in self.books.goals}
            between = order[order.index(e.target) + 1 : order.index(e.candidate)]
            steps = [d for d in between if d in self.books.full and d not in bad]
            self.holds(order.index(e.target) < order.index(e.candidate), "the target is younger than the candidate")
            self.holds(len(steps) < self.scene.policy.interlocks.furthest_releases, "further back than policy allows")

    def _nobody_deploys(self, goal: Goal) -> None:
        for machine in self.truth.managed:
            lease = machine.lease
            if lease is None or lease.owner == GUARD or machine.host_status != "ok":
                continue
            since = self.truth.foreign_lease.get(machine.id, math.inf)
            alive = lease.expires_at > wall_clock()
            known = self.truth.knows_since("lease get", machine.id)
            self.holds(not alive or since > known, f"a rollback while {lease.owner} holds a machine")
            self.holds(
                not alive or since > goal.at - AFRESH_S, f"{lease.owner} has held a machine for long, and nobody looked"
            )
        if self.truth.foreign_rows:
            at, row = self.truth.foreign_rows[-1]
            newest = row.version == max(r.version for r in self.truth.app.releases)
            young = row.in_progress and newest and goal.at - at < 55.0 and not self.scene.skewed()
            self.holds(not young or at > self.truth.knows_since("rows"), "a rollback while a deploy is under way")

    def write(self, write: Write) -> None:
        goal = self.books.goal
        if write.kind != "update" or goal is None:
            return
        self.holds(write.digest != goal.event.candidate, "the guard installs the candidate again")
        self.holds(write.digest == goal.event.target, "the guard installs another image than the target")
        self._looked_again(goal, write)
        since, why = self._others_since(goal)
        intent = self.books.intended("update", write.machine)
        if intent is None:
            return
        known = {  # once it is intended, a machine is in flight
            "lease": max([at for (calls, _), at in intent.known.items() if calls == "lease get"], default=-math.inf),
            "row": intent.known.get(("rows", ""), -math.inf),
            "change": intent.known.get(("list", ""), -math.inf),
            "person": intent.at - RACE_S,
        }
        for name, at in since.items():
            self.holds(
                at > known[name] or write.machine in goal.updates, f"a machine is changed although {why[name]} before"
            )

    def _looked_again(self, goal: Goal, write: Write) -> None:
        earlier = [at for machine, at in goal.updated_at.items() if machine != write.machine]
        newest = max([goal.at - AFRESH_S, *earlier])
        self.holds(self.truth.knows_since("rows") >= newest, "the releases were not read again before the next machine")
        self.holds(self.truth.knows_since("list") >= newest, "the machines were not read again before the next one")

    def _others_since(self, goal: Goal) -> tuple[dict[str, float], dict[str, str]]:
        """Since when whoever wins against the guard is there, by what shows it."""
        since: dict[str, float] = {}
        rows = [at for at, row in self.truth.foreign_rows if row.version > goal.event.after_version]
        changed = [at for m, at in self.truth.foreign_change.items() if at > goal.at and m in goal.event.instances]
        held = [
            self.truth.foreign_lease.get(m.id, math.inf)
            for m in self.truth.managed
            if m.lease is not None and m.lease.owner != GUARD and m.lease.expires_at > wall_clock()
        ]
        if rows:
            since["row"] = min(rows)
        if changed:
            since["change"] = min(changed)
        if held:
            since["lease"] = min(held)
        if self.books.paused_at is not None and goal.automatic:
            since["person"] = self.books.paused_at
        why = {
            "row": "somebody else's release came",
            "change": "somebody else changed one",
            "lease": "somebody else held one",
            "person": "a person paused the guard",
        }
        return since, why


class IntentFirst(Promise):
    """Nothing changes outside before its intent is durable."""

    name = "2 intent first"

    def write(self, write: Write) -> None:
        if write.kind not in WRITES:
            return
        kind = {"row create": "release_create", "row patch": f"release_{write.status}"}.get(write.kind, write.kind)
        intent = self.books.intended(kind, write.machine)
        self.holds(intent is not None, f"{kind} of {write.machine or 'a row'} without an intent")
        if intent is None:
            return
        intent.used += 1
        self.holds(write.kind == "row patch" or intent.used == 1, f"one intent, two writes: {kind} {write.machine}")
        if write.kind == "update" and write.before is not None:
            self.holds(intent.instance == write.before.instance, "the machine is not the one that the intent was about")
        failed_at = self.books.failed_life.get(intent.life, math.inf)
        self.holds(intent.at <= failed_at, "a write by a life whose journal cannot be written")


class NeverBlindly(Promise):
    """What was begun is finished or handed over, once."""

    name = "3 never blindly"

    def event(self, event: ev.Event) -> None:
        if isinstance(event, ev.GoalEnded):
            self.holds(event.incident == self.books.goals[-1].event.incident, "the end of a goal that there is not")

    def write(self, write: Write) -> None:
        goal = self.books.goals[-1] if self.books.goals else None
        if write.kind in {"restart", "lease"} or write.kind not in WRITES:
            return
        self.holds(goal is not None, f"{write.kind} without a goal")
        if goal is None:
            return
        if write.kind == "update" and write.before is not None:
            self.holds(goal.open, "an update after the goal's end")
            goal.updates[write.machine] += 1
            put_back = write.before.instance == goal.event.instances.get(write.machine)
            self.holds(
                goal.updates[write.machine] == 1 or put_back, f"machine {write.machine} is updated twice for one goal"
            )
            goal.updated_at[write.machine] = write.at
            if write.before.healthy:
                goal.was_well.add(write.machine)
        elif write.kind == "row create" and write.row is not None:
            self.holds(goal.open, "a release row after the goal's end")
            goal.rows.append(write.row.id)
            self.holds(len(goal.rows) == 1, "two release rows for one goal")
        elif write.kind == "row patch" and write.row is not None:
            self.holds(goal.open or write.status in {"complete", "failed"}, "a row set running after the goal's end")
            self.holds(any(write.row.id in g.rows for g in self.books.goals), "somebody else's row is changed")


class NoDataIsNoEvidence(Promise):
    """No rollback without users who suffer; nothing is called restored that is not."""

    name = "4 no data is no evidence"

    def event(self, event: ev.Event) -> None:
        match event:
            case ev.GoalSet(by="rollguard"):
                self.holds(self.truth.ill_lately() >= 2, "a rollback although nothing was ill")
            case ev.StepDone(kind="update", phase="healthy"):
                self._was_well(event.machine)
            case ev.GoalEnded(outcome="restored"):
                self._all_restored(self.books.goals[-1])

    def _was_well(self, machine: str) -> None:
        it, stability_s = self.truth.app.machines[machine], self.scene.policy.rollback.stability_s
        known = max(self.truth.knows_since("get", machine), now() - AFRESH_S)
        if self.truth.foreign_change.get(machine, -math.inf) > known:
            return
        since = self.truth.sound_since.get(machine, math.inf)
        turned = self.truth.turned_at.get(machine, 0.0) > known
        idle = not awake(it) or not it.alive
        self.holds(
            idle or turned or since <= now() - stability_s + RACE_S, f"machine {machine} is called healthy, and is not"
        )
        digest, at = self.truth.digest_since[machine]
        self.holds(digest == self.books.goals[-1].event.target or at > known, f"machine {machine} is not on the target")

    def _all_restored(self, goal: Goal) -> None:
        known = self.truth.knows_since("list")
        for machine in self.truth.managed:
            digest, since = self.truth.digest_since[machine.id]
            self.holds(
                digest == goal.event.target or since > known, f"called restored, and machine {machine.id} is not"
            )


class FiringEndsInAnAct(Promise):
    """A rollback, or a page that says what held it."""

    name = "5 a firing rule ends in an act"

    def look(self) -> None:
        sees_since = self.scene.sees_since
        if self.books.goal is not None or self.books.verifying or sees_since is None:
            return
        for rule, (since, _) in self.books.firing.items():
            heard = rule in self.books.spoken or bool(self.books.spoken and self._acted())
            late = now() - max(since, sees_since) > SPEAKS_WITHIN_S
            self.holds(heard or not late, f"rule {rule} fires, and nothing follows")

    def _acted(self) -> bool:
        return any(g.event.incident == self.books.incident for g in self.books.goals)


class TheFloor(Promise):
    """Never fewer healthy machines than the floor; every write under the guard's own lease."""

    name = "6 the floor"

    def write(self, write: Write) -> None:
        if write.kind not in {"update", "restart", "stop", "destroy", "suspend"} or write.before is None:
            return
        self.holds(
            write.before.lease == (GUARD, write.nonce) or self._just_lost(write),
            f"machine {write.machine} is changed without a lease of the guard's own",
        )
        if write.before.healthy:
            self._floor(write)
            self._in_flight(write)
            self._pause(write)

    def _just_lost(self, write: Write) -> bool:
        """Somebody cleared it while the guard thought it had it."""
        return write.before is not None and write.before.lease is None and write.machine in self.truth.cleared

    def _floor(self, write: Write) -> None:
        peers, machine = self.truth.peers(write.machine), write.machine
        healthy = 1 + sum(m.id in self.truth.well_since for m in peers if m.id != machine)
        wanted = math.ceil(round(self.scene.policy.rollback.healthy_floor * len(peers), 6))
        floor = max(0, min(wanted, healthy, len(peers) - 1))
        raced = any(self._turned_unseen(m.id) for m in peers if m.id != machine) or self._turned_well_unseen(write)
        self.holds(
            healthy - 1 >= floor or raced,
            f"machine {machine} goes down: {healthy - 1} of {len(peers)} stay, the floor is {floor}",
        )

    def _turned_unseen(self, machine: str) -> bool:
        """Whether it got well or ill since the guard looked, and not by the guard's own hand."""
        turned = self.truth.turned_at.get(machine, -math.inf)
        own = self.books.goal.updated_at.get(machine) if self.books.goal else None
        return turned > self.truth.knows_since("list") and turned != own

    def _turned_well_unseen(self, write: Write) -> bool:
        """Whether the machine itself, which was ill and might go down, got well a moment before."""
        seen_at = max(self.truth.knows_since("list"), self.truth.knows_since("get", write.machine))
        return write.well_since > seen_at

    def _in_flight(self, write: Write) -> None:
        goal, peers = self.books.goal, self.truth.peers(write.machine)
        if goal is None:
            return
        most = max(1, math.ceil(round(self.scene.policy.rollback.max_unavailable * len(peers), 6)))
        began = goal.was_well - goal.settled.keys()
        down = {m.id for m in peers if m.id in began and m.id not in self.truth.well_since and awake(m)}
        flying = down | {write.machine}
        self.holds(len(flying) <= most, f"{len(flying)} machines in flight, {most} of {len(peers)} may be")

    def _pause(self, write: Write) -> None:
        goal, rest_s = self.books.goal, self.scene.policy.rollback.pause_between_s
        if goal is None:
            return
        for peer in self.truth.peers(write.machine):
            since = self.truth.sound_since.get(peer.id)
            if since is not None and since <= goal.settled.get(peer.id, -math.inf):
                self.holds(now() - since >= rest_s - 0.5, f"machine {peer.id} was well for {now() - since:.1f} s only")


class Converges(Promise):
    """After faults stop, everything ends within its time. See ``liveness``."""

    name = "7 convergence"


ALL: Sequence[type[Promise]] = (
    OneRollback,
    IntentFirst,
    NeverBlindly,
    NoDataIsNoEvidence,
    FiringEndsInAnAct,
    TheFloor,
    Converges,
)
