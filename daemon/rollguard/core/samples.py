"""Protocol 1 of the judge: samples of one app in, a verdict for each out; the guard's own mind in between.

One JSON object a line: ``start``, then ``sample`` lines with a ``release`` among them, then ``end``. What a sample says
is hostile: whatever is impossible is a gap with its reason in the reply, and evidence of nothing.
"""

from __future__ import annotations

import json
import math
from bisect import insort
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from typing import Any

from rollguard.core.decide import Decision, PageDecision, RollBack
from rollguard.core.finding import Finding
from rollguard.core.mapping import ONE, Fed, feed
from rollguard.core.mind import Mind
from rollguard.core.model import GapKind, Machine, Reading, Release, Snapshot
from rollguard.core.policy import Policy
from rollguard.core.surroundings import FAILURES, Address, Surroundings

NOON = 1.7e9
"""Where second 0 of a run lies: instants must be positive."""
LIVED_S = 86400.0
"""For so long the first release is taken to have run before the first sample."""
PROTOCOL = 1
DT_S_MIN, DT_S_MAX, BOUNDS_MAX, PROBES_MAX = 0.01, 3600.0, 200, 1000
T_S_MAX, JUMP_S_MAX = 1e9, 86400.0
"""Times are within so many seconds of 0, and go on by a day at most: one absurd time must not end a run."""
WAITING_MAX = 16
COUNT_MAX = 1e12
TEXT_MAX = 200
MORE_TIMES, MORE = 2.0, 10.0
"""What an app counts while it is scraped may be in one counter and not yet in the other, but not so much."""
WELL = Surroundings(control=(Address(name="control"),))
CUT_OFF = Surroundings(control=(Address(name="control", failures=FAILURES, down_since=0.0, down_until=0.0),))


class NotJson(ValueError):
    """A line is no JSON object: there is nobody to reply to."""


@dataclass(slots=True)
class _Run:
    name: str
    dt_s: float
    bounds: tuple[float, ...]
    fed: Fed
    mind: Mind | None = None
    at: float | None = None
    scraped_at: float | None = None
    version: int = 1
    seen: dict[str, int] = field(default_factory=dict)
    since: float = 0.0
    released: bool = False
    verdict: str = "learning"
    gap: str = ""
    waiting: list[tuple[float, str]] = field(default_factory=list)
    """Releases that were told of and are not there before a sample's time has come that far."""
    chosen: bool = False
    """Whether it is known by which policy."""


