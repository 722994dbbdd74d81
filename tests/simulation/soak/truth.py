"""What really is, told by the world itself; and how much of it a guard can know, by the answers that it got."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rollguard.localfly import leases
from rollguard.localfly.apps import App
from rollguard.localfly.machines import AT_REST, Machine
from rollguard.localfly.registry import Caller
from rollguard.localfly.releases import Release
from rollguard.localfly.world import World
from tests.simulation.soak.wire import SENT_AT
from tests.simulation.stage import GUARD
from tests.virtual_time import EPOCH

WINDOW_S = 300.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A machine right before somebody wrote to it."""

    id: str
    instance: str
    digest: str
    well_since: float
    """Since when it is healthy and routable; infinity where it is not."""
    lease: tuple[str, str] | None
    """Owner and nonce of the lease in force."""

    @property
    def healthy(self) -> bool:
        return self.well_since < math.inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Write:
    """One write that the platform carried out. ``kind``: update, restart, row create, row patch, lease."""

    at: float
    sent_at: float
    owner: str
    kind: str
    before: Seen | None = None
    nonce: str = ""
    instance: str = ""
    digest: str = ""
    row: Release | None = None
    status: str = ""
    instances: Mapping[str, str] = field(default_factory=dict)
    """What version each machine was then."""

    @property
    def machine(self) -> str:
        return self.before.id if self.before else ""

    @property
    def well_since(self) -> float:
        return self.before.well_since if self.before else math.inf


class Truth:
    """The world's own story. Times are the loop's."""

    def __init__(self) -> None:
        self.app: App = None  # type: ignore[assignment]
        self.well_since: dict[str, float] = {}
        """Since when a machine is healthy and routable without a break."""
        self.sound_since: dict[str, float] = {}
        """Since when a machine is started and passes its checks, be it routed to or not."""
        self.turned_at: dict[str, float] = {}
        """When that changed last, or the machine came."""
        self.roused_at: dict[str, float] = {}
        """Since when a machine that rested is awake again; not for one that never rested."""
        self._resting: set[str] = set()
        self.digest_since: dict[str, tuple[str, float]] = {}
        self.all_on: tuple[str, float] = ("", math.inf)
        """The one digest that every managed machine runs, and since when."""
        self.foreign_change: dict[str, float] = {}
        """When somebody other than the guard changed a machine last."""
        self.foreign_lease: dict[str, float] = {}
        """Since when somebody else holds a machine."""
        self.cleared: dict[str, float] = {}
        """When somebody took the guard's own lease of a machine away."""
        self.foreign_rows: list[tuple[float, Release]] = []
        self.ill: deque[float] = deque(maxlen=2000)
        """When a request was answered badly, or a process died unasked."""
        self.last_write_at = -math.inf
        self.read_at: dict[tuple[str, str], float] = {}
        """By kind of request and machine: when the newest true answer that this life of the guard got was made."""
        self.asked_at: dict[str, float] = {}
        """By kind of request: when the newest answer was made, be it true or an old one out of some cache."""

    # -- what the guard knows --------------------------------------------------------------------------------------

    def reborn(self) -> None:
        """A new life knows nothing."""
        self.read_at.clear()
        self.asked_at.clear()

    def told(self, calls: str, url: str, at: float, *, lied: bool) -> None:
        """The guard got an answer, made then."""
        self.asked_at[calls] = at
        if lied:
            return
        if calls in {"list", "rows"}:
            self.read_at[calls, ""] = at
        elif calls in {"get", "lease get"}:
            self.read_at[calls, url.split("/machines/")[1].partition("/")[0].partition("?")[0]] = at

    def knows_since(self, calls: str, machine: str = "") -> float:
        """As of when the guard knows what such a request tells; never: minus infinity."""
        return self.read_at.get((calls, machine), -math.inf)

    def user_saw(self, *, ill: bool) -> None:
        """How one request to the app ended."""
        if ill:
            self.ill.append(now())

    def ill_lately(self) -> int:
        """How often the app was seen to be ill in the last minutes."""
        return sum(at >= now() - WINDOW_S for at in self.ill)

    def users_suffer(self) -> bool:
        """Whether a machine that users are sent to answers them badly now."""
        return any(m.image.behaviour.error_share > 0.0 and m.id in self.well_since for m in self.app.machines.values())

    # -- what is ---------------------------------------------------------------------------------------------------

    @property
    def managed(self) -> list[Machine]:
        return [m for m in self.app.machines.values() if m.managed and m.state not in {"destroyed", "destroying"}]

    def peers(self, machine: str) -> list[Machine]:
        """The managed machines of a machine's process group that serve or should, itself included."""
        group = self.app.machines[machine].group
        return [m for m in self.managed if m.group == group and not is_standby(m) and (awake(m) or m.id == machine)]

    def changed(self) -> None:
        """Something about the machines changed."""
        at, digests = now(), set()
        for machine in self.app.machines.values():
            well = machine.routable and machine.host_status == "ok"
            if well is not (machine.id in self.well_since):
                self.turned_at[machine.id] = at
                if well:
                    self.well_since[machine.id] = at
                else:
                    del self.well_since[machine.id]
            self._note_sound(machine, at)
            if not awake(machine):
                self._resting.add(machine.id)
            elif machine.id in self._resting:
                self._resting.discard(machine.id)
                self.roused_at[machine.id] = at
            digest = machine.image.digest
            if self.digest_since.get(machine.id, ("", 0.0))[0] != digest:
                self.digest_since[machine.id] = digest, at
        digests = {m.image.digest for m in self.managed}
        only = digests.pop() if len(digests) == 1 else ""
        if only != self.all_on[0]:
            self.all_on = only, at

    def _note_sound(self, machine: Machine, at: float) -> None:
        if machine.state == "started" and machine.health != "failing":
            self.sound_since.setdefault(machine.id, at)
        else:
            self.sound_since.pop(machine.id, None)

    def seen(self, machine: str) -> Seen:
        """A machine as it is now."""
        it = self.app.machine(machine)
        lease = leases.held(it, EPOCH + now())
        return Seen(
            id=machine,
            instance=it.instance_id,
            digest=it.image.digest,
            well_since=self.well_since.get(it.id, math.inf),
            lease=(lease.owner, lease.nonce) if lease else None,
        )


