"""What the token may do: asked by doing it, with the one write given back at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from rollguard.core.model import Machine
from rollguard.core.plan import GUARD_LEASE
from rollguard.errors import Conflict, Refused, Unavailable

LEASE_S = 5.0
DESCRIPTION = f"{GUARD_LEASE} asks whether it may hold this machine"

NEEDS: Mapping[str, str] = {
    "app": "look at the app",
    "machines": "list its machines",
    "releases": "list its releases",
    "images": "look up its images",
    "lease": "hold a machine",
}


async def missing(asks: Mapping[str, Callable[[], Awaitable[object]]]) -> dict[str, str]:
    """For each need in turn a sentence that says what is missing, or nothing.

    What only somebody else is in the way of (``Conflict``) is allowed. Raises ``Unavailable``.
    """
    return {need: await _missing(NEEDS[need], ask) for need, ask in asks.items()}


async def _missing(what: str, ask: Callable[[], Awaitable[object]]) -> str:
    try:
        await ask()
    except Refused as error:
        return f"the token may not {what}: {error}"
    except Conflict:
        return ""
    return ""


def some_image(app: str, machines: Sequence[Machine]) -> str:
    """A reference to ask for: one that runs, so that it must be there; else a name that every app could have."""
    return next((m.image_ref for m in machines if m.managed and m.image_ref), f"registry.fly.io/{app}:latest")


def must_be_there(machine: str, machines: Sequence[Machine]) -> None:
    """Raises ``Unavailable`` for a machine that is gone: that nobody can hold it says nothing about the token."""
    if machines and all(m.id != machine for m in machines):
        raise Unavailable(f"machine {machine} is not there any more")
