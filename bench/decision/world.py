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

from bench.decision.fleet import Round
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
    clusters: tuple[float, float] = (2.0, 20.0)
    """One over the squared coefficient of variation of a machine's errors inside a scrape: drawn for each app."""
    own_strays: float = 0.10
    """How far the error level of each machine strays from the level of all."""
    own_jitter: float = 0.01
    """Of each machine's latency, from scrape to scrape."""
    flakes: tuple[float, float] = (0.0, 0.005)
    """The share of probes that fail for no reason: drawn for each app."""
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


class _Wanders:
    """A level that strays from 0 and comes back within its time."""

    def __init__(self, dice: random.Random, sd: float, tau_s: float) -> None:
        self._dice, self._sd, self._tau_s = dice, sd, tau_s
        self.value = self.mean = dice.gauss(0, sd)

    def pass_by(self, steps: int) -> None:
        """So many scrapes later; ``mean`` is the level over them."""
        rho = math.exp(-SCRAPE_S / self._tau_s)
        jump, total = math.sqrt(1 - rho * rho) * self._sd, 0.0
        for _ in range(steps):
            self.value = rho * self.value + self._dice.gauss(0, jump)
            total += self.value
        self.mean = total / steps


@dataclass(slots=True)
class Node:
    """One machine: its image since when, and what is peculiar to it."""

    name: str
    load: float
    level: float
    slow: float
    strays: _Wanders
    digest: str = OLD
    since: float = -86400.0
    uneven: float = 1.0


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
                _Wanders(dice, h.own_strays, between(120, 900)),
                uneven=dice.gauss(0, 1.0),
            )
            for n in range(self.machines)
        ]
        self.median, self.sigma, self.tail = between(0.02, 0.12), dice.uniform(0.5, 0.9), dice.uniform(0, 0.03)
        self._level = _Wanders(dice, dice.uniform(0.02, 0.10), between(120, 900))
        self._load = _Wanders(dice, dice.uniform(0.05, 0.30), between(120, 900))
        self._bad = _Wanders(dice, dice.uniform(0.1, 0.5), between(120, 900))
        self._clusters, self._flake = between(*h.clusters), dice.uniform(*h.flakes)
        self._cold_s, self._cold = dice.uniform(*h.cold_s), dice.uniform(1.5, 3.0)
        self._sick = [self._sickness(number) for number in range(self.machines)] if h.sick_an_hour else []

    epoch = NOON

    @property
    def names(self) -> list[str]:
        """The machines."""
        return [node.name for node in self.nodes]

    # -- what the platform shows -----------------------------------------------------------------------------------

    def snapshot(self, at: float) -> Snapshot:
        """The machines now."""
        machines = tuple(
            Machine(
                id=node.name,
                state="started" if node.since <= at else "replacing",
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

    def install(self, machine: str, digest: str, at: float) -> None:
        """The machine starts on that image."""
        node = next(node for node in self.nodes if node.name == machine)
        node.digest, node.since = digest, at

    # -- what is read ----------------------------------------------------------------------------------------------

    def next_at(self, at: float, *, doubting: bool) -> float:
        """When something is read next: every second while somebody fails."""
        return at + (1.0 if doubting else PROBE_S - at % PROBE_S)

    def rounds(self, at: float) -> Iterator[Round]:
        """What is read at that second."""
        usual = at % PROBE_S == 0
        yield Round("probe", self.probes(at), repeated=not usual)
        if at % SCRAPE_S == 0:
            yield Round("traffic", self.scrape(at))

    def scrape(self, at: float, span_s: float = SCRAPE_S) -> list[Reading]:
        """The increments of every machine up to ``at``; ``span_s`` is a multiple of a scrape's."""
        steps = round(span_s / SCRAPE_S)
        for level in (self._level, self._load, self._bad, *(node.strays for node in self.nodes)):
            level.pass_by(steps)
        readings: list[Reading] = []
        for number, node in enumerate(self.nodes):
            begun = max(at - span_s, node.since)
            if begun < at:
                readings += self._counted(number, node, begun, at, steps)
        return readings

    def _counted(self, number: int, node: Node, begun: float, at: float, steps: int) -> Iterator[Reading]:
        dice, h = self.dice, self.habits
        errors, slower, _ = self._state(number, node, (begun + at) / 2)
        expected = self.rps * node.load * math.exp(self._load.mean) * (at - begun)
        median = self.median * node.slow * math.exp(self._level.mean + 0.1 * self._load.mean) * slower
        median *= math.exp(dice.gauss(0, h.own_jitter / math.sqrt(steps)))
        below = [self._below(bound, median) for bound in BOUNDS]
        shares = [b - a for a, b in zip([0.0, *below], [*below, 1.0], strict=True)]
        buckets = [poisson(dice, expected * share) for share in shares]
        requests = sum(buckets)
        usual = h.errors * node.level * math.exp(self._bad.mean + node.strays.mean)
        usual *= dice.gammavariate(self._clusters * steps, 1 / (self._clusters * steps))
        failed = binomial(dice, requests, usual + errors)
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
                value=0.0 if failed else 1.0,
                detail="HTTP 503" if failed else "",
            )
            for number, node in enumerate(self.nodes)
            if node.since <= at
            for failed in (self.dice.random() < max(self._flake, self._state(number, node, at)[2]),)
        ]

    def _state(self, number: int, node: Node, at: float) -> tuple[float, float, float]:
        """More errors, so many times as slow, and the share of probes that fail, of one machine now."""
        errors, slower, probes = 0.0, 1.0, 0.0
        if node.digest == NEW and at >= self.change.since_s:
            errors, slower, probes = self.change.errors, self.change.slower, self.change.probes
        if at - node.since < self._cold_s:
            slower *= self._cold
        for trouble in (*self.troubles, *self._sick):
            if trouble.there(number, at):
                apart = math.exp(trouble.uneven * node.uneven)
                errors += trouble.errors * apart
                slower *= 1 + (trouble.slower - 1) * apart
                probes = max(probes, trouble.probes)
        return errors, slower, probes

    def _sickness(self, machine: int) -> Trouble:
        """What befalls one machine by itself, some time: errors, slowness or no answers."""
        begins = self.dice.expovariate(self.habits.sick_an_hour / 3600.0)
        ends = begins + self.dice.uniform(*self.habits.sick_s)
        return ailing(self.dice, begins, ends, machine)

    def _below(self, bound: float, median: float) -> float:
        place = math.log(bound / median) / self.sigma
        return (1 - self.tail) * NORMAL.cdf(place) + self.tail * NORMAL.cdf(place - math.log(6) / self.sigma)


