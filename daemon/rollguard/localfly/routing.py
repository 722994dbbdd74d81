"""Which machine serves a request. Pure: a route table, how busy each machine is, and what the request asks for."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

SLEEPING = frozenset(("stopped", "suspended"))
PASSING = frozenset(("passing", "none"))  # "none": its config has no checks at all
MACHINES_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """One machine as the platform routes to it."""

    id: str
    host: str
    port: int
    state: str
    cordoned: bool
    checks: str
    autostart: bool
    region: str | None = None

    @property
    def routable(self) -> bool:
        """Whether any request may go to it: started, not cordoned, no check failing."""
        return self.state == "started" and not self.cordoned and self.checks in PASSING

    @property
    def wakeable(self) -> bool:
        """Whether a request may start it."""
        return self.state in SLEEPING and self.autostart and not self.cordoned

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """One entry of the platform's route table. KeyError, ValueError where it is malformed."""
        host, _, port = (data["address"] or "127.0.0.1:0").rpartition(":")
        return cls(
            id=str(data["id"]),
            host=host,
            port=int(port),
            state=str(data["state"]),
            cordoned=bool(data["cordoned"]),
            checks=str(data["checks"]),
            autostart=bool(data["autostart"]),
            region=data.get("region"),
        )


@dataclass(frozen=True, slots=True)
class Load:
    """How busy a machine is: requests in flight, and the number of the newest one it was given."""

    in_flight: int = 0
    newest: int = 0


@dataclass(frozen=True, slots=True)
class Serve:
    """This machine answers."""

    machine: Machine


@dataclass(frozen=True, slots=True)
class Hold:
    """Nothing serves yet, but this machine is about to: hold the request, and wake it where it sleeps."""

    machine: Machine


@dataclass(frozen=True, slots=True)
class Refuse:
    """The proxy answers by itself: its status, and why (``no-route`` or ``connect``)."""

    status: int
    why: str


Verdict = Serve | Hold | Refuse
NO_LOAD = Load()
UNKNOWN = Refuse(502, "no-route")
NOBODY = Refuse(503, "no-route")
UNREACHABLE = Refuse(502, "connect")


def choose(
    machines: Sequence[Machine],
    loads: Mapping[str, Load],
    *,
    forced: str | None = None,
    tried: Collection[str] = (),
    waking: Collection[str] = (),
) -> Verdict:
    """The least busy routable machine; among equals the one that has waited longest.

    ``forced`` is a machine ID: that machine and no other, though its checks fail; a sleeping one with autostart is
    woken. ``tried`` could not be connected to. ``waking`` are being woken by earlier requests. Only where nothing is
    routable is a sleeper woken.
    """
    if forced is not None:
        return _only(next((machine for machine in machines if machine.id == forced), None), waking)
    routable = [machine for machine in machines if machine.routable]
    reachable = [machine for machine in routable if machine.id not in tried]
    if reachable:
        return Serve(min(reachable, key=lambda machine: _busyness(loads.get(machine.id, NO_LOAD))))
    if routable:
        return UNREACHABLE
    sleepers = sorted(
        (machine for machine in machines if machine.id in waking or machine.wakeable),
        key=lambda machine: (machine.id not in waking, machine.id),
    )
    return Hold(sleepers[0]) if sleepers else NOBODY


def _only(machine: Machine | None, waking: Collection[str]) -> Verdict:
    """The verdict for a request that names its machine."""
    if machine is None:
        return UNKNOWN
    if machine.state == "started" and not machine.cordoned:
        return Serve(machine)
    return Hold(machine) if machine.wakeable or machine.id in waking else NOBODY


def _busyness(load: Load) -> tuple[int, int]:
    return load.in_flight, load.newest
