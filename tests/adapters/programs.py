"""Small programs that stand for flyctl and for the team's script, and the order that they are told."""

from __future__ import annotations

import asyncio
import os
import stat
import sys
import time
from collections.abc import Callable
from pathlib import Path

from rollguard.adapters.executors.command import command
from rollguard.adapters.executors.process import ProcessDelegate
from rollguard.core.executors import Command
from rollguard.core.order import Begun, Order, Progress, Work

NOON = 1_787_313_600.0
DIGEST = "sha256:" + "9a" * 32
ORDER = Order(
    id="20260821T120000Z-1.1787313600",
    incident="20260821T120000Z-1",
    app="shop",
    version=41,
    image=f"registry.fly.io/shop@{DIGEST}",
    reason="rollguard 20260821T120000Z-1.1787313600: down, by rollguard",
    at=NOON,
)
PATIENCE_S = 20.0


def program(folder: Path, body: str, name: str = "rollback", options: str = "-IS") -> str:
    """A program in Python; where it is."""
    path = folder / name
    path.write_text(f"#!{sys.executable} {options}\nimport json, os, signal, sys, time\n{body}")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return str(path)


def told(folder: Path, body: str, *words: str, env: tuple[str, ...] = (), grace_s: float = 5.0) -> ProcessDelegate:
    """A delegate whose command is that program."""
    settings = Command(run=(program(folder, body), *words), env=env)
    delegate = command(settings, os.environ, folder / "orders")
    delegate.grace_s = grace_s
    return delegate


async def ended(delegate: ProcessDelegate, begun: Begun) -> Progress:
    """Its last word."""
    async with asyncio.timeout(PATIENCE_S):
        while (word := await delegate.progress(begun)).work is Work.RUNNING:
            await asyncio.sleep(0.01)
    return word


async def until(true: Callable[[], bool]) -> None:
    """Return once that holds."""
    give_up_at = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < give_up_at, "it never came true"
        await asyncio.sleep(0.01)


def is_alive(process: int) -> bool:
    """Whether a process is there, and not just waiting to be buried."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
