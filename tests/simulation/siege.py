"""An attacked guard: one world, several lives, other people at work, and the promises that must hold all the same."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rollguard.core import events as ev
from rollguard.core.lifecycle import TargetState
from rollguard.core.model import Mode
from rollguard.core.policy import Policy, Rollback
from rollguard.core.signals import HttpSignal, Scope
from rollguard.engine.acts import Acts
from rollguard.engine.consent import Consent
from rollguard.engine.guard import Guard
from rollguard.localfly.images import Image
from rollguard.localfly.messages import ApiRequest
from tests.simulation.stage import APP, BAD, FINE, GOOD, GUARD, Life, Stage, a_policy
from tests.simulation.trouble import Trouble
from tests.virtual_time import run

QUICK = replace(
    a_policy(),
    signals=tuple(
        replace(s, scopes=frozenset({Scope.EDGE})) if isinstance(s, HttpSignal) else s for s in a_policy().signals
    ),
    rollback=Rollback(stability_s=4.0, pause_between_s=2.0, wait_timeout_s=120.0, first_wait_s=2.0, go_on_unclear=True),
)
"""The real rollback with shorter waits, and a probe of the edge alone, by which no machine can prove anything."""
CHECK = {"type": "http", "path": "/health", "interval": "5s", "timeout": "2s", "grace_period": "2s"}
LAUNCHED = ("started", "starting", "failed")
"""In these states, when it lists them, flyctl takes machines for awake; it does not look again."""
PAGES_MAX = 6
"""More pages than that in one incident are a storm."""


@dataclass
class Siege:
    """The stage, and who is on it."""

    stage: Stage
    policy: Policy
    guard: Guard
    life: Life
    task: asyncio.Task[None]
    lives: int = 1
    others: list[asyncio.Task[Any]] = field(default_factory=list)

    @property
    def trouble(self) -> Trouble:
        return self.stage.trouble

    @property
    def consent(self) -> Consent:
        return Consent(self.guard, self.guard.clock)

    @property
    def acts(self) -> Acts:
        return Acts(self.guard, self.guard.platform, self.guard.clock)

    @property
    def machines(self) -> list[str]:
        return sorted(self.stage.app.machines)

    @property
    def updated(self) -> dict[str, int]:
        """How often the guard updated each machine."""
        return self.stage.updates(GUARD)

    async def die(self) -> None:
        """SIGKILL."""
        self.life.alive = False
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)

    async def end(self) -> None:
        """Everybody goes home; whatever went wrong for one of them is raised."""
        tasks = [self.task, *self.others]
        for task in tasks:
            task.cancel()
        for end in await asyncio.gather(*tasks, return_exceptions=True):
            if isinstance(end, Exception):
                raise end

    def rise(self, policy: Policy | None = None, limit: Mode = Mode.ENFORCE) -> None:
        """The next life, on the same disk."""
        self.life, self.guard, start = self.stage.born(policy or self.policy, limit)
        self.task = start()
        self.lives += 1

    async def die_and_rise(self, after_s: float = 2.0) -> None:
        await self.die()
        await asyncio.sleep(after_s)
        self.rise()

    def aside(self, work: Any) -> None:
        """Somebody does this meanwhile."""
        self.others.append(asyncio.ensure_future(work))

    async def call(self, method: str, path: str, body: Any = None, nonce: str = "") -> Any:
        """One request of somebody else, as CI; the answer, or None when it was refused."""
        headers = {"authorization": "Bearer ci-token"} | ({"fly-machine-lease-nonce": nonce} if nonce else {})
        content = b"" if body is None else json.dumps(body).encode()
        answer = await self.stage.api.handle(ApiRequest.of(method, f"https://fly{path}", headers, content))
        return json.loads(answer.body or b"{}") if answer.status < 300 else None

    async def machine(self, machine: str, what: str, body: Any = None) -> Any:
        """``machine("…", "stop")``: one request on a machine."""
        return await self.call("POST", f"/v1/apps/{APP}/machines/{machine}/{what}", body or {})

    async def flyctl(self, image: Image, *, dies_after: int | None = None, step_s: float = 8.0) -> None:
        """``fly deploy`` in its order: a row, leases on all machines, one machine after the other, the row's end."""
        base, listed = f"/v1/apps/{APP}/machines", {m.id: m.state for m in self.stage.app.present()}
        ids = list(listed)
        wanted = {"app_name": APP, "build_id": 0, "definition": {"app": APP}, "image": image.ref, "strategy": "ROLLING"}
        row = (await self.call("POST", "/api/v1/releases", wanted))["release"]
        await self.call("PATCH", f"/api/v1/releases/{row['id']}", {"status": "running", "metadata": None})
        nonces = {i: await self._lease(i) for i in sorted(ids)}
        keeper = asyncio.ensure_future(self._keep(nonces))
        try:
            for number, machine in enumerate(sorted(ids)):
                if number == dies_after:
                    return
                await self._install(machine, image, row, nonces[machine], listed[machine] in LAUNCHED)
                await asyncio.sleep(step_s)
            for machine, nonce in nonces.items():
                await self.call("DELETE", f"{base}/{machine}/lease", nonce=nonce)
            await self.call("PATCH", f"/api/v1/releases/{row['id']}", {"status": "complete", "metadata": None})
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)

    async def _install(self, machine: str, image: Image, row: Any, nonce: str, launch: bool) -> None:
        here = self.stage.app.machines[machine]
        marks = {"fly_release_id": row["id"], "fly_release_version": str(row["version"])}
        config = dict(here.config) | {"image": image.ref, "metadata": dict(here.metadata) | marks}
        body = {"config": config} | ({} if launch else {"skip_launch": True})
        assert await self.call("POST", f"/v1/apps/{APP}/machines/{machine}", body, nonce)

    async def _lease(self, machine: str) -> str:
        while True:
            answer = await self.call("POST", f"/v1/apps/{APP}/machines/{machine}/lease?ttl=13", {})
            if answer:
                return str(answer["data"]["nonce"])
            await asyncio.sleep(0.5)

    async def _keep(self, nonces: dict[str, str]) -> None:
        while True:
            await asyncio.sleep(4)
            for machine, nonce in nonces.items():
                await self.call("POST", f"/v1/apps/{APP}/machines/{machine}/lease?ttl=13", {}, nonce)

    async def add_machine(self, image: Image = GOOD, *, group: str = "app", launch: bool = True, **but: Any) -> str:
        """A machine more; ``but`` replaces keys of the first machine's config (None leaves one out)."""
        config = dict(next(iter(self.stage.app.machines.values())).config)
        config["image"] = image.ref
        config["metadata"] = dict(config["metadata"]) | {"fly_process_group": group} | but.pop("metadata", {})
        config = {k: v for k, v in (config | but).items() if v is not None}
        body = {"config": config, "skip_launch": not launch}
        while not (made := await self.call("POST", f"/v1/apps/{APP}/machines", body)):
            await asyncio.sleep(1)  # the platform makes one a second
        return str(made["id"])

    async def until(self, true: Callable[[], object], for_s: float = 1800) -> None:
        async with asyncio.timeout(for_s):
            while not true():
                await asyncio.sleep(0.25)

    async def ended(self) -> None:
        """Until the goal is over, one way or the other."""
        await self.until(lambda: self.guard.record.state.rollbacks)
        await self.until(lambda: self.guard.record.state.goal is None)


