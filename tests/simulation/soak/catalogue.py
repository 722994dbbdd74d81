"""Everything that can go wrong, by name: how often it is drawn, at which moments, for how long, on which calls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from tests.simulation.trouble import KINDS, WRITES

READS = tuple(kind for kind in KINDS if kind not in WRITES)
CHANGES = tuple(sorted(WRITES))
IN_A_ROLLBACK = ("goal", "lease", "update", "row create", "healthy")
"""Moments: a goal is set, a lease is taken, an update is accepted, a row is made, a machine is called healthy."""
ANY_TIME = ("fires", *IN_A_ROLLBACK, "ended")
SHORT, MEDIUM, LONG = (2.0, 15.0), (10.0, 60.0), (30.0, 120.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """One kind of trouble. ``sure``: it comes true whatever the guard does; others may wait for a request in vain."""

    sure: bool = False
    weight: float = 1.0
    moments: tuple[str, ...] = ()
    for_s: tuple[float, float] = MEDIUM
    times: tuple[int, ...] = (1,)
    calls: tuple[str, ...] = ()


CATALOGUE: Mapping[str, Kind] = {
    # messages
    "lost before": Kind(weight=3, moments=IN_A_ROLLBACK, times=(1, 2, 3), calls=KINDS),
    "lost after": Kind(weight=4, moments=IN_A_ROLLBACK, times=(1, 2, 3), calls=KINDS),
    "late": Kind(weight=3, moments=IN_A_ROLLBACK, times=(1, 3, 6), calls=KINDS),
    "late answer": Kind(weight=2, moments=IN_A_ROLLBACK, times=(1, 3, 6), calls=KINDS),
    "old list": Kind(sure=True, moments=ANY_TIME, for_s=MEDIUM, calls=("list",)),
    "twice": Kind(weight=2, moments=IN_A_ROLLBACK, times=(1, 2), calls=("update", "row patch", "lease refresh")),
    "cut short": Kind(moments=IN_A_ROLLBACK, times=(1, 2), calls=KINDS),
    "no page": Kind(moments=IN_A_ROLLBACK, times=(1,), calls=READS),
    "answers 503": Kind(weight=2, moments=IN_A_ROLLBACK, for_s=MEDIUM, calls=("", *KINDS)),
    "answers 500": Kind(moments=IN_A_ROLLBACK, times=(1, 3), calls=KINDS),
    "answers 408": Kind(moments=IN_A_ROLLBACK, times=(1, 3), calls=KINDS),
    "answers 429": Kind(weight=2, moments=IN_A_ROLLBACK, times=(1, 3), calls=KINDS),
    "silence": Kind(sure=True, weight=2, moments=ANY_TIME, for_s=LONG),
    "cut off": Kind(sure=True, moments=ANY_TIME, for_s=MEDIUM),
    # the platform
    "list empty": Kind(sure=True, moments=ANY_TIME, for_s=MEDIUM),
    "list without one": Kind(sure=True, weight=2, moments=ANY_TIME, for_s=MEDIUM),
    "list truncated": Kind(sure=True, moments=ANY_TIME, for_s=MEDIUM),
    "old machine": Kind(weight=2, moments=("update", "lease"), times=(1, 2, 4)),
    "update 408 after effect": Kind(moments=("goal", "update"), times=(1, 2)),
    "update 408": Kind(moments=("goal", "update"), times=(1, 2)),
    "update 412": Kind(moments=("goal", "update")),
    "update 422": Kind(moments=("goal", "update")),
    "update 409 concurrent": Kind(moments=("goal", "update"), times=(1, 2)),
    "update host disabled": Kind(moments=("goal", "update"), times=(1, 2)),
    "update stuck": Kind(moments=("goal", "update"), for_s=LONG),
    "update lost": Kind(moments=("goal", "update"), times=(1, 2)),
    "pull fails": Kind(weight=2, moments=("goal", "update", "lease")),
    "wait 408": Kind(moments=("goal", "update"), times=(1, 3)),
    "lease 503": Kind(moments=("goal", "update"), times=(1, 3)),
    "lease 408 after effect": Kind(weight=2, moments=("goal", "update"), times=(1, 2)),
    "lease 409": Kind(moments=("goal", "update")),
    "row create 504 after effect": Kind(weight=2, moments=("goal",)),
    "row create lost": Kind(moments=("goal",)),
    "row create 422": Kind(weight=0.5, moments=("goal",)),
    "row patch 504 after effect": Kind(moments=("row create", "healthy"), times=(1, 3)),
    "graphql errors": Kind(sure=True, moments=ANY_TIME, for_s=MEDIUM),
    "graphql null": Kind(sure=True, moments=ANY_TIME, for_s=MEDIUM),
    "host unreachable": Kind(sure=True, moments=ANY_TIME, for_s=LONG),
    "image pruned": Kind(sure=True, moments=ANY_TIME, for_s=LONG),
    "tag moved": Kind(sure=True, weight=2, moments=("goal", "fires")),
    "token revoked": Kind(sure=True, moments=ANY_TIME, for_s=LONG),
    "no metrics": Kind(weight=0.5, for_s=LONG),
    # machines
    "process dies": Kind(sure=True, weight=2, moments=IN_A_ROLLBACK),
    "falls asleep": Kind(moments=IN_A_ROLLBACK, for_s=LONG),
    "everything fails": Kind(sure=True, weight=0.7, for_s=LONG),
    "everything is slow": Kind(sure=True, weight=0.5, for_s=LONG),
    # the guard
    "killed before": Kind(weight=4, moments=IN_A_ROLLBACK, for_s=SHORT, calls=KINDS),
    "killed after": Kind(weight=5, moments=IN_A_ROLLBACK, for_s=SHORT, calls=(*KINDS, *CHANGES, *CHANGES)),
    "killed": Kind(sure=True, weight=4, moments=ANY_TIME, for_s=SHORT, times=(1, 1, 2, 3)),
    "clock forward": Kind(sure=True, weight=1.5, moments=ANY_TIME, for_s=(0.5, 300.0)),
    "clock back": Kind(sure=True, weight=1.5, moments=ANY_TIME, for_s=(0.5, 90.0)),
    "disk full": Kind(sure=True, weight=2, moments=ANY_TIME, for_s=SHORT),
    # people
    "competing deploy": Kind(sure=True, weight=3, moments=ANY_TIME),
    "deploy at the worst moment": Kind(weight=2, calls=("lease", "update", "row create")),
    "deploy that dies": Kind(sure=True, weight=1.5, moments=ANY_TIME, times=(1, 2)),
    "ships it again": Kind(sure=True, weight=2, moments=("ended",)),
    "orphan row": Kind(sure=True, moments=ANY_TIME),
    "changes one": Kind(sure=True, moments=IN_A_ROLLBACK),
    "changes one at the worst moment": Kind(calls=("lease", "update")),
    "lease cleared": Kind(weight=2, moments=("lease", "update")),
    "holds a machine": Kind(sure=True, weight=1.5, moments=ANY_TIME, for_s=LONG),
    "stops one": Kind(sure=True, weight=1.5, moments=ANY_TIME, for_s=LONG),
    "restarts one": Kind(sure=True, moments=ANY_TIME),
    "destroys one": Kind(moments=ANY_TIME),
    "creates one": Kind(sure=True, moments=ANY_TIME),
    "cordons one": Kind(sure=True, weight=1.5, moments=ANY_TIME, for_s=LONG),
    "pauses": Kind(sure=True, weight=1.5, moments=ANY_TIME, for_s=LONG),
    "holds": Kind(sure=True, moments=ANY_TIME, for_s=LONG),
    "rolls back by hand": Kind(sure=True, moments=("fires", "ended")),
    "answers": Kind(moments=("ended",)),
}
