"""After faults stop everything converges: what that means, and why it has not happened yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rollguard.core.model import Mode
from tests.simulation.soak.books import Goal
from tests.simulation.soak.truth import now
from tests.simulation.soak.verdicts import Converges
from tests.simulation.stage import GUARD

if TYPE_CHECKING:
    from tests.simulation.soak.world import Soak

CALM_S = 45.0
"""So long everything must have been still."""
TICKS_S = 2.0
IN_FLIGHT_S = 60.0
"""The machine in flight is finished after the deadline: when nothing is wrong any more that takes as long as a boot,
its checks and its stability."""
LATEST_S = 2400.0
"""How long after the last fault a story may go on at all: a goal's deadline, verification, and a pass of restarts."""
TRANSIENT = frozenset({"replacing", "restarting", "stopping", "destroying", "suspending"})


def why_not_still(soak: Soak) -> str:
    """What is going on yet; nothing where all is still."""
    books, app = soak.books, soak.truth.app
    if not soak.life.alive or soak.scene.sees_since is None:
        return "no guard lives"
    if books.goal is not None:
        return "a goal is open"
    if books.verifying:
        return "what was restored is verified"
    if any(r.user == GUARD and r.in_progress for r in app.releases):
        return "a row of the guard is open"
    at = soak.wall()
    if any(m.lease is not None and m.lease.owner == GUARD and m.lease.expires_at > at for m in app.machines.values()):
        return "the guard holds a machine"
    busy = [m.id for m in app.machines.values() if m.state in TRANSIENT]
    if busy:
        return f"machine {busy[0]} is {app.machines[busy[0]].state}"
    if unsaid := [rule for rule in books.firing if rule not in books.spoken and not books.spoken]:
        return f"rule {unsaid[0]} fires, and nothing was said"
    return ""


class Ending:
    """Watches a story come to its end."""

    def __init__(self, soak: Soak) -> None:
        self._soak = soak
        self._promise = next(p for p in soak.promises if isinstance(p, Converges))
        self._still_since: float | None = None
        self._overdue: set[float] = set()
        self.quiet_at = 0.0

    def over(self) -> bool:
        """Whether all has been still for long enough."""
        why = why_not_still(self._soak)
        if why or self._waits():
            self._still_since = None
        elif self._still_since is None:
            self._still_since = now()
        self._goals()
        return self._still_since is not None and now() - self._still_since >= CALM_S

    def _waits(self) -> bool:
        """Whether something must still come: a bad release that nothing holds is rolled back."""
        return must_go_back(self._soak) and now() - self.quiet_at < LATEST_S

    def _goals(self) -> None:
        """No goal is open beyond its deadline, once nothing is wrong any more."""
        goal = self._soak.books.goal
        if goal is None or goal.at in self._overdue:
            return
        if now() > max(goal.due_at, self.quiet_at) + TICKS_S + IN_FLIGHT_S:
            self._overdue.add(goal.at)
            self._promise.holds(False, f"a goal is open {now() - goal.due_at:.0f} s after its deadline")

    def judge(self) -> None:
        """The story is at its end: what must be true now."""
        soak, holds = self._soak, self._promise.holds
        why = why_not_still(soak)
        holds(not why, f"not converged {now() - self.quiet_at:.0f} s after the last fault: {why}")
        holds(not must_go_back(soak), "a bad release that nothing holds was not rolled back")
        for goal in soak.books.goals:
            holds(self._restored_or_told(goal), f"a goal ended {goal.outcome or 'never'}, and nobody was told")
        bad = soak.drawn.bad and any(m.image == soak.drawn.image and m.managed for m in soak.truth.managed)
        silent = not soak.books.alerts and soak.drawn.mode is not Mode.OBSERVE
        holds(not (bad and silent and soak.books.firing), "a bad release serves, and nobody was told")

    def _restored_or_told(self, goal: Goal) -> bool:
        if goal.open:
            return False
        return goal.outcome == "restored" or any(
            "handed over to you" in alert.summary and alert.at >= (goal.ended_at or 0.0) - 0.01
            for alert in self._soak.books.alerts
        )


def must_go_back(soak: Soak) -> bool:
    """Whether nothing stands against a rollback that has not begun: the candidate serves, suffers, and is alone."""
    drawn, books = soak.drawn, soak.books
    if not drawn.bad or drawn.mode is not Mode.ENFORCE or drawn.lock or not drawn.proven or books.goals:
        return False
    if soak.others_acted:
        return False
    machines = [m for m in soak.truth.managed if m.host_status == "ok"]
    return bool(machines) and all(m.image == drawn.image for m in machines)