@dataclass
class Aftermath:
    """What the journal and the world say in the end."""

    history: list[ev.Event]
    state: TargetState
    stage: Stage

    def of(self, kind: type[ev.Event]) -> list[Any]:
        return [e for e in self.history if isinstance(e, kind)]

    @property
    def outcomes(self) -> list[str]:
        return [e.outcome for e in self.of(ev.GoalEnded)]

    @property
    def pages(self) -> list[str]:
        """What woke or told people, without the work that is due afterwards."""
        return [e.summary for e in self.of(ev.PageQueued) if e.kind == "alert"]

    @property
    def rows(self) -> list[tuple[int, str]]:
        return [(r.version, r.status) for r in self.stage.app.releases if r.user == GUARD]

    def writes(self, kind: str) -> list[dict[str, Any]]:
        """What the guard wrote, oldest first."""
        written = [e for e in self.stage.app.ledger.events if e["owner"] == GUARD and e["kind"] == kind]
        return list(reversed(written))


def promises(
    after: Aftermath, *, goals: int = 1, rows_closed: bool = True, floor: bool = True, late_rows: int = 0
) -> None:
    """What holds whatever happens. ``late_rows`` are those that the platform made long after they were asked for."""
    automatic = Counter(e.candidate for e in after.of(ev.GoalSet) if e.by == "rollguard")
    assert all(n == 1 for n in automatic.values()), "two automatic rollbacks of one digest"
    assert sum(automatic.values()) <= goals
    assert after.state.goal is None, "the goal never ended"
    assert len(after.outcomes) == len(after.of(ev.GoalSet)), "a goal without an end"
    _every_write_was_intended(after)
    if floor:
        assert not [v for v in after.stage.app.ledger.violations if v.owner == GUARD], "the floor"
    assert len(after.rows) <= len(after.of(ev.GoalSet)) + late_rows, f"more rows than goals: {after.rows}"
    if rows_closed:
        assert not [r for r in after.rows if r[1] in {"pending", "running"}], f"a row left open: {after.rows}"
    incidents = len(after.of(ev.IncidentOpened))
    assert len(after.pages) <= PAGES_MAX * max(1, incidents), f"a page storm: {after.pages}"
    if after.of(ev.GoalSet) and after.outcomes[-1] != "restored":
        assert any("handed over to you" in page for page in after.pages), "not said"
    if after.stage.digests == {BAD.digest}:
        assert after.pages, "silence"