class Runs:
    """One run after the other, each an app of its own. Only the present one is remembered.

    A run whose first scrape has a P95 and no histogram is judged by the policy ``bare``, if there is one.
    """

    def __init__(self, policy: Policy, bare: Policy | None = None) -> None:
        self._policy = policy
        self._bare = bare
        self._run: _Run | None = None
        self._fed: dict[tuple[bool, float], Fed] = {}

    def answer(self, line: str) -> str | None:
        """The reply to a ``sample`` line, None for any other. Raises ``NotJson``."""
        try:
            said = _parsed(line)
        except (ValueError, RecursionError) as error:
            raise NotJson(f"not JSON: {error}") from None
        if not isinstance(said, dict):
            raise NotJson("not a JSON object")
        match said.get("type"):
            case "sample":
                return json.dumps(self._sample(said))
            case "start":
                self._run = self._started(said)
            case "release":
                self._released(said)
            case "end":
                self._run = None
        return None

    def _started(self, said: Mapping[str, Any]) -> _Run | None:
        dt_s, bounds = _number(said.get("dt"), DT_S_MAX), said.get("le_ms")
        edges = [_number(b, COUNT_MAX) for b in bounds] if isinstance(bounds, list) else []
        rising = [b / 1000 for b in edges if b is not None]
        if said.get("protocol", PROTOCOL) != PROTOCOL or dt_s is None or dt_s < DT_S_MIN:
            return None
        if len(rising) != len(edges) or len(rising) > BOUNDS_MAX or rising != sorted(set(rising)):
            return None
        fed = self._feed(self._policy, dt_s)
        return _Run(str(said.get("run")), dt_s, (*rising, math.inf), fed, chosen=self._bare is None)

    def _feed(self, policy: Policy, dt_s: float) -> Fed:
        key = policy is self._policy, dt_s
        fed = self._fed.get(key)
        if fed is None:
            fed = self._fed[key] = feed(policy, dt_s)
            for old in list(self._fed)[:-8]:
                del self._fed[old]
        return fed

    def _choose(self, run: _Run, said: Mapping[str, Any]) -> None:
        """By the first scrape that comes: what was seen until then was nothing but probes."""
        if run.chosen or said.get("scrape") is not True:
            return
        run.chosen = True
        if self._bare is not None and said.get("hist") is None and said.get("p95_ms") is not None:
            run.fed, run.mind = self._feed(self._bare, run.dt_s), None

    def _released(self, said: Mapping[str, Any]) -> None:
        run, t = self._run, _number(said.get("t"), T_S_MAX, least=-T_S_MAX)
        if run is None or str(said.get("run")) != run.name:
            return
        at = NOON + t if t is not None else math.nan
        if t is None:
            run.gap = "a release at no time"
        elif run.at is not None and at < run.at:
            run.gap = "a release in the past"
        elif (run.at is not None and at - run.at > JUMP_S_MAX) or len(run.waiting) >= WAITING_MAX:
            run.gap = "a release too far ahead"
        else:
            insort(run.waiting, (at, str(said.get("version"))[:TEXT_MAX]), key=lambda one: one[0])

    def _sample(self, said: Mapping[str, Any]) -> dict[str, Any]:
        reply: dict[str, Any] = {"run": said.get("run"), "t": _echo(said.get("t")), "verdict": "learning"}
        run, t = self._run, _number(said.get("t"), T_S_MAX, least=-T_S_MAX)
        if run is None or str(said.get("run")) != run.name:
            return reply | {"gap": "a run that was not started"}
        if t is None:
            return reply | {"verdict": run.verdict, "gap": "t is no time"}
        at = NOON + t
        if run.at is not None and at <= run.at:
            return reply | {"verdict": run.verdict, "gap": "time does not go on"}
        if run.at is not None and at - run.at > JUMP_S_MAX:
            return reply | {"verdict": run.verdict, "gap": "time goes on by more than a day"}
        run.at = at
        self._choose(run, said)
        while run.waiting and run.waiting[0][0] < at:
            _release(run, *run.waiting.pop(0))
        if run.waiting:
            run.gap = run.gap or "a release is still to come"
        mind, gaps = self._mind(run, at), [run.gap] if run.gap else []
        run.gap = ""
        gaps += _probes(run, mind, said, at) + _scrape(run, mind, said, at) + _gauge(run, mind, said, at)
        decision = mind.decide(at)
        reply |= _verdict(run, decision, mind.findings)
        run.verdict = reply["verdict"]
        return reply | {"gap": "; ".join(gaps)} if gaps else reply

    def _mind(self, run: _Run, at: float) -> Mind:
        if run.mind is None:
            run.mind = Mind(run.fed.policy, at - run.dt_s)
            run.since = run.since or at - run.dt_s - LIVED_S
        run.mind.see(_snapshot(at, run.version, run.since))
        return run.mind


def _release(run: _Run, at: float, name: str) -> None:
    """From now on the machine runs that version."""
    known = run.seen.get(name)
    if known is not None:
        run.gap = f"release {name!r} returned"
    run.version = known if known is not None else len(run.seen) + 2
    if len(run.seen) < PROBES_MAX:
        run.seen[name] = run.version
    run.released, run.since = True, at
    if run.mind is not None:
        run.mind.see(_snapshot(at, run.version, run.since))


def _snapshot(at: float, version: int, since: float) -> Snapshot:
    """One machine, on the image of that version since then."""
    machines, releases = _shown(version, since)
    return Snapshot(at=at, machines=machines, releases=releases, leases={})


@lru_cache(maxsize=16)
def _shown(version: int, since: float) -> tuple[tuple[Machine, ...], tuple[Release, ...]]:
    digest = f"sha256:{version:064x}"
    machine = Machine(
        id=ONE,
        state="started",
        instance_id=digest,
        digest=digest,
        image_ref=f"registry/app@{digest}",
        has_checks=False,
        started_at=since,
        release_version=version,
    )
    release = Release(
        id=str(version), version=version, status="complete", image_ref=machine.image_ref, created_at=since
    )
    return (machine,), (release,)


# -- what a sample says ------------------------------------------------------------------------------------------------


def _probes(run: _Run, mind: Mind, said: Mapping[str, Any], at: float) -> list[str]:
    names = ("probe_ok", "probe_fail", "control_fail")
    passed, failed, control = (_number(said.get(name, 0), PROBES_MAX) for name in names)
    if passed is None or failed is None or control is None or passed % 1 or failed % 1:
        return ["probe counts that cannot be"]
    count = int(passed + failed)
    mind.around(CUT_OFF if count and 2 * control > count else WELL)
    if count:
        step_s = run.dt_s / count
        for key in run.fed.probes:
            mind.read(key, [_probe(key, at - step_s * (count - 1 - n), ok=n >= failed) for n in range(count)])
    # Frozen all the same: what cannot be makes nobody act.
    return ["more control probes failed than there were"] if count and control > count else []


