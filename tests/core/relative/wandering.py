"""Apps as they are: level and load of each wander by themselves, now and then something else hiccups, starts are cold.

Every app is another one, drawn from a seed: the same seed gives the same readings. Counts are drawn scrape by scrape.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from rollguard.core.baseline import Baseline, Block, Share, Times, measure_of
from rollguard.core.finding import Finding
from rollguard.core.fleet import View
from rollguard.core.judge import judge
from rollguard.core.judging import Evidence
from rollguard.core.model import Reading
from rollguard.core.policy import Action, Compared, Comparing, Policy, Quantile, Ratio, Rule
from rollguard.core.relative.relatives import Relatives
from rollguard.core.window import Windows
from tests.builders import BAD, GOOD, HOUR, NOON, TRAFFIC, a_policy, a_rule, a_tenure

EVERY_S = TRAFFIC.every_s
BLOCK_SCRAPES = 20
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""The bounds of Prometheus' own libraries: coarse."""

_NORMAL = NormalDist()

SLOW = Compared(of=Quantile(key="traffic.latency", q=0.95, over_s=60, limit=0, above=True, min_count=100), factor=1.5)
MORE_ERRORS = Compared(
    of=Ratio(bad="traffic.errors", total="traffic.requests", over_s=120, limit=0, above=True, min_count=100), add=0.01
)


@dataclass(frozen=True)
class Scrape:
    requests: int
    errors: int
    buckets: tuple[int, ...]


class App:
    """One app. ``scrape(slower, errors)`` is its next 15 s, so many times slower and with so many errors more."""

    def __init__(self, seed: object, rps: float, *, blips: bool = True, base_errors: float = 0.001) -> None:
        self.dice = dice = random.Random(f"app {seed}")

        def between(low: float, high: float) -> float:
            return math.exp(dice.uniform(math.log(low), math.log(high)))

        self._rps, self._errors = rps, base_errors
        self._median, self._sigma, self._tail = between(0.02, 0.12), dice.uniform(0.5, 0.9), dice.uniform(0, 0.03)
        self._level = _Wanders(dice, dice.uniform(0.02, 0.10), between(120, 900))
        self._load = _Wanders(dice, dice.uniform(0.05, 0.30), between(120, 900))
        self._bad = _Wanders(dice, dice.uniform(0.1, 0.5), between(120, 900))
        self._clusters = dice.uniform(2, 20)
        self._blips = blips
        self._blip: tuple[float, float, float] = (0.0, 1.0, 0.0)  # for how long, how slow, how many errors

    def scrape(self, slower: float = 1.0, errors: float = 0.0) -> Scrape:
        share, slow, more = self._hiccup()
        level = self._median * math.exp(self._level.next() + 0.1 * self._load.value)
        expected = self._rps * EVERY_S * math.exp(self._load.next())
        calm = self._times(level * slower)
        hit = self._times(level * slower * slow) if share else calm
        shares = [(1 - share) * a + share * b for a, b in zip(calm, hit, strict=True)]
        buckets = tuple(_poisson(self.dice, expected * part) for part in shares)
        rate = self._errors * math.exp(self._bad.next()) * self.dice.gammavariate(self._clusters, 1 / self._clusters)
        requests = sum(buckets)
        return Scrape(requests, min(requests, _poisson(self.dice, requests * (rate + share * more + errors))), buckets)

    def _hiccup(self) -> tuple[float, float, float]:
        """Twice a day, for 10 to 60 s: a third of them slow, a third errors, a third none of our business."""
        left, slow, more = self._blip
        if left <= 0 and self._blips and self.dice.random() < 2 / 86400 * EVERY_S:
            kind = self.dice.randrange(3)
            slow = self.dice.uniform(1.5, 4.0) if kind == 0 else 1.0
            more = math.exp(self.dice.uniform(math.log(0.02), math.log(0.3))) if kind == 1 else 0.0
            left = self.dice.uniform(10, 60)
        share = min(1.0, max(0.0, left) / EVERY_S)
        self._blip = left - EVERY_S, slow, more
        return share, slow, more

    def _times(self, median: float) -> list[float]:
        """The share of requests in each bucket: a log-normal body, and a tail that is six times slower."""
        below = [(1 - self._tail) * self._cdf(b, median) + self._tail * self._cdf(b, 6 * median) for b in BOUNDS]
        return [after - before for before, after in zip([0.0, *below], [*below, 1.0], strict=True)]

    def _cdf(self, bound: float, median: float) -> float:
        return _NORMAL.cdf(math.log(bound / median) / self._sigma)


