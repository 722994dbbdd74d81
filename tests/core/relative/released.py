"""A release of a few machines, scrape after scrape, as the rules that compare see it."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from statistics import NormalDist

from rollguard.core.baseline import Baseline, Block, Share, Times, measure_of
from rollguard.core.finding import Finding
from rollguard.core.fleet import Tenure, View
from rollguard.core.judging import Evidence
from rollguard.core.model import GapKind, Reading
from rollguard.core.policy import Action, Compared, Comparing, Policy, Probes, Quantile, Ratio, Rule
from rollguard.core.relative.relatives import Relatives
from rollguard.core.window import Windows
from tests.builders import BAD, GOOD, HEALTH, HOUR, NOON, TRAFFIC, a_policy, a_rule, a_tenure

SCRAPE_S, PROBE_S = 15.0, 5.0
BOUNDS = (0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.0)
NORMAL = NormalDist()
MEDIAN_S = 0.12

ERRORS = Ratio(bad="traffic.errors", total="traffic.requests", over_s=120.0, limit=0.0, above=True, min_count=0.0)
LATENCY = Quantile(key="traffic.latency", q=0.95, over_s=120.0, limit=0.0, above=True, min_count=0.0)
MORE_ERRORS = a_rule(Compared(of=ERRORS), name="more-errors")
SLOWER = a_rule(Compared(of=LATENCY, factor=1.5), name="slower")
SLOWER_PAGE = a_rule(Compared(of=LATENCY, factor=1.2), name="slower-page", then=Action.PAGE)
PROBES_FAIL = a_rule(Compared(of=Probes(signal="health")), name="probes-fail")

Share1 = float | Callable[[float], float]
"""A share, or what it is so many seconds after the release."""


@dataclass
class Does:
    """What one machine does: requests a second, the share that fails, how slow it is, the share of failed probes."""

    rps: float = 20.0
    errors: Share1 = 0.001
    slow: Share1 = 1.0
    probes: Share1 = 0.0


@dataclass
class Released:
    """The candidate came at noon on the ``new`` machines; ``old`` ones still run what was there before."""

    rules: Sequence[Rule] = (MORE_ERRORS, SLOWER, SLOWER_PAGE, PROBES_FAIL)
    new: Mapping[str, Does] = field(default_factory=lambda: {"m1": Does()})
    old: Mapping[str, Does] = field(default_factory=dict)
    seed: int = 1
    settle_s: float = 0.0
    settle_auto: bool = False
    blocks: int = 24
    regions: dict[str, str] = field(default_factory=dict)
    frozen: Callable[[float], bool] = lambda t: False
    scraped: Callable[[float], bool] = lambda t: True
    alone_s: float = 0.0

    def __post_init__(self) -> None:
        comparing = Comparing(settle_s=self.settle_s, settle_auto=self.settle_auto, alone_s=self.alone_s)
        self.policy: Policy = a_policy(*self.rules, signals=(HEALTH, replace(TRAFFIC, counts_probes=False)))
        self.policy = replace(self.policy, comparing=comparing)
        self.dice = random.Random(self.seed)
        self.relatives = Relatives(self.policy)
        self.windows = Windows(HOUR)
        self.baseline = a_baseline(self.policy, self.blocks)
        self.now = NOON
        self.since = dict.fromkeys(self.new, NOON)
        self.last_scrape = NOON
        self.relatives.arm(BAD, self.baseline, self.evidence, self.now)

    @property
    def view(self) -> View:
        cohort = tuple(self._tenure(name, BAD, self.since[name]) for name in self.new)
        others = tuple(self._tenure(name, GOOD, NOON - HOUR) for name in self.old)
        return View(candidate=BAD, cohort=cohort, others=others, whole=not others, whole_since=NOON)

    @property
    def evidence(self) -> Evidence:
        return Evidence(
            policy=self.policy,
            view=self.view,
            windows=self.windows,
            alive_since=NOON - HOUR,
            baseline=self.baseline,
            compare=self.relatives.judge,
        )

    def _tenure(self, name: str, digest: str, since: float) -> Tenure:
        return replace(
            a_tenure(name),
            digest=digest,
            since=since,
            digest_since=since,
            started=True,
            region=self.regions.get(name, ""),
        )

    def step(self) -> None:
        """Five seconds: probes, and every third time a scrape."""
        self.now += PROBE_S
        after = self.now - NOON
        frozen = self.frozen(after)
        self.relatives.arm(BAD, self.baseline, self.evidence, self.now)
        self._round("health", [self._probe(m, does, after) for m, does in self._all()], frozen)
        if round(after) % SCRAPE_S == 0 and self.scraped(after):
            self._round("traffic", [r for m, does in self._all() for r in self._scrape(m, does, after)], frozen)
            self.last_scrape = self.now

    def _all(self) -> list[tuple[str, Does]]:
        return [*self.new.items(), *self.old.items()]

    def _round(self, signal: str, readings: Sequence[Reading], frozen: bool) -> None:
        self.windows.add(readings)
        self.relatives.take(signal, readings, self.evidence, frozen=frozen)

    def _probe(self, machine: str, does: Does, after: float) -> Reading:
        failed = self.dice.random() < at(does.probes, after)
        return Reading(key="health", subject=machine, at=self.now, value=0.0 if failed else 1.0)

    def _scrape(self, machine: str, does: Does, after: float) -> list[Reading]:
        span = self.now - self.last_scrape
        requests = poisson(self.dice, does.rps * span)
        errors = sum(self.dice.random() < at(does.errors, after) for _ in range(requests))
        median = MEDIAN_S * at(does.slow, after)
        times = sorted(self.dice.lognormvariate(math.log(median), 0.5) for _ in range(requests))
        buckets = tuple((b, float(sum(t <= b for t in times))) for b in (*BOUNDS, math.inf))
        made = {"requests": float(requests), "errors": float(errors), "latency": float(requests)}
        return [
            Reading(
                key=f"traffic.{key}",
                subject=machine,
                at=self.now,
                value=value,
                since=self.last_scrape,
                buckets=buckets if key == "latency" else (),
            )
            for key, value in made.items()
        ]

    def finding(self, rule: Rule) -> Finding:
        """What the rule says now."""
        return self.relatives.judge(rule, self.evidence, self.now)

    def until_fires(self, rule: Rule, within_s: float = 3600.0) -> tuple[float, Finding] | None:
        """How many seconds after the release a rule fires first, and what it says."""
        while self.now - NOON < within_s:
            self.step()
            finding = self.finding(rule)
            if finding.firing:
                return self.now - NOON, finding
        return None


def at(share: Share1, after: float) -> float:
    return share(after) if callable(share) else share


def poisson(dice: random.Random, mean: float) -> int:
    """By counting the gaps; for means of some hundreds."""
    if mean > 200:
        return max(0, round(dice.gauss(mean, math.sqrt(mean))))
    count, left = 0, mean
    while (left := left - dice.expovariate(1.0)) > 0:
        count += 1
    return count


def a_baseline(policy: Policy, blocks: int = 24, share: float = 0.001, requests: float = 5000.0) -> Baseline:
    """Two hours of one in a thousand failing, at a median of 120 ms."""
    below = {b: requests * NORMAL.cdf(math.log(b / MEDIAN_S) / 0.5) for b in BOUNDS}
    times = Times((*below.items(), (math.inf, requests)))
    errors, latency = measure_of(ERRORS, policy), measure_of(LATENCY, policy)
    ends = [NOON - 300.0 * number for number in range(blocks)]
    made = [Block(GOOD, e - 300, e, {errors: Share(share * requests, requests)}, {latency: times}) for e in ends]
    return Baseline(GOOD, tuple(reversed(made)))


def a_gap(key: str, subject: str, at_s: float, gap: GapKind = GapKind.STALE) -> Reading:
    return Reading(key=key, subject=subject, at=at_s, gap=gap)
