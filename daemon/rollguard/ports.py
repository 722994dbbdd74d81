"""What the engine needs of the world, as protocols. Adapters fulfil them; so do the fakes of the tests."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import Protocol

from rollguard.core.events import Event, Recorded
from rollguard.core.model import Lease, Machine, Reading, Release, Snapshot
from rollguard.core.order import Begun, Order, Progress
from rollguard.core.pages import Kind, Page

_ACTING: ContextVar[bool] = ContextVar("acting", default=False)


@contextlib.contextmanager
def acting() -> Iterator[None]:
    """What is asked in this block, and in tasks begun in it, is for an act: nothing that only watches delays it."""
    before = _ACTING.get()
    _ACTING.set(True)
    try:
        yield
    finally:
        _ACTING.set(before)  # not by its token: a block that is cut off with its task ends in another context


def is_acting() -> bool:
    """Whether this is asked for an act, rather than to watch."""
    return _ACTING.get()


class Clock(Protocol):
    """Time that cannot jump: wall time at the start plus monotonic time since (seconds since the epoch)."""

    def now(self) -> float:
        """Steady time. Use it for everything inside a life."""
        ...

    def drift_s(self) -> float:
        """How far the system's wall clock has moved away from steady time (positive: it runs ahead)."""
        ...

    def reanchor(self) -> None:
        """Take the wall clock's word from now on; ``drift_s`` is 0 again."""
        ...


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """An HTTP answer whose body was read whole, within its limits. Header names are lower case.

    Several ``Set-Cookie`` are one value with line breaks between them: the only header that has no other joint form.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class Transport(Protocol):
    """The one seam to HTTP: a real client in production, a direct call into a simulated world in tests."""

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout_s: float = 10.0,
        max_bytes: int = 1 << 20,
    ) -> HttpAnswer:
        """Send once, follow no redirect, read at most ``max_bytes``.

        Raises ``Unavailable`` when there is no whole answer in time, ``BadAnswer`` when it is too large or is not
        HTTP. Any status is an answer.
        """
        ...


@dataclass(frozen=True, slots=True)
class Fleet:
    """Whom to probe: machine IDs that are started (nobody else may be: a request would wake them).

    ``within_s``: for how long to wait for each answer, where that is less than the signal's timeout.
    """

    started: tuple[str, ...] = ()
    within_s: float = math.inf


class SignalSource(Protocol):
    """Where readings of one signal come from."""

    name: str
    every_s: float

    async def read(self, fleet: Fleet, clock: Clock) -> Sequence[Reading]:
        """One round. Never raises for what the app or its wire does: that is a reading or a gap.

        Takes no longer than the signal's own timeout (one bound for the whole round).
        """
        ...


@dataclass(frozen=True, slots=True)
class Held:
    """A lease that is ours: ``nonce`` opens writes, ``instance_id`` is the machine's version when it was taken."""

    machine: str
    nonce: str
    expires_at: float
    instance_id: str


class Platform(Protocol):
    """Where releases run. Reads may be stale. Each write is sent once.

    Raises ``Unavailable`` (for a write: it may have taken effect; look before repeating), ``Conflict`` (a foreign
    lease or a changed machine: nothing was written) or ``Refused``; nothing else.
    """

    async def snapshot(self) -> Snapshot:
        """Machines and releases now. An empty machine list is ``BadAnswer``: absence is never believed."""
        ...

    async def leases(self, machines: Sequence[str]) -> Mapping[str, Lease]:
        """Who holds these machines now; machines nobody holds are left out."""
        ...

    async def machine(self, machine: str) -> Machine:
        """One machine, read afresh."""
        ...

    async def resolve(self, image_ref: str) -> str | None:
        """The digest an image reference stands for today, or None when it is gone."""
        ...

    async def create_release(self, image_ref: str) -> Release:
        """A new release row, pending, carrying the app's current definition."""
        ...

    async def mark_release(self, release_id: str, status: str, note: Mapping[str, str]) -> None:
        """Set a row to running, complete or failed, with ``note`` in its metadata."""
        ...

    async def acquire_lease(self, machine: str, description: str, ttl_s: float) -> Held: ...

    async def refresh_lease(self, held: Held, ttl_s: float) -> Held: ...

    async def release_lease(self, held: Held) -> None: ...

    async def update(
        self, held: Held, *, instance_id: str, image: str, metadata: Mapping[str, str], skip_launch: bool
    ) -> str:
        """Put ``image`` on the machine, everything else of its config as it is; return the new instance ID.

        ``Conflict`` when the machine is no longer at ``instance_id``.
        """
        ...

    async def restart(self, held: Held) -> None:
        """Restart the machine as it is: same image, same configuration."""
        ...

    async def wait_started(self, machine: str, instance_id: str, timeout_s: float) -> bool:
        """Wait until that very instance is started; False when the time is over. ``timeout_s`` at most 60."""
        ...

    async def capsule(self, machine: str) -> Mapping[str, str]:
        """A machine's configuration without its image and metadata, as ``path: value`` (``guest.cpus: 2``).

        Values of environment variables and files are salted hashes: two are equal where the values are.
        ``Refused`` where the machine's host does not tell its configuration.
        """
        ...

    async def rights(self, machine: str | None) -> Mapping[str, str]:
        """What the guard needs to be allowed (``app``, ``machines``, ``releases``, ``images``, ``lease``): a sentence
        for each that it is not, empty for each that it is. ``lease`` is tried, and given back, on ``machine``; without
        one nothing is written and ``lease`` is left out. Raises ``Unavailable`` when that cannot be told now.
        """
        ...


