"""Asking again at once: when, whom, and what it proves.

After a failed probe all machines and the edge are asked every second, in the same second. That makes one thing known
sooner: that nobody is served any more. For everything else such answers count for nothing: "3 in a row" are three
probes of the usual pace, else a blip of two seconds would roll back.
"""

from __future__ import annotations

import heapq
import math
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, field
from itertools import islice

from rollguard.core.fleet import Tenure
from rollguard.core.judging import Evidence, has_edge, scopes_of, stale_after_s
from rollguard.core.model import EDGE, Reading
from rollguard.core.policy import Compared, Failing, Policy, Probes
from rollguard.core.signals import HttpSignal, JsonSignal, Scope, Signal
from rollguard.core.window import Windows

AGAIN_S = 1.0
"""Between two rounds while somebody fails."""
FOR_S_MAX = 60.0
"""Who has failed for so long is asked at the usual pace again."""
MACHINES_MAX = 50
"""So many machines are asked again in one second, of larger fleets every n-th."""
DOWN_S = 4.0
"""Between the first and the last question that everybody failed, where the rule asks for three failures in a row or
fewer. By when they were asked, not by when they were given up: a blip may lose what was asked in it for ever.
"""
TIMER_S = 0.05
"""By so much timers may be off."""
PATIENCE_S_MIN = 0.5
PATIENCE = 3.0
"""Where nobody answers, who is asked again is given so many times as long as good answers of late took."""
ANSWERS, SLOWEST_LEFT_OUT = 10, 2
"""How long those took is read off so many; a first request after a boot is no habit."""
USUAL_K = 3
PROBES_MIN = 2
APART_S_MAX = 2.0
"""A longer time in which nobody asked may have been a good one."""
GATEWAY = re.compile(r"HTTP 50[234]\b")
"""What a proxy answers for an app that is not listening (yet)."""


def again(signal: str) -> str:
    """The key under which answers to repeated questions are kept: apart, so that no count or row has them in it."""
    return f"{signal}:again"


def asks_again(policy: Policy, name: str) -> bool:
    """Whether a failed probe of this signal is followed up: some rule is about it, and asking costs one request.

    A journey is several requests, and may write.
    """
    signal = next((s for s in policy.signals if s.name == name), None)
    if not isinstance(signal, HttpSignal | JsonSignal) or signal.every_s <= AGAIN_S:
        return False
    return any(_signal_of(rule.condition) == name for rule in policy.rules)


def _signal_of(condition: object) -> str:
    of = condition.of if isinstance(condition, Compared) else condition
    return of.signal if isinstance(of, Failing | Probes) else ""


@dataclass(slots=True)
class Doubts:
    """Whether to ask again, after each round. Not for ever: who failed for a minute is no news until it was well."""

    since: float | None = None
    known: frozenset[str] = field(default_factory=frozenset)

    def took(self, failed: Set[str], now: float) -> bool:
        """``failed`` are those who failed in the round that has just ended."""
        self.known &= failed
        if not failed - self.known:
            self.since = None
            return False
        if self.since is None or now < self.since:
            self.since = now
        if now - self.since < FOR_S_MAX:
            return True
        self.since, self.known = None, frozenset(failed)
        return False


