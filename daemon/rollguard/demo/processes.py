"""The processes of one run of the demo: started one by one, ended together, whatever happens."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

READY_S_MAX = 30.0
LEAVE_S_MAX = 5.0
LOG_TAIL = 5
PASSED_ON = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "PYTHONPATH", "VIRTUAL_ENV", "SYSTEMROOT")


class StageError(Exception):
    """The demo itself does not work on this machine; the sentence says what and where to look."""


def environment(**settings: str) -> dict[str, str]:
    """The environment of a child: what a program needs to run at all, and ``settings``. Nothing else of ours."""
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ} | settings


class Processes:
    """Children with their logs in ``folder``. Used as ``async with``; at its end none of them lives."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._children: dict[str, Process] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await asyncio.gather(*(self.end(name) for name in self._children))
        finally:  # interrupted once more while they were asked kindly
            for child in self._children.values():
                _kill(child)

    async def serve(self, name: str, module: str, *args: str) -> str:
        """Start a server of the local platform; return its URL. It leaves when we do, however we die."""
        child = await self.start(name, "-m", f"rollguard.localfly.{module}", *args, "--watch-stdin", stdin=PIPE)
        assert child.stdout is not None
        with contextlib.suppress(TimeoutError, ValueError, KeyError):
            async with asyncio.timeout(READY_S_MAX):
                return str(json.loads(await child.stdout.readline())["url"])
        raise StageError(f"the {name} did not start: {self.last_words(name)}")

    async def start(self, name: str, *args: str, env: Mapping[str, str] | None = None, stdin: int = DEVNULL) -> Process:
        """Start ``python ARGS``; its stderr goes on at the end of ``NAME.log``, its stdout can be read."""
        with self.log(name).open("ab") as log:
            child = await asyncio.create_subprocess_exec(
                sys.executable,
                *args,
                stdin=stdin,
                stdout=PIPE,
                stderr=log,
                env=environment() if env is None else env,
                start_new_session=True,  # Ctrl-C is for us; we end them in order
            )
        self._children[name] = child
        return child

    async def run(
        self, name: str, *args: str, timeout_s: float, env: Mapping[str, str] | None = None
    ) -> tuple[int, str]:
        """Run ``python ARGS`` to its end; its exit code and what it said on stdout."""
        child = await self.start(name, *args, env=env)
        try:
            async with asyncio.timeout(timeout_s):
                out, _ = await child.communicate()
        except TimeoutError:
            _kill(child)
            await child.communicate()
            raise StageError(f"{name} took longer than {timeout_s:g} s: {self.last_words(name)}") from None
        return child.returncode or 0, out.decode(errors="replace").strip()

    async def end(self, name: str) -> str:
        """Ask one to leave, and make it; return what it still had to say on stdout."""
        child = self._children[name]
        with contextlib.suppress(ProcessLookupError):
            child.terminate()
        try:
            async with asyncio.timeout(LEAVE_S_MAX):
                out, _ = await child.communicate()
        except TimeoutError:
            _kill(child)
            out, _ = await child.communicate()
        return (out or b"").decode(errors="replace").strip()

    async def kill(self, name: str) -> None:
        """SIGKILL: no chance to clean anything up."""
        _kill(self._children[name])
        await self._children[name].communicate()

    def check(self, *names: str) -> None:
        """Raise ``StageError`` when one of these is gone."""
        for name in names:
            if (code := self._children[name].returncode) is not None:
                raise StageError(f"the {name} ended by itself (exit code {code}): {self.last_words(name)}")

    def log(self, name: str) -> Path:
        """Where a child's log is."""
        return self.folder / f"{name}.log"

    def last_words(self, name: str) -> str:
        """The end of a child's log."""
        try:
            lines = self.log(name).read_text(encoding="utf-8", errors="replace").splitlines()
        except OSError:
            lines = []
        return " | ".join(lines[-LOG_TAIL:]) or "it said nothing"


def _kill(child: Process) -> None:
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
