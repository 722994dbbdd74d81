"""Never fewer healthy machines than the floor; every write under the guard's own lease."""

from __future__ import annotations

import math
from collections.abc import Mapping

from tests.simulation.soak.promise import Promise
from tests.simulation.soak.truth import Write, awake, now
from tests.simulation.stage import GUARD


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
        intent = self.books.intended(write.kind, machine)
        known = intent.known if intent else {}
        seen_at = max(known.get(("list", ""), -math.inf), known.get(("get", machine), -math.inf))
        got_well = write.well_since > seen_at  # it was ill, and might go down
        raced = got_well or any(self._turned_unseen(m.id, known) for m in peers if m.id != machine)
        self.holds(
            healthy - 1 >= floor or raced,
            f"machine {machine} goes down: {healthy - 1} of {len(peers)} stay, the floor is {floor}",
        )

    def _turned_unseen(self, machine: str, known: Mapping[tuple[str, str], float]) -> bool:
        """Whether it got well or ill, or woke up, since the guard looked, and not by the guard's own hand."""
        turned = max(self.truth.turned_at.get(machine, -math.inf), self.truth.roused_at.get(machine, -math.inf))
        own = self.books.goal.updated_at.get(machine) if self.books.goal else None
        return turned > known.get(("list", ""), -math.inf) and turned != own

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