def _probe(key: str, at: float, *, ok: bool) -> Reading:
    return Reading(key, ONE, at, 1.0) if ok else Reading(key, ONE, at, 0.0, detail="HTTP 503")


def _scrape(run: _Run, mind: Mind, said: Mapping[str, Any], at: float) -> list[str]:
    """The readings of every count signal; where the scrape did not come, or cannot be, gaps."""
    if said.get("scrape") is not True:
        if said.get("scrape") is not False:
            return ["scrape is neither true nor false"]
        _gaps(run, mind, at, GapKind.NO_ANSWER, "no scrape")
        return []
    since = run.scraped_at if run.scraped_at is not None else at - run.dt_s
    run.scraped_at = at
    requests, errors = _number(said.get("req"), COUNT_MAX), _number(said.get("err"), COUNT_MAX)
    counted = _counts(said.get("hist"), len(run.bounds))
    gaps: list[str] = []
    if requests is None or errors is None or errors > requests:
        gaps.append("counts that cannot be")
        requests = errors = None
    if counted is None and (run.fed.wants_times or said.get("hist") is not None):
        gaps.append("a histogram that cannot be" if said.get("hist") is not None else "no histogram")
    if counted is not None and requests is not None and sum(counted) > MORE_TIMES * requests + MORE:
        gaps.append("more times than requests")
        counted = None
    buckets = tuple(zip(run.bounds, accumulate(counted), strict=True)) if counted is not None else ()
    values = {"total": requests, "bad": errors, "times": buckets[-1][1] if buckets else None}
    for signal, subject, keys in run.fed.counts:
        mind.read(signal, [_increase(key, subject, since, at, values[k], buckets * (k == "times")) for key, k in keys])
    return gaps


def _increase(
    key: str, subject: str, since: float, at: float, value: float | None, buckets: tuple[tuple[float, float], ...]
) -> Reading:
    if value is None:
        return Reading(key=key, subject=subject, at=at, gap=GapKind.NOT_A_NUMBER, detail="cannot be")
    return Reading(key=key, subject=subject, at=at, value=value, since=since, buckets=buckets)


def _gaps(run: _Run, mind: Mind, at: float, gap: GapKind, why: str) -> None:
    for signal, subject, keys in run.fed.counts:
        mind.read(signal, [Reading(key=key, subject=subject, at=at, gap=gap, detail=why) for key, _ in keys])


def _gauge(run: _Run, mind: Mind, said: Mapping[str, Any], at: float) -> list[str]:
    value = said.get("p95_ms")
    if value is None or not run.fed.gauges:
        return []
    p95_ms = _number(value, COUNT_MAX)
    if p95_ms is None:
        return ["a p95 that cannot be"]
    for signal, key in run.fed.gauges:
        mind.read(signal, [Reading(key=key, subject=ONE, at=at, value=p95_ms / 1000)])
    return []


def _parsed(line: str) -> Any:
    """Numbers of more digits than Python reads as integers are read as infinite ones."""
    try:
        return json.loads(line)
    except json.JSONDecodeError:
        raise
    except ValueError:
        return json.loads(line, parse_int=float)


def _echo(value: Any) -> Any:
    """The same, but for numbers that JSON has not."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _number(value: Any, most: float, *, least: float = 0.0) -> float | None:
    """A finite number within bounds, or None."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        return None
    return float(value)


def _counts(value: Any, count: int) -> list[float] | None:
    if not isinstance(value, list) or len(value) != count:
        return None
    if not set(map(type, value)) <= {int, float} or not (min(value) >= 0.0 and max(value) <= COUNT_MAX):
        return None
    found = list(map(float, value))
    return None if any(map(math.isnan, found)) else found  # with one among them the least is any


# -- what is replied ---------------------------------------------------------------------------------------------------


def _verdict(run: _Run, decision: Decision, findings: Sequence[Finding]) -> dict[str, Any]:
    if not run.released:
        return {"verdict": "learning"}
    firing = [f for f in findings if f.firing]
    match decision:
        case RollBack():
            acting = [f for f in firing if f.trigger is decision.trigger] or firing
            told = max(acting, key=lambda f: f.odds or 0.0)
            return {"verdict": "rollback", "signal": run.fed.kinds.get(told.rule.name, "?"), "odds": told.odds}
        case PageDecision() if firing:
            told = max(firing, key=lambda f: f.odds or 0.0)
            return {"verdict": "page", "signal": run.fed.kinds.get(told.rule.name, "?"), "odds": told.odds}
        case PageDecision():
            return {"verdict": "no_data"}
        case _:
            return {"verdict": "ok"}
