"""One machine on the old image beside its peers on the new one, as the judge of the first machine reads them.

Every world is drawn from a seed: machines differ in load and in level, scrapes come at a random phase, requests are
Poisson, and errors may come in bursts of each machine's own. The same seed gives the same readings.
"""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from statistics import NormalDist

from rollguard.core.first import judge_first
from rollguard.core.fleet import View
from rollguard.core.judging import Evidence
from rollguard.core.model import Reading
from rollguard.core.policy import Failing, Quantile, Ratio, Rule
from rollguard.core.window import Windows
from tests.builders import BAD, GOOD, HOUR, NOON, a_policy, a_rule, a_tenure

SCRAPE_S, PROBE_S = 15.0, 5.0
RESTARTED_S = 26.0
"""So long before the experiment the first machine was started anew."""
LOAD_SD, LEVEL_SD, TIMES_SD = 0.10, 0.15, 0.06
"""How unlike each other machines are: in load, in how much fails, in how slow they are (all of the logarithm)."""
BOUNDS = (0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 0.6, 1.0, 2.5)
P95_S, SPREAD = 0.36, 0.9
"""How slow a healthy machine is: log-normal times."""
HEALTHY = 0.002
"""The share of requests that fails where nothing is wrong."""

_NORMAL = NormalDist()


def errors(limit: float) -> Rule:
    """Too large a share of requests fails."""
    bad, of = "traffic.errors", "traffic.requests"
    return a_rule(Ratio(bad=bad, total=of, over_s=60.0, limit=limit, above=True, min_count=50), name="errors")


SLOW = a_rule(Quantile(key="traffic.latency", q=0.95, over_s=60.0, limit=0.6, above=True, min_count=100.0), name="slow")
DOWN = a_rule(Failing(signal="health", k=3))


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """What goes wrong: the share of requests or probes that fails, or how many times slower all is.

    ``first`` is that on the old image: as ``peers`` in an outage, nothing where the release is to blame. ``over_s``
    after the beginning everything is well again. ``bursts`` is the CV of each machine's errors from scrape to scrape.
    """

    rule: Rule
    machines: int
    rps: float
    peers: float = HEALTHY
    first: float = HEALTHY
    slower: float = 1.0
    first_slower: float = 1.0
    probes: float = 0.0
    first_probes: float = 0.0
    over_s: float = math.inf
    bursts: float = 0.0
    wait_s: float = 90.0


def conclusion(world: World, seed: object) -> tuple[str, float]:
    """What is concluded in one such world, and so many seconds after the beginning."""
    dice = random.Random(f"{seed}")
    machines = [f"m{n}" for n in range(1, world.machines + 1)]
    view = View(
        candidate=BAD,
        cohort=tuple(a_tenure(m, BAD, since=NOON - 600.0) for m in machines[1:]),
        others=(a_tenure("m1", GOOD, since=NOON - RESTARTED_S),),
        whole=False,
    )
    policy = a_policy(world.rule)
    policy = replace(policy, rollback=replace(policy.rollback, first_wait_s=world.wait_s))
    evidence = Evidence(policy=policy, view=view, windows=Windows(HOUR), alive_since=NOON - HOUR)
    read = _probes if isinstance(world.rule.condition, Failing) else _scrapes
    for at, readings in read(world, machines, dice):
        evidence.windows.add(readings)
        if at >= NOON and (proof := judge_first((world.rule.name,), evidence, ("m1",), NOON, at)) is not None:
            return proof.result, at - NOON
    raise AssertionError("it never ended")


def conclusions(world: World, runs: int, seed: object = 0) -> Counter[str]:
    """How often which conclusion is reached."""
    return Counter(conclusion(world, (seed, n))[0] for n in range(runs))


Round = tuple[float, list[Reading]]


def _probes(world: World, machines: list[str], dice: random.Random) -> Iterator[Round]:
    phase = dice.uniform(0, PROBE_S)
    for n in range(-12, 200):
        at = NOON + n * PROBE_S + phase
        over = at > NOON + world.over_s
        share = {m: 0.0 if over else world.first_probes if m == "m1" else world.probes for m in machines}
        values = {m: 0.0 if dice.random() < share[m] else 1.0 for m in machines}
        yield at, [Reading(key="health", subject=m, at=at, value=v, detail="HTTP 503") for m, v in values.items()]


