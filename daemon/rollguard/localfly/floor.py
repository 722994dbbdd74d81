"""The floor watcher: sees, independently of any guard, when somebody takes down too much."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from rollguard.localfly.machines import AT_REST, Machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Violation:
    """A step that left fewer healthy routable machines in its group than the floor allows."""

    at: float
    owner: str
    machine: str
    remaining: int
    floor: int

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def violation(machine: Machine, group: Iterable[Machine], *, share: float, owner: str, now: float) -> Violation | None:
    """What taking `machine` down now would violate, or None.

    The floor is min(ceil(share x N), healthy routable now, N - 1); N counts the group's machines that are not at
    rest (one of two or three must be allowed to change, or none ever could). A machine that serves nobody may go
    down at any time.
    """
    if not machine.managed or not machine.routable:
        return None
    peers = [peer for peer in group if peer.group == machine.group and peer.managed]
    running = sum(peer.state not in AT_REST for peer in peers)
    healthy = sum(peer.routable for peer in peers)
    floor = min(math.ceil(round(share * running, 9)), healthy, running - 1)  # 0.55 x 20 is 11, not 11.000000000000002
    remaining = healthy - 1
    if remaining >= floor:
        return None
    return Violation(at=now, owner=owner, machine=machine.id, remaining=remaining, floor=floor)
