"""Looks all the time whether a rollback could happen, and tells people when it could not for too long."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import TypeVar

from rollguard.core import events as ev
from rollguard.core import messages, readiness, ready_checks, text
from rollguard.core.case import Case
from rollguard.core.executors import Machines
from rollguard.core.fleet import newest_running
from rollguard.core.lifecycle import DigestRecord
from rollguard.core.locks import never, people, release
from rollguard.core.model import Lease, Mode
from rollguard.core.pages import Page, Severity
from rollguard.core.plan import is_own
from rollguard.core.readiness import Readiness
from rollguard.core.ready_checks import Asked, Found
from rollguard.core.targets import target_of
from rollguard.engine.guard import Guard
from rollguard.errors import Conflict, Refused, Unavailable
from rollguard.ports import Platform

TURN_S = 2.0
"""How often is looked whether anything is to be asked: that costs nothing."""
ROUND_S = 60.0
POSTPONED_S = 600.0
"""For at most so long a round waits for rules that fire, or may soon: what is asked for an act comes first."""
STALE_S = 1800.0
"""Longer than any round takes, or waits for a rollback's end."""
RIGHTS_S = 3600.0
LACKING_S, UNTRIED_S = 60.0, 120.0
"""How soon the token is tried again where it lacks something, and where no machine could be held to try it."""
LEASES_A_ROUND = 20
UNREAD_TURNS = 10
"""So many turns pass before a configuration that could not be read is asked for again."""
AGAIN_S = 3600.0
"""How soon after an alert's end people may be told of the same again: what comes and goes would wake them all night."""
T = TypeVar("T")


