"""The proxy users talk to: ``python -m rollguard.localfly.edge --platform URL --app APP --port P``.

It behaves as Fly's does where a guard could tell: it balances over routable machines, obeys
``fly-force-instance-id``, wakes a sleeping machine when a request needs it, retries a failed connect once and nothing
else, and counts every response, whoever asked. ``GET /metrics`` (without a forced machine: with one, it is the app's
own) and ``/prometheus/ORG/…`` (see ``prometheus_api``) serve the counters and are not counted. The latter can be made
to fail, by ``POST /local/v1/faults`` (see ``fault_script``), and to lag, to be empty or to leave gaps, by
``POST /local/v1/metrics``: ``metrics`` and ``metrics_lag_s`` as in ``faults``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import chain
from typing import Never

from rollguard.localfly.counters import exposition
from rollguard.localfly.edge_counters import Counters
from rollguard.localfly.fault_script import FaultScript
from rollguard.localfly.faults import Faults
from rollguard.localfly.history import EVERY_S, History, Sample
from rollguard.localfly.http1 import (
    HOP_BY_HOP,
    BadMessageError,
    Request,
    Response,
    Streams,
    connect,
    exchange,
)
from rollguard.localfly.http1_server import Server
from rollguard.localfly.prometheus_api import PrometheusApi
from rollguard.localfly.refusal import Refused
from rollguard.localfly.routes import Platform, RouteFollower
from rollguard.localfly.routing import UNREACHABLE, Hold, Load, Machine, Refuse, Serve, Verdict, choose
from rollguard.localfly.serving import announce, log_to_stderr, on_stop, watch_stdin

FORCE = "fly-force-instance-id"
EDGE_ERROR = "x-edge-error"  # only on answers no machine made
PROMETHEUS = "/prometheus/"
METRICS_CONTROL = "/local/v1/metrics"
UPSTREAM_S_MAX = 30.0
CONNECT_S_MAX = 2.0
CONNECT_TRIES = 2
WOKEN_S_MAX = 15.0
WOKEN_PAUSE_S = 0.05
FIRST_TABLE_S_MAX = 10.0
DRAIN_S_MAX = 2.0
PROMETHEUS_TEXT = ("content-type", "text/plain; version=0.0.4; charset=utf-8")
JSON = ("content-type", "application/json")
PLAIN = ("content-type", "text/plain; charset=utf-8")

log = logging.getLogger(__name__)


class Edge:
    """Answers users' requests from the machines of one app."""

    def __init__(
        self,
        platform: Platform,
        follower: RouteFollower,
        counters: Counters,
        *,
        clock: Callable[[], float] = time.monotonic,
        upstream_s_max: float = UPSTREAM_S_MAX,
    ) -> None:
        self._platform, self._follower, self._counters = platform, follower, counters
        self._clock, self._upstream_s_max = clock, upstream_s_max
        self._loads: dict[str, Load] = {}
        self._served = 0
        self._wakes: dict[str, asyncio.Task[None]] = {}
        self._faults = Faults()
        self._history = History(self._samples, self._faults)
        self._prometheus = PrometheusApi(self._history, time.time)

    def table_changed(self) -> None:
        """A new route table is in force."""
        self._counters.keep(self._follower.machines)

    async def answer(self, request: Request) -> Response:
        """What the user gets. Never fails: where no machine answers, the proxy does."""
        forced = request.header(FORCE)
        if request.path == "/metrics" and forced is None:
            return Response(200, exposition(self._counters.samples()), [PROMETHEUS_TEXT])
        if request.path == METRICS_CONTROL:
            return self._control(request)
        if found := self._prometheus.answer(*request.target.partition("?")[::2], request.body):
            return Response(found[0], found[2], [("content-type", found[1])])
        began = self._clock()
        response = await self._proxy(request, forced)
        self._counters.seen(response.status, self._clock() - began)
        return response

    async def keep_history(self) -> Never:
        """Take a sample whenever one is due."""
        while True:
            self._history.record(time.time())
            await asyncio.sleep(EVERY_S)

    def _samples(self) -> Iterator[Sample]:
        return chain(self._counters.samples(), self._counters.up(self._follower.machines))

    def _control(self, request: Request) -> Response:
        """Change the faults of the metrics, and show them."""
        try:
            wanted = json.loads(request.body or b"{}")
            self._faults.change(
                {name: wanted[name] for name in ("metrics", "metrics_lag_s", "times") if name in wanted}
            )
        except (ValueError, TypeError, RecursionError, Refused) as error:
            return Response(422, json.dumps({"error": str(error)}).encode(), [JSON])
        return Response(200, json.dumps(self._faults.to_json()).encode(), [JSON])

    async def _proxy(self, request: Request, forced: str | None) -> Response:
        """Find a machine and relay. Only a failed connect is tried again, once, and on another machine."""
        tried: set[str] = set()
        woken = False
        for _ in range(CONNECT_TRIES):
            verdict = self._choose(forced, tried)
            if isinstance(verdict, Hold):
                await self._woken(verdict.machine, forced)
                woken, verdict = True, self._choose(forced, tried)
            if not isinstance(verdict, Serve):
                refusal = verdict if isinstance(verdict, Refuse) else Refuse(503, "no-route")
                return _proxy_error(refusal)
            machine = verdict.machine
            self._took(machine.id, +1)
            try:
                streams = await self._connect(machine, WOKEN_S_MAX if woken else 0.0)
                if streams is not None:
                    return await self._relay(machine, streams, request)
            finally:
                self._took(machine.id, -1)
            tried.add(machine.id)
            if forced is not None:
                break
        return _proxy_error(UNREACHABLE)

    def _choose(self, forced: str | None, tried: set[str]) -> Verdict:
        return choose(self._follower.machines, self._loads, forced=forced, tried=tried, waking=self._wakes)

    def _took(self, machine_id: str, change: int) -> None:
        """One request more, or less, in flight to the machine."""
        load = self._loads.get(machine_id, Load())
        self._served += change > 0
        self._loads[machine_id] = Load(load.in_flight + change, self._served if change > 0 else load.newest)
        if len(self._loads) > 2 * len(self._follower.machines) + 10:
            self._loads = {each: load for each, load in self._loads.items() if load.in_flight}

    async def _connect(self, machine: Machine, patience_s: float) -> Streams | None:
        """A connection to the machine, or None. A woken one gets patience: it may not listen yet."""
        deadline = self._clock() + patience_s
        while True:
            try:
                async with asyncio.timeout(CONNECT_S_MAX):
                    return await connect(machine.host, machine.port)
            except (OSError, TimeoutError):
                if self._clock() >= deadline:
                    return None
            await asyncio.sleep(WOKEN_PAUSE_S)

    async def _relay(self, machine: Machine, streams: Streams, request: Request) -> Response:
        """Send the request over its own connection and return the machine's answer, counted."""
        began = self._clock()
        try:
            async with asyncio.timeout(self._upstream_s_max):
                answer = await exchange(streams, _forwarded(request))
        except TimeoutError:
            return _proxy_error(Refuse(504, "timeout"), machine)
        except (OSError, BadMessageError):
            return _proxy_error(Refuse(502, "reset"), machine)
        finally:
            streams[1].close()  # never reused, so that a draining machine cannot cut the next request
        self._counters.answered(machine, answer.status, self._clock() - began)
        return replace(answer, headers=[pair for pair in answer.headers if pair[0] != EDGE_ERROR])

    async def _woken(self, machine: Machine, forced: str | None) -> None:
        """Wake the machine (once, however many wait) and wait until it serves this request, or time is up."""
        task = self._wakes.get(machine.id)
        if task is None:
            task = self._wakes[machine.id] = asyncio.create_task(self._wake(machine.id))
            task.add_done_callback(lambda _: self._wakes.pop(machine.id, None))
        if forced is not None:
            await self._follower.until(lambda m: m.state == "started", machine.id, WOKEN_S_MAX)
        else:
            await asyncio.wait([task])

    async def _wake(self, machine_id: str) -> None:
        try:
            await self._platform.wake(machine_id)
        except (OSError, TimeoutError, BadMessageError, ValueError) as error:
            log.warning("could not wake %s: %s", machine_id, error or type(error).__name__)
            return
        await self._follower.until(lambda machine: machine.routable, machine_id, WOKEN_S_MAX)


