"""How every process of the local platform starts and ends: one ready line on stdout, a stop on a signal."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import sys
from collections.abc import Callable

LINE_BYTES_MAX = 64 * 1024
WHOLE_BYTES_MAX = 4096  # what a pipe takes in one piece or not at all


def log_to_stderr(who: str) -> None:
    """Log lines go to stderr, each with the process's name in front; stdout is for machines."""
    logging.basicConfig(stream=sys.stderr, level=logging.INFO, format=f"%(asctime)s {who} %(levelname)s %(message)s")


def announce(host: str, port: int) -> None:
    """Say on stdout, in one JSON line, that we serve and where."""
    print(json.dumps({"ready": True, "url": f"http://{host}:{port}"}), flush=True)  # noqa: T201


def on_stop(act: Callable[[], object]) -> None:
    """Call ``act`` on SIGINT and on SIGTERM, instead of dying."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, act)


def watch_stdin(act: Callable[[], None], take_line: Callable[[bytes], None] | None = None) -> None:
    """Call ``act`` once stdin is at its end: whoever held the other end is gone. It must be a pipe or a socket.

    What is said on it goes to ``take_line``, line by line; without one it is thrown away.
    """
    loop = asyncio.get_running_loop()
    fd = sys.stdin.fileno()
    rest = b""

    def readable() -> None:
        nonlocal rest
        said = os.read(fd, 4096)
        if not said:
            loop.remove_reader(fd)
            act()
        *lines, rest = (rest + said).split(b"\n")
        rest = rest[-LINE_BYTES_MAX:]
        if take_line is not None:
            for line in lines:
                take_line(line)

    loop.add_reader(fd, readable)


def line_writer() -> Callable[[str], None]:
    """What writes a line to stdout without ever waiting: where nobody reads fast enough, the line is lost."""
    fd = sys.stdout.fileno()
    os.set_blocking(fd, False)

    def write(line: str) -> None:
        with contextlib.suppress(BlockingIOError, BrokenPipeError):
            os.write(fd, line.encode()[: WHOLE_BYTES_MAX - 1] + b"\n")

    return write
