"""One machine's app as a process: ``python -m rollguard.localfly.sample_app --port … --image '<json>'``.

It listens once its image has booted, dies the way its image dies, and drains on SIGINT and SIGTERM: it goes on
answering for half a second (routing takes a moment to follow), closes its listener, finishes what is in
flight, exits 0.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
from collections.abc import Sequence

from rollguard.localfly.hotdash import HotDash, dies_after
from rollguard.localfly.http1_server import Server
from rollguard.localfly.images import Image
from rollguard.localfly.serving import announce, log_to_stderr, on_stop, watch_stdin

LAME_DUCK_S = 0.5
DRAIN_S_MAX = 5.0
KILLED_BY_SIGINT = 130


def die(code: int) -> None:
    """End at once, as a killed process does: whatever is in flight is cut."""
    os._exit(code)


async def run(args: argparse.Namespace) -> None:
    """Boot, serve until told to stop, drain. Raises OSError where the port cannot be had."""
    image = Image.from_json(json.loads(args.image))
    behaviour = image.behaviour
    stop = asyncio.Event()
    on_stop(stop.set if behaviour.drains else lambda: die(KILLED_BY_SIGINT))
    if args.watch_stdin:
        watch_stdin(lambda: die(0))
    if (end := dies_after(behaviour)) is not None:
        asyncio.get_running_loop().call_later(end[0], die, end[1])
    app = HotDash(behaviour, secret=args.app, dice=random.Random(args.instance))
    server = Server(app.answer, headers=(("x-machine", args.machine), ("x-image", image.digest)))
    if await happens(stop, within_s=behaviour.boots_in_s):
        return
    announce(args.host, await server.start(args.host, args.port))
    await stop.wait()
    await asyncio.sleep(LAME_DUCK_S)
    await server.drain(DRAIN_S_MAX)


async def happens(event: asyncio.Event, *, within_s: float) -> bool:
    """Whether the event is set within that time; returns as soon as it is."""
    try:
        async with asyncio.timeout(within_s):
            return await event.wait()
    except TimeoutError:
        return False


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="sample_app", description="One machine of HotDash.")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--app", required=True)
    parser.add_argument("--machine", required=True)
    parser.add_argument("--instance", required=True, help="the ULID of this version; also seeds its dice")
    parser.add_argument("--image", required=True, help="an Image as JSON")
    parser.add_argument("--watch-stdin", action="store_true", help="exit when stdin ends")
    args = parser.parse_args(argv)
    log_to_stderr(args.machine)
    asyncio.run(run(args))
    return 0


if __name__ == "__main__":
    sys.exit(main())
