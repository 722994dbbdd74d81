"""A target as its guard sees it now, for status and explain."""

from __future__ import annotations

from typing import Any

from rollguard.core import events as ev
from rollguard.core.case import Case
from rollguard.core.conditions import Condition, Situation, conditions
from rollguard.core.explain import explain_now, lines_now
from rollguard.core.fleet import newest_running
from rollguard.core.status import target_object
from rollguard.engine.guard import Guard
from rollguard.engine.readiness import ReadyWatch
from rollguard.errors import Refused
from rollguard.ports import Clock, Vitals


class View:
    """Follows one guard, so that conditions know when they last changed. ``generation`` numbers its policies."""

    def __init__(self, guard: Guard, clock: Clock, vitals: Vitals, ready: ReadyWatch | None = None) -> None:
        self._guard = guard
        self._ready = ready
        self._clock = clock
        self._vitals = vitals
        self._conditions: tuple[Condition, ...] = ()
        self.generation = 0
        self.newest_hash = ""

    def obeys(self, loaded: ev.PolicyLoaded) -> None:
        """Another policy is in force, or the same one again."""
        self.generation += loaded.hash != self.newest_hash
        self.newest_hash = loaded.hash

    def follow(self) -> tuple[Condition, ...]:
        """Take note of the conditions as they are now, and tell them."""
        self._conditions = conditions(self._situation(), self._conditions, self._clock.now())
        return self._conditions

    def status(self) -> dict[str, Any]:
        """The target as an object."""
        self.follow()
        return target_object(self._situation(), self._conditions, self._clock.now())

    def explain(self, rule: str | None) -> dict[str, Any]:
        """The decision tree, as data and as lines. Raises ``Refused`` for a rule that the policy does not have."""
        case = self._case()
        evidence = self._guard.evidence(case.candidate.digest) if case else None
        try:
            data = explain_now(self._situation(), evidence, self._clock.now(), rule)
        except KeyError:
            names = ", ".join(r.name for r in self._guard.policy.rules)
            raise Refused(f"the policy has no rule {rule!r}; it has {names}") from None
        return {**data, "lines": lines_now(data)}

    def _case(self) -> Case | None:
        guard, snapshot = self._guard, self._guard.watch.snapshot
        state = guard.record.state
        digest = newest_running(snapshot, state.order) if snapshot else None
        record = state.record(digest) if digest else None
        return guard.case(record, snapshot, self._clock.now()) if snapshot and record else None

    def _situation(self) -> Situation:
        guard, case = self._guard, self._case()
        limits, now = guard.policy.interlocks, self._clock.now()
        return Situation(
            policy=guard.policy,
            generation=self.generation,
            mode=guard.mode,
            state=guard.record.state,
            findings=guard.findings,
            sentence=guard.decision.sentence,
            snapshot=guard.watch.snapshot,
            case=case,
            baseline=guard.learner.baseline(case.candidate.digest, limits, now)[0] if case else None,
            readiness=self._ready.now if self._ready is not None else None,
            rejected=self._vitals.reload_error,
            journal_error=self._vitals.journal_error,
        )
