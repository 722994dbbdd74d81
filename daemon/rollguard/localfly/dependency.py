"""Something an app depends on, such as its database: ``python -m rollguard.localfly.dependency --port 0``.

``GET /`` is answered 200 until ``POST /local/v1/down``; its body, ``{"how": "503"}`` (the default), ``{"how": "hang"}``
or ``{"how": "drop"}``, says what it is like to ask then. ``POST /local/v1/up`` heals it.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence

from rollguard.localfly.fault_script import Fault, FaultScript
from rollguard.localfly.http1 import Request, Response
from rollguard.localfly.http1_server import Server
from rollguard.localfly.serving import announce, log_to_stderr, on_stop, watch_stdin

WAYS_DOWN = ("503", "hang", "drop")
DOWN, UP = "/local/v1/down", "/local/v1/up"
DRAIN_S_MAX = 0.5
JSON = ("content-type", "application/json")


class Dependency:
    """Answers, or fails as it is told."""

    def __init__(self) -> None:
        self._script = FaultScript(_well)

    async def answer(self, request: Request) -> Response:
        """Raises HangUpError where the connection is to be cut."""
        match request.method, request.path:
            case "POST", path if path == DOWN:
                return self._fall(request.body)
            case "POST", path if path == UP:
                self._script.play(())
                return _said(200, "up")
        return await self._script.answer(request)

    def _fall(self, body: bytes) -> Response:
        try:
            how = json.loads(body or b"{}").get("how", WAYS_DOWN[0])
        except (ValueError, AttributeError, RecursionError):
            how = None
        if how not in WAYS_DOWN:
            return _said(422, f"how must be one of {', '.join(WAYS_DOWN)}")
        self._script.play((Fault(do=how, times=None),))
        return _said(200, f"down: {how}")


async def _well(request: Request) -> Response:
    return _said(200, "up") if request.path == "/" else _said(404, "there is nothing but /")


def _said(status: int, word: str) -> Response:
    return Response(status, json.dumps({"status": word}).encode(), [JSON])


async def run(args: argparse.Namespace) -> None:
    """Serve until told to stop. Raises OSError where the port cannot be had."""
    stop = asyncio.Event()
    on_stop(stop.set)
    if args.watch_stdin:
        watch_stdin(stop.set)
    server = Server(Dependency().answer)
    announce(args.host, await server.start(args.host, args.port))
    await stop.wait()
    await server.drain(DRAIN_S_MAX)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="dependency", description="What an app depends on.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--watch-stdin", action="store_true", help="exit when stdin ends")
    args = parser.parse_args(argv)
    log_to_stderr("dependency")
    asyncio.run(run(args))
    return 0


if __name__ == "__main__":
    sys.exit(main())