class WatchedWorld(World):
    """The world, which tells ``Truth`` of everything, and ``on_write`` of every write."""

    def watched_by(self, truth: Truth, on_write: Any) -> None:
        self._truth, self._on_write = truth, on_write
        self.subscribe(lambda app: truth.changed())

    def update(
        self, app: str, machine_id: str, body: Mapping[str, Any], caller: Caller, now: float, **more: Any
    ) -> Machine:
        before = self._truth.seen(machine_id)
        machine = super().update(app, machine_id, body, caller, now, **more)
        self._wrote(caller, "update", before, instance=machine.instance_id, digest=machine.image.digest)
        return machine

    def take_down(self, app: str, machine_id: str, purpose: str, caller: Caller, now: float, **stop: Any) -> None:
        before = self._truth.seen(machine_id)
        super().take_down(app, machine_id, purpose, caller, now, **stop)
        self._wrote(caller, purpose, before)

    def acquire_lease(
        self, app: str, machine_id: str, ttl_s: float, description: str, caller: Caller, now: float
    ) -> Any:
        before = self._truth.seen(machine_id)
        lease = super().acquire_lease(app, machine_id, ttl_s, description, caller, now)
        if caller.owner == GUARD:
            self._truth.cleared.pop(machine_id, None)
            self._wrote(caller, "lease", before)
        elif not caller.nonce:
            self._truth.foreign_lease[machine_id] = _loop_time(now)
        return lease

    def create_release(self, app: str, image_ref: str, *args: Any, **named: Any) -> Release:
        row = super().create_release(app, image_ref, *args, **named)
        if row.user != GUARD:
            self._truth.foreign_rows.append((_loop_time(row.created_at), row))
        self._wrote(Caller(row.user), "row create", None, row=row)
        return row

    def patch_release(
        self, release_id: str, status: str, metadata: Mapping[str, Any] | None, owner: str, now: float
    ) -> Release:
        row = super().patch_release(release_id, status, metadata, owner, now)
        self._wrote(Caller(owner), "row patch", None, row=row, status=status)
        return row

    def exited(self, app: str, machine_id: str, code: int, now: float, *, oom: bool = False, signal: int = -1) -> None:
        if not self.app(app).machine(machine_id).after_exit:
            self._truth.ill.append(_loop_time(now))
        super().exited(app, machine_id, code, now, oom=oom, signal=signal)

    def _wrote(self, caller: Caller, kind: str, before: Seen | None, **more: Any) -> None:
        at = now()
        write = Write(
            at=at,
            sent_at=SENT_AT.get(at),
            owner=caller.owner,
            kind=kind,
            before=before,
            nonce=caller.nonce,
            instances={m.id: m.instance_id for m in self._truth.app.machines.values()},
            **more,
        )
        if caller.owner == GUARD:
            self._truth.last_write_at = at
        elif before is not None and kind == "update":
            self._truth.foreign_change[before.id] = at
        self._on_write(write)


def awake(machine: Machine) -> bool:
    """Whether it serves, or should: who crashed does not sleep."""
    return machine.state not in AT_REST or crashed(machine)


def crashed(machine: Machine) -> bool:
    """At rest because its process failed."""
    if machine.state != "stopped":
        return False
    exits = [e["request"]["exit_event"] for e in machine.events if e["type"] == "exit"]
    return bool(exits) and not exits[0]["requested_stop"] and (exits[0]["exit_code"] != 0 or exits[0]["oom_killed"])


def is_standby(machine: Machine) -> bool:
    return bool(machine.config.get("standbys"))


def now() -> float:
    """The loop's time, which is the world's."""
    return asyncio.get_running_loop().time()


def _loop_time(at: float) -> float:
    return at - EPOCH
