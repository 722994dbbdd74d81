"""A whole guard on the simulated platform, in virtual time: several lives, one world, one disk."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping, Sequence

from rollguard.adapters.fly.client import FlyClient
from rollguard.adapters.fly.driver import FlyPlatform
from rollguard.adapters.journal.memory import MemoryDisk, MemoryJournal
from rollguard.adapters.signals.registry import build_sources
from rollguard.core import events as ev
from rollguard.core.lifecycle import TargetState, replay
from rollguard.core.model import Mode
from rollguard.core.pages import Kind, Page
from rollguard.core.policy import Action, Failing, Interlocks, Policy, Quorum, Rollback, Rule, Target, Verify
from rollguard.core.signals import HttpSignal, PlatformSignal, Scope, SecretRef
from rollguard.engine.guard import Guard
from rollguard.engine.readiness import ReadyWatch
from rollguard.engine.record import Record
from rollguard.engine.supervise import watch_over
from rollguard.engine.surroundings import LookAround
from rollguard.engine.watch import Watch
from rollguard.errors import Unavailable
from rollguard.localfly.api import Api
from rollguard.localfly.apps import App, AppSpec
from rollguard.localfly.faults import Faults
from rollguard.localfly.host import SimulatedHost
from rollguard.localfly.ids import Ids
from rollguard.localfly.images import Behaviour, Image
from rollguard.localfly.messages import ApiRequest, ApiResponse
from rollguard.localfly.simulated_app import SimulatedApp
from rollguard.localfly.world import World
from rollguard.ports import Clock, Delegate, HttpAnswer, Vitals
from tests.simulation.trouble import Disk, MovableClock, Trouble, Watches, kind_of
from tests.virtual_time import EPOCH, VirtualTimeLoop, wall_clock

APP = "hotdash-production"
GUARD, CI = "guard@example.com", "ci@example.com"
CHECK = {"type": "http", "path": "/health", "interval": "15s", "timeout": "5s", "grace_period": "10s"}
NONE = {"rollguard.migration": "none"}
GOOD = Image.build(f"registry.fly.io/{APP}:deployment-GOOD", labels=NONE)
BAD = Image.build(f"registry.fly.io/{APP}:deployment-BAD", Behaviour(error_share=1.0), labels=NONE)
FINE = Image.build(f"registry.fly.io/{APP}:deployment-FINE", Behaviour(latency_s=0.1), labels=NONE)
ENVIRON = {"FLY_API_TOKEN": "guard-token", "FLY_METRICS_TOKEN": "metrics-token"}
URL = f"https://{APP}.fly.dev/"


def a_policy() -> Policy:
    """The shipped policy's values, with one page that is probed everywhere."""
    home = HttpSignal(
        name="home",
        every_s=5.0,
        url=URL,
        scopes=frozenset({Scope.MACHINE, Scope.EDGE}),
        timeout_s=4.0,
        ok_status=frozenset(range(200, 400)),
    )
    pages_fail = Rule(
        name="pages-fail",
        condition=Failing(signal="home", k=3),
        then=Action.ROLLBACK,
        quorum=Quorum(machines=0.5, or_edge=True),
        cite="Critical functionality broken",
    )
    return Policy(
        target=Target(name=APP, app=APP, token=SecretRef(env="FLY_API_TOKEN")),
        signals=(home, PlatformSignal(name="machines", every_s=10.0)),
        rules=(pages_fail,),
        mode=Mode.ENFORCE,
        interlocks=Interlocks(),
        rollback=Rollback(),
        verify=Verify(settle_s=30.0, require=("home",)),
    )


class Killed(BaseException):
    """This life of the guard is over; nothing it still tries reaches anything."""


class Life:
    """One life: alive until killed. What goes through it stops getting through at that instant."""

    def __init__(self) -> None:
        self.alive = True

    def check(self) -> None:
        if not self.alive:
            raise Killed


