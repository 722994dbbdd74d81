"""What the guard concludes and says: nothing from gaps, something from every firing rule, and an end to everything."""

from __future__ import annotations

import math

from rollguard.core import events as ev
from tests.simulation.soak.books import Goal
from tests.simulation.soak.promise import AFRESH_S, RACE_S, Promise
from tests.simulation.soak.truth import awake, now

SPEAKS_WITHIN_S = 45.0


class NoDataIsNoEvidence(Promise):
    """No rollback without users who suffer; nothing is called restored that is not."""

    name = "4 no data is no evidence"

    def event(self, event: ev.Event) -> None:
        match event:
            case ev.GoalSet(by="rollguard"):
                ill = self.truth.ill_lately() >= 2 or (self.scene.drawn.traffic and self.truth.users_suffer())
                self.holds(ill, "a rollback although nothing was ill")
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


class Converges(Promise):
    """After faults stop, everything ends within its time. See ``liveness``."""

    name = "7 convergence"
