"""Leases: cooperative locks on single machines that expire by themselves."""

from __future__ import annotations

from typing import Any, NoReturn

from rollguard.localfly.ids import Ids
from rollguard.localfly.machines import Lease, Machine
from rollguard.localfly.refusal import Refused, not_found
from rollguard.localfly.times import rfc3339

TTL_S_DEFAULT = 60
TTL_S_MAX = 24 * 3600
SOMEBODY = "somebody@example.com"


def held(machine: Machine, now: float) -> Lease | None:
    """The lease in force at `now`, or None."""
    lease = machine.lease
    return lease if lease and now < lease.expires_at else None


def admit(machine: Machine, nonce: str, now: float) -> None:
    """Let a write through, or refuse it with 409 because somebody else holds the machine.

    A nonce is accepted where nobody holds a lease: deployers send the one they have already released.
    """
    lease = held(machine, now)
    if lease and lease.nonce != nonce:
        refuse(machine, lease)


def refuse(machine: Machine, lease: Lease) -> NoReturn:
    """409: the holder of `lease` has the machine."""
    raise Refused(
        409,
        f"aborted: machine ID {machine.id} lease currently held by {lease.owner}, "
        f"expires at {rfc3339(lease.expires_at)}",
    )


def somebodys(now: float) -> Lease:
    """A lease of somebody who is not there, for a fault that pretends."""
    return Lease(nonce="0" * 12, owner=SOMEBODY, description="", expires_at=now + 13.0)


def acquire(machine: Machine, lease: Lease, now: float) -> Lease:
    """Take the machine for the holder of `lease`; 409 while anybody holds it, the same owner included."""
    admit(machine, "", now)
    machine.lease = lease
    return lease


def refresh(machine: Machine, nonce: str, expires_at: float, now: float) -> Lease:
    """Keep the lease of `nonce` for longer. 409 if another is held, 404 if it expired or was given back."""
    admit(machine, nonce, now)
    lease = held(machine, now)
    if lease is None:
        raise not_found("lease")
    lease.expires_at = expires_at
    return lease


def release(machine: Machine, nonce: str, now: float) -> None:
    """Give the lease of `nonce` back; 404 when none is held, 409 when it is somebody else's."""
    if held(machine, now) is None:
        raise not_found("lease")
    admit(machine, nonce, now)
    machine.lease = None


def new_lease(ids: Ids, owner: str, description: str, expires_at: float) -> Lease:
    """A lease nobody holds yet."""
    return Lease(nonce=ids.hex(12), owner=owner, description=description, expires_at=expires_at)


def wire(machine: Machine, lease: Lease) -> dict[str, Any]:
    """The inner object of a lease's answers; `version` is the machine's `instance_id`."""
    return {
        "nonce": lease.nonce,
        "expires_at": int(lease.expires_at),
        "owner": lease.owner,
        "description": lease.description,
        "version": machine.instance_id,
    }
