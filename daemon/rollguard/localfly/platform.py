"""The platform as a process: ``python -m rollguard.localfly.platform --port 0``.

World, interfaces and process host behind one loopback port: the Machines API, GraphQL and REST as flyctl and a guard
know them, and `/local/v1` for the edge and the demo. Prints one JSON line when it is ready.
"""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
import time
from collections.abc import Sequence

from aiohttp import web

from rollguard.localfly.api import Api
from rollguard.localfly.faults import Faults
from rollguard.localfly.ids import Ids
from rollguard.localfly.local_api import PREFIX, LocalApi
from rollguard.localfly.messages import AnswerLost, ApiRequest
from rollguard.localfly.processes import ProcessHost
from rollguard.localfly.pulse import Pulse
from rollguard.localfly.serving import announce, log_to_stderr, on_stop, watch_stdin
from rollguard.localfly.world import World

BODY_BYTES_MAX = 4 * 1024 * 1024
PULL_S = 0.1
log = logging.getLogger(__name__)


class Platform:
    """One world with real processes under it, and every interface over it."""

    def __init__(self, seed: int, *, rate_limits: bool = True) -> None:
        self.world, self.faults = world, faults = World(Ids(seed)), Faults(rate_limits=rate_limits)
        pulse = Pulse(world)
        self.host = ProcessHost(world, time.time, faults=faults, pull_s=PULL_S)
        self._local = LocalApi(world, time.time, pulse=pulse, faults=faults)
        self._fly = Api(world, time.time, pulse=pulse, faults=faults)

    def runner(self) -> web.AppRunner:
        """A server of all interfaces; one whose client hangs up works no further for it."""
        server = web.Application(client_max_size=BODY_BYTES_MAX)
        server.router.add_route("*", "/{path:.*}", self.answer)
        return web.AppRunner(server, access_log=None, handler_cancellation=True, shutdown_timeout=1.0)

    async def answer(self, request: web.Request) -> web.Response:
        """One request from a socket through the interface it is for."""
        asked = ApiRequest.of(request.method, request.raw_path, request.headers, await request.read())
        interface = self._local if asked.path.startswith(PREFIX + "/") else self._fly
        try:
            response = await interface.handle(asked)
        except AnswerLost:
            return _cut(request)
        return web.Response(status=response.status, headers=response.headers, body=response.body)


def _cut(request: web.Request) -> web.Response:
    """Cut the connection; what is returned goes nowhere."""
    if request.transport is not None:
        request.transport.abort()
    return web.Response(status=500)


async def serve(args: argparse.Namespace) -> None:
    """Serve until told to stop; then every machine is gone too."""
    stop = asyncio.Event()
    on_stop(stop.set)
    if args.watch_stdin:
        watch_stdin(stop.set)
    platform = Platform(args.seed, rate_limits=args.rate_limits == "on")
    runner = platform.runner()
    await runner.setup()
    try:
        async with platform.host:
            site = web.TCPSite(runner, args.host, args.port)
            await site.start()
            announce(args.host, runner.addresses[0][1])
            await stop.wait()
    finally:
        await runner.cleanup()


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="platform", description="A local Fly.io: world, interfaces, machines.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0: the system chooses")
    parser.add_argument("--seed", type=int, default=0, help="of every identifier")
    parser.add_argument("--rate-limits", choices=("on", "off"), default="on", help="of the Machines API")
    parser.add_argument("--watch-stdin", action="store_true", help="exit when stdin ends")
    args = parser.parse_args(argv)
    log_to_stderr("platform")
    try:
        asyncio.run(serve(args))
    except OSError as error:
        log.error("cannot listen on %s:%s: %s", args.host, args.port, error.strerror)  # noqa: TRY400  (no bug, no stack)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
