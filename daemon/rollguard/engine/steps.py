"""Intent before, outcome after: the three sentences that surround every write."""

from __future__ import annotations

from rollguard.core.events import Event, FirstJudged, StepDone, StepFailed, StepIntended
from rollguard.core.lifecycle import Goal
from rollguard.core.model import Machine
from rollguard.core.proof import Proof
from rollguard.engine.record import Record
from rollguard.errors import JournalError, Unavailable
from rollguard.ports import Clock

RETRY_S_MAX = 30.0


def pause_s(error: Exception, otherwise: float = 1.0) -> float:
    """How long to wait before asking again: as long as the platform wishes, but never past our own deadlines."""
    wished = error.retry_after_s if isinstance(error, Unavailable) else None
    return min(wished or otherwise, RETRY_S_MAX)


class Stopped(Exception):
    """The goal is over before it was reached. ``outcome``: as of ``events.GoalEnded``."""

    def __init__(self, outcome: str, sentence: str) -> None:
        super().__init__(sentence)
        self.outcome = outcome
        self.sentence = sentence


class Steps:
    """What the goal is and what was done for it, in the journal. ``ended`` is one that is over, but for its row."""

    def __init__(self, record: Record, clock: Clock, ended: Goal | None = None) -> None:
        self._record = record
        self._clock = clock
        self._ended = ended
        self._broken: JournalError | None = None

    @property
    def goal(self) -> Goal:
        """The goal as the journal has it now; it stays readable after its end, until its incident is closed."""
        incident = self._record.state.incident
        goal = self._ended or (incident.goal if incident else None)
        assert goal is not None, "no incident is closed while its goal is driven"
        return goal

    def is_ours(self, machine: Machine) -> bool:
        """Whether the machine carries the mark of a write of this goal."""
        return machine.incident == self.goal.incident

    def marks(self) -> dict[str, str]:
        """What a machine's metadata says after a write of this goal."""
        goal = self.goal
        return {
            "fly_release_id": goal.row_id or "",
            "fly_release_version": str(goal.row_version or ""),
            "rollguard_incident": goal.incident,
            "rollguard_release": goal.row_id or "",
        }

    async def intend(self, kind: str, machine: str = "", instance_id: str = "") -> None:
        await self._write_down(
            StepIntended(
                at=self._clock.now(), incident=self.goal.incident, kind=kind, machine=machine, instance_id=instance_id
            )
        )

    async def done(
        self, kind: str, *, machine: str = "", result: str = "", version: int | None = None, phase: str = ""
    ) -> None:
        await self._write_down(
            StepDone(
                at=self._clock.now(),
                incident=self.goal.incident,
                kind=kind,
                machine=machine,
                result=result,
                version=version,
                phase=phase,
            )
        )

    @property
    def proof_sentence(self) -> str:
        """What was written down of the first machines, by whichever life."""
        judged = (e.event for e in reversed(self._record.recent) if isinstance(e.event, FirstJudged))
        return next((e.sentence for e in judged if e.incident == self.goal.incident), "")

    async def proven(self, proof: Proof, machines: tuple[str, ...]) -> None:
        await self._write_down(
            FirstJudged(
                at=self._clock.now(),
                incident=self.goal.incident,
                result=proof.result,
                sentence=proof.sentence,
                machines=machines,
            )
        )

    async def failed(self, kind: str, error: Exception, machine: str = "") -> None:
        await self._write_down(
            StepFailed(at=self._clock.now(), incident=self.goal.incident, kind=kind, error=str(error), machine=machine)
        )

    async def _write_down(self, event: Event) -> None:
        """Raises ``JournalError``; and from then on at once, for the other machines of a wave: this life is over."""
        if self._broken is not None:
            raise self._broken
        try:
            await self._record.add(event)
        except JournalError as error:
            self._broken = error
            raise
