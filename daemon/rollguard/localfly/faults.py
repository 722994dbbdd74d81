"""Faults of the platform itself, switched on and off while it runs: from code, or by ``POST /local/v1/faults``.

| fault | may be |
|---|---|
| `list_machines` | `empty`, `one missing`, `truncated`, `503`, `404-text`, `500` |
| `get_machine` | `503`, `truncated`, `404-text`, `lost`, `old` |
| `update` | `408`, `408-after-effect`, `412`, `409-concurrent`, `host-disabled`, `stuck`, `lost`, `lost-before`, |
| | `503-after-effect`, `422` |
| `wait` | `408`, `503`, `lost` |
| `lease` | `503`, `408-after-effect`, `lost`, `409` |
| `release_create` | `504`, `504-after-effect`, `lost`, `lost-before`, `422` |
| `release_patch` | `504`, `504-after-effect`, `lost` |
| `graphql` | `503`, `errors`, `null`, `lost` |
| `pull` | `fails` |
| `metrics` | `503`, `empty`, `stale`, `reset` |

`docs/local-platform.md` says what each does. None lifts one. `owner`, `machine` and `times` narrow them all:

* with an `owner`, faults of the interfaces meet only that owner's requests;
* with a `machine`, those of one machine's requests (`get_machine`, `update`, `wait`, `lease`) and `pull` meet only it;
* with `times`, each fault meets that many requests and then lifts itself. Every fault counts for itself, from when it
  or `times` was last set.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from rollguard.localfly.fault_table import TABLE
from rollguard.localfly.refusal import Refused

DELAY_S_MAX = 300
LAG_S_MAX = 3600
TIMES_MAX = 1_000_000
OTHERS: Mapping[str, tuple[str, ...]] = {"pull": ("fails",), "metrics": ("503", "empty", "stale", "reset")}
ALIASES = {"api_delay_s": "guard_api_delay_s"}
OF_ONE_MACHINE = frozenset({"get_machine", "update", "wait", "lease", "pull"})


def _is_seconds(value: Any, most: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= most


def _is_count(value: Any) -> bool:
    return value is None or (isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= TIMES_MAX)


def _one_of(names: Mapping[str, Any] | tuple[str, ...]) -> Callable[[Any], bool]:
    return lambda value: value is None or (isinstance(value, str) and value in names)


KINDS = (*TABLE, *OTHERS)
ACCEPTED: Mapping[str, Callable[[Any], bool]] = {
    **{kind: _one_of(names) for kind, names in TABLE.items()},
    **{kind: _one_of(names) for kind, names in OTHERS.items()},
    "guard_api_delay_s": lambda value: _is_seconds(value, DELAY_S_MAX),
    "metrics_lag_s": lambda value: _is_seconds(value, LAG_S_MAX),
    "owner": lambda value: isinstance(value, str | None),
    "machine": lambda value: isinstance(value, str | None),
    "times": _is_count,
    "rate_limits": lambda value: isinstance(value, bool),
}


@dataclass(slots=True, kw_only=True)
class Faults:
    """What goes wrong now. Change it by `change`: that starts the counts, and lets go of what is stuck."""

    list_machines: str | None = None
    get_machine: str | None = None
    update: str | None = None
    wait: str | None = None
    lease: str | None = None
    release_create: str | None = None
    release_patch: str | None = None
    graphql: str | None = None
    pull: str | None = None  # "fails": a new image cannot be pulled, the machine silently goes back
    metrics: str | None = None
    metrics_lag_s: float = 0.0  # how old the newest sample of the metrics is at least
    guard_api_delay_s: float = 0.0
    owner: str | None = None
    machine: str | None = None
    times: int | None = None
    rate_limits: bool = True
    lifts: int = 0  # how often `update` was changed: whoever got stuck before may go on
    _left: dict[str, int] = field(default_factory=dict, repr=False)
    _lifted: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    def change(self, wanted: Mapping[str, Any]) -> None:
        """Set the faults named in `wanted` and keep the others; 422 for one there is not, and nothing is set."""
        wanted = {ALIASES.get(name, name): value for name, value in wanted.items()}
        for name, value in wanted.items():
            if name not in ACCEPTED or not ACCEPTED[name](value):
                raise Refused(422, f"no such fault: {name} = {value!r}")
        for name, value in wanted.items():
            setattr(self, name, value)
        for kind in KINDS if "times" in wanted else wanted.keys() & set(KINDS):
            if self.times is None:
                self._left.pop(kind, None)
            else:
                self._left[kind] = self.times
        if "update" in wanted:
            self.lifts += 1
            self._lifted.set()
            self._lifted = asyncio.Event()

    def to_json(self) -> dict[str, Any]:
        """Every fault by its name."""
        return {name: getattr(self, name) for name in ACCEPTED}

    def meet(self, owner: str) -> bool:
        """Whether requests of `owner` are among those that suffer."""
        return self.owner in (None, owner)

    def meeting(self, kind: str, machine: str = "", owner: str | None = None) -> str | None:
        """The fault that a request of this kind meets now, if any, and count it. No owner: it is nobody's request."""
        name: str | None = getattr(self, kind)
        if name is None or (owner is not None and not self.meet(owner)):
            return None
        if kind in OF_ONE_MACHINE and self.machine not in (None, machine):
            return None
        if kind in self._left:
            self._left[kind] -= 1
            if self._left[kind] <= 0:
                setattr(self, kind, None)
                del self._left[kind]
        return name

    async def until_lifted(self, lifts: int) -> None:
        """Wait for the first change of `update` since there were `lifts` of them."""
        while self.lifts <= lifts:
            await self._lifted.wait()
