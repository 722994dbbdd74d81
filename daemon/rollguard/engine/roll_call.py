"""A look at the platform that believes no absence: who is missing in the list is called by name."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from rollguard.core.model import Machine, Snapshot
from rollguard.errors import Gone
from rollguard.ports import Platform


class RollCall:
    """Remembers who was there. A list that leaves somebody out must not make the fleet look smaller than it is."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._known: set[str] = set()
        self._gone: set[str] = set()

    async def snapshot(self, known: Iterable[str] = ()) -> Snapshot:
        """Machines and releases now, with those of the ``known`` machines, and of those seen before, that the list
        leaves out. Raises ``Unavailable`` and ``Refused``, also where one of them cannot be asked.
        """
        snapshot = await self._platform.snapshot()
        listed = {machine.id for machine in snapshot.machines}
        self._known |= {machine.id for machine in snapshot.managed}
        found = [await self._called(machine) for machine in sorted((self._known | set(known)) - listed - self._gone)]
        missing = [machine for machine in found if machine is not None]
        if not missing:
            return snapshot
        machines = sorted((*snapshot.machines, *missing), key=lambda machine: machine.id)
        return replace(snapshot, machines=tuple(machines))

    async def _called(self, machine: str) -> Machine | None:
        """The machine, or None where it was destroyed or nobody knows it."""
        try:
            seen = await self._platform.machine(machine)
        except Gone:
            return None
        if not seen.managed:
            self._gone.add(machine)
            return None
        return seen
