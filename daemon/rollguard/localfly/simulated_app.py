"""The edge without sockets: answers for `https://APP.fly.dev` in simulated time, as the edge process would.

Requests that somebody makes go through the machines' own code; the users' traffic is a `Crowd`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from itertools import chain
from urllib.parse import urlsplit

from rollguard.localfly import machines
from rollguard.localfly.counters import exposition
from rollguard.localfly.crowd import HOST, PROXY_S, Crowd, Serving
from rollguard.localfly.faults import Faults
from rollguard.localfly.history import History, Sample
from rollguard.localfly.host import SimulatedHost
from rollguard.localfly.http1 import Request
from rollguard.localfly.prometheus_api import TEXT, PrometheusApi
from rollguard.localfly.pulse import Pulse
from rollguard.localfly.routing import Hold, Load, Machine, Refuse, Serve, Verdict, choose
from rollguard.localfly.world import World

FORCE = "fly-force-instance-id"
FEDERATE = re.compile(r"/prometheus/[\w.-]+/federate")
WOKEN_S_MAX = 15.0
UP = "fly_instance_up"

Answer = tuple[int, Mapping[str, str], bytes]


class SimulatedApp:
    """One app as the outside sees it. Time from `clock`, waiting by asyncio; the same seed gives the same answers."""

    def __init__(
        self,
        world: World,
        host: SimulatedHost,
        app: str,
        clock: Callable[[], float],
        *,
        rps: float = 20.0,
        seed: int = 0,
        region: str = "ord",
        faults: Faults | None = None,
    ) -> None:
        self.crowd = Crowd(app, region, rps, clock(), seed)
        self._world, self._host, self._clock = world, host, clock
        self._app = world.app(app)
        self._pulse = Pulse(world)
        self._loads: dict[str, Load] = {}
        self._served = 0
        self._history = History(self._samples, faults or Faults())
        self._prometheus = PrometheusApi(self._history, clock, spare_federation=faults is None)
        world.subscribe(self._changed)
        self._changed(app)

    async def answer(
        self, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        """Status, headers and body for one request; scrapes are not counted as responses."""
        parts = urlsplit(url)
        named = {name.lower(): value for name, value in (headers or {}).items()}
        if found := self._prometheus.answer(parts.path, parts.query, body):
            return found[0], {"content-type": found[1]}, found[2]
        if parts.path == "/metrics" and FORCE not in named:
            return 200, {"content-type": TEXT}, exposition(self.crowd.samples(self._clock()))
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        began = self._clock()
        answer = await self._proxy(Request(method, target, list(named.items()), body), named.get(FORCE))
        self.crowd.seen(answer[0], self._clock() - began + PROXY_S)
        return answer

    def _samples(self) -> Iterator[Sample]:
        up = (
            {"__name__": UP, "app": self._app.name, "region": m.region, "host": HOST, "instance": m.id}
            for m in self._app.present()
            if m.state == "started"
        )
        return chain(self.crowd.samples(self._clock()), ((UP, "gauge", labels, 1) for labels in up))

    async def _proxy(self, request: Request, forced: str | None) -> Answer:
        verdict = self._choose(forced)
        if isinstance(verdict, Hold):
            await self._wake(verdict.machine.id)
            verdict = self._choose(forced)
        if not isinstance(verdict, Serve):
            status, why = (verdict.status, verdict.why) if isinstance(verdict, Refuse) else (503, "no-route")
            return status, {"x-edge-error": why}, f"edge: {why}\n".encode()
        return await self._relay(verdict.machine.id, request)

    def _choose(self, forced: str | None) -> Verdict:
        asked = [machine for machine in self._app.present() if forced in {None, machine.id}]
        return choose([_routed(machine) for machine in asked], self._loads, forced=forced)

    async def _wake(self, machine_id: str) -> None:
        machine = self._world.wake(self._app.name, machine_id, self._clock())
        await self._pulse.until(self._app.name, lambda: machine.state == "started", WOKEN_S_MAX)

    async def _relay(self, machine_id: str, request: Request) -> Answer:
        began, app = self._clock(), self._host.app_of(machine_id)
        if app is None:
            return 502, {"x-edge-error": "connect", "x-machine": machine_id}, b"edge: connect\n"
        self._served += 1
        self._loads[machine_id] = Load(0, self._served)
        machine = self._app.machine(machine_id)
        answer = await app.answer(request)
        self.crowd.answered(machine_id, machine.region, answer.status, self._clock() - began)
        named = {"x-machine": machine_id, "x-image": machine.image.digest}
        return answer.status, {**dict(answer.headers), **named}, answer.body

    def _changed(self, app: str) -> None:
        """Users are sent elsewhere from now on."""
        if app == self._app.name:
            self.crowd.advance(self._clock())
            self.crowd.serve(
                [
                    Serving(machine.id, machine.region, inside.behaviour, inside)
                    for machine in self._app.machines.values()
                    if machine.routable and (inside := self._host.app_of(machine.id))
                ]
            )


def _routed(machine: machines.Machine) -> Machine:
    """The machine as the edge's route table has it."""
    return Machine(
        id=machine.id,
        host="",
        port=0,
        state=machine.state,
        cordoned=machine.cordoned,
        checks=machine.health,
        autostart=machine.autostart,
        region=machine.region,
    )
