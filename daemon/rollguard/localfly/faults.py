"""Faults of the platform itself, switched on and off while it runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rollguard.localfly.refusal import Refused

Said = tuple[int, str, str]  # what a Refused is made of

HOST_TIMEOUT: Said = (408, "deadline_exceeded: timed out talking to the host", "unknown")
NO_CAPACITY: Said = (412, "insufficient resources available to fulfill request", "insufficient_capacity")


def _whole(machines: Sequence[bytes]) -> bytes:
    return b"[" + b",".join(machines) + b"]"


def _unavailable(_: Sequence[bytes]) -> bytes:
    raise Refused(503, "unavailable: upstream connect error")


LIST_FAULTS: dict[str | None, Callable[[Sequence[bytes]], bytes]] = {
    None: _whole,
    "empty": lambda machines: b"[]",
    "one missing": lambda machines: _whole(machines[1:]),
    "truncated": lambda machines: _whole(machines)[: -max(2, len(_whole(machines)) // 3)],
    "503": _unavailable,
}
UPDATE_FAULTS: dict[str | None, tuple[bool, Said | None]] = {  # whether it takes effect, what is said
    None: (True, None),
    "408-after-effect": (True, HOST_TIMEOUT),
    "408": (False, HOST_TIMEOUT),
    "412": (False, NO_CAPACITY),
}
ACCEPTED: dict[str, Callable[[Any], bool]] = {
    "list_machines": lambda value: value in LIST_FAULTS,
    "update": lambda value: value in UPDATE_FAULTS,
    "pull": lambda value: value in (None, "fails"),
    "guard_api_delay_s": lambda value: isinstance(value, int | float) and 0 <= value <= 300,
    "owner": lambda value: isinstance(value, str | None),
}


@dataclass(slots=True, kw_only=True)
class Faults:
    """What goes wrong now. With an `owner`, interface faults meet only requests of that owner."""

    list_machines: str | None = None
    update: str | None = None
    pull: str | None = None  # "fails": a new image cannot be pulled, the machine silently goes back
    guard_api_delay_s: float = 0.0
    owner: str | None = None

    def change(self, wanted: Mapping[str, Any]) -> None:
        """Set the faults named in `wanted` and keep the others; 422 for one there is not."""
        for name, value in wanted.items():
            if name not in ACCEPTED or not ACCEPTED[name](value):
                raise Refused(422, f"no such fault: {name} = {value!r}")
        for name, value in wanted.items():
            setattr(self, name, value)

    def meet(self, owner: str) -> bool:
        """Whether requests of `owner` are among those that suffer."""
        return self.owner in (None, owner)
