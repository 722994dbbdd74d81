"""Rolling back by somebody else's hands: the order, what is said back, and what the guard must see for itself."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from rollguard.core import text
from rollguard.core.event import Event
from rollguard.core.events import Delegated
from rollguard.core.lifecycle import Goal
from rollguard.core.model import Machine, Release, Snapshot
from rollguard.core.plan import ASLEEP, TRANSIENT

REASON_CHARS_MAX = 200
KIND, CANCEL = "delegate", "delegate_cancel"
"""Of the steps by which somebody is told to begin, and to stop."""

_UNSAFE = re.compile(r"[^A-Za-z0-9 .,:%+=_/@-]+")
_IMAGE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/:-]{0,254}@sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """All managed machines of ``app`` on ``image``, which is named by its digest and was release ``version``.

    ``id`` is this order's alone, also where an incident has two; ``at`` is when it was decided, by the guard's clock.
    No value holds a character that a shell would obey: scripts of other people's paste them where they like.
    """

    id: str
    incident: str
    app: str
    version: int | None
    image: str
    reason: str
    at: float

    @property
    def digest(self) -> str:
        return self.image.partition("@")[2]

    def values(self) -> dict[str, str]:
        """Everything in it as words, by the names of ``executors.PLACEHOLDERS``."""
        version = "" if self.version is None else str(self.version)
        named = {"app": self.app, "version": version, "image": self.image, "digest": self.digest}
        return {**named, "incident": self.incident, "reason": self.reason}


def order_of(app: str, goal: Goal) -> Order:
    """The goal as an order. Raises ``ValueError`` where the image's name is not one that can be passed on."""
    if not _IMAGE.fullmatch(goal.target_ref):
        raise ValueError(f"{text.one_line(goal.target_ref, 120)} is not an image by its digest")
    order = f"{goal.incident}.{goal.set_at:.0f}"
    why = text.listing(goal.rules) or goal.trigger
    return Order(
        id=order,
        incident=goal.incident,
        app=app,
        version=goal.target_version,
        image=goal.target_ref,
        reason=_UNSAFE.sub(" ", f"rollguard {order}: {why}, by {goal.by}")[:REASON_CHARS_MAX],
        at=goal.set_at,
    )


class Work(StrEnum):
    """How far somebody is. ``LOST``: it is not at it any more, and nobody knows how it ended."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Begun:
    """Somebody at work: by which name it is known in any life of the guard, and where people can watch it."""

    id: str
    link: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """What somebody says of its work. ``output`` are the last lines that it printed."""

    work: Work
    sentence: str = ""
    link: str = ""
    output: str = ""


# -- whose signs end the goal ---------------------------------------------------------------------------------------


def signs_of_others(goal: Goal, snapshot: Snapshot, images: Mapping[str, str | None]) -> Snapshot:
    """What is left of a snapshot without what whoever rolls back does as well: it holds machines, and makes rows.

    A row with another image is a sign of others. ``images`` are the digests that rows' images stand for, as far as
    they are known (None: gone).
    """
    rows = tuple(r for r in snapshot.releases if _is_foreign(goal, r, images))
    return replace(snapshot, releases=rows, leases=None)


def changed_by_others(goal: Goal, snapshot: Snapshot, seen: Mapping[str, str]) -> Machine | None:
    """A machine that was changed and came to rest on another digest. ``seen`` is each machine's instance so far."""
    for machine in snapshot.managed:
        known = {found[machine.id] for found in (seen, goal.instances) if machine.id in found}
        is_elsewhere = machine.digest != goal.target and machine.state not in TRANSIENT
        if known and machine.instance_id not in known and is_elsewhere:
            return machine
    return None


def unknown_images(goal: Goal, snapshot: Snapshot, images: Mapping[str, str | None]) -> list[str]:
    """The images of rows made since the decision whose digest must be asked for."""
    rows = (r for r in snapshot.releases if r.version > goal.after_version and r.image_ref and "@" not in r.image_ref)
    return [ref for ref in dict.fromkeys(r.image_ref for r in rows) if ref not in images]


def _is_foreign(goal: Goal, release: Release, images: Mapping[str, str | None]) -> bool:
    """Whether a row leads elsewhere. Of an image that is not known yet that cannot be said."""
    digest = release.image_ref.partition("@")[2]
    if not digest and release.image_ref not in images:
        return False
    return (digest or images[release.image_ref]) != goal.target


# -- whether it is done ---------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """The fleet against the goal: machines at rest on another digest, and those on the target that are not well yet."""

    astray: tuple[Machine, ...]
    unwell: tuple[Machine, ...]

    @property
    def is_well(self) -> bool:
        return not self.astray and not self.unwell


def standing(goal: Goal, snapshot: Snapshot) -> Standing:
    """Who is where it should be. Who sleeps, or stands by, needs nothing but the digest."""
    astray = tuple(m for m in snapshot.managed if m.digest != goal.target and m.state not in TRANSIENT)
    rest = (m for m in snapshot.managed if m not in astray)
    return Standing(astray=astray, unwell=tuple(m for m in rest if not _is_well(goal, m)))


def _is_well(goal: Goal, machine: Machine) -> bool:
    if machine.digest != goal.target:
        return False
    if machine.standby or (machine.state in ASLEEP and not machine.crashed):
        return True
    return machine.healthy_routable or (machine.started and machine.cordoned and machine.checks_pass)


# -- what people read -----------------------------------------------------------------------------------------------


def said(recent: Iterable[Event], incident: str) -> list[tuple[str, str]]:
    """What somebody said last of its work in this incident, as details of a page; the newest words last."""
    mine: Sequence[Delegated] = [e for e in recent if isinstance(e, Delegated) and e.incident == incident]
    if not mine:
        return []
    last, links = mine[-1], [e.link for e in mine if e.link]
    words = f"{last.state}: {last.sentence}" if last.sentence else last.state
    lines = [(last.executor, words), *([("its run", links[-1])] if links else [])]
    return [*lines, *([("its last lines", last.output)] if last.output else [])]
