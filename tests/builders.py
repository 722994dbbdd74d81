"""The language of the tests: small, sound things by default, and each test says only what matters to it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from rollguard.core import events as ev
from rollguard.core.case import Case
from rollguard.core.finding import Blame, Finding, RuleState, Trigger
from rollguard.core.fleet import Tenure, View
from rollguard.core.judging import Evidence
from rollguard.core.lifecycle import DigestRecord, Goal, Incident, PastRollback, TargetState
from rollguard.core.model import Check, Exit, GapKind, Machine, Mode, Reading, Release, Snapshot
from rollguard.core.policy import Action, Condition, Failing, Interlocks, Migration, Policy, Rollback, Rule, Target
from rollguard.core.signals import (
    HttpSignal,
    JsonSignal,
    JsonValue,
    PlatformSignal,
    Scope,
    ScrapeSignal,
    SecretRef,
    Selector,
)
from rollguard.core.window import Windows

NOON = 1_787_313_600.0  # 2026-08-21 12:00 UTC
"""When everything in a test happens, unless it says otherwise."""

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
LIFE = NOON - 10 * MINUTE
"""Since when the machines of a test run what they run."""

GOOD, BAD, OLDER = "sha256:" + "900d" * 16, "sha256:" + "bad0" * 16, "sha256:" + "01de" * 16
BOTH = frozenset({Scope.MACHINE, Scope.EDGE})


# -- the policy --------------------------------------------------------------------------------------------------------

HEALTH = HttpSignal(
    name="health",
    every_s=5.0,
    url="https://shop.example/health",
    scopes=BOTH,
    timeout_s=2.0,
    ok_status=frozenset({200}),
)
NUMBERS = JsonSignal(
    name="numbers",
    every_s=15.0,
    url="https://shop.example/numbers",
    scopes=frozenset({Scope.MACHINE}),
    timeout_s=4.0,
    ok_status=frozenset({200}),
    values=(JsonValue(name="p95", path=("p95",), scale=0.001), JsonValue(name="uptime", path=("up",), scale=0.01)),
)
TRAFFIC = ScrapeSignal(
    name="traffic",
    every_s=15.0,
    url="https://shop.example/metrics",
    timeout_s=4.0,
    counters={"errors": Selector("responses"), "requests": Selector("responses")},
    histograms={"latency": Selector("seconds_bucket")},
)
USERS = replace(TRAFFIC, name="edge", machine_label=None)
MACHINES = PlatformSignal(name="machines", every_s=10.0)


def a_rule(condition: Condition | None = None, *, then: Action = Action.ROLLBACK, **but: Any) -> Rule:
    """``not-responding``: three failed probes in a row on half of the machines, or at the edge."""
    condition = condition or Failing(signal="health", k=3)
    but.setdefault("name", "not-responding" if isinstance(condition, Failing) else type(condition).__name__.lower())
    return Rule(condition=condition, then=then, **but)


def a_policy(*rules: Rule, **but: Any) -> Policy:
    """Every kind of signal, one rule, mode enforce."""
    limits = Interlocks(migration=Migration(label="rollguard.migration", allow=("none",)))
    settings: dict[str, Any] = {
        "target": Target(name="shop-production", app="shop", token=SecretRef(env="FLY_API_TOKEN")),
        "signals": (HEALTH, NUMBERS, TRAFFIC, USERS, MACHINES),
        "rules": rules or (a_rule(),),
        "mode": Mode.ENFORCE,
        "interlocks": limits,
        "rollback": Rollback(),
        "runbook": "https://example.com/runbook",
    }
    return Policy(**settings | but)


# -- readings ----------------------------------------------------------------------------------------------------------

WORDS: Mapping[str, tuple[float | None, GapKind | None, str]] = {
    "ok": (1.0, None, "HTTP 200"),
    "fail": (0.0, None, "HTTP 503"),
    "-": (None, GapKind.NO_ANSWER, "no connection left"),
    "quiet": (None, GapKind.NO_TRAFFIC, "nothing counted"),
    "nan": (None, GapKind.NOT_A_NUMBER, "not a number"),
}


def readings(
    script: str, *, every: float = 5.0, key: str = "health", subject: str = "m1", until: float = NOON
) -> list[Reading]:
    """``"ok fail - 3.2"``: one reading after the other, the last one at ``until``. Other words are numbers."""
    words = script.split()
    start = until - every * (len(words) - 1)
    found = []
    for index, word in enumerate(words):
        value, gap, detail = WORDS[word] if word in WORDS else (float(word), None, "")
        at = start + index * every
        found.append(Reading(key=key, subject=subject, at=at, value=value, gap=gap, detail=detail))
    return found


def counted(
    key: str, counts: Iterable[float | str], *, every: float = 15.0, subject: str = "m1", until: float = NOON
) -> list[Reading]:
    """Increases of a counter, each since the one before; a word of ``WORDS`` is a gap."""
    steps = list(counts)
    found = []
    for index, count in enumerate(steps):
        at = until - every * (len(steps) - 1 - index)
        if isinstance(count, str):
            _, gap, detail = WORDS[count]
            found.append(Reading(key=key, subject=subject, at=at, gap=gap, detail=detail))
        else:
            found.append(Reading(key=key, subject=subject, at=at, value=float(count), since=at - every))
    return found


def bucketed(
    counts: Mapping[float, float],
    *,
    key: str = "traffic.latency",
    subject: str = "m1",
    at: float = NOON,
    span: float = 15.0,
) -> Reading:
    """One increase of a histogram: upper bound → how many fell between it and the bound below."""
    total, buckets = 0.0, []
    for bound in sorted({*counts, math.inf}):
        total += counts.get(bound, 0.0)
        buckets.append((bound, total))
    return Reading(key=key, subject=subject, at=at, since=at - span, value=total, buckets=tuple(buckets))


def windows(*rows: Iterable[Reading]) -> Windows:
    """A store with all these readings."""
    store = Windows(horizon_s=HOUR)
    for row in rows:
        store.add(row)
    return store


# -- the fleet ---------------------------------------------------------------------------------------------------------


def a_machine(name: str = "m1", digest: str = BAD, **but: Any) -> Machine:
    """Started, with one check that passes; ``well=False``: the check fails."""
    well = but.pop("well", True)
    settings: dict[str, Any] = {
        "state": "started",
        "instance_id": f"{name}-1",
        "image_ref": f"registry.example/shop@{digest}",
        "checks": (Check("http", "passing" if well else "critical"),),
        "started_at": LIFE,
        "release_version": {OLDER: 40, GOOD: 41, BAD: 42}.get(digest),
    }
    return Machine(id=name, digest=digest, **settings | but)


def machines(*digests: str) -> tuple[Machine, ...]:
    """m1, m2, … on these digests."""
    return tuple(a_machine(f"m{i}", digest) for i, digest in enumerate(digests, start=1))


def a_release(version: int = 42, status: str = "complete", **but: Any) -> Release:
    settings: dict[str, Any] = {
        "id": f"r{version}",
        "image_ref": f"registry.example/shop:v{version}",
        "created_at": NOON - HOUR,
        "user": "ann@example.com",
    }
    return Release(version=version, status=status, **settings | but)


def a_snapshot(*fleet: Machine, **but: Any) -> Snapshot:
    """Four machines on the candidate, no open release row, nobody holds anything."""
    settings: dict[str, Any] = {
        "at": NOON,
        "machines": fleet or machines(BAD, BAD, BAD, BAD),
        "releases": (a_release(42), a_release(41)),
        "leases": {},
    }
    return Snapshot(**settings | but)


def a_crash(at: float, **but: Any) -> Exit:
    settings: dict[str, Any] = {"code": 1, "requested": False}
    return Exit(at=at, **settings | but)


def a_tenure(name: str = "m1", digest: str = BAD, **but: Any) -> Tenure:
    """A machine's present life, since ten minutes before noon."""
    settings: dict[str, Any] = {
        "instance_id": f"{name}-1",
        "since": LIFE,
        "digest_since": LIFE,
        "started": True,
        "started_at": LIFE,
    }
    return Tenure(machine=name, digest=digest, **settings | but)


