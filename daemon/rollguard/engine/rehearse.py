"""What people do to rehearse a rollback: plan a drill, hear what holds it, begin it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from rollguard.core import events as ev
from rollguard.core import messages, text
from rollguard.core.case import Case, Refusal, named
from rollguard.core.finding import RuleState, Trigger
from rollguard.core.interlocks import standing
from rollguard.core.model import Machine, Snapshot
from rollguard.core.rehearsal import CALMLY, Wish, chosen, gap, holds, steps, typed
from rollguard.engine.acts import Acts, overrides_of
from rollguard.engine.drills import announced
from rollguard.engine.guard import Guard
from rollguard.engine.words import who, why
from rollguard.errors import Refused
from rollguard.ports import Clock


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What a drill would do, or is doing. ``refusals`` held it: then nothing was written.

    ``typed`` is what a person must type to begin it; ``drill`` is its ID once it has begun.
    """

    candidate: str
    target: str
    image: str
    machines: tuple[str, ...]
    steps: tuple[str, ...]
    refusals: tuple[Refusal, ...]
    warnings: tuple[Refusal, ...]
    typed: str
    drill: str = ""


class Rehearse:
    """Begins drills on one target. Raises ``Refused`` with a sentence, ``JournalError``, ``Unavailable``."""

    def __init__(self, guard: Guard, acts: Acts, clock: Clock) -> None:
        self._guard = guard
        self._acts = acts
        self._clock = clock

    async def drill(self, by: str, reason: str, wish: Wish, *, dry_run: bool) -> Rehearsal:
        """Rehearse a rollback under the preconditions of one, and some more. With ``dry_run`` only say how."""
        guard, by, reason = self._guard, who(by), why(reason)
        lifted = overrides_of(wish.overrides)
        self._must_be_free()
        if guard.around is not None:
            await guard.around.make_sure()
        snapshot = await guard.watch.look(closely=True)
        candidate = await self._acts.serving(snapshot)
        case = replace(guard.case(candidate, snapshot, self._clock.now()), overrides=lifted)
        if wish.version is not None:
            case = replace(case, target=await self._acts.release(wish.version, snapshot))
        if case.target is not None:
            image = messages.by_digest(case.target.image_ref, case.target.digest)
            case = replace(case, resolvable=await guard.watch.resolvable(image, case.target.digest))
        home = messages.by_digest(candidate.image_ref, candidate.digest)
        way_back = await guard.watch.resolvable(home, candidate.digest)
        machines, nobody = chosen(snapshot, wish)
        refusals, warnings = self._standing(case, wish, machines, nobody, way_back=way_back)
        answer = Rehearsal(
            candidate=named(candidate),
            target=named(case.target) if case.target else "",
            image=messages.by_digest(case.target.image_ref, case.target.digest) if case.target else "",
            machines=tuple(m.id for m in machines),
            steps=steps(case, machines, wish) if case.target and machines else (),
            refusals=refusals,
            warnings=warnings,
            typed=typed(guard.policy, guard.mode, wish),
        )
        if dry_run or refusals or case.target is None:
            return answer
        return replace(answer, drill=await self._begin(case, wish, machines, by, reason))

    def _standing(
        self, case: Case, wish: Wish, machines: Sequence[Machine], nobody: str, *, way_back: bool | None
    ) -> tuple[tuple[Refusal, ...], tuple[Refusal, ...]]:
        """What holds it, each reason once, and what is only said: unlike a rollback, a rehearsal can wait."""
        held, said = standing(case, Trigger.MANUAL, self._clock.now())
        more = holds(case, wish, machines, self._guard.mode, way_back=way_back)
        refusals = {r.name: r for r in (*more, *held, *(w for w in said if w.name in CALMLY))}
        if nobody:
            refusals["machine"] = Refusal("machine", nobody)
        warnings = [w for w in said if w.name not in CALMLY]
        if wish.accept_gap and (down := gap(case.snapshot, machines)):
            warnings.append(Refusal("gap", down))
        blind = [f.rule.name for f in case.findings if f.state is RuleState.BLIND]
        if blind:
            warnings.append(Refusal("blind", f"{text.listing(blind)} would not notice if it went wrong"))
        if not case.findings:
            warnings.append(Refusal("no guard", "no rule is judged meanwhile"))
        return tuple(refusals.values()), tuple(warnings)

    def _must_be_free(self) -> None:
        state = self._guard.record.state
        if state.goal is not None:
            raise Refused("a rollback is under way")
        if state.drilling is not None:
            raise Refused(f"a drill is under way already, since {text.clock(state.drilling.there.set_at)}")

    async def _begin(self, case: Case, wish: Wish, machines: Sequence[Machine], by: str, reason: str) -> str:
        """Durable, unless something has begun since the last look."""
        assert case.target is not None
        guard, candidate, target, now = self._guard, case.candidate, case.target, self._clock.now()
        span_s = guard.policy.rollback.deadline_s
        began = ev.DrillBegan(
            at=now,
            drill=f"drill-{datetime.fromtimestamp(now, UTC):%Y%m%dT%H%M%SZ}",
            serving=candidate.digest,
            serving_ref=messages.by_digest(candidate.image_ref, candidate.digest),
            serving_version=candidate.version,
            target=target.digest,
            target_ref=messages.by_digest(target.image_ref, target.digest),
            target_version=target.version,
            machines=tuple(m.id for m in machines),
            whole=wish.whole,
            after_version=case.snapshot.newest_version,
            by=by,
            reason=reason,
            deadline_at=now + span_s,
            span_s=span_s,
            instances=_instances(case.snapshot),
            configs={m.id: m.config_hash for m in machines},
        )
        seen = ev.DigestSeen(
            at=now, digest=target.digest, image_ref=target.image_ref, version=target.version, labels=target.labels
        )
        async with guard.respond.one_at_a_time:
            self._must_be_free()
            if guard.record.state.incident is not None:
                raise Refused("an incident was opened just now")
            also = [] if guard.record.state.record(target.digest) else [seen]
            await guard.drills.begin(began, also, announced(began, named(target), gap(case.snapshot, machines)))
        return began.drill


def _instances(snapshot: Snapshot) -> dict[str, str]:
    return {m.id: m.instance_id for m in snapshot.managed}