def ailing(dice: random.Random, begins_s: float, ends_s: float, machine: int) -> Trouble:
    """One sick machine: it errs, or is slow, or does not answer probes."""
    kind, who = dice.randrange(3), frozenset({machine})
    if kind == 0:
        return Trouble(begins_s=begins_s, ends_s=ends_s, machines=who, errors=dice.uniform(0.05, 0.5))
    if kind == 1:
        return Trouble(begins_s=begins_s, ends_s=ends_s, machines=who, slower=dice.uniform(2.0, 6.0))
    return Trouble(begins_s=begins_s, ends_s=ends_s, machines=who, probes=dice.uniform(0.5, 1.0))


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


def binomial(dice: random.Random, of: int, share: float) -> int:
    """How many of so many: exact for small means, rounded normal for large ones."""
    share = min(1.0, max(0.0, share))
    if share > 0.5:
        return of - binomial(dice, of, 1.0 - share)
    mean = of * share
    if mean > 40:
        return min(of, max(0, round(dice.gauss(mean, math.sqrt(mean * (1 - share))))))
    if mean <= 0:
        return 0
    count, place, scale = 0, 0, math.log1p(-share)  # by the gaps between them, which are geometric
    while (place := place + 1 + int(math.log(1.0 - dice.random()) / scale)) <= of:
        count += 1
    return count