def a_view(size: int = 1, *, others: Sequence[Tenure] = (), **but: Any) -> View:
    """``size`` machines (m1, m2, …) on the candidate; ``others`` run something else."""
    settings: dict[str, Any] = {
        "candidate": BAD,
        "cohort": tuple(a_tenure(f"m{i}") for i in range(1, size + 1)),
        "others": tuple(others),
        "whole": not any(t.started for t in others),
        "whole_since": LIFE,
    }
    return View(**settings | but)


def evidence(*rows: Iterable[Reading], view: View | None = None, policy: Policy | None = None, **but: Any) -> Evidence:
    """What a judge may look at: the readings, one machine on the candidate, a guard that has long been reading."""
    settings: dict[str, Any] = {"alive_since": LIFE, "view": view or a_view(), "policy": policy or a_policy()}
    return Evidence(windows=windows(*rows), **settings | but)


# -- what is known, and what is to be decided --------------------------------------------------------------------------


def a_record(digest: str = BAD, **but: Any) -> DigestRecord:
    """A release of 20 minutes ago; the good one came the day before and is proven."""
    defaults: dict[str, dict[str, Any]] = {
        OLDER: {"version": 40, "first_seen_at": NOON - 2 * DAY, "proven_at": NOON - 2 * DAY + HOUR},
        GOOD: {"version": 41, "first_seen_at": NOON - DAY, "proven_at": NOON - DAY + HOUR},
    }
    settings: dict[str, Any] = {"version": 42, "first_seen_at": NOON - 20 * MINUTE} | defaults.get(digest, {})
    settings |= {"full_at": settings["first_seen_at"] + 60.0, "labels": {"rollguard.migration": "none"}}
    return DigestRecord(digest=digest, image_ref="registry.example/shop:tag", **settings | but)


