"""What people do: pause, hold, report, adopt, roll back by hand. Always recorded with who and why."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, replace

from rollguard.core import events as ev
from rollguard.core import messages, text
from rollguard.core.baseline import summary
from rollguard.core.case import Case, Refusal, named
from rollguard.core.decide import RollBack
from rollguard.core.drift import Drifts
from rollguard.core.executors import Machines
from rollguard.core.finding import Trigger
from rollguard.core.fleet import newest_running
from rollguard.core.interlocks import TABLE, overridable, standing
from rollguard.core.lifecycle import DigestRecord
from rollguard.core.model import Snapshot
from rollguard.core.plan import floor
from rollguard.core.policy import Reported
from rollguard.core.recording import Recorded
from rollguard.core.targets import by_version
from rollguard.engine.guard import Guard
from rollguard.engine.learn import baseline_blocks
from rollguard.engine.words import DRILLING, who, why
from rollguard.errors import Refused, Unavailable
from rollguard.ports import Clock, Platform

HOLD_S_MAX = 86400.0
KIND = re.compile(r"[a-z][a-z0-9-]{0,39}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ByHand:
    """What a rollback by hand would do, or is doing. ``refusals`` held it: then nothing was written."""

    candidate: str
    target: str
    image: str
    steps: tuple[str, ...]
    refusals: tuple[Refusal, ...]
    warnings: tuple[Refusal, ...]
    incident: str = ""


class Acts:
    """The acts of people on one target. Each raises ``Refused`` with a sentence, ``JournalError``, ``Unavailable``."""

    def __init__(self, guard: Guard, platform: Platform, clock: Clock) -> None:
        self._guard = guard
        self._platform = platform
        self._clock = clock

    async def pause(self, by: str, reason: str) -> str:
        """No automatic act until resumed; it survives restarts and never expires."""
        await self._guard.record.add(ev.PauseSet(at=self._clock.now(), by=who(by), reason=why(reason)))
        return "paused: the guard watches and pages, and acts on nothing until it is resumed"

    async def resume(self, by: str, reason: str) -> str:
        """Take the pause and any hold off."""
        state, now = self._guard.record.state, self._clock.now()
        held = state.hold is not None and now < state.hold.until
        if state.pause is None and not held:
            raise Refused("neither paused nor held")
        events: list[ev.Event] = []
        if state.pause is not None:
            events.append(ev.PauseLifted(at=now, by=who(by), reason=why(reason)))
        if held:
            events.append(ev.HoldSet(at=now, by=who(by), reason=why(reason), until=now))
        await self._guard.record.add(*events)
        return "resumed"

    async def hold(self, by: str, reason: str, for_s: float) -> str:
        """Page instead of acting, for a while: somebody is at it."""
        if not math.isfinite(for_s) or not 0 < for_s <= HOLD_S_MAX:
            raise Refused(f"a hold lasts more than 0 s and at most {text.seconds(HOLD_S_MAX)}")
        now = self._clock.now()
        await self._guard.record.add(ev.HoldSet(at=now, by=who(by), reason=why(reason), until=now + for_s))
        return f"held until {text.clock(now + for_s)}"

    async def floor(self, by: str, reason: str, version: int | None) -> str:
        """Never go back below this release any more: what is older has a hole. None lifts it."""
        if version is None and self._guard.record.state.floor is None:
            raise Refused("no release floor is set")
        now = self._clock.now()
        await self._guard.record.add(ev.FloorSet(at=now, version=version, by=who(by), reason=why(reason)))
        return "the release floor is lifted" if version is None else f"never below v{version} from now on"

    async def report(
        self, by: str, reason: str, kind: str, version: int | None, *, report_id: str = "", digest: str = ""
    ) -> str:
        """Blame the serving release, or one by its number or its digest, for something no signal shows.

        Once it is written nothing is raised any more. ``report_id`` is kept with it: whoever gives one knows it again.
        """
        if not KIND.fullmatch(kind):
            raise Refused("a kind is lower case letters, digits and dashes, for example data-corruption")
        snapshot = self._guard.watch.snapshot or await self._guard.watch.look()
        record = self._seen(digest) if digest else await self._named_or_serving(version)
        serves = record.digest == newest_running(snapshot, self._guard.record.state.order)
        event = ev.Reported(
            at=self._clock.now(),
            kind=kind,
            digest=record.digest,
            version=record.version,
            by=who(by),
            reason=why(reason),
            id=report_id,
        )
        await self._guard.record.add(event)
        rules = [r for r in self._guard.policy.rules if isinstance(r.condition, Reported) and kind in r.condition.kinds]
        if not rules:
            return f"recorded against {named(record)}; no rule listens to {kind}"
        if not serves:
            return f"recorded against {named(record)}, which serves no longer: nothing follows"
        return f"recorded against {named(record)}: rule {rules[0].name} asks for {rules[0].then}"

    async def adopt(self, by: str, reason: str, version: int | None, recording: Recorded | None = None) -> str:
        """Declare a release proven: a person vouches for it. A recording is taken as what it does while it is well."""
        record = await self._named_or_serving(version)
        now, by, reason, baseline = self._clock.now(), who(by), why(reason), None
        events: list[ev.Event] = []
        if recording is not None:
            policy = self._guard.policy
            blocks = baseline_blocks(recording, record.digest, policy)
            baseline = await self._guard.learner.load(record.digest, blocks, policy.comparing, now)
            loaded = len(baseline.blocks)
            events.append(ev.BaselineLoaded(at=now, digest=record.digest, blocks=loaded, by=by, reason=reason))
        events.append(
            ev.Proven(
                at=now,
                digest=record.digest,
                image_ref=record.image_ref,
                version=record.version,
                how="adopted",
                by=by,
                reason=reason,
            )
        )
        await self._guard.record.add(*events)
        told = f"; compared with it: {summary(baseline, now)}" if baseline is not None else ""
        return f"{named(record)} is proven: adopted by {by}{told}"

    async def rollback(
        self, by: str, reason: str, version: int | None, overrides: Iterable[str], *, dry_run: bool
    ) -> ByHand:
        """Go back by hand, under the same preconditions, plan and floor. With ``dry_run`` only say how."""
        chosen = overrides_of(overrides)
        if self._guard.record.state.goal is not None:
            raise Refused("a rollback is under way already")
        if self._guard.record.state.drilling is not None:
            raise Refused(DRILLING)
        snapshot = await self._guard.watch.look(closely=True)
        candidate = await self.serving(snapshot)
        now = self._clock.now()
        case = replace(self._guard.case(candidate, snapshot, now), overrides=chosen, findings=())
        if version is not None:
            case = replace(case, target=await self.release(version, snapshot))
        case = replace(case, drifts=await self._drifts(case))
        if case.target is not None:
            image = messages.by_digest(case.target.image_ref, case.target.digest)
            case = replace(case, resolvable=await self._guard.watch.resolvable(image, case.target.digest))
        refusals, warnings = standing(case, Trigger.MANUAL, now)
        answer = self._answer(case, refusals, warnings)
        if dry_run or refusals or case.target is None:
            return answer
        decision = RollBack(
            sentence=f"rolling back {named(candidate)} to {named(case.target)} by hand ({who(by)}): {why(reason)}",
            findings=(),
            trigger=Trigger.MANUAL,
            target=case.target,
            warnings=warnings,
        )
        incident = await self._guard.respond.begin(decision, candidate, snapshot, by=who(by), reason=why(reason))
        return replace(answer, incident=incident)

    async def _drifts(self, case: Case) -> Drifts:
        """What changed beside the image, read afresh. Nobody waits for a platform that does not tell it."""
        configs = self._guard.configs
        await configs.open()
        with contextlib.suppress(Unavailable, Refused):
            await configs.refresh(case.snapshot)
        return configs.drifts(case.target, case.snapshot)

    def _answer(self, case: Case, refusals: tuple[Refusal, ...], warnings: tuple[Refusal, ...]) -> ByHand:
        target = case.target
        return ByHand(
            candidate=named(case.candidate),
            target=named(target) if target else "",
            image=messages.by_digest(target.image_ref, target.digest) if target else "",
            steps=_steps(case) if target else (),
            refusals=refusals,
            warnings=warnings,
        )

    async def serving(self, snapshot: Snapshot | None) -> DigestRecord:
        """What runs now, the newest of it. Raises ``Refused``."""
        snapshot = snapshot or await self._guard.watch.look()
        digest = newest_running(snapshot, self._guard.record.state.order)
        record = self._guard.record.state.record(digest) if digest else None
        if record is None:
            raise Refused("no managed machine runs a known image")
        return record

    async def _named_or_serving(self, version: int | None) -> DigestRecord:
        snapshot = self._guard.watch.snapshot or await self._guard.watch.look()
        return await self.serving(snapshot) if version is None else await self.release(version, snapshot)

    def _seen(self, digest: str) -> DigestRecord:
        record = self._guard.record.state.record(digest)
        if record is None:
            raise Refused(f"no machine was seen on {text.short(digest)}")
        return record

    async def release(self, version: int, snapshot: Snapshot) -> DigestRecord:
        """The digest of a release by its number: from the journal, or through its row and its image."""
        known = by_version(self._guard.record.state, version)
        if known is not None:
            return known
        row = next((r for r in snapshot.releases if r.version == version), None)
        if row is None:
            raise Refused(f"there is no release v{version} among the newest {len(snapshot.releases)}")
        digest = await self._platform.resolve(row.image_ref)
        if digest is None:
            raise Refused(f"the image of release v{version} is gone: {row.image_ref}")
        seen = self._guard.record.state.record(digest)
        return seen or DigestRecord(
            digest=digest, image_ref=row.image_ref, version=version, first_seen_at=row.created_at
        )


def _steps(case: Case) -> tuple[str, ...]:
    """The rollback in words: what goes first, what stays."""
    assert case.target is not None
    settings = case.policy.rollback
    if not isinstance(settings.executor, Machines):
        told = f"tell {settings.executor.name} to put every machine on it; no machine goes first to prove it"
        return (told, "see for ourselves that every machine is healthy on it", "verify by the same rules")
    steps = ["make a release row and mark it running"]
    for group in sorted({m.group for m in case.snapshot.managed}):
        members = [m for m in case.snapshot.managed if m.group == group]
        pending = [m.id for m in members if m.digest != case.target.digest]
        if not pending:
            steps.append(f"group {group}: every machine runs the target already")
            continue
        keep = floor(members, settings)
        at_once = max(1, math.ceil(settings.max_unavailable * len(members)))
        order = f"{settings.first} first, then {at_once} at a time; at least {keep} of {len(members)} stay healthy"
        steps.append(f"group {group}: update {text.listing(pending, most=20)}, {order}")
    gap = messages.gap_notice(case.snapshot)
    return (*steps, *([gap] if gap else []), "verify by the same rules, then close the release row")


def overrides_of(names: Iterable[str]) -> frozenset[str]:
    """The interlocks that a person lifts by name. Raises ``Refused``."""
    chosen = frozenset(names)
    for name in sorted(chosen):
        if not overridable(name, Trigger.MANUAL):
            able = text.listing([lock.name for lock in TABLE if overridable(lock.name, Trigger.MANUAL)])
            raise Refused(f"{name!r} cannot be overridden; what can: {able}")
    return chosen
