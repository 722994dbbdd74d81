"""One deploy of a world under the guard's own mind: what it decides, when, and how the first machine's test ends."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from bench.decision.world import NEW, NOON, OLD, PROBE_S, SCRAPE_S, World
from rollguard.config.loader import load_policy
from rollguard.core.decide import PageDecision, RollBack
from rollguard.core.first import judge_first
from rollguard.core.mind import Mind
from rollguard.core.policy import Policy
from rollguard.core.proof import BETTER

HISTORY_S, BLOCK_S = 7800.0, 300.0
STEP_S, DOWN_S = 40.0, 5.0
"""A rolling deploy takes one machine after the other, so far apart; each is gone for so long."""
POLICY = Path(__file__).parents[2] / "daemon" / "rollguard" / "config" / "judge.yaml"


@dataclass(frozen=True, slots=True)
class Ending:
    """``rolled_back_s``, ``paged_s``: seconds after the deploy began, None: never. ``first``: what the first machine
    showed, empty where nothing was tried. ``side_by_side``: the deploy itself was the experiment.
    """

    rolled_back_s: float | None = None
    paged_s: float | None = None
    first: str = ""
    side_by_side: bool = False


@cache
def policy(settle_s: float) -> Policy:
    """The default policy of ``rollguard judge``, for a fleet."""
    made = load_policy(POLICY, {})
    return replace(made, comparing=replace(made.comparing, settle_s=settle_s))


def deploy(world: World, *, settle_s: float = 0.0, watch_s: float = 3600.0, hold: bool = True) -> Ending:
    """History, a rolling deploy, and the watch after it. ``hold``: nothing more where the first machine cannot tell."""
    mind = Mind(policy(settle_s), NOON - HISTORY_S)
    for block in range(int(HISTORY_S / BLOCK_S)):
        at = -HISTORY_S + (block + 1) * BLOCK_S
        mind.see(world.snapshot(at - 1.0))
        mind.read("traffic", world.scrape(at, BLOCK_S))
        mind.read("probe", world.probes(at))
        mind.decide(NOON + at)
    return _Deploy(world, mind, hold).run(watch_s)


@dataclass
class _Deploy:
    world: World
    mind: Mind
    hold: bool
    paged_s: float | None = None

    def run(self, watch_s: float) -> Ending:
        world, mind = self.world, self.mind
        installed = 0
        for step in range(1, int(watch_s / PROBE_S) + 1):
            at = step * PROBE_S
            while installed < len(world.nodes) and at >= installed * STEP_S + DOWN_S:
                world.install(installed, NEW, installed * STEP_S + DOWN_S)
                installed += 1
            mind.see(world.snapshot(at))
            mind.read("probe", world.probes(at))
            if at % SCRAPE_S == 0:
                mind.read("traffic", world.scrape(at))
            decision = mind.decide(NOON + at)
            if isinstance(decision, PageDecision) and self.paged_s is None and any(f.firing for f in mind.findings):
                self.paged_s = at
            if isinstance(decision, RollBack):
                acting = [f for f in decision.findings if f.firing and f.rule.then.value == "rollback"]
                if all(f.side_by_side for f in acting) or len(world.nodes) == 1:
                    return Ending(at, self.paged_s, side_by_side=True)
                shown, ends = self._first(tuple(f.rule.name for f in acting), at)
                goes_on = shown == BETTER or (shown == "cannot tell" and not self.hold)
                return Ending(ends if goes_on else None, self.paged_s or at, first=shown)
        return Ending(paged_s=self.paged_s)

    def _first(self, acting: tuple[str, ...], at: float) -> tuple[str, float]:
        """The first machine goes back, and is watched beside its peers."""
        world, mind = self.world, self.mind
        wait_s = mind.policy.rollback.first_wait_s
        world.install(0, OLD, at + DOWN_S)
        since, now = NOON + at + DOWN_S, at + DOWN_S
        first = (world.nodes[0].name,)
        while now < at + DOWN_S + 2.5 * wait_s:
            now = math.floor(now / PROBE_S + 1) * PROBE_S
            mind.see(world.snapshot(now))
            mind.read("probe", world.probes(now))
            if now % SCRAPE_S == 0:
                mind.read("traffic", world.scrape(now))
            proof = judge_first(acting, mind.evidence(NEW, NOON + now), first, since, NOON + now)
            if proof is not None:
                return proof.result, now
        return "cannot tell", now