class Delegate(Protocol):
    """Somebody else who rolls back when told to, in their own way. What they say of it is never taken for the fact.

    Raises ``Unavailable`` (ask again; an order may have been taken), ``Conflict`` or ``Refused``; nothing else.
    """

    name: str
    timeout_s: float
    poll_s: float

    async def begin(self, order: Order) -> Begun:
        """Tell it, once. ``Refused`` or ``Conflict``: nothing began, and nothing will."""
        ...

    async def find(self, order: Order) -> Begun | None:
        """What that order began, in this life or an earlier one; None where that cannot be told (yet)."""
        ...

    async def progress(self, begun: Begun) -> Progress:
        """How far it is."""
        ...

    async def cancel(self, begun: Begun) -> None:
        """Ask it to stop; it may be too late for that."""
        ...

    async def printed(self, begun: Begun) -> str:
        """All that it printed, as far as it was kept; empty where that is not here."""
        ...

    async def trial(self) -> str:
        """Why an order could not be taken now, or nothing. Changes nothing."""
        ...

    async def close(self) -> None:
        """Let go of it. What runs on this machine ends with the guard; what runs elsewhere goes on."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxItem:
    """A page on its way to one channel. ``id`` grows; ``attempts`` counts tries so far.

    ``thread`` is what the channel called the message that began this page's key (a Slack ``ts``, an issue's number);
    empty for the first one.
    """

    id: int
    channel: str
    page: Page
    attempts: int
    due_at: float
    thread: str = ""


class Journal(Protocol):
    """The append-only record. What ``append`` returned from is durable. Raises ``JournalError`` only."""

    async def append(self, events: Sequence[Event], pages: Sequence[tuple[str, Page]] = ()) -> Sequence[Recorded]:
        """Write events and (channel, page) pairs for the outbox in one transaction; return them numbered."""
        ...

    async def replay(self) -> Sequence[Recorded]:
        """Every event so far, in order."""
        ...

    async def outbox_due(self, now: float, limit: int = 16) -> Sequence[OutboxItem]:
        """Undelivered pages whose time has come, oldest first: at most ``limit`` for each channel.

        Per channel and page key, only the oldest one.
        """
        ...

    async def outbox_done(self, item: int, delivered_at: float, thread: str = "") -> None:
        """This one is delivered: never hand it out again. ``thread`` is kept for the channel's next page of its key."""
        ...

    async def outbox_again(self, item: int, due_at: float, error: str) -> None:
        """This one failed; hand it out again at ``due_at``."""
        ...

    async def outbox_drop(self, item: int, at: float, error: str) -> None:
        """This one can never be delivered (refused): keep it for the record, do not hand it out again."""
        ...

    async def outbox_forget(self, before: float, limit: int = 1000) -> int:
        """Remove pages that were delivered or dropped before then, at most ``limit``; how many. None that waits."""
        ...

    async def keep(self, name: str, text: str) -> None:
        """Remember ``text`` under ``name`` instead of what was there: what was learnt, on which no act rests."""
        ...

    async def kept(self, name: str) -> str | None:
        """What was last remembered under ``name``, or None."""
        ...

    async def close(self) -> None: ...


class Notifier(Protocol):
    """A way to reach people. ``name`` is the channel's name in the outbox."""

    name: str
    kinds: frozenset[Kind]
    """What it has a form for; nothing else is queued for it."""

    async def send(self, page: Page, thread: str = "") -> str:
        """Deliver once; return what the channel calls the message that this page's key began, if it calls it anything.

        ``thread`` is what an earlier page of the same key returned. Raises ``Unavailable`` (try again) or ``Refused``
        (never will work).
        """
        ...


@dataclass(slots=True)
class Vitals:
    """What the guard knows of its own well-being, shared by the loops that feed it and the page that shows it."""

    started_at: float = 0.0
    last_tick_at: float | None = None
    last_snapshot_at: float | None = None
    journal_error: str | None = None
    reload_error: str | None = None
    blind: tuple[str, ...] = field(default_factory=tuple)
    late_ticks: int = 0
    acting: bool = False