def _forwarded(request: Request) -> Request:
    """The request as a machine gets it."""
    headers = [pair for pair in request.headers if pair[0] not in HOP_BY_HOP]
    return Request(request.method, request.target, [*headers, ("x-forwarded-proto", "https")], request.body)


def _proxy_error(refusal: Refuse, machine: Machine | None = None) -> Response:
    """An answer no machine made; ``x-machine`` names the one that failed, if one was reached."""
    named = [("x-machine", machine.id)] if machine else []
    body = f"edge: {refusal.why}\n".encode()
    return Response(refusal.status, body, [PLAIN, (EDGE_ERROR, refusal.why), *named])


async def run(args: argparse.Namespace) -> None:
    """Serve until told to stop. Raises OSError where the port cannot be had, ValueError on a bad URL."""
    stop = asyncio.Event()
    on_stop(stop.set)
    if args.watch_stdin:
        watch_stdin(stop.set)
    platform = Platform(args.platform, args.app)
    follower, counters = RouteFollower(platform), Counters(args.app, args.region)
    edge = Edge(platform, follower, counters)
    server = Server(FaultScript(edge.answer, covers=PROMETHEUS).answer)
    async with asyncio.TaskGroup() as group:
        following = group.create_task(follower.run(edge.table_changed))
        remembering = group.create_task(edge.keep_history())
        port = await server.start(args.host, args.port)
        if not await follower.heard(FIRST_TABLE_S_MAX):
            log.warning("serving without a route table: every request is answered 503")
        announce(args.host, port)
        await stop.wait()
        await server.drain(DRAIN_S_MAX)
        following.cancel()
        remembering.cancel()


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="edge", description="The proxy in front of one app's machines.")
    parser.add_argument("--platform", required=True, help="the platform's URL")
    parser.add_argument("--app", required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--region", default="ord")
    parser.add_argument("--watch-stdin", action="store_true", help="exit when stdin ends")
    args = parser.parse_args(argv)
    log_to_stderr("edge")
    asyncio.run(run(args))
    return 0


if __name__ == "__main__":
    sys.exit(main())