class _Wanders:
    """A level that strays from 0 and comes back within its time."""

    def __init__(self, dice: random.Random, sd: float, tau_s: float) -> None:
        self._dice, self._sd, self._rho = dice, sd, math.exp(-EVERY_S / tau_s)
        self.value = dice.gauss(0, sd)

    def next(self) -> float:
        self.value = self._rho * self.value + math.sqrt(1 - self._rho**2) * self._dice.gauss(0, self._sd)
        return self.value


def _poisson(dice: random.Random, expected: float) -> int:
    if expected > 30:
        return max(0, round(dice.gauss(expected, math.sqrt(expected))))
    count, product, limit = 0, dice.random(), math.exp(-expected)
    while product > limit:
        count, product = count + 1, product * dice.random()
    return count


# -- under the eyes of a judge -----------------------------------------------------------------------------------------


def policy_of(condition: Compared, settle_s: float = 30.0) -> Policy:
    return a_policy(a_rule(condition, name="worse"), comparing=Comparing(settle_s=settle_s, alone_s=0.0))


def baseline_of(app: App, policy: Policy, blocks: int = 24) -> Baseline:
    """So many blocks of an app's time, up to its next release."""
    (condition,) = (r.condition for r in policy.rules)
    assert isinstance(condition, Compared)
    name, learnt = measure_of(condition.of, policy), []
    for number in range(blocks):
        scrapes = [app.scrape() for _ in range(BLOCK_SCRAPES)]
        total, end = sum(s.requests for s in scrapes), NOON - (blocks - 1 - number) * BLOCK_SCRAPES * EVERY_S
        if isinstance(condition.of, Ratio):
            learnt.append(Block(GOOD, end - 300, end, shares={name: Share(sum(s.errors for s in scrapes), total)}))
        else:
            buckets = _cumulative([sum(b) for b in zip(*(s.buckets for s in scrapes), strict=True)])
            learnt.append(Block(GOOD, end - 300, end, times={name: Times(buckets)}))
    return Baseline(GOOD, tuple(learnt))


def _cumulative(counts: Sequence[int]) -> tuple[tuple[float, float], ...]:
    total, buckets = 0, []
    for bound, count in zip((*BOUNDS, math.inf), counts, strict=True):
        total += count
        buckets.append((bound, float(total)))
    return tuple(buckets)


def watched(
    app: App,
    condition: Compared,
    *,
    slower: float = 1.0,
    errors: float = 0.0,
    onset_s: float = 0.0,
    until_s: float = math.inf,
    minutes: float = 30,
) -> Iterator[tuple[float, Finding]]:
    """A release of the app at noon: how long ago that was, and what the rule says then, three times a scrape.

    From ``onset_s`` to ``until_s`` it is so many times slower, or has so many errors more. Its first seconds are cold.
    """
    policy = policy_of(condition)
    baseline = baseline_of(app, policy)
    cold_s, cold = app.dice.uniform(0, 30), app.dice.uniform(1.0, 1.6)
    tenure = a_tenure("m1", BAD, since=NOON, digest_since=NOON, started_at=NOON)
    view, windows, relatives = View(candidate=BAD, cohort=(tenure,), whole_since=NOON), Windows(HOUR), Relatives(policy)
    evidence = Evidence(
        policy=policy,
        view=view,
        windows=windows,
        alive_since=NOON - HOUR,
        baseline=baseline,
        compare=relatives.judge,
    )
    rule: Rule = policy.rules[0]
    relatives.arm(BAD, baseline, evidence, NOON)
    for number in range(int(minutes * 60 / EVERY_S)):
        began = number * EVERY_S
        bad = onset_s <= began < until_s
        times = (slower if bad else 1.0) * (cold if began < cold_s else 1.0)
        read = _readings(app.scrape(times, errors if bad else 0.0), NOON + began)
        windows.add(read)
        relatives.take("traffic", read, evidence)
        for look in (0.0, 5.0, 10.0):
            since = began + EVERY_S + look
            yield since, judge(rule, evidence, NOON + since)


def _readings(scrape: Scrape, start: float) -> list[Reading]:
    end = start + EVERY_S
    counted = {"requests": scrape.requests, "errors": scrape.errors, "latency": scrape.requests}
    return [
        Reading(
            key=f"traffic.{key}",
            subject="m1",
            at=end,
            since=start,
            value=float(value),
            buckets=_cumulative(scrape.buckets) if key == "latency" else (),
        )
        for key, value in counted.items()
    ]


def fires_after_s(release: Iterator[tuple[float, Finding]]) -> float | None:
    """How long after the release the rule first asks for a rollback, or None: not at all."""
    asks = (since for since, finding in release if finding.firing and finding.rule.then is Action.ROLLBACK)
    return next(asks, None)
