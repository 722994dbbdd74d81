"""What happens in a drill, the rehearsal of a rollback: part of ``events``. Its writes are steps like any other's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rollguard.core.event import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillBegan(Event):
    """The intent to rehearse, durable before the first write: ``machines`` to ``target``, and back to ``serving``.

    ``whole``: the whole app, with a release row for each way. ``after_version``, ``instances``: as of a ``GoalSet``.
    ``configs`` are hashes of what the machines are configured with, by machine; each must be the same afterwards.
    """

    drill: str
    serving: str
    serving_ref: str
    serving_version: int | None
    target: str
    target_ref: str
    target_version: int | None
    machines: tuple[str, ...]
    whole: bool
    after_version: int
    by: str
    reason: str
    deadline_at: float
    span_s: float
    instances: Mapping[str, str]
    configs: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillTurned(Event):
    """From here on the way is back. ``result`` is what the drill can still come to: ok, failed or stopped.

    ``why`` it turned before it got there (empty: it did). ``hurried``: a rule fires, so nobody waits for the machine's
    checks. ``after_version`` and ``instances`` are the newest release row and the machines' versions at that moment.
    """

    drill: str
    result: str
    why: str
    hurried: bool
    after_version: int
    instances: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillMoved(Event):
    """A machine got to the end of one ``way``, there or back. Each time counts from the moment its lease was asked for.

    It was held, the platform had taken the update, it was started, its checks passed, and they had for long enough.
    """

    drill: str
    machine: str
    way: str
    lease_s: float
    accepted_s: float
    started_s: float
    healthy_s: float
    stable_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DrillEnded(Event):
    """``result``: ok (there and back), failed (a rollback would not have worked), stopped (somebody, or something,
    came first). ``there_s`` and ``back_s`` are how long each way took, None where its end was not reached.

    ``machines`` is how many were rehearsed with; ``left`` are those that may still run the target.
    """

    drill: str
    result: str
    sentence: str
    machines: int
    there_s: float | None = None
    back_s: float | None = None
    left: tuple[str, ...] = ()