def _scrapes(world: World, machines: list[str], dice: random.Random) -> Iterator[Round]:
    draw = _times if isinstance(world.rule.condition, Quantile) else _errors
    load = {m: world.rps * SCRAPE_S * math.exp(dice.gauss(0, LOAD_SD)) for m in machines}
    level = {m: dice.gauss(0, 1) for m in machines}
    phase = dice.uniform(0, SCRAPE_S)
    for n in range(-6, 40):
        at = NOON + n * SCRAPE_S + phase
        well = at - SCRAPE_S > NOON + world.over_s
        yield at, [r for m in machines for r in draw(world, m, at, load[m], level[m], dice, well)]


def _errors(
    world: World, machine: str, at: float, load: float, level: float, dice: random.Random, well: bool
) -> list[Reading]:
    share = HEALTHY if well else world.first if machine == "m1" else world.peers
    share *= math.exp(LEVEL_SD * level)
    if world.bursts:
        shape = world.bursts**-2
        share *= dice.gammavariate(shape, 1 / shape)
    n = poisson(dice, load)
    bad = min(n, poisson(dice, n * share) if share < 0.1 else binomial(dice, n, min(1.0, share)))
    counts = {"traffic.requests": n, "traffic.errors": bad}
    return [Reading(key=k, subject=machine, at=at, since=at - SCRAPE_S, value=float(v)) for k, v in counts.items()]


def _times(
    world: World, machine: str, at: float, load: float, level: float, dice: random.Random, well: bool
) -> list[Reading]:
    slower = 1.0 if well else world.first_slower if machine == "m1" else world.slower
    scale = slower * math.exp(TIMES_SD * level)
    if world.bursts:
        shape = (world.bursts / 3) ** -2
        scale *= dice.gammavariate(shape, 1 / shape)
    median = P95_S * scale / math.exp(SPREAD * _NORMAL.inv_cdf(0.95))
    below, total, buckets = 0.0, 0, []
    for bound in (*BOUNDS, math.inf):
        share = 1.0 if math.isinf(bound) else _NORMAL.cdf(math.log(bound / median) / SPREAD)
        total += poisson(dice, load * (share - below))
        buckets.append((bound, float(total)))
        below = share
    reading = Reading(
        key="traffic.latency", subject=machine, at=at, since=at - SCRAPE_S, value=float(total), buckets=tuple(buckets)
    )
    return [reading]


def poisson(dice: random.Random, mean: float) -> int:
    """So many events; nearly normal where there are many."""
    if mean > 30:
        return max(0, round(dice.gauss(mean, math.sqrt(mean))))
    left, count = math.exp(-mean), 0
    product = dice.random()
    while product > left:
        product *= dice.random()
        count += 1
    return count


def binomial(dice: random.Random, n: int, share: float) -> int:
    """So many of ``n``."""
    if n * share * (1 - share) > 20:
        return min(n, max(0, round(dice.gauss(n * share, math.sqrt(n * share * (1 - share))))))
    return sum(dice.random() < share for _ in range(n))


Cell = Callable[[int, float], World]
"""A world of so many machines and so many requests a second and machine."""

REGRESSIONS: dict[str, Cell] = {
    "errors 5 %": lambda m, r: World(rule=errors(0.02), machines=m, rps=r, peers=0.05),
    "errors 30 %": lambda m, r: World(rule=errors(0.10), machines=m, rps=r, peers=0.30),
    "P95 x 1.8": lambda m, r: World(rule=SLOW, machines=m, rps=r, slower=1.8),
    "P95 x 4": lambda m, r: World(rule=SLOW, machines=m, rps=r, slower=4.0),
}
OUTAGES: dict[str, Cell] = {
    "errors 5 %": lambda m, r: replace(REGRESSIONS["errors 5 %"](m, r), first=0.05),
    "errors 30 %": lambda m, r: replace(REGRESSIONS["errors 30 %"](m, r), first=0.30),
    "P95 x 1.8": lambda m, r: replace(REGRESSIONS["P95 x 1.8"](m, r), first_slower=1.8),
    "P95 x 4": lambda m, r: replace(REGRESSIONS["P95 x 4"](m, r), first_slower=4.0),
}
