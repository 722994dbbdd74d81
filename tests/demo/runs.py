"""Runs of the demo as the referee sees them: one for each ending, in which all went well."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from rollguard.demo import endings
from rollguard.demo.endings import Ending
from rollguard.demo.seen import Seen
from rollguard.localfly.traffic import Visit

GUARD, CI, ANN = "guard@example.com", "ci@example.com", "ann@example.com"
OLD, NEW, MENDED = "sha256:old", "sha256:new", "sha256:mended"
NAMES = {OLD: "v1", NEW: "v2", MENDED: "v3"}
DEPLOYED_AT, WROTE_AT = 110.0, 112.0


def event(at: float, kind: str, owner: str, machine: str = "") -> dict[str, Any]:
    """One line of the platform's ledger."""
    return {"at": at, "kind": kind, "owner": owner, "machine": machine, "detail": ""}


def machines(digest: str, routable: bool = True) -> list[dict[str, Any]]:
    """Both machines of the app."""
    return [{"id": name, "state": "started", "digest": digest, "routable": routable} for name in ("m1", "m2")]


def row(version: int, user: str, status: str = "complete") -> dict[str, Any]:
    """One release of the app."""
    return {"version": version, "status": status, "user": user, "image_ref": "app@sha256:…", "created_at": 100.0}


def view(but: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """A platform after a rollback that went well."""
    return {
        "machines": machines(OLD),
        "releases": [row(3, GUARD), row(2, CI), row(1, "platform")],
        "writes": {GUARD: {"lease": 2, "update": 2, "lease_release": 2, "release_create": 1, "release_patch": 2}},
        "first_write_at": {GUARD: WROTE_AT},
        "floor_violations": [],
        **(but or {}),
    }


def visit(at: float, but: Mapping[str, Any] | None = None) -> Visit:
    """A user who was content at ``at``, unless said otherwise."""
    fields = {"path": "/", "status": 200, "latency_s": 0.0, "machine": "m1", "image": OLD, "error": None}
    return Visit(at=at, **{**fields, **(but or {})})


def page(text: str, at: float = WROTE_AT, key: str = "i1") -> dict[str, Any]:
    """A page that says this in one of its details."""
    payload = {"summary": "app: look", "source": "app", "severity": "critical", "custom_details": {"rule": text}}
    return {"at": at, "dedup_key": key, "event_action": "trigger", "payload": payload}


RESOLVED = {"at": 150.0, "dedup_key": "i1", "event_action": "resolve"}
DEPLOY = [
    event(100.0, "release_create", CI),
    event(101.0, "update", CI, "m1"),
    event(105.0, "update", CI, "m2"),
    event(DEPLOYED_AT, "lease_release", CI, "m2"),
]
EVENTS = [
    *DEPLOY,
    event(WROTE_AT, "release_create", GUARD),
    event(113.0, "update", GUARD, "m1"),
    event(118.0, "update", GUARD, "m2"),
]
FAILED_ON_NEW = {"status": 500, "image": NEW}
CUT = {"status": 502, "image": None, "error": "proxy:reset"}
PAGES = [page("errors-blatant is firing; rolling back"), RESOLVED]
WELL = Seen(
    guard=GUARD,
    deployer=CI,
    person=ANN,
    good=OLD,
    bad=NEW,
    names=NAMES,
    view=view(),
    events=EVENTS,
    visits=[visit(104.0), visit(105.0, FAILED_ON_NEW), visit(115.0, FAILED_ON_NEW), visit(121.0)],
    pages=PAGES,
    limit_s=6.5,
    whole_at=120.0,
    decided_at=111.5,
)
"""A bad release that was rolled back."""
ON_NEW = view({"machines": machines(NEW), "writes": {}, "first_write_at": {}, "releases": [row(2, CI)]})
LEFT = replace(
    WELL, good=NEW, bad=None, view=ON_NEW, events=DEPLOY, visits=[visit(105.0)], pages=[], limit_s=None, proven=True
)
"""A release that is fine and was left alone."""


def held(text: str) -> Seen:
    """A bad release that was left to people, whose page says this."""
    return replace(WELL, good=NEW, view=ON_NEW, events=DEPLOY, visits=[visit(105.0, FAILED_ON_NEW)], pages=[page(text)])


def slow(factor: float, text: str) -> Seen:
    """A release that takes so many times as long and was rolled back; the page says this."""
    waits = [visit(90.0 + n / 100, {"latency_s": 0.1}) for n in range(100)]
    waits += [visit(111.0 + n / 100, {"latency_s": 0.1 * factor, "image": NEW}) for n in range(100)]
    return replace(WELL, visits=waits, pages=[page(text), RESOLVED], fault_at=DEPLOYED_AT, yes_at=111.9)


HALF = [
    e for e in EVENTS if (e["owner"], e["kind"], e["machine"]) not in {(CI, "update", "m2"), (GUARD, "update", "m2")}
]
THEIRS = [event(114.0, "release_create", ANN), event(116.0, "update", ANN, "m1"), event(117.0, "update", ANN, "m2")]
ON_MENDED = {"machines": machines(MENDED), "releases": [row(4, ANN), row(3, GUARD, "failed"), row(2, CI)]}
RUNS: dict[Ending, Seen] = {
    endings.ROLLED_BACK: WELL,
    endings.FAST: WELL,
    endings.LEFT_ALONE: LEFT,
    endings.ONCE: WELL,
    endings.BY_COMPARISON: slow(1.8, "slower-by-half"),
    endings.APPROVED: slow(1.3, "consider a rollback: slower-by-a-fifth"),
    endings.NO_PROOF: replace(
        WELL, fault_at=DEPLOYED_AT, visits=[visit(104.0), visit(108.0, CUT), visit(112.5, CUT), visit(121.0)]
    ),
    endings.BY_REPORT: replace(
        WELL, fault_at=111.0, visits=[visit(121.0)], pages=[page("data-corruption reported by ann"), RESOLVED]
    ),
    endings.MIGRATED: held("v2 is labelled rollguard.migration='applied'"),
    endings.NOT_THE_RELEASE: held("not the release: the dependency database is down since noon"),
    endings.ALL_PROVEN: replace(WELL, events=HALF),
    endings.ONE_SICK: replace(held("machine m2, not the release: 13 %"), sick="m2"),
    endings.BLIND: replace(WELL, fault_at=111.0, pages=[page("blind on errors-blatant", at=110.5)]),
    endings.NOT_BETTER: replace(
        WELL, pages=[page("not the release: v1 does no better")], visits=[*WELL.visits, visit(119.0, {"status": 500})]
    ),
    endings.YIELDED: replace(
        WELL,
        good=MENDED,
        view=view(ON_MENDED),
        events=[*EVENTS[:-1], *THEIRS],
        pages=[page("It is handed over to you")],
    ),
}
"""For every ending a run that ends so, and well."""