def a_state(*records: DigestRecord, **but: Any) -> TargetState:
    """Two proven releases and a new one, nothing rolled back yet."""
    settings: dict[str, Any] = {"digests": records or (a_record(OLDER), a_record(GOOD), a_record(BAD))}
    return TargetState(**settings | but)


def a_rollback(candidate: str = BAD, target: str = GOOD, *, ago: float = HOUR, **but: Any) -> PastRollback:
    settings: dict[str, Any] = {"trigger": "absolute rule"}
    return PastRollback(at=NOON - ago, candidate=candidate, target=target, **settings | but)


def a_finding(rule: Rule | None = None, state: RuleState = RuleState.FIRING, **but: Any) -> Finding:
    """A rule that fires and blames the release."""
    settings: dict[str, Any] = {
        "said": "health failed 3 in a row (HTTP 503), limit 3 since 11:59:50Z on 4 of 4 machines",
        "value": 3.0,
        "blame": Blame.RELEASE,
        "machines": ("m1", "m2", "m3", "m4"),
        "since": NOON - 10.0,
        "trigger": Trigger.ABSOLUTE,
    }
    return Finding(rule=rule or a_rule(), state=state, **settings | but)


def a_case(**but: Any) -> Case:
    """Nothing speaks against rolling back from v42 to v41."""
    state = but.pop("state", None) or a_state()
    settings: dict[str, Any] = {
        "policy": a_policy(),
        "snapshot": a_snapshot(),
        "candidate": state.record(BAD) or a_record(BAD),
        "target": state.record(GOOD),
        "findings": (a_finding(),),
    }
    return Case(state=state, **settings | but)


def a_goal(**but: Any) -> Goal:
    """All machines back on the good digest, decided at noon, 15 minutes to go."""
    settings: dict[str, Any] = {
        "incident": "i-1",
        "candidate": BAD,
        "target": GOOD,
        "target_ref": f"registry.example/shop@{GOOD}",
        "target_version": 41,
        "after_version": 42,
        "trigger": "absolute rule",
        "by": "rollguard",
        "set_at": NOON,
        "deadline_at": NOON + 15 * MINUTE,
    }
    return Goal(**settings | but)


def an_incident(**but: Any) -> Incident:
    settings: dict[str, Any] = {"id": "i-1", "candidate": BAD, "opened_at": NOON, "sentence": "it is bad"}
    return Incident(**settings | but)


def recorded(*happened: ev.Event) -> list[ev.Recorded]:
    """These events, numbered as the journal numbers them."""
    return [ev.Recorded(seq, event) for seq, event in enumerate(happened, start=1)]
