"""Never two of one digest, never without need, never against others, never past what policy allows."""

from __future__ import annotations

import math

from rollguard.core import events as ev
from tests.simulation.soak.books import Goal
from tests.simulation.soak.promise import AFRESH_S, RACE_S, Promise
from tests.simulation.soak.truth import Write
from tests.simulation.stage import GUARD
from tests.virtual_time import wall_clock


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
            self.holds(
                self.books.held_since(event.at) >= goal.at - RACE_S, "a rollback against a person's pause or hold"
            )
            self._nobody_deploys(goal)

    def _not_there_already(self, goal: Goal) -> None:
        digest, since = self.truth.all_on
        known = self.truth.knows_since("list")
        self.holds(digest != goal.event.target or since > known, "every machine ran the target already")
        asked = self.truth.asked_at.get("list", -math.inf)
        self.holds(asked >= goal.at - AFRESH_S, "decided without a fresh look at the machines")

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
        since, why = self._others_since(goal, write)
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
        newest, asked = max([goal.at - AFRESH_S, *earlier]), self.truth.asked_at
        self.holds(asked.get("rows", -math.inf) >= newest, "the releases were not read again before the next machine")
        self.holds(asked.get("list", -math.inf) >= newest, "the machines were not read again before the next one")

    def _others_since(self, goal: Goal, write: Write) -> tuple[dict[str, float], dict[str, str]]:
        """Since when whoever wins against the guard is there, by what shows it."""
        since: dict[str, float] = {}
        rows = [at for at, row in self.truth.foreign_rows if row.version > goal.event.after_version]
        changed = [at for m, at in self.truth.foreign_change.items() if at > goal.at and _differs(m, goal, write)]
        held = [
            self.truth.foreign_lease.get(m.id, math.inf)
            for m in self.truth.managed
            if m.host_status == "ok" and m.lease and m.lease.owner != GUARD and m.lease.expires_at > wall_clock()
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


def _differs(machine: str, goal: Goal, write: Write) -> bool:
    """Whether a machine of the goal is another version than it was, or than the guard made of it: the platform may have
    put back what somebody changed.
    """
    if machine not in goal.event.instances:
        return False
    is_now = write.before.instance if write.before and machine == write.machine else write.instances.get(machine, "")
    return is_now not in {goal.event.instances[machine], goal.made.get(machine), ""}
