"""Drills, from their beginning to their end: there, the turn, back, and what people are told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Never

from rollguard.core import events as ev
from rollguard.core import messages, text
from rollguard.core.drill import BACK, FAILED, OK, STOPPED, THERE, Drill
from rollguard.core.model import Mode, Snapshot
from rollguard.core.pages import Page, Severity
from rollguard.core.policy import Policy
from rollguard.core.rehearsal import put_back
from rollguard.engine.drill import CALLED_BACK, HOME, DrillLeg, Hands
from rollguard.engine.record import Record
from rollguard.engine.steps import Stopped, pause_s
from rollguard.errors import JournalError, Refused, Unavailable
from rollguard.ports import Clock, Platform, acting

RESTARTED = "the guard was restarted in the middle of it"
GIVEN_UP = frozenset({"yielded", "paused"})
"""People came first: nothing more is written."""
LAST_LOOK_S = 30.0
COMMANDS_MAX = 5


class Drills:
    """Carries the state's drill to its end. One per target; ``policy`` and ``mode`` are as they are now."""

    def __init__(
        self, policy: Policy, platform: Platform, record: Record, clock: Clock, mode: Callable[[], Mode]
    ) -> None:
        self.policy = policy
        self._platform = platform
        self._record = record
        self._clock = clock
        self._mode = mode
        self._begun = ""
        self._rule = ""
        self._wake = asyncio.Event()
        self._wake.set()  # an earlier life may have left one

    async def begin(self, began: ev.DrillBegan, also: Sequence[ev.Event], sentence: str) -> None:
        """Make the intent durable. Raises ``JournalError``."""
        page = messages.change(self.policy, sentence, began.at, [("image", began.target_ref)])
        await self._record.add(*also, began, pages=[page])
        self._begun, self._rule = began.drill, ""
        self._wake.set()

    def call_back(self, why: str) -> None:
        """A rule fires: the way there is over."""
        self._rule = self._rule or why

    async def drive_forever(self) -> Never:
        """Drive every drill of this life, and the one that an earlier life left. Raises ``JournalError``."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self._record.state.drilling is not None:
                await self.drive()

    async def drive(self) -> None:
        """Carry the drill under way to its end, and say how it ended. One of an earlier life is taken back only.

        Raises ``JournalError`` only.
        """
        try:
            await self._there_and_back()
        except (JournalError, AssertionError):
            raise
        except Exception as error:  # noqa: BLE001  (whatever it is: half-way, a person must take over, and be told)
            await self._end(FAILED, f"{type(error).__name__}: {error}")

    async def _there_and_back(self) -> None:
        drill = self._under_way()
        ours = drill.id == self._begun
        if self._mode() is Mode.OBSERVE:
            await self._end(STOPPED, "the mode is observe now: nothing is written")
            return
        if drill.way == THERE:
            end = await self._leg(THERE).drive() if ours else (CALLED_BACK, RESTARTED)
            if end[0] in GIVEN_UP:
                await self._end(STOPPED, end[1])
                return
            if not await self._turn(*end):
                return
        outcome, sentence = await self._way_back()
        drill = self._under_way()
        home = outcome in {"restored", HOME}
        back_s = self._clock.now() - drill.newest_goal.set_at if home else None
        result = drill.expected if home else STOPPED if outcome in GIVEN_UP else FAILED
        said = [drill.why, "" if outcome == "restored" else sentence]
        if result == OK and not ours:
            result, said = STOPPED, [RESTARTED]
        await self._end(result, "; ".join(part for part in said if part), back_s)

    def _under_way(self) -> Drill:
        drill = self._record.state.drilling
        assert drill is not None, "only its driver ends a drill"
        return drill

    def _leg(self, way: str, until: float | None = None) -> DrillLeg:
        settings = self.policy.rollback
        hands = Hands(
            platform=self._platform,
            record=self._record,
            clock=self._clock,
            settings=settings,
            why_back=self._why_back,
        )
        return DrillLeg(hands, way, until)

    def _why_back(self) -> str:
        """A rule that fires, or a person who needs quiet."""
        hold = self._record.state.hold
        if hold is not None and self._clock.now() < hold.until:
            return f"held by {hold.by}: {hold.reason}"
        return self._rule

    async def _turn(self, outcome: str, sentence: str) -> bool:
        """Write down that the way is back from here on, and what is where. False: it has ended in place of that."""
        drill = self._under_way()
        arrived = outcome == "restored"
        result = OK if arrived else STOPPED if outcome == CALLED_BACK else FAILED
        try:
            with acting():
                snapshot = await self._leg(THERE, self._clock.now() + drill.began.span_s).survey()
        except Stopped as stopped:
            ended = STOPPED if stopped.outcome in GIVEN_UP else FAILED
            reasons = [] if arrived else [sentence]
            await self._end(ended, "; ".join([*reasons, stopped.sentence]))
            return False
        why, hurried = "" if arrived else sentence, bool(self._rule) and not drill.began.whole
        turned = ev.DrillTurned(
            at=self._clock.now(),
            drill=drill.id,
            result=result,
            why=why,
            hurried=hurried,
            after_version=snapshot.newest_version,
            instances={m.id: m.instance_id for m in snapshot.managed},
        )
        await self._record.add(turned, pages=[self._alarm(drill, snapshot)] if self._rule else [])
        return True

    async def _way_back(self) -> tuple[str, str]:
        drill = self._under_way()
        if drill.began.whole and not drill.there.updates:
            return "restored", ""  # nobody has gone anywhere: no row for that
        return await self._leg(BACK).drive()

    # -- telling -------------------------------------------------------------------------------------------------------

    def _alarm(self, drill: Drill, snapshot: Snapshot) -> Page:
        return messages.page(
            self.policy,
            drill.id,
            f"in the middle of a drill {self._rule}. What is away goes back first; then it is judged as ever",
            self._clock.now(),
            about="drill",
            severity=Severity.ERROR,
            target=self._record.state.record(drill.began.target),
            snapshot=snapshot,
        )

    async def _end(self, result: str, sentence: str, back_s: float | None = None) -> None:
        if self._mode() is not Mode.OBSERVE:
            await self._close_rows(self._under_way(), back_s)
        drill, snapshot = self._under_way(), await self._last_look()
        left, wrong = self._left(drill, snapshot), self._other_config(drill, snapshot)
        if result == OK and (left or wrong):
            result = FAILED
        there_s = drill.back.set_at - drill.there.set_at if drill.back is not None and not drill.why else None
        said = [sentence, wrong]
        if left:
            said.append(f"machine {text.listing(left)} {'may still run' if snapshot is None else 'runs'} the target")
        if result == OK and there_s is not None and back_s is not None:
            said = [f"{text.seconds(there_s)} there, {text.seconds(back_s)} back"]
        ended = ev.DrillEnded(
            at=self._clock.now(),
            drill=drill.id,
            result=result,
            sentence="; ".join(part for part in said if part),
            machines=len(drill.began.machines),
            there_s=there_s,
            back_s=back_s,
            left=left,
        )
        await self._record.add(ended, pages=[self._last_word(drill, ended, snapshot)])
        self._rule = ""

    def _last_word(self, drill: Drill, ended: ev.DrillEnded, snapshot: Snapshot | None) -> Page:
        """Nobody is woken by a drill that went well, or that left nothing behind when it made way."""
        summary = f"the drill ended ({ended.result}): {ended.sentence}"
        if ended.result != FAILED and not ended.left:
            return messages.change(self.policy, summary, ended.at)
        of = drill.began
        commands = [("put back", put_back(self.policy, m, of.serving_ref)) for m in ended.left[:COMMANDS_MAX]]
        return messages.page(
            self.policy,
            drill.id,
            summary,
            ended.at,
            about="drill",
            severity=Severity.CRITICAL if ended.left else Severity.WARNING,
            target=self._record.state.record(of.serving),
            snapshot=snapshot,
            more=[("drill", f"by {of.by}: {of.reason}"), *commands],
        )

    async def _close_rows(self, drill: Drill, back_s: float | None) -> None:
        """Rows that could not be closed in time, once more."""
        with acting():
            await self._leg(THERE).close_row("complete" if drill.back is not None and not drill.why else "failed")
            if drill.back is not None:
                await self._leg(BACK).close_row("failed" if back_s is None else "complete")

    async def _last_look(self) -> Snapshot | None:
        give_up_at = self._clock.now() + LAST_LOOK_S
        while True:
            try:
                with acting():
                    return await self._platform.snapshot()
            except Refused:
                return None
            except Unavailable as error:
                if self._clock.now() >= give_up_at:
                    return None
                await asyncio.sleep(pause_s(error))

    def _left(self, drill: Drill, snapshot: Snapshot | None) -> tuple[str, ...]:
        """Machines that run the target; where nobody can look, those of which it is not known that they came back."""
        if snapshot is not None:
            mine = [m for m in snapshot.managed if m.id in drill.began.machines]
            return tuple(m.id for m in mine if m.digest == drill.began.target)
        back = drill.back.updates if drill.back is not None else {}
        return tuple(m for m in drill.there.updates if m not in back or not back[m].healthy)

    def _other_config(self, drill: Drill, snapshot: Snapshot | None) -> str:
        """Where a machine came back configured in another way."""
        before = drill.began.configs
        seen = {m.id: m.config_hash for m in snapshot.managed} if snapshot is not None else {}
        other = [m for m in drill.there.updates if before.get(m) and seen.get(m) and before[m] != seen[m]]
        return f"machine {text.listing(other)} is configured in another way than before" if other else ""


def announced(began: ev.DrillBegan, target: str, gap: str) -> str:
    """What people are told when a drill begins."""
    which = f"all {len(began.machines)} machines" if began.whole else f"machine {began.machines[0]}"
    said = f"a drill begins, by {began.by}: {which} to {target} and back: {began.reason}"
    return f"{said}. {gap}" if gap else said
