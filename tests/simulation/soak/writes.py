"""What holds of every write: announced before, made once, for a goal that is open, and not in haste."""

from __future__ import annotations

import math

from rollguard.core import events as ev
from rollguard.core.model import Mode
from rollguard.localfly.limits import Limits
from rollguard.localfly.refusal import Refused
from tests.simulation.soak.promise import Promise, Scene
from tests.simulation.soak.truth import Write
from tests.virtual_time import wall_clock

CHANGES = frozenset({"update", "restart", "stop", "destroy", "suspend", "row create", "row patch"})


class IntentFirst(Promise):
    """Nothing changes outside before its intent is durable."""

    name = "2 intent first"

    def write(self, write: Write) -> None:
        mode, goal = self.scene.drawn.mode, self.books.goals[-1] if self.books.goals else None
        tried = write.kind == "lease" and mode is Mode.PAGE  # whether the token may hold a machine
        may = mode is Mode.ENFORCE or tried or (goal is not None and not goal.automatic)
        self.holds(may, f"{write.kind} in the mode {mode.name.lower()}, and nobody asked for it")
        if write.kind not in CHANGES:
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
        if write.kind not in CHANGES - {"restart"}:
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
            goal.made[write.machine] = write.instance
            if write.before.healthy:
                goal.was_well.add(write.machine)
        elif write.kind == "row create" and write.row is not None:
            self.holds(goal.open, "a release row after the goal's end")
            goal.rows.append(write.row.id)
            self.holds(len(goal.rows) == 1, "two release rows for one goal")
        elif write.kind == "row patch" and write.row is not None:
            self.holds(goal.open or write.status in {"complete", "failed"}, "a row set running after the goal's end")
            self.holds(any(write.row.id in g.rows for g in self.books.goals), "somebody else's row is changed")


class NoHaste(Promise):
    """The platform's rate limits, for the guard's own requests alone; each life begins with full buckets."""

    name = "the platform's rate limits"

    def __init__(self, scene: Scene) -> None:
        super().__init__(scene)
        self._limits = Limits()

    def reborn(self) -> None:
        """A new life cannot know what the one before has sent."""
        self._limits = Limits()

    def sent(self, action: str, identifier: str) -> None:
        """The guard sends a request."""
        try:
            self._limits.take(action, identifier, wall_clock())
        except Refused:
            self.holds(False, f"too many requests: {action} of {identifier}")
        else:
            self.holds(True, "")
