"""Programs of this machine that roll back: begun once, bounded in time and in words, never alive without a guard."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rollguard.adapters.executors import leash
from rollguard.core import text
from rollguard.core.order import Begun, Order, Progress, Work
from rollguard.errors import Refused, Unavailable

GRACE_S = 5.0
"""How long a program that is told to end may take before it is killed."""
SPAWN_S = 10.0
LOOK_S = 0.1
LINES_SHOWN, LINE_CHARS_MAX, TAIL_BYTES = 5, 110, 8192
SECRET_CHARS_MIN = 6
"""Shorter ones cannot be told from ordinary words."""
FOLDERS_MAX = 20
PASSED_ON = ("PATH", "LANG", "LC_ALL", "TZ", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
PASSED_ON_PROXIES = ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy")
_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A program with its words, all that it finds in its environment, and where (None: where the guard is)."""

    words: tuple[str, ...]
    environ: Mapping[str, str]
    folder: Path | None = None


CallOf = Callable[[Order, Path], Call]
"""The call for an order, and a private empty folder for it. Raises ``Refused``."""
Hidden = Callable[[], Mapping[str, str]]
"""Values, by name, that nobody should read in what a program prints."""
Reading = Callable[[int, str], str]
"""What a program's exit code and output mean, in a few words; nothing where its last line says it best."""


def environ_for(environ: Mapping[str, str], *names: str) -> dict[str, str]:
    """Of the guard's own environment what any program needs, and what is named; nothing else of it is passed on."""
    return {name: environ[name] for name in (*PASSED_ON, *PASSED_ON_PROXIES, *names) if name in environ}


