"""How every process of the local platform starts and ends: one ready line on stdout, a stop on a signal."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Callable


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


def watch_stdin(act: Callable[[], None]) -> None:
    """Call ``act`` once stdin is at its end: whoever held the other end is gone. It must be a pipe or a socket."""
    loop = asyncio.get_running_loop()
    fd = sys.stdin.fileno()

    def readable() -> None:
        if not os.read(fd, 4096):
            loop.remove_reader(fd)
            act()

    loop.add_reader(fd, readable)
