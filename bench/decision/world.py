"""A fleet of 2 to 10 machines under one app's users, drawn from a seed: what its scrapes and probes would say.

Every run is another app. Load, latency and errors wander by themselves, shared by all machines and a little on each;
machines differ in load and level; errors cluster inside a scrape; starts are cold. The spreads are assumptions, not
data: they are the fields of ``Habits``.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate
from statistics import NormalDist

from rollguard.core.model import Machine, Reading, Release, Snapshot

NOON = 1.7e9
SCRAPE_S, PROBE_S = 15.0, 5.0
BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
NORMAL = NormalDist()
OLD, NEW = "sha256:" + "01d" * 21 + "0", "sha256:" + "0e3" * 21 + "0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Habits:
    """How unlike each other machines are, and how much an app strays (standard deviations of logarithms)."""

    load_apart: float = 0.10
    level_apart: float = 0.15
    latency_apart: float = 0.03
    errors: float = 0.001
    clusters: float = 5.0
    """One over the squared coefficient of variation of errors inside a scrape."""
    own_noise: float = 0.05
    sick_an_hour: float = 0.0
    sick_s: tuple[float, float] = (120.0, 900.0)
    cold_s: tuple[float, float] = (0.0, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """For a while, on some machines (None: all): more errors, more time, failed probes."""

    begins_s: float
    ends_s: float
    machines: frozenset[int] | None = None
    errors: float = 0.0
    slower: float = 1.0
    probes: float = 0.0
    uneven: float = 0.0

    def there(self, machine: int, at: float) -> bool:
        return self.begins_s <= at < self.ends_s and (self.machines is None or machine in self.machines)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What the new image does: so many errors more, so many times as slow, so many probes that fail; since when."""

    errors: float = 0.0
    slower: float = 1.0
    probes: float = 0.0
    since_s: float = -math.inf


@dataclass(slots=True)
class Node:
    """One machine: its image since when, and what is peculiar to it."""

    name: str
    load: float
    level: float
    slow: float
    digest: str = OLD
    since: float = -86400.0
    started: bool = True
    uneven: float = 1.0


class _Wanders:
    """A level that strays from 0 and comes back within its time."""

    def __init__(self, dice: random.Random, sd: float, tau_s: float) -> None:
        self._dice, self._sd, self._tau_s = dice, sd, tau_s
        self.value = dice.gauss(0, sd)

    def pass_by(self, seconds: float) -> float:
        rho = math.exp(-seconds / self._tau_s)
        self.value = rho * self.value + math.sqrt(1 - rho * rho) * self._dice.gauss(0, self._sd)
        return self.value


