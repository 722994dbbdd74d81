"""One seed, lived through: a release is deployed, things go wrong, things stop going wrong, everything converges."""

from __future__ import annotations

import asyncio
import gc
from collections import Counter
from dataclasses import dataclass, field

from tests.simulation.soak.acts import ACTS
from tests.simulation.soak.drawn import Drawn, Trouble, draw
from tests.simulation.soak.liveness import LATEST_S, Ending
from tests.simulation.soak.people import Deployer
from tests.simulation.soak.promise import Violation
from tests.simulation.soak.quick import quick_loop
from tests.simulation.soak.truth import now
from tests.simulation.soak.world import Soak
from tests.virtual_time import run

BOOTED_S, SEEN_S, LOOKS_EVERY_S = 13.0, 7.0, 2.0
WAITS_S_MAX = 240.0
"""Whoever waits for a moment that never comes acts then."""
REPLAY = "python -m tests.simulation.soak --seed"


@dataclass(slots=True, kw_only=True)
class Outcome:
    """How a seed ended."""

    seed: int
    drawn: Drawn
    violations: list[Violation]
    converged: bool
    seconds: float
    """From the deploy to convergence, in the world's time."""
    fired: bool
    faults: Counter[str] = field(default_factory=Counter)
    checks: int = 0
    platform_calls: int = 0
    rollbacks: int = 0
    yields: int = 0
    kills: int = 0
    too_hasty: int = 0
    story: list[tuple[float, str]] = field(default_factory=list)

    def complaint(self) -> str:
        """Why this seed fails, and the command that lives through it again."""
        broken = "\n".join(f"  {violation}" for violation in self.violations)
        return f"seed {self.seed} broke a promise:\n{broken}\nreplay: {REPLAY} {self.seed}"


def live(seed: int) -> Outcome:
    """Live through a seed."""
    collects = gc.isenabled()
    gc.disable()
    try:
        return run(_scene(draw(seed)), quick_loop)
    finally:
        if collects:
            gc.enable()


async def _scene(drawn: Drawn) -> Outcome:
    soak = Soak(drawn)
    async with soak.host:
        await asyncio.sleep(BOOTED_S)
        soak.rise()
        await asyncio.sleep(SEEN_S)
        ending, began = Ending(soak), now()
        try:
            await _before(soak)
            began = now()
            await _trouble(soak, began)
            soak.say("-- all is quiet")
            ending.quiet_at = now()
            while not ending.over() and now() - ending.quiet_at < LATEST_S and not soak.scene.broken:
                await _wait(soak, LOOKS_EVERY_S)
            if not soak.scene.broken:
                ending.judge()
        finally:
            await soak.close()
    return _outcome(soak, began)


async def _before(soak: Soak) -> None:
    """What people did before the release came."""
    drawn = soak.drawn
    if drawn.proven:
        await soak.acts.adopt("alice", "runs since May", None)
    if drawn.lock == "pause":
        await soak.acts.pause("bob", "not today")
    if drawn.lock == "hold":
        await soak.acts.hold("bob", "hotfix on its way", 3600.0)


async def _trouble(soak: Soak, began: float) -> None:
    """The deploy, and everything that goes wrong, until nothing does any more."""
    drawn = soak.drawn
    soak.say(f"-- deploy of a release that is {drawn.candidate}")
    soak.aside(_deploy(soak))
    tasks = [asyncio.create_task(_one(soak, trouble, began), name=trouble.name) for trouble in drawn.troubles]
    last = min(drawn.quiet_after_s, WAITS_S_MAX)
    while now() - began < drawn.quiet_after_s and not soak.scene.broken:
        if now() - began >= last and all(task.done() for task in tasks):
            break
        await _wait(soak, LOOKS_EVERY_S)
    for task in tasks:
        task.cancel()
    for end in await asyncio.gather(*tasks, return_exceptions=True):
        if isinstance(end, Exception):
            raise end


async def _deploy(soak: Soak) -> None:
    deployer, image = Deployer(soak), soak.drawn.image
    match soak.drawn.deploy:
        case "at once":
            await deployer.at_once(image)
        case "rolling":
            await deployer.deploy(image, step_s=4.0)
        case _:
            await deployer.deploy(image, step_s=4.0, dies_after=max(1, soak.drawn.machines - 1))


async def _one(soak: Soak, trouble: Trouble, began: float) -> None:
    """Wait until it is time, and let it go wrong."""
    due_s = began + trouble.at_s - now()
    if trouble.moment:
        moment = asyncio.create_task(soak.moment(trouble.moment, trouble.skip))
        try:
            await asyncio.wait({moment}, timeout=due_s)
        finally:
            moment.cancel()
    else:
        await asyncio.sleep(max(0.0, due_s))
    await ACTS[trouble.name](soak, trouble)


async def _wait(soak: Soak, for_s: float) -> None:
    await asyncio.sleep(for_s)
    soak.look()


def _outcome(soak: Soak, began: float) -> Outcome:
    broken = list(soak.scene.broken)
    broken += [Violation("3 never blindly", now(), f"a mistake: {error!r}") for error in soak.errors]
    goals = soak.books.goals
    return Outcome(
        seed=soak.drawn.seed,
        drawn=soak.drawn,
        violations=broken,
        converged=not any(v.promise.startswith("7") for v in broken),
        seconds=now() - began,
        fired=soak.fired,
        faults=soak.faults_seen,
        checks=soak.scene.checks,
        platform_calls=soak.platform_calls,
        rollbacks=len(goals),
        yields=sum(goal.outcome == "yielded" for goal in goals),
        kills=soak.kills,
        too_hasty=soak.refused_for_haste,
        story=soak.story,
    )
