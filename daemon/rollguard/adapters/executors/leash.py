"""Holds one command for the guard: ``python leash.py FOLDER GRACE_S COMMAND…``, standard library only.

It leads a process group of its own. When whoever holds its stdin writes there or goes away, killed or not, the command
is asked to end, and killed after the grace. What the command prints is kept in ``FOLDER/output.txt``, how it ended in
``FOLDER/status.json``; ``FOLDER/lock`` is locked for as long as anybody of the group is there. On stdout it says one
line: ``began``, or why not.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

OUTPUT_BYTES_MAX = 1 << 20
CUT = b"(the beginning is cut)\n"
LOOK_S = 0.2
CHUNK_BYTES = 1 << 16


class Output:
    """A file that takes everything and keeps the end: never longer than ``OUTPUT_BYTES_MAX``."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file = os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600), "w+b", 0)
        self._size = 0

    def take(self, data: bytes) -> None:
        """More of it. A full disk loses it, and nothing else."""
        with contextlib.suppress(OSError):
            if self._size + len(data) > OUTPUT_BYTES_MAX:
                self._file.seek(max(0, self._size - OUTPUT_BYTES_MAX // 2))
                rest = CUT + self._file.read()
                self._file.seek(0)
                self._file.truncate()
                self._file.write(rest)
                self._size = len(rest)
            self._file.write(data)
            self._size += len(data)


def main(argv: list[str]) -> int:
    """Hold the command until it ends; then end with the whole group."""
    folder, grace_s, command = Path(argv[0]), float(argv[1]), argv[2:]
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # a handler, since what is ignored would be ignored by the command too
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    output = Output(folder / "output.txt")
    try:
        child = subprocess.Popen(  # noqa: S603  (the policy says which; no shell reads it)
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, pass_fds=(lock,)
        )
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", flush=True)  # noqa: T201
        return 1
    with contextlib.suppress(OSError):  # nobody may be there any more to hear it
        print("began", flush=True)  # noqa: T201
    ended = _hold(child, output, grace_s)
    draft = folder / "status.draft"
    draft.write_text(json.dumps(ended))
    draft.replace(folder / "status.json")
    os.killpg(0, signal.SIGKILL)  # whoever it left behind, and this process
    return 0


def _hold(child: subprocess.Popen[bytes], output: Output, grace_s: float) -> dict[str, int | bool]:
    """Until the command ends; how it did, and whether it was told to."""
    assert child.stdout is not None
    guard, pipe = 0, child.stdout.fileno()
    sources, kill_at = {guard, pipe}, None
    while child.poll() is None:
        ready = select.select(sources, (), (), LOOK_S)[0]
        if pipe in ready and not _pass_on(pipe, output):
            sources.discard(pipe)
        if guard in ready:
            sources.discard(guard)  # a word or the end: either way it is over
            kill_at = time.monotonic() + grace_s
            os.killpg(0, signal.SIGTERM)
        if kill_at is not None and time.monotonic() >= kill_at:
            child.kill()
        if not sources:
            time.sleep(LOOK_S)
    for _ in range(OUTPUT_BYTES_MAX // CHUNK_BYTES):
        if pipe not in sources or not select.select((pipe,), (), (), 0)[0] or not _pass_on(pipe, output):
            break
    return {"code": child.returncode, "stopped": kill_at is not None}


def _pass_on(pipe: int, output: Output) -> bool:
    data = os.read(pipe, CHUNK_BYTES)
    output.take(data)
    return bool(data)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
