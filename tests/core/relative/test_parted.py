"""Comparisons part by part: by route, and by region."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import pytest

from bench.decision.watching import BLOCK_S, HISTORY_S, policy
from bench.decision.world import NEW, World
from rollguard.core.baseline import Baseline, Block, Share, measure_of
from rollguard.core.budgets import ByLabel, ByRegion
from rollguard.core.decide import RollBack
from rollguard.core.finding import Blame, RuleState
from rollguard.core.learning import block_of
from rollguard.core.mind import Mind
from rollguard.core.model import Reading
from rollguard.core.parting import named
from rollguard.core.parts import OTHERS
from rollguard.core.policy import Compared, Ratio, Rule
from rollguard.core.promise import shares
from rollguard.core.relative.parted import known_parts
from rollguard.core.relative.relatives import PARTS_MAX, Relatives
from rollguard.core.signals import ScrapeSignal, Split
from tests.builders import BAD, GOOD, NOON, TRAFFIC, a_rule
from tests.core.relative.released import ERRORS, LATENCY, Does, Released, poisson

ROUTE, REGION = ByLabel("route"), ByRegion()
BY_ROUTE = a_rule(Compared(of=replace(ERRORS, by=ROUTE)), name="a-route")
BY_REGION = a_rule(Compared(of=replace(ERRORS, by=REGION)), name="a-region")
WHOLE = a_rule(Compared(of=ERRORS), name="whole")
LOAD = {"/": 0.9, "/cart": 0.09, "/checkout": 0.01}


def blocks(measure: str, by: ByLabel | ByRegion, load: Mapping[str, float], requests: float = 60_000.0) -> Baseline:
    """Two hours in which one in a thousand failed, everywhere."""
    made = []
    for number in range(24, 0, -1):
        end = NOON - 300.0 * number + 300.0
        parts = {
            named(measure, by, part): Share(0.001 * share * requests, share * requests) for part, share in load.items()
        }
        made.append(Block(GOOD, end - 300, end, {measure: Share(0.001 * requests, requests), **parts}))
    return Baseline(GOOD, tuple(made))


@dataclass
class Routed(Released):
    """A release of which some routes fail more than they did: by route, the share that fails."""

    rules: tuple[Rule, ...] = (BY_ROUTE, WHOLE)
    fails: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__post_init__()
        split = replace(TRAFFIC, counts_probes=False, split=Split("route"))
        self.policy = replace(self.policy, signals=(*(s for s in self.policy.signals if s.name != "traffic"), split))
        self.baseline = blocks(measure_of(ERRORS, self.policy), ROUTE, LOAD)
        self.relatives = Relatives(self.policy)
        self.relatives.arm(BAD, self.baseline, self.evidence, self.now)

    def _scrape(self, machine: str, does: Does, after: float) -> list[Reading]:
        span, requests, errors = self.now - self.last_scrape, {}, {}
        for route in {**LOAD, **self.fails}:
            requests[route] = poisson(self.dice, does.rps * LOAD.get(route, 0.01) * span)
            fails = self.fails.get(route, 0.001) if machine in self.new else 0.001
            errors[route] = sum(self.dice.random() < fails for _ in range(requests[route]))
        return [
            Reading(
                key=f"traffic.{key}",
                subject=machine,
                at=self.now,
                value=float(sum(counts.values())),
                since=self.last_scrape,
                parts=tuple((route, float(n)) for route, n in sorted(counts.items()) if n),
            )
            for key, counts in (("requests", requests), ("errors", errors))
        ]


def four(rps: float = 50.0) -> dict[str, Does]:
    return {f"m{n}": Does(rps=rps) for n in range(1, 5)}


# -- routes ------------------------------------------------------------------------------------------------------------


def test_a_small_route_that_fails_is_found_where_all_together_it_is_lost() -> None:
    world = Routed(new=four(), fails={"/checkout": 0.08})
    found = world.until_fires(BY_ROUTE, within_s=900.0)
    assert found is not None
    after, finding = found
    assert after <= 300.0
    assert finding.sentence.startswith("route /checkout: traffic.errors / traffic.requests ")
    assert "would turn up in fewer than 1 of " in finding.sentence
    assert finding.blame is Blame.RELEASE
    assert world.finding(WHOLE).state is not RuleState.FIRING


def test_machines_beside_it_show_a_route_that_only_the_new_image_breaks() -> None:
    world = Routed(
        new={"m1": Does(rps=100.0), "m2": Does(rps=100.0)}, old={"m3": Does(rps=100.0)}, fails={"/cart": 0.2}
    )
    found = world.until_fires(BY_ROUTE, within_s=300.0)
    assert found is not None
    assert found[1].side_by_side
    assert found[1].sentence.startswith("route /cart: ")


@pytest.mark.parametrize("seed", range(5))
def test_a_healthy_release_is_healthy_on_every_route(seed: int) -> None:
    assert Routed(new=four(), seed=seed).until_fires(BY_ROUTE, within_s=1800.0) is None


def test_several_routes_are_named_the_clearest_first() -> None:
    world = Routed(new=four(), fails={"/cart": 0.05, "/": 0.05})
    found = world.until_fires(BY_ROUTE, within_s=600.0)
    assert found is not None
    for _ in range(12):
        world.step()
    assert world.finding(BY_ROUTE).sentence.startswith("route /: ")
    assert world.finding(BY_ROUTE).sentence.endswith("; also /cart")


def test_a_route_without_a_past_is_compared_with_nothing() -> None:
    world = Routed(new=four(), fails={"/brand-new": 0.5})
    assert world.until_fires(BY_ROUTE, within_s=600.0) is None
    assert "/brand-new" not in world.finding(BY_ROUTE).sentence


def test_where_no_part_has_a_past_there_is_nothing_to_compare_with() -> None:
    world = Routed(new=four())
    world.relatives = Relatives(world.policy)
    world.baseline = blocks(measure_of(ERRORS, world.policy), ROUTE, {})
    world.step()
    assert world.finding(BY_ROUTE).state is RuleState.CLEAR


def test_every_route_gets_an_equal_part_of_the_rules_promise() -> None:
    """Of as many as the signal may ever tell apart, so that a route that comes later takes from nobody."""
    world = Routed(new=four())
    mine = shares(world.policy)[BY_ROUTE.name] / 20
    for route in LOAD:
        comparison = world.relatives.comparison(named(BY_ROUTE.name, ROUTE, route))
        assert comparison is not None
        assert sum(wager.terms.alpha for wager in comparison.wagers) <= mine


def test_resumed_in_the_middle_it_goes_on_with_the_same_evidence() -> None:
    whole, cut = (Routed(new=four(), fails={"/checkout": 0.08}) for _ in range(2))
    for n in range(60):
        whole.step()
        cut.step()
        if n == 30:
            kept, cut.relatives = cut.relatives.to_text(), Relatives(cut.policy)
            cut.relatives.restore(kept)
    assert cut.relatives.to_text() == whole.relatives.to_text()
    assert cut.finding(BY_ROUTE) == whole.finding(BY_ROUTE)


def test_a_rule_that_is_split_otherwise_begins_anew() -> None:
    world = Routed(new=four(), fails={"/checkout": 0.08})
    for _ in range(60):
        world.step()
    kept, other = (
        world.relatives.to_text(),
        replace(BY_ROUTE, condition=Compared(of=replace(ERRORS, by=ROUTE), factor=3.0)),
    )
    relatives = Relatives(replace(world.policy, rules=(other, WHOLE)))
    relatives.restore(kept)
    assert relatives.comparison(named(BY_ROUTE.name, ROUTE, "/checkout")) is None
    assert relatives.comparison(WHOLE.name) is not None


def test_however_many_routes_an_app_invents_few_are_remembered() -> None:
    world = Routed(new={"m1": Does(rps=50.0)})
    for number in range(300):
        world.fails = {f"/{number}": 0.0}
        for _ in range(3):
            world.step()
    kept = json.loads(world.relatives.to_text())["histories"]
    assert len(kept) == PARTS_MAX + 1
    assert named(measure_of(ERRORS, world.policy), ROUTE, "/299") in kept


def test_where_there_is_no_room_for_everything_the_routes_are_forgotten_first() -> None:
    world = Routed(new=four())
    for _ in range(60):
        world.step()
    whole, measure = world.relatives.histories_text(1_000_000), measure_of(ERRORS, world.policy)
    assert set(json.loads(whole)) == {measure, *(named(measure, ROUTE, route) for route in LOAD)}
    assert set(json.loads(world.relatives.histories_text(len(whole) - 1))) == {measure}
    world.relatives.restore_histories(whole)
    assert world.relatives.histories_text(1_000_000) == whole


def test_at_most_so_many_routes_are_compared_the_busiest_ones() -> None:
    many = {f"/{number}": 0.001 * (number + 1) for number in range(30)}
    assert known_parts("m", ROUTE, 3, [blocks("m", ROUTE, many)]) == ["/27", "/28", "/29"]


def test_what_is_not_told_apart_is_compared_with_nothing() -> None:
    """Which routes those are changes with a restart of the guard: one that always fails may be among them then."""
    assert known_parts("m", ROUTE, 3, [blocks("m", ROUTE, {OTHERS: 0.9, "/": 0.1})]) == ["/"]


# -- regions -----------------------------------------------------------------------------------------------------------

REGIONS = {"m1": "ams", "m2": "ams", "m3": "fra", "m4": "fra", "m5": "iad", "m6": "iad"}


def spread(failing: str, share: float = 0.05) -> Released:
    """Six machines in three regions, all on the new image, of which those fail."""
    bad, well = Does(rps=20.0, errors=share), Does(rps=20.0)
    world = Released(
        rules=(BY_REGION,),
        new={machine: bad if region in failing.split() else well for machine, region in REGIONS.items()},
        regions=REGIONS,
    )
    world.baseline = blocks(measure_of(ERRORS, world.policy), REGION, dict.fromkeys(("ams", "fra", "iad"), 0.3))
    world.relatives = Relatives(world.policy)
    world.relatives.arm(BAD, world.baseline, world.evidence, world.now)
    return world


def test_one_region_that_is_worse_is_that_regions_affair() -> None:
    found = spread("fra").until_fires(BY_REGION, within_s=600.0)
    assert found is not None
    assert found[1].blame is Blame.REGION
    assert found[1].machines == ("m3", "m4")
    assert found[1].sentence.startswith("region fra, not the release: in fra: traffic.errors / traffic.requests ")
    assert found[1].sentence.endswith("(1 of 3 regions)")


def test_most_regions_are_the_release() -> None:
    world = spread("fra iad")
    assert world.until_fires(BY_REGION, within_s=600.0) is not None
    for _ in range(24):
        world.step()
    finding = world.finding(BY_REGION)
    assert finding.blame is Blame.RELEASE
    assert finding.sentence.endswith("(2 of 3 regions)")


def test_a_region_that_takes_twice_as_long_is_told_by_its_own_histogram() -> None:
    slower = a_rule(Compared(of=replace(LATENCY, by=REGION), factor=1.5), name="slower-region")
    world = Released(
        rules=(slower,),
        new={machine: Does(slow=2.0 if region == "fra" else 1.0) for machine, region in REGIONS.items()},
        regions=REGIONS,
    )
    measure = measure_of(LATENCY, world.policy)
    made = [
        replace(b, times={measure: t, **{named(measure, REGION, r): t for r in ("ams", "fra", "iad")}})
        for b in world.baseline.blocks
        for t in (b.times[measure],)
    ]
    world.baseline = Baseline(GOOD, tuple(made))
    world.relatives = Relatives(world.policy)
    world.relatives.arm(BAD, world.baseline, world.evidence, world.now)
    found = world.until_fires(slower, within_s=600.0)
    assert found is not None
    assert (found[1].blame, found[1].machines) == (Blame.REGION, ("m3", "m4"))


def test_healthy_regions_are_clear() -> None:
    world = spread("")
    assert world.until_fires(BY_REGION, within_s=900.0) is None
    assert world.finding(BY_REGION).sentence.startswith("in ")


# -- what is learnt ----------------------------------------------------------------------------------------------------


def test_a_block_holds_every_route_and_every_region_by_itself() -> None:
    world = Routed(
        new=four(), rules=(BY_ROUTE, BY_REGION), regions={"m1": "ams", "m2": "ams", "m3": "fra", "m4": "fra"}
    )
    for _ in range(60):
        world.step()
    block = block_of(world.policy, world.view, world.windows, NOON, NOON + 300.0)
    assert block is not None
    measure = measure_of(ERRORS, world.policy)
    whole = block.shares[measure]
    for by, parts in ((ROUTE, tuple(LOAD)), (REGION, ("ams", "fra"))):
        some = [block.shares[named(measure, by, part)] for part in parts]
        assert math.fsum(s.total for s in some) == whole.total
        assert math.fsum(s.bad for s in some) == whole.bad
    assert block.shares[named(measure, ROUTE, "/")].total == pytest.approx(0.9 * whole.total, rel=0.02)


def test_a_ratio_that_is_not_split_has_no_parts() -> None:
    world = Routed(new=four(), rules=(WHOLE,))
    for _ in range(60):
        world.step()
    block = block_of(world.policy, world.view, world.windows, NOON, NOON + 300.0)
    assert block is not None
    assert list(block.shares) == [measure_of(ERRORS, world.policy)]
    assert isinstance(ERRORS, Ratio)


# -- from what is learnt to what is decided ----------------------------------------------------------------------------


class Shop(World):
    """A hundredth of all requests are for the checkout, where the new image fails at one in ten."""

    def scrape(self, at: float, span_s: float = 15.0) -> list[Reading]:
        found, digests = [], {node.name: node.digest for node in self.nodes}
        for reading in super().scrape(at, span_s):
            if reading.key == "traffic.requests":
                few = float(poisson(self.dice, 0.01 * (reading.value or 0.0)))
                parts = (("/", max(0.0, (reading.value or 0.0) - few)), ("/checkout", few))
                checkout = few if digests[reading.subject] == NEW else 0.0
            elif reading.key == "traffic.errors":
                more = float(sum(self.dice.random() < 0.1 for _ in range(int(checkout))))
                parts = (("/", reading.value or 0.0), ("/checkout", more))
            else:
                parts = ()
            value = sum(count for _, count in parts) if parts else reading.value
            found.append(replace(reading, parts=tuple(p for p in parts if p[1]), value=value))
        return found


def test_a_guard_learns_each_route_and_takes_back_the_release_that_breaks_one() -> None:
    made = policy(0.0)
    errors = next(r for r in made.rules if isinstance(r.condition, Compared) and isinstance(r.condition.of, Ratio))
    assert isinstance(errors.condition, Compared)
    assert isinstance(errors.condition.of, Ratio)
    by_route = replace(errors, condition=replace(errors.condition, of=replace(errors.condition.of, by=ROUTE)))
    signals = tuple(replace(s, split=Split("route")) if isinstance(s, ScrapeSignal) else s for s in made.signals)
    world = Shop("shop", rps=100.0)
    mind = Mind(replace(made, rules=(by_route,), signals=signals), world.epoch - HISTORY_S)
    for number in range(int(HISTORY_S / BLOCK_S)):
        at_s = -HISTORY_S + (number + 1) * BLOCK_S
        mind.see(world.snapshot(at_s - 1.0))
        mind.read("traffic", world.scrape(at_s, BLOCK_S))
        assert not isinstance(mind.decide(world.epoch + at_s), RollBack)
    for name in world.names:
        world.install(name, NEW, 0.0)
    decision, at_s = mind.decide(world.epoch), 0.0
    while not isinstance(decision, RollBack) and at_s < 900.0:
        at_s += 15.0
        mind.see(world.snapshot(at_s))
        mind.read("traffic", world.scrape(at_s))
        decision = mind.decide(world.epoch + at_s)
    assert isinstance(decision, RollBack), mind.findings
    assert "route /checkout: traffic.errors / traffic.requests" in decision.sentence