@dataclass(slots=True)
class ProcessDelegate:
    """``ports.Delegate`` by a program. One folder an order: what it printed, how it ended, and who is still there."""

    name: str
    timeout_s: float
    root: Path
    call_of: CallOf
    reading: Reading
    hidden: Hidden
    program: str
    environ: Mapping[str, str]
    grace_s: float = GRACE_S
    poll_s: float = 1.0
    _leashes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)
    _starting: set[str] = field(default_factory=set)

    async def begin(self, order: Order) -> Begun:
        """See ``ports.Delegate``."""
        try:
            async with asyncio.timeout(SPAWN_S):
                return await asyncio.to_thread(self._started, order)
        except TimeoutError:
            raise Unavailable(f"{self.program} did not start within {SPAWN_S:g}s") from None

    async def find(self, order: Order) -> Begun | None:
        """See ``ports.Delegate``. There is nothing to look for: the folder of the order says it all."""
        return Begun(order.id)

    async def progress(self, begun: Begun) -> Progress:
        """See ``ports.Delegate``."""
        return await asyncio.to_thread(self._progress, begun.id)

    async def cancel(self, begun: Begun) -> None:
        """See ``ports.Delegate``. One of an earlier life was told to end by the end of that life."""
        if (held := self._leashes.get(begun.id)) is not None:
            await self._end(held)

    async def printed(self, begun: Begun) -> str:
        """See ``ports.Delegate``."""
        return await asyncio.to_thread(self._output, begun.id, leash.OUTPUT_BYTES_MAX)

    async def trial(self) -> str:
        """See ``ports.Delegate``."""
        path = self.environ.get("PATH", os.defpath)
        return "" if shutil.which(self.program, path=path) else f"{self.program} is not there, or cannot be run"

    async def close(self) -> None:
        """See ``ports.Delegate``."""
        await asyncio.gather(*(self._end(held) for held in self._leashes.values()))

    # -- in threads -------------------------------------------------------------------------------------------------

    def _started(self, order: Order) -> Begun:
        """As ``_begin``; until it is over the order may begin at any moment, however long nobody has waited for it."""
        self._starting.add(order.id)
        try:
            return self._begin(order)
        finally:
            self._starting.discard(order.id)

    def _begin(self, order: Order) -> Begun:
        folder = self._folder(order.id)
        try:
            folder.mkdir(mode=0o700, parents=True)
        except FileExistsError:
            raise Refused("this very order went out before") from None
        except OSError as error:
            raise Refused(f"no folder {folder} for it: {error.strerror}") from error
        self._prune()
        call = self.call_of(order, folder)
        held = self._spawn(call, folder)
        assert held.stdout is not None
        said = held.stdout.readline(4096).decode(errors="replace").strip()
        if said != "began":
            _let_go(held)
            raise Refused(text.one_line(said, 200) or "it could not be started")
        self._leashes[order.id] = held
        return Begun(order.id)

    def _spawn(self, call: Call, folder: Path) -> subprocess.Popen[bytes]:
        holder = [sys.executable, "-I", "-S", leash.__file__, str(folder.resolve()), f"{self.grace_s:g}"]
        try:
            return subprocess.Popen(  # noqa: S603  (the policy says which; no shell reads it)
                [*holder, *call.words],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                cwd=call.folder,
                env=dict(call.environ),
                start_new_session=True,
            )
        except OSError as error:
            raise Refused(f"{call.words[0]} could not be started: {error.strerror}") from error

    def _progress(self, order: str) -> Progress:
        folder = self._folder(order)
        ended = _status(folder)
        if order in self._starting:
            return Progress(work=Work.RUNNING, sentence="it has not begun yet")
        if (ended is None or ended.stopped) and _is_held(folder):  # told to end, it may have left somebody behind
            return Progress(work=Work.RUNNING, output=self._tail(order))
        ended = ended or _status(folder)  # it may have ended between the two looks
        output = self._tail(order)
        if ended is None or (ended.stopped and order not in self._leashes):
            return Progress(work=Work.LOST, sentence=self._how_lost(order), output=output)
        if ended.stopped:
            return Progress(work=Work.FAILED, sentence="the guard stopped it", output=output)
        word = self.reading(ended.code, self._output(order, TAIL_BYTES))
        if ended.code == 0:
            return Progress(work=Work.SUCCEEDED, sentence=word, output=output)
        last = word or (output.splitlines() or ["it printed nothing"])[-1]
        return Progress(work=Work.FAILED, sentence=f"{_how(ended.code)}: {last}", output=output)

    def _how_lost(self, order: str) -> str:
        if order in self._leashes:
            return "it was killed, and how far it came is not known"
        began = (self._folder(order) / "lock").exists()
        return "it ended with an earlier life of the guard" if began else "it never began"

    def _tail(self, order: str) -> str:
        """The last lines for people, each bounded, nothing in them that a terminal would obey."""
        lines = [text.one_line(line, LINE_CHARS_MAX) for line in self._output(order, TAIL_BYTES).splitlines()]
        return "\n".join([line for line in lines if line][-LINES_SHOWN:])

    def _output(self, order: str, most: int) -> str:
        with contextlib.suppress(OSError), (self._folder(order) / "output.txt").open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - most))
            found = file.read(most).decode(errors="replace")
            for name, value in self.hidden().items():
                found = found.replace(value, f"[{name}]") if len(value) >= SECRET_CHARS_MIN else found
            return found
        return ""

    def _folder(self, order: str) -> Path:
        if not _ID.fullmatch(order):
            raise Refused(f"{text.one_line(order, 100)!r} cannot be the name of a folder")
        return self.root / order

    def _prune(self) -> None:
        """Only the newest orders are kept: what matters of the others is in the records of their incidents."""
        with contextlib.suppress(OSError):
            mine = sorted((p for p in self.root.iterdir() if _ID.fullmatch(p.name)), key=lambda p: p.stat().st_mtime)
            for path in mine[:-FOLDERS_MAX]:
                shutil.rmtree(path, ignore_errors=True)

    async def _end(self, held: subprocess.Popen[bytes]) -> None:
        """Told to end, then made to; gone when this returns."""
        assert held.stdin is not None
        held.stdin.close()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self.grace_s + 2 * leash.LOOK_S + 1.0):
                while held.poll() is None:  # noqa: ASYNC110  (a process tells nobody by an event)
                    await asyncio.sleep(LOOK_S)
        _let_go(held)


@dataclass(frozen=True, slots=True)
class _Ended:
    code: int
    stopped: bool


def _status(folder: Path) -> _Ended | None:
    try:
        found = json.loads((folder / "status.json").read_text())
        return _Ended(int(found["code"]), bool(found["stopped"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _is_held(folder: Path) -> bool:
    """Whether anybody who belongs to the order is still there."""
    try:
        with (folder / "lock").open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            return False
    except BlockingIOError:
        return True
    except OSError:
        return False


def _how(code: int) -> str:
    return f"exit code {code}" if code > 0 else f"killed by signal {-code}"


def _let_go(held: subprocess.Popen[bytes]) -> None:
    """Kill whoever is left of the group, and forget it."""
    if held.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(held.pid, signal.SIGKILL)
    held.wait()
    for pipe in (held.stdin, held.stdout):
        if pipe is not None:
            pipe.close()