def _every_write_was_intended(after: Aftermath) -> None:
    intents, skewed = after.of(ev.StepIntended), after.stage.watches.skew_s != 0.0
    for write in after.writes("update"):
        assert BAD.digest not in write["detail"], "the candidate was installed again"
        mine = [i for i in intents if i.kind == "update" and i.machine == write["machine"]]
        assert any(skewed or i.at <= write["at"] for i in mine), f"an update of {write['machine']} without an intent"
    goals = after.of(ev.GoalSet)
    for write in [*after.writes("release_create"), *after.writes("release_patch")]:
        assert any(skewed or g.at <= write["at"] for g in goals), "a release row before the goal"
        assert any(i.kind.startswith("release_") and (skewed or i.at <= write["at"]) for i in intents)


Story = Callable[[Siege], Awaitable[object]]


def besiege(
    story: Story,
    policy: Policy = QUICK,
    *,
    machines: int = 4,
    images: Sequence[Image] = (GOOD, BAD, FINE),
    settle_s: float = 60.0,
    proven: bool = True,
    check: Any = CHECK,
    looks_ahead: bool = False,
    **expected: Any,
) -> Aftermath:
    """A guard has seen the good release and a person vouches for it; then the story; then a while of peace."""

    async def scene() -> Aftermath:
        stage = Stage(machines=machines, check=check, images=images)
        stage.looks_ahead = looks_ahead
        async with stage.host:
            await asyncio.sleep(20)
            life, guard, start = stage.born(policy)
            siege = Siege(stage, policy, guard, life, start())
            try:
                await asyncio.sleep(12)
                if proven:
                    await siege.acts.adopt("alice", "runs since May", None)
                await story(siege)
                await asyncio.sleep(settle_s)
            finally:
                await siege.end()
            return Aftermath(await stage.history(), await stage.state(), stage)

    after = run(scene())
    promises(after, **expected)
    return after