class Wire:
    """``ports.Transport`` into the simulated world: a message takes time to arrive, and so does its answer."""

    def __init__(self, life: Life, api: Api, app: SimulatedApp, one_way_s: float, trouble: Trouble) -> None:
        self._life, self._api, self._app, self._one_way_s, self._trouble = life, api, app, one_way_s, trouble

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout_s: float = 10.0,
        max_bytes: int = 1 << 20,
    ) -> HttpAnswer:
        self._life.check()
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.sleep(self._one_way_s)
                self._life.check()
                answer = await self._deliver(method, url, headers or {}, body or b"")
                await asyncio.sleep(self._one_way_s)
        except TimeoutError:
            raise Unavailable(f"timeout after {timeout_s:g}s: {method} {url}") from None
        self._life.check()
        return answer

    async def _deliver(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> HttpAnswer:
        if f"{APP}.fly.dev" in url or "/prometheus/" in url:
            status, named, content = await self._app.answer(method, url, headers, body)
            return HttpAnswer(status, named, content)

        async def deliver() -> ApiResponse:
            self._life.check()
            return await self._api.handle(ApiRequest.of(method, url, headers, body))

        response = await self._trouble.carry(kind_of(method, url, headers, body), url, deliver)
        return HttpAnswer(response.status, response.headers, response.body)


class SlowJournal(MemoryJournal):
    """A journal whose disk takes a moment, before and after the write is durable."""

    def __init__(self, disk: MemoryDisk, life: Life, on_write: Callable[[], None]) -> None:
        super().__init__(disk, on_write)
        self._life = life

    async def append(self, events: Sequence[ev.Event], pages: Sequence[tuple[str, Page]] = ()) -> Sequence[ev.Recorded]:
        self._life.check()
        await asyncio.sleep(0.001)
        self._life.check()
        recorded = await super().append(events, pages)
        await asyncio.sleep(0.001)
        self._life.check()
        return recorded


class Stage:
    """The world, its host and users' edge; guards come and go on the same disk."""

    def __init__(
        self,
        *,
        machines: int = 4,
        images: Sequence[Image] = (GOOD, BAD, FINE),
        one_way_s: float = 0.02,
        check: Mapping[str, str] = CHECK,
    ) -> None:
        self.world = World(Ids(0))
        self.faults = Faults()
        self.api = Api(self.world, wall_clock, faults=self.faults)
        self.host = SimulatedHost(self.world, wall_clock, faults=self.faults)
        for image in images:
            self.world.images.push(image)
        tokens = {"guard-token": GUARD, "ci-token": CI}
        spec = AppSpec(name=APP, machines=machines, image=GOOD.ref, tokens=tokens, checks=(check,))
        self.app: App = self.world.create_app(spec, wall_clock())
        self.users = SimulatedApp(self.world, self.host, APP, wall_clock, rps=0.0)
        self.disk = MemoryDisk()
        self.good = images[0]
        self.trouble, self.full, self.watches = Trouble(), Disk(), Watches()
        self._one_way_s = one_way_s
        self.delegate_of: Callable[[Life], Delegate | None] = lambda life: None
        """Who rolls back for a life whose policy names another executor."""
        self.around_of: Callable[[Policy, Clock], LookAround | None] = lambda policy, clock: None
        """With what a life looks around."""
        self.looks_ahead = False
        """Whether lives look all the time if a rollback could happen."""
        self.ready: ReadyWatch | None = None

    def born(
        self, policy: Policy | None = None, limit: Mode = Mode.ENFORCE
    ) -> tuple[Life, Guard, Callable[[], asyncio.Task[None]]]:
        """A new life of the guard on the same disk: its switch, itself, and how to start it."""
        policy = policy or a_policy()
        life, clock, vitals = Life(), MovableClock(self.watches), Vitals()
        transport = Wire(life, self.api, self.users, self._one_way_s, self.trouble)
        platform = FlyPlatform(APP, FlyClient(transport, policy.target.token, ENVIRON), clock)
        record = Record(SlowJournal(self.disk, life, self.full.write), {"pager": frozenset({Kind.ALERT})}, vitals)
        watch = Watch(policy, platform, record, clock, vitals, lambda reading: None)
        around = self.around_of(policy, clock)
        guard = Guard(policy, watch, platform, record, clock, vitals, limit, around, self.delegate_of(life))

        ready = self.ready = ReadyWatch(guard, platform) if self.looks_ahead else None

        async def live() -> None:
            try:
                await record.open()
                async with asyncio.TaskGroup() as group:
                    sources = build_sources(policy, transport, ENVIRON)
                    group.create_task(watch_over(guard, record, clock, sources, ready=ready))
                    if around is not None:
                        group.create_task(around.look_forever())
            except* Killed:
                pass

        return life, guard, lambda: asyncio.create_task(live(), name="guard")

    async def history(self) -> list[ev.Event]:
        """Everything in the journal."""
        return [entry.event for entry in await MemoryJournal(self.disk).replay()]

    async def state(self) -> TargetState:
        """What the journal amounts to."""
        return replay(await MemoryJournal(self.disk).replay())

    async def deploy(self, image: Image) -> None:
        """What flyctl leaves behind, without its waits: a release row and every machine on the image."""
        headers = {"authorization": "Bearer ci-token"}

        async def call(method: str, path: str, body: bytes) -> bytes:
            answer = await self.api.handle(ApiRequest.of(method, f"https://fly{path}", headers, body))
            while answer.status == 409:  # the guard holds the machine; a deployer waits for its lease
                await asyncio.sleep(1)
                answer = await self.api.handle(ApiRequest.of(method, f"https://fly{path}", headers, body))
            assert answer.status < 300, answer.body
            return answer.body

        row = json.loads(
            await call(
                "POST",
                "/api/v1/releases",
                json.dumps(
                    {
                        "app_name": APP,
                        "build_id": 0,
                        "definition": {"app": APP},
                        "image": image.ref,
                        "strategy": "ROLLING",
                    }
                ).encode(),
            )
        )["release"]
        for machine in list(self.app.machines.values()):
            config = dict(machine.config) | {"image": image.ref}
            config["metadata"] = dict(config["metadata"]) | {
                "fly_release_id": row["id"],
                "fly_release_version": str(row["version"]),
            }
            await call("POST", f"/v1/apps/{APP}/machines/{machine.id}", json.dumps({"config": config}).encode())
        await call(
            "PATCH", f"/api/v1/releases/{row['id']}", json.dumps({"status": "complete", "metadata": None}).encode()
        )

    async def hold_machine(self, owner: str) -> None:
        """Somebody takes a lease on the first machine, as a deployer would."""
        token = {CI: "ci-token", GUARD: "guard-token"}[owner]
        machine = next(iter(self.app.machines))
        url = f"https://fly/v1/apps/{APP}/machines/{machine}/lease?ttl=60"
        answer = await self.api.handle(ApiRequest.of("POST", url, {"authorization": f"Bearer {token}"}, b"{}"))
        assert answer.status == 201, answer.body

    @property
    def digests(self) -> set[str]:
        """What the machines run."""
        return {m.image.digest for m in self.app.machines.values()}

    def updates(self, owner: str) -> dict[str, int]:
        """How often this owner updated each machine, as the platform counted."""
        counts: dict[str, int] = {}
        for event in self.app.ledger.events:
            if event["kind"] == "update" and event["owner"] == owner:
                counts[event["machine"]] = counts.get(event["machine"], 0) + 1
        return counts


__all__ = ["BAD", "CI", "EPOCH", "FINE", "GOOD", "GUARD", "Killed", "Life", "Stage", "VirtualTimeLoop", "a_policy"]
