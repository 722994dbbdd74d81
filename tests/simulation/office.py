"""Somebody else who rolls back when told to, in virtual time: elsewhere, or on the guard's own machine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace

from rollguard.core.executors import Workflow
from rollguard.core.order import Begun, Order, Progress, Work
from rollguard.core.policy import Policy
from rollguard.core.signals import SecretRef
from rollguard.errors import Refused, Unavailable
from tests.simulation.siege import QUICK, Aftermath, Siege, besiege
from tests.simulation.stage import GOOD, Life

WORKFLOW = Workflow(repo="acme/shop", workflow="rollback.yml", token=SecretRef(env="GITHUB_TOKEN"), timeout_s=600.0)
LINK = "https://github.com/acme/shop/actions/runs/1"


def delegated(policy: Policy) -> Policy:
    """The policy, with a workflow as its executor."""
    return replace(policy, rollback=replace(policy.rollback, executor=WORKFLOW))


Deed = Callable[[Siege], Awaitable[object]]


async def deploys_the_target(siege: Siege) -> None:
    """``fly deploy`` of the old image, with its leases and its row."""
    await siege.flyctl(GOOD, step_s=4.0)


@dataclass
class Office:
    """Where orders go. Each is carried out by ``deed``; ``says`` is its last word (None: it never comes)."""

    siege: Siege
    deed: Deed = deploys_the_target
    says: Work | None = Work.SUCCEEDED
    at_home: bool = False
    """On the guard's own machine: it dies with the life that told it."""
    silent: bool = False
    """What an order began cannot be found again."""
    refuses: bool = False
    loses_answers: bool = False
    orders: list[Order] = field(default_factory=list)
    cancelled: list[str] = field(default_factory=list)
    runs: dict[str, asyncio.Task[object]] = field(default_factory=dict)
    owners: dict[str, Life] = field(default_factory=dict)

    def take(self, order: Order, life: Life) -> None:
        """Begin."""
        self.orders.append(order)
        self.owners[order.id] = life
        self.runs[order.id] = asyncio.ensure_future(self.deed(self.siege))

    def word(self, order: str, life: Life) -> Progress:
        """How far it is."""
        run = self.runs.get(order)
        if run is None:
            return Progress(work=Work.LOST, sentence="it never began")
        if run.cancelled():
            lost = self.at_home and self.owners[order] is not life
            return Progress(work=Work.LOST if lost else Work.FAILED, sentence="it was stopped", link=LINK)
        if not run.done() or self.says is None:
            return Progress(work=Work.RUNNING, link=LINK)
        return Progress(work=self.says, sentence="so it says", link=LINK, output="step 1\nstep 2")

    def mourn(self) -> None:
        """What runs on the guard's own machine ends with a dead life."""
        for order, life in self.owners.items():
            if self.at_home and not life.alive:
                self.runs[order].cancel()


@dataclass
class Clerk:
    """``ports.Delegate`` for one life."""

    office: Office
    life: Life
    name: str = WORKFLOW.name
    timeout_s: float = WORKFLOW.timeout_s
    poll_s: float = 2.0

    async def begin(self, order: Order) -> Begun:
        await self._way()
        if self.office.refuses:
            raise Refused("HTTP 404: Not Found")
        self.office.take(order, self.life)
        await self._way()
        if self.office.loses_answers:
            raise Unavailable("no answer")
        return Begun(order.id, LINK)

    async def find(self, order: Order) -> Begun | None:
        await self._way()
        known = order.id in self.office.runs and not self.office.silent
        return Begun(order.id, LINK) if known or self.office.at_home else None

    async def progress(self, begun: Begun) -> Progress:
        await self._way()
        return self.office.word(begun.id, self.life)

    async def cancel(self, begun: Begun) -> None:
        await self._way()
        self.office.cancelled.append(begun.id)
        self.office.runs[begun.id].cancel()
        await self._way()

    async def printed(self, begun: Begun) -> str:
        return ""

    async def trial(self) -> str:
        return ""

    async def close(self) -> None:
        pass

    async def _way(self) -> None:
        """A message on its way; nothing of a dead life arrives."""
        self.office.mourn()
        self.life.check()
        await asyncio.sleep(0.02)
        self.office.mourn()
        self.life.check()


Tale = Callable[[Siege, Office], Awaitable[object]]


def tell(tale: Tale, policy: Policy = QUICK, *, settle_s: float = 60.0, machines: int = 4, **habits: object) -> Told:
    """A guard under a policy with another executor has seen the good release; then the tale; then a while of peace."""
    offices: list[Office] = []

    async def story(siege: Siege) -> None:
        office = Office(siege, **habits)  # type: ignore[arg-type]
        offices.append(office)
        siege.stage.delegate_of = lambda life: Clerk(office, life)
        await siege.die()
        siege.policy = delegated(policy)
        siege.rise()
        await asyncio.sleep(12)
        await tale(siege, office)
        siege.others += [asyncio.ensure_future(_quietly(run)) for run in office.runs.values()]

    after = besiege(story, machines=machines, settle_s=settle_s)
    return Told(after, offices[0])


async def _quietly(run: asyncio.Task[object]) -> None:
    try:
        await asyncio.gather(run, return_exceptions=True)
    except asyncio.CancelledError:
        run.cancel()
        await asyncio.gather(run, return_exceptions=True)
        raise


@dataclass
class Told:
    """How a tale ended."""

    after: Aftermath
    office: Office

    @property
    def outcomes(self) -> list[str]:
        return self.after.outcomes

    def wrote(self) -> bool:
        """Whether the guard itself wrote anything to the platform."""
        return bool(self.after.writes("update") or self.after.writes("release_create"))