@dataclass
class World:
    """The fleet at work. Seconds count from the beginning of the deploy."""

    seed: object
    machines: int = 4
    rps: float = 5.0
    """Requests a second of each machine."""
    habits: Habits = field(default_factory=Habits)
    change: Change = field(default_factory=Change)
    troubles: tuple[Trouble, ...] = ()

    def __post_init__(self) -> None:
        dice = self.dice = random.Random(f"world {self.seed}")

        def between(low: float, high: float) -> float:
            return math.exp(dice.uniform(math.log(low), math.log(high)))

        h = self.habits
        self.nodes = [
            Node(
                f"m{n}",
                math.exp(dice.gauss(0, h.load_apart)),
                math.exp(dice.gauss(0, h.level_apart)),
                math.exp(dice.gauss(0, h.latency_apart)),
                uneven=dice.gauss(0, 1.0),
            )
            for n in range(self.machines)
        ]
        self.median, self.sigma, self.tail = between(0.02, 0.12), dice.uniform(0.5, 0.9), dice.uniform(0, 0.03)
        self._level = _Wanders(dice, dice.uniform(0.02, 0.10), between(120, 900))
        self._load = _Wanders(dice, dice.uniform(0.05, 0.30), between(120, 900))
        self._bad = _Wanders(dice, dice.uniform(0.1, 0.5), between(120, 900))
        self._cold_s, self._cold = dice.uniform(*h.cold_s), dice.uniform(1.5, 3.0)
        self._sick: dict[int, tuple[float, float]] = {}

    # -- what the platform shows -----------------------------------------------------------------------------------

    def snapshot(self, at: float) -> Snapshot:
        """The machines now."""
        machines = tuple(
            Machine(
                id=node.name,
                state="started" if node.started else "replacing",
                instance_id=f"{node.digest}-{node.since:.0f}",
                digest=node.digest,
                image_ref=f"registry/app@{node.digest}",
                has_checks=False,
                started_at=NOON + node.since,
                release_version=2 if node.digest == NEW else 1,
            )
            for node in self.nodes
        )
        rows = tuple(
            Release(id=str(v), version=v, status="complete", image_ref=f"registry/app@{d}", created_at=NOON)
            for v, d in ((2, NEW), (1, OLD))
        )
        return Snapshot(at=NOON + at, machines=machines, releases=rows if at >= 0 else rows[1:], leases={})

    def install(self, machine: int, digest: str, at: float) -> None:
        """The machine starts on that image."""
        node = self.nodes[machine]
        node.digest, node.since, node.started = digest, at, True

    # -- what is read ----------------------------------------------------------------------------------------------

    def scrape(self, at: float, span_s: float = SCRAPE_S) -> list[Reading]:
        """The increments of every machine up to ``at``."""
        self._level.pass_by(span_s), self._load.pass_by(span_s), self._bad.pass_by(span_s)
        readings: list[Reading] = []
        for number, node in enumerate(self.nodes):
            begun = max(at - span_s, node.since)
            if node.started and begun < at:
                readings += self._counted(number, node, begun, at)
        return readings

    def _counted(self, number: int, node: Node, begun: float, at: float) -> Iterator[Reading]:
        dice, h = self.dice, self.habits
        errors, slower, _ = self._state(number, node, at)
        expected = self.rps * node.load * math.exp(self._load.value) * (at - begun)
        median = self.median * node.slow * math.exp(self._level.value + 0.1 * self._load.value) * slower
        median *= math.exp(dice.gauss(0, 0.2 * h.own_noise))
        below = [self._below(bound, median) for bound in BOUNDS]
        shares = [b - a for a, b in zip([0.0, *below], [*below, 1.0], strict=True)]
        buckets = [poisson(dice, expected * share) for share in shares]
        requests = sum(buckets)
        usual = h.errors * node.level * math.exp(self._bad.value + dice.gauss(0, h.own_noise))
        usual *= dice.gammavariate(h.clusters, 1 / h.clusters)
        failed = min(requests, poisson(dice, requests * min(1.0, usual + errors)))
        counts = tuple(zip((*BOUNDS, math.inf), map(float, accumulate(buckets)), strict=True))
        values = {"requests": float(requests), "errors": float(failed), "latency": float(requests)}
        for key, value in values.items():
            yield Reading(
                key=f"traffic.{key}",
                subject=node.name,
                at=NOON + at,
                value=value,
                since=NOON + begun,
                buckets=counts if key == "latency" else (),
            )

    def probes(self, at: float) -> list[Reading]:
        """One probe of every started machine."""
        return [
            Reading(
                key="probe",
                subject=node.name,
                at=NOON + at,
                value=0.0 if self.dice.random() < self._state(number, node, at)[2] else 1.0,
            )
            for number, node in enumerate(self.nodes)
            if node.started and node.since <= at
        ]

    def _state(self, number: int, node: Node, at: float) -> tuple[float, float, float]:
        """More errors, so many times as slow, and the share of probes that fail, of one machine now."""
        errors, slower, probes = 0.0, 1.0, 0.0
        if node.digest == NEW and at >= self.change.since_s:
            errors, slower, probes = self.change.errors, self.change.slower, self.change.probes
        if at - node.since < self._cold_s:
            slower *= self._cold
        for trouble in self.troubles:
            if trouble.there(number, at):
                apart = math.exp(trouble.uneven * node.uneven)
                errors += trouble.errors * apart
                slower *= 1 + (trouble.slower - 1) * apart
                probes = max(probes, trouble.probes)
        if self._is_sick(number, at):
            errors += 0.2
        return errors, slower, probes

    def _is_sick(self, number: int, at: float) -> bool:
        rate = self.habits.sick_an_hour
        if rate and number not in self._sick:
            begins = self.dice.expovariate(rate / 3600.0)
            self._sick[number] = begins, begins + self.dice.uniform(*self.habits.sick_s)
        begins, ends = self._sick.get(number, (math.inf, math.inf))
        return begins <= at < ends

    def _below(self, bound: float, median: float) -> float:
        place = math.log(bound / median) / self.sigma
        return (1 - self.tail) * NORMAL.cdf(place) + self.tail * NORMAL.cdf(place - math.log(6) / self.sigma)


def poisson(dice: random.Random, mean: float) -> int:
    """Exact for small means, rounded normal for large ones."""
    if mean > 40:
        return max(0, round(dice.gauss(mean, math.sqrt(mean))))
    if mean <= 0:
        return 0
    count, product, limit = 0, dice.random(), math.exp(-mean)
    while product > limit:
        count, product = count + 1, product * dice.random()
    return count
