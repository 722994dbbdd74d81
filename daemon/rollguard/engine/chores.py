"""What a guard minds besides the release: people's pauses and holds, a mixed fleet, a platform that is silent."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Sequence

from rollguard.core import approvals, messages, text
from rollguard.core import events as ev
from rollguard.core.case import Case, named
from rollguard.core.model import Mode
from rollguard.core.pages import Page, Severity
from rollguard.core.plan import ASLEEP
from rollguard.engine.endings import Endings
from rollguard.engine.record import Record
from rollguard.engine.watch import Watch
from rollguard.ports import Clock

PAUSE_REMINDER_S = 4 * 3600.0
HOLD_NOTICE_S = 120.0
MIXED_S = 600.0
UNSEEN_S = 120.0
LEFT_S = 1800.0
"""For so long after a rollback began a machine that sleeps is looked at twice."""

CloseQuestion = Callable[[ev.ApprovalAsked, ev.ApprovalEnded, Sequence[Page]], Awaitable[bool]]


class Chores:
    """Each is minded once a tick, and said once."""

    def __init__(self, watch: Watch, record: Record, endings: Endings, clock: Clock) -> None:
        self._watch = watch
        self._record = record
        self._endings = endings
        self._reminded_at = clock.now()
        self._hold_noted: float | None = None
        self._mixed_since: float | None = None
        self._unseen = False
        self._served: str | None = None
        self._awake: dict[str, str] = {}
        self._met: frozenset[str] = frozenset()

    async def mind(self, now: float, mode: Mode) -> None:
        """All of them. Raises ``JournalError``."""
        if self._record.state.drilling is None:
            await self._deploys(now, mode)
        await self._people(now)
        await self._mix(now)
        await self._left_asleep(now)
        await self._platform(now)

    async def _deploys(self, now: float, mode: Mode) -> None:
        """Somebody's release is out everywhere: shown beside alerts. The guard's own is told where it is made."""
        state, before = self._record.state, self._served
        self._served = state.serving
        known = state.record(state.serving)
        own = any(r.target == state.serving for r in state.rollbacks[-1:])
        if before is None or before == state.serving or known is None or known.first_sight or own:
            return
        if mode is not Mode.OBSERVE:
            page = messages.change(self._endings.policy, f"{named(known)} is out everywhere", now)
            await self._record.add(pages=[page])

    async def _people(self, now: float) -> None:
        """A pause is never forgotten; the end of a hold is announced, and only failures after it count."""
        pause, hold = self._record.state.pause, self._record.state.hold
        if pause is None:
            self._reminded_at = now
        elif now - self._reminded_at >= PAUSE_REMINDER_S:
            self._reminded_at = now
            await self._endings.notice(f"still paused by {pause.by}: {pause.reason}", "pause", now)
        if hold is None or self._hold_noted == hold.until:
            return
        if now >= hold.until:
            self._hold_noted = hold.until
            self._watch.windows.clear()
            self._watch.alive_since = now
        elif hold.until - now <= HOLD_NOTICE_S and self._hold_noted != -hold.until:
            self._hold_noted = -hold.until
            await self._endings.notice(f"the hold by {hold.by} ends in {text.seconds(hold.until - now)}", "hold", now)

    async def _mix(self, now: float) -> None:
        """Machines on different images for long, though nobody deploys and nothing fires, are told to people."""
        mixed = len({t.digest for t in self._watch.present.values()}) > 1
        if not mixed or self._watch.deploy is not None or self._record.state.incident is not None:
            self._mixed_since = None
            return
        if self._mixed_since is None:
            self._mixed_since = now
        elif now - self._mixed_since >= MIXED_S and self._watch.snapshot is not None:
            self._mixed_since = math.inf  # said once, until they are alike again
            mix = messages.mix(self._watch.snapshot)
            summary = f"machines run different images for {text.seconds(MIXED_S)}: {mix}"
            await self._endings.notice(summary, "mixed", now)

    async def _left_asleep(self, now: float) -> None:
        """A deploy that listed the machines while the guard was changing one took that one for a sleeper, changed it
        without starting it, and called itself a success: flyctl does so. With retries it even puts a new machine in its
        place, and does not start that. Only people may wake it, so they are told.
        """
        snapshot, rollbacks = self._watch.snapshot, self._record.state.rollbacks
        if snapshot is None:
            return
        present = {m.id: m for m in snapshot.managed}
        recent = bool(rollbacks) and now - rollbacks[-1].at <= LEFT_S
        if not recent:
            self._met = frozenset(present)
            self._awake = {i: version for i, version in self._awake.items() if i in present}
        gone = sorted(self._awake.keys() - present.keys())
        asleep = [m for m in present.values() if m.state in ASLEEP and not (m.crashed or m.standby)]
        if not recent or self._watch.deploy is not None:
            asleep.clear()
        left = [m.id for m in asleep if self._awake.get(m.id, m.instance_id) != m.instance_id]
        new = [m.id for m in asleep if m.id not in self._awake and self._met and m.id not in self._met and gone]
        self._awake |= {m.id: m.instance_id for m in present.values() if m.started or m.id in (*left, *new)}
        told = [f"machine {text.listing(left)} served before, and somebody's deploy left it stopped"] if left else []
        if new:
            made = f"somebody's deploy made {text.listing(new)} in its place and left it stopped"
            told.append(f"machine {text.listing(gone)} served before; {made}")
        if told:
            summary = (
                f"{'; '.join(told)}: it was in the guard's hands when that deploy began. "
                f"flyctl machine start {' '.join(left + new)} --app {self._endings.policy.target.app}"
            )
            await self._endings.notice(summary, "asleep", now)

    async def _platform(self, now: float) -> None:
        """A platform that does not answer makes the guard blind, whatever the signals say; said once."""
        seen_at = self._watch.snapshot.at if self._watch.snapshot else self._watch.alive_since
        unseen = now - seen_at > UNSEEN_S
        if unseen is self._unseen:
            return
        self._unseen = unseen
        summary = f"blind: the platform has not answered for {text.seconds(UNSEEN_S)}" if unseen else "it answers again"
        await self._endings.notice(summary, "platform", now, resolve=not unseen)

    async def approval(self, case: Case, quiet_s: float, now: float, close: CloseQuestion) -> None:
        """A question that nobody answered in time, or that has no meaning any more, is closed, and that is said."""
        incident = self._record.state.incident
        asked = incident.approval if incident else None
        if incident is None or asked is None:
            return
        void = approvals.why_void(asked, case, quiet_s)
        if void is None and now < asked.until:
            return
        outcome = "void" if void else "expired"
        why = void or "nobody answered in time"
        page = self._endings.page(
            incident.id,
            f"nothing was rolled back, and can no longer be approved: {why}",
            case.snapshot,
            now,
            about="approval",
            severity=Severity.WARNING,
        )
        ended = ev.ApprovalEnded(at=now, incident=incident.id, outcome=outcome, reason=why)
        await close(asked, ended, [page])
