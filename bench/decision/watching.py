"""One deploy of a fleet under the guard's own mind: what it decides, when, and how the first machine's test ends."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path

from bench.decision.fleet import Fleet
from bench.decision.world import NEW, NOON, World
from rollguard.config.loader import load_policy
from rollguard.core.confirm import Doubts
from rollguard.core.decide import PageDecision, RollBack
from rollguard.core.first import judge_first
from rollguard.core.mind import Mind
from rollguard.core.policy import Action, Policy
from rollguard.core.proof import BETTER, CANNOT_TELL, must_prove

HISTORY_S, BLOCK_S = 7800.0, 300.0
DOWN_S = 5.0
"""A machine that gets another image is gone for so long."""
PATIENCE, BEHIND_S_MAX = 2.5, 150.0
POLICY = Path(__file__).parents[2] / "daemon" / "rollguard" / "config" / "judge.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rolling:
    """Which machine gets the new image when, in seconds after the deploy began."""

    at_s: Sequence[tuple[float, str]]

    @classmethod
    def drawn(cls, dice: random.Random, machines: Sequence[str]) -> Rolling:
        """One machine after the other, 20 to 60 s apart; when the scrapes fall does not depend on it."""
        begins_s, step_s = dice.uniform(0.0, 15.0), dice.uniform(20.0, 60.0)
        return cls(at_s=[(begins_s + step_s * number, machine) for number, machine in enumerate(machines)])


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """``rolled_back_s``, ``paged_s``: seconds after the first machine had the new image, None: never. ``first``: what
    the first machine showed, empty where nothing was tried. ``side_by_side``: the deploy itself was the experiment.
    ``why``: the guard's own sentence when it decided, or first paged.
    """

    rolled_back_s: float | None = None
    paged_s: float | None = None
    first: str = ""
    side_by_side: bool = False
    why: str = ""


@cache
def policy(settle_s: float, *, hold: bool = True) -> Policy:
    """The default policy of ``rollguard judge``, for a fleet. ``hold``: nothing more where the first machine cannot
    tell.
    """
    made = load_policy(POLICY, {})
    return replace(
        made,
        comparing=replace(made.comparing, settle_s=settle_s),
        rollback=replace(made.rollback, go_on_unclear=not hold),
    )


def deploy(world: World, *, settle_s: float = 0.0, watch_s: float = 3600.0, hold: bool = True) -> Ending:
    """History, a rolling deploy, and the watch after it."""
    mind = Mind(policy(settle_s, hold=hold), NOON - HISTORY_S)
    for block in range(int(HISTORY_S / BLOCK_S)):
        at = -HISTORY_S + (block + 1) * BLOCK_S
        mind.see(world.snapshot(at - 1.0))
        mind.read("probe", world.probes(at))
        mind.read("traffic", world.scrape(at, BLOCK_S))
        mind.decide(NOON + at)
    return Watched(world, mind, Rolling.drawn(world.dice, world.names), NEW).run(watch_s)


@dataclass
class Watched:
    """A deploy of ``new``, looked at as often as the guard would."""

    fleet: Fleet
    mind: Mind
    rolling: Rolling
    new: str
    at: float = 0.0
    paged_s: float | None = None
    why: str = ""
    _doubts: Doubts = field(default_factory=Doubts)
    _doubting: bool = False

    def run(self, watch_s: float) -> Ending:
        """Until it is decided, or the watch is over."""
        waiting = list(self.rolling.at_s)
        began_s = min((at for at, _ in waiting), default=0.0)
        while self.at < began_s + watch_s:
            after, self.at = self.at, self.fleet.next_at(self.at, doubting=self._doubting)
            if self.at <= after:
                break  # a recording is over
            while waiting and waiting[0][0] <= self.at:
                at, machine = waiting.pop(0)
                self.fleet.install(machine, self.new, at)
            self._look()
            decision, now = self.mind.decide(self.fleet.epoch + self.at), self.at - began_s
            firing = [f for f in self.mind.findings if f.firing]
            if isinstance(decision, PageDecision) and firing and self.paged_s is None and now >= 0:
                self.paged_s, self.why = now, decision.sentence
            if isinstance(decision, RollBack) and now >= 0:
                return self._act(decision, now, began_s)
        return Ending(paged_s=self.paged_s, why=self.why)

    def _look(self) -> None:
        """Ask the platform, read what is due; who fails is asked again at once."""
        self.mind.see(self.fleet.snapshot(self.at))
        for this in self.fleet.rounds(self.at):
            self.mind.read(this.signal, this.readings, repeated=this.repeated)
            if any(r.key == this.signal for r in this.readings):
                failed = frozenset(r.subject for r in this.readings if r.value == 0.0)
                self._doubting = self._doubts.took(failed, self.fleet.epoch + self.at)

    def _act(self, decision: RollBack, now: float, began_s: float) -> Ending:
        acting = [f for f in decision.findings if f.firing and f.rule.then is Action.ROLLBACK]
        beside, why = any(f.side_by_side for f in acting), decision.sentence
        plan, snapshot = decision.plan, self.mind.snapshot
        assert snapshot is not None, "nothing is decided before the machines were seen"
        hopeless = plan is not None and plan.hopeless
        if hopeless or not must_prove(decision.trigger, acting, snapshot, decision.target.digest):
            return Ending(rolled_back_s=now, paged_s=self.paged_s, side_by_side=beside, why=why)
        wait_s = plan.wait_s if plan is not None else self.mind.policy.rollback.first_wait_s
        shown = self._first(tuple(f.rule.name for f in acting), decision.target.digest, wait_s)
        goes_on = shown == BETTER or (shown == CANNOT_TELL and self.mind.policy.rollback.go_on_unclear)
        ends = self.at - began_s if goes_on else None
        return Ending(rolled_back_s=ends, paged_s=now if self.paged_s is None else self.paged_s, first=shown, why=why)

    def _first(self, acting: tuple[str, ...], target: str, wait_s: float) -> str:
        """The first machine goes back; once it is stable it is watched beside its peers, as the executor does."""
        candidate, snapshot = self.mind.candidate, self.mind.snapshot
        assert candidate is not None, "something was decided on"
        assert snapshot is not None, "and seen"
        machine = next(m.id for m in snapshot.machines if m.started and m.digest == candidate.digest)
        self.fleet.install(machine, target, self.at + DOWN_S)
        since = self.at + DOWN_S + self.mind.policy.rollback.stability_s
        until = since + min(PATIENCE * wait_s, wait_s + BEHIND_S_MAX)
        while self.at < until:
            after, self.at = self.at, self.fleet.next_at(self.at, doubting=self._doubting)
            if self.at <= after:
                break
            self._look()
            if self.at <= since:
                continue
            now = self.fleet.epoch + self.at
            proof = judge_first(
                acting,
                self.mind.evidence(candidate.digest, now),
                (machine,),
                self.fleet.epoch + since,
                now,
                wait_s=wait_s,
                levels_of=self.mind.relatives.levels_of,
            )
            if proof is not None:
                return proof.result
        return CANNOT_TELL