def chosen(lives: Sequence[Tenure]) -> tuple[str, ...]:
    """Whom to ask again: all started machines, or ``MACHINES_MAX`` evenly from every digest, always the same ones."""
    by_digest: dict[str, list[str]] = {}
    for tenure in sorted(lives, key=lambda t: t.machine):
        if tenure.started:
            by_digest.setdefault(tenure.digest, []).append(tenure.machine)
    found: list[str] = []
    for place, digest in enumerate(sorted(by_digest, key=lambda d: len(by_digest[d]))):  # few machines leave room
        machines = by_digest[digest]
        most = (MACHINES_MAX - len(found)) // (len(by_digest) - place)
        found += [machines[i * len(machines) // most] for i in range(most)] if len(machines) > most else machines
    return tuple(sorted(found))


def patience_s(windows: Windows, signal: str, lives: Mapping[str, float]) -> float:
    """For how long to wait for those of whom nobody answered just now, in seconds; infinite where one was never well in
    its present life. ``lives`` are all of them, and since when each lives.

    An app that answered in a twentieth of a second until now and does not in half a second, after it did not within
    its timeout, hangs still. Its timeout would only be waited for once more.
    """
    usual_s = 0.0
    for subject, since in lives.items():
        good = (r for r in windows.newest_first(signal, subject, since) if r.value == 1.0 and r.since is not None)
        took_s = sorted(r.at - (r.since or 0.0) for r in islice(good, ANSWERS))
        if not took_s:
            return math.inf
        usual_s = max(usual_s, took_s[max(0, len(took_s) - 1 - SLOWEST_LEFT_OUT)])
    return max(PATIENCE_S_MIN, PATIENCE * usual_s)


def given_up(reading: Reading, within_s: float) -> bool:
    """Whether nothing came because no longer than ``within_s`` was waited for it."""
    return reading.unanswered and reading.since is not None and reading.at - reading.since >= within_s - TIMER_S


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """Probes of one subject that all failed, without a pause in which nobody asked: from ``since`` to ``asked_to``, the
    last one answered or given up at ``to``. ``gateway``: some of it may be a proxy's answer, or is none at all.
    """

    since: float
    asked_to: float
    to: float
    count: int
    detail: str
    gateway: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Down:
    """Nobody is served: these runs, of each machine that was asked again and of the edge."""

    machines: dict[str, Run]
    edge: Run | None

    @property
    def runs(self) -> list[Run]:
        """All of them."""
        return [*self.machines.values(), *([self.edge] if self.edge is not None else [])]

    @property
    def since(self) -> float:
        """Since when everybody fails."""
        return max(run.since for run in self.runs)

    @property
    def for_s(self) -> float:
        """For how long everybody has failed."""
        return max(run.to for run in self.runs) - self.since

    @property
    def count(self) -> int:
        """How many probes failed, on whoever failed least often."""
        return min(run.count for run in self.runs)

    @property
    def detail(self) -> str:
        """In what way."""
        return self.runs[0].detail or "no answer"


def down(condition: Failing, signal: Signal, evidence: Evidence, now: float) -> Down | None:
    """Whether every machine of the release, and the edge where it is asked, has failed long enough without a pause, in
    probes that overlap or follow within ``APART_S_MAX``. Only where every machine runs the release.

    A machine that never answered well in its present life may still be starting: it counts only if what fails is the
    app's own answer. In a fleet too large to ask everybody, the newest usual probe of all others must have failed too.
    It proves something of the release only once the platform was looked at since then: another one may just have come.
    """
    view = evidence.view
    if not asks_again(evidence.policy, signal.name) or not view.whole or not view.serving:
        return None
    lives = {t.machine: t.since for t in view.serving} if Scope.MACHINE in scopes_of(signal) else {}
    asked = set(chosen((*view.cohort, *view.others))) & lives.keys()
    least_s = DOWN_S * max(1.0, (condition.k - 1) / (USUAL_K - 1)) - TIMER_S
    runs: dict[str, Run] = {}
    for subject, since in [*lives.items(), *([(EDGE, view.whole_since)] if has_edge(signal) else [])]:
        run = _run(evidence.windows, signal, subject, since)
        if run is None or now - run.to > stale_after_s(signal):
            return None
        if subject in lives and subject not in asked:
            continue
        if run.count < PROBES_MIN or run.asked_to - run.since < least_s or now - run.to > _lasts_s(signal):
            return None
        if run.gateway and not (subject == EDGE and lives) and not _was_well(evidence, signal, subject, since):
            return None
        runs[subject] = run
    return Down(edge=runs.pop(EDGE, None), machines=runs) if runs else None


def _lasts_s(signal: Signal) -> float:
    """How old the newest answer may be while every second is asked."""
    return APART_S_MAX + getattr(signal, "timeout_s", 0.0)


def _run(windows: Windows, signal: Signal, subject: str, since: float) -> Run | None:
    """The failed probes up to now; None where the newest was well."""
    start = asked_to = to = 0.0
    count, detail, gateway = 0, "", False
    for reading in _answers(windows, signal.name, subject, since):
        if reading.value != 0.0 or (count and start - reading.at > APART_S_MAX):
            break
        asked_at = max(since, reading.at if reading.since is None else reading.since)
        start = min(start, asked_at) if count else asked_at
        asked_to, to = max(asked_to, asked_at), max(to, reading.at)
        gateway |= reading.unanswered or GATEWAY.match(reading.detail) is not None
        detail = detail or reading.detail
        count += 1
    return Run(since=start, asked_to=asked_to, to=to, count=count, detail=detail, gateway=gateway) if count else None


def _was_well(evidence: Evidence, signal: Signal, subject: str, since: float) -> bool:
    """Whether it has ever answered well in its present life."""
    return any(r.value == 1.0 for r in _answers(evidence.windows, signal.name, subject, since))


def _answers(windows: Windows, signal: str, subject: str, since: float) -> Iterator[Reading]:
    """Usual and repeated probes, newest first, without gaps."""
    rows = (windows.newest_first(key, subject, since) for key in (signal, again(signal)))
    return (r for r in heapq.merge(*rows, key=lambda r: -r.at) if r.gap is None)
