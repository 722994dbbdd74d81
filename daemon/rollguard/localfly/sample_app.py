"""One machine's app as a process: ``python -m rollguard.localfly.sample_app --port … --image '<json>'``.

It listens once its image has booted, dies the way its image dies, and says on stdout, line by line, what belongs into
the platform's log. A line of JSON on its stdin, which only its parent can write to, is the behaviour from then on. It
drains on SIGINT and SIGTERM: it goes on answering for half a second (routing takes a moment to follow), closes its
listener, finishes what is in flight, exits 0.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
from collections.abc import Sequence

from rollguard.localfly.hotdash import HotDash, start_line
from rollguard.localfly.http1_server import Server
from rollguard.localfly.images import Behaviour, Image
from rollguard.localfly.lifespan import Lifespan
from rollguard.localfly.serving import announce, line_writer, log_to_stderr, on_stop, watch_stdin

LAME_DUCK_S = 0.5
DRAIN_S_MAX = 5.0
KILLED_BY_SIGINT = 130


def die(code: int) -> None:
    """End at once, as a killed process does: whatever is in flight is cut."""
    os._exit(code)


async def run(args: argparse.Namespace) -> None:
    """Boot, serve until told to stop, drain. Raises OSError where the port cannot be had."""
    image = Image.from_json(json.loads(args.image))
    life, log = Lifespan(die), line_writer()
    app = HotDash(image.behaviour, secret=args.app, dice=random.Random(args.instance), log=log)
    life.follow(image.behaviour)

    def behave(said: bytes) -> None:
        behaviour = Behaviour.from_json(json.loads(said))
        app.behave(behaviour)
        life.follow(behaviour)

    stop = asyncio.Event()
    on_stop(lambda: stop.set() if app.behaviour.drains else die(KILLED_BY_SIGINT))
    if args.watch_stdin:
        watch_stdin(lambda: die(0), behave)
    server = Server(app.answer, headers=(("x-machine", args.machine), ("x-image", image.digest)))
    if await happens(stop, within_s=image.behaviour.boots_in_s):
        return
    announce(args.host, await server.start(args.host, args.port))
    log(start_line(image.digest, args.instance))
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