class ReadyWatch:
    """Whether a rollback of one target could happen: ``now`` is the newest answer. ``turn`` again and again."""

    every_s = TURN_S

    def __init__(self, guard: Guard, platform: Platform) -> None:
        self._guard = guard
        self._platform = platform
        self._asked = Asked()
        self._of = ""
        self._leases: dict[str, Lease | None] = {}
        self._place = 0
        self._first = True
        self._round_at = guard.clock.now()
        self._rights_due: float | None = None
        self._tried_at: float | None = None
        self._since: dict[str, float] | None = None
        self._anchor = guard.watch.alive_since
        self._unread_turns = 0
        self._seen = readiness.unseen(guard.clock.now(), "not asked yet")

    @property
    def now(self) -> Readiness:
        """The newest answer; nothing is known any more where that is old."""
        age_s = self._guard.clock.now() - self._seen.at
        if age_s <= STALE_S:
            return self._seen
        return readiness.unseen(self._seen.at, f"not looked at for {text.seconds(age_s)}")

    @property
    def _busy(self) -> bool:
        """A rollback, or a drill, is under way: nothing of this is in its way."""
        state = self._guard.record.state
        return state.goal is not None or state.drilling is not None

    async def turn(self) -> None:
        """Read what changed of the configuration; once a minute ask the rest. Raises ``JournalError``."""
        if self._busy:
            return
        await self._mind()
        case = self._case() if self._is_due() else None
        if case is None:
            return
        self._first, self._round_at = False, self._guard.clock.now()
        await self._ask(case)
        case = self._case()
        if case is not None and not self._busy:
            await self._judge(case)

    async def _mind(self) -> None:
        """The configuration; not again at once where it could not be read."""
        if self._unread_turns > 0:
            self._unread_turns -= 1
        elif await self._told(self._configs_minded) is None:
            self._unread_turns = UNREAD_TURNS

    async def _configs_minded(self) -> bool:
        await self._guard.configs.mind(self._guard.watch, self._guard.policy)
        return True

    def _is_due(self) -> bool:
        """Once a minute, and at once for another target."""
        waited_s = self._guard.clock.now() - self._round_at
        if self._guard.watch.want_leases and 0 <= waited_s < POSTPONED_S:
            return False
        return self._first or not 0 <= waited_s < ROUND_S or _digest(self._target()) != self._of

    def _candidate(self) -> DigestRecord | None:
        state, snapshot = self._guard.record.state, self._guard.watch.snapshot
        digest = newest_running(snapshot, state.order) if snapshot else None
        return state.record(digest) if digest else None

    def _target(self) -> DigestRecord | None:
        guard, candidate = self._guard, self._candidate()
        if candidate is None:
            return None
        return target_of(guard.record.state, candidate.digest, guard.policy, guard.clock.now())[0]

    def _case(self) -> Case | None:
        snapshot, candidate = self._guard.watch.snapshot, self._candidate()
        return self._guard.case(candidate, snapshot, self._guard.clock.now()) if snapshot and candidate else None

    # -- asking --------------------------------------------------------------------------------------------------------

    async def _ask(self, case: Case) -> None:
        """One thing after the other, so that a fleet's questions never come all at once."""
        if _digest(case.target) != self._of:
            self._of = _digest(case.target)
            self._asked = replace(self._asked, image=None, tag=None)
        image = tag = None
        if case.target is not None:
            by_digest = messages.by_digest(case.target.image_ref, case.target.digest)
            image = await self._found(by_digest)
            tag = await self._found(case.target.image_ref)
        config = self._guard.configs.proven_with(case.target)
        leases, executor = await self._look_at_leases(case), await self._executor()
        self._asked = replace(self._asked, image=image, tag=tag, config=config, leases=leases, executor=executor)
        await self._rights()

    async def _found(self, ref: str) -> Found | None:
        if self._busy:
            return None
        try:
            return Found(await self._platform.resolve(ref))
        except Refused as error:
            self._doubt_rights()
            return Found(None, refused=text.one_line(str(error), 200))
        except (Unavailable, Conflict):
            return None

    async def _look_at_leases(self, case: Case) -> Mapping[str, Lease] | None:
        """Who holds the machines: some of them each time where there are many, the rest as last seen."""
        chosen = ready_checks.in_turn(case.snapshot, LEASES_A_ROUND, self._place)
        self._place += LEASES_A_ROUND
        found = await self._told(lambda: self._platform.leases(chosen)) if not self._busy else None
        if found is None:
            return None
        here, now = set(case.snapshot.reachable), self._guard.clock.now()
        seen = {**self._leases, **{machine: found.get(machine) for machine in chosen}}
        self._leases = {machine: lease for machine, lease in seen.items() if machine in here}
        return {m: lease for m, lease in self._leases.items() if lease is not None and lease.expires_at > now}

    async def _executor(self) -> str | None:
        """Whoever rolls back for the guard; the guard itself is there."""
        delegate = self._guard.respond.delegate
        if isinstance(self._guard.policy.rollback.executor, Machines) or delegate is None:
            return ""
        return None if self._busy else await self._told(delegate.trial)

    async def _rights(self) -> None:
        """At the start, hourly, and until what is missing was given. No machine is held where anything is amiss."""
        now = self._guard.clock.now()
        if self._busy or (self._rights_due is not None and now < self._rights_due):
            return
        case = self._case()  # as it is now: the questions before this one may have taken a while
        machine = self._to_hold(case, now) if case is not None else None
        self._rights_due = now + LACKING_S
        told = await self._told(lambda: self._platform.rights(machine))
        if machine is not None:  # where an answer was lost it may be held still: not every minute
            self._tried_at = now if told is not None else now - RIGHTS_S + POSTPONED_S
        if told is None:
            return  # the last answer stands
        known = self._asked.rights or {}
        lease = {"lease": known["lease"]} if machine is None and "lease" in known and self._may_hold else {}
        self._asked = replace(self._asked, rights={**told, **lease})
        if not any((*told.values(), *lease.values())):
            self._rights_due = now + (UNTRIED_S if self._wants_to_hold(now + POSTPONED_S) else RIGHTS_S)

    @property
    def _may_hold(self) -> bool:
        """In mode observe nothing is written, and whoever else rolls back needs no machine held by the guard."""
        return self._guard.mode is not Mode.OBSERVE and isinstance(self._guard.policy.rollback.executor, Machines)

    def _wants_to_hold(self, now: float) -> bool:
        refused = bool((self._asked.rights or {}).get("lease"))
        return self._may_hold and (refused or self._tried_at is None or now - self._tried_at >= RIGHTS_S)

    def _to_hold(self, case: Case, now: float) -> str | None:
        """One healthy machine, for a moment: not while somebody deploys, or something is amiss, or people told the
        guard to keep off, or it is new here, or does not see.
        """
        amiss = self._guard.watch.want_leases or case.state.incident is not None
        if any(why(case, now) is not None for why in (people.pause, people.hold, release.learning, never.unseen)):
            return None
        held = self._asked.leases is None or any(not is_own(lease) for lease in self._asked.leases.values())
        if amiss or held or case.deploy is not None or not self._wants_to_hold(now):
            return None
        well = [m.id for m in case.snapshot.managed if m.healthy_routable and not m.standby]
        return well[0] if well else None

    def _doubt_rights(self) -> None:
        self._rights_due = None

    async def _told(self, ask: Callable[[], Awaitable[T]]) -> T | None:
        """The answer, or None where there is none now. One that is refused may be a matter of the token."""
        try:
            return await ask()
        except Refused:
            self._doubt_rights()
        except (Unavailable, Conflict):
            pass
        return None

    # -- telling -------------------------------------------------------------------------------------------------------

    async def _judge(self, case: Case) -> None:
        now = self._guard.clock.now()
        self._seen = ready_checks.assess(case, self._asked, now)
        last = self._guard.record.state.readiness
        if self._since is None:
            self._since = dict.fromkeys(last.reasons, min(last.at, now)) if last else {}
        if self._anchor != self._guard.watch.alive_since:  # the clock was put right: nothing before it can be dated
            self._anchor = self._guard.watch.alive_since
            self._since = dict.fromkeys(self._since, now)
        self._since = readiness.follow(self._since, self.now, now)
        if not self._since:
            await self._well(last, now)
            return
        told = last.told if last and last.reasons else ()
        failing, lately = {c.name for c in self.now.failing}, self._told_lately(now)
        patience_s = self._guard.policy.rollback.not_ready_after_s
        due = readiness.overdue(self._since, patience_s, now) if self._guard.mode is not Mode.OBSERVE else ()
        news = tuple(name for name in due if name in failing and name not in told and name not in lately)
        reasons = tuple(self._since)
        if news or last is None or last.ready or last.reasons != reasons:
            sentence = readiness.sentence(self.now, news or reasons)
            changed = ev.ReadinessChanged(at=now, ready=False, reasons=reasons, told=(*told, *news), sentence=sentence)
            await self._guard.record.add(changed, pages=[self._page(case, sentence, now)] if news else [])

    async def _well(self, last: ev.ReadinessChanged | None, now: float) -> None:
        """Nothing is missing: all is there, or nobody would go back any more."""
        ready, target = self.now.state is readiness.State.OK, self.now.of("target").sentence
        idle = self.now.idle and last is not None and not last.ready and bool(last.reasons)
        if not idle and (not ready or (last is not None and last.ready)):
            return
        sentence = f"a rollback could happen: {target}" if ready else f"nothing to go back to is needed: {target}"
        told = last.told if last is not None and not last.ready else ()
        changed = ev.ReadinessChanged(at=now, ready=ready, told=told, sentence=sentence)
        await self._guard.record.add(changed, pages=[self._resolved(sentence, now)] if told else [])

    def _told_lately(self, now: float) -> frozenset[str]:
        """What the alerts that ended within ``AGAIN_S`` told of."""
        changes = (e.event for e in self._guard.record.recent if isinstance(e.event, ev.ReadinessChanged))
        ended = (c for c in changes if not c.reasons and 0 <= now - c.at < AGAIN_S)
        return frozenset(name for change in ended for name in change.told)

    def _page(self, case: Case, sentence: str, now: float) -> Page:
        """It wakes people only where the guard was trusted to act by itself: not while it is paused, nor for a release
        that is too old for any rule to go back from.
        """
        age_s = now - (case.candidate.full_at or case.candidate.first_seen_at)
        guarded = case.state.pause is None and age_s <= self._guard.policy.interlocks.release_age_s
        return messages.page(
            self._guard.policy,
            "readiness",
            sentence,
            now,
            about="not ready",
            severity=Severity.ERROR if guarded and self._guard.mode is Mode.ENFORCE else Severity.WARNING,
            target=case.target,
            snapshot=case.snapshot,
            more=[(c.name, c.sentence) for c in self.now.failing],
        )

    def _resolved(self, sentence: str, now: float) -> Page:
        return messages.page(
            self._guard.policy,
            "readiness",
            sentence,
            now,
            about="not ready",
            severity=Severity.INFO,
            resolve=True,
        )


def _digest(target: DigestRecord | None) -> str:
    return target.digest if target else ""
