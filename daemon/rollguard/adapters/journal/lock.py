"""One guard per journal: a lock that the system takes back when its holder dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from rollguard.errors import JournalError


class GuardLock:
    """Held from ``take`` until ``release``, or until the process is gone however it went."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @classmethod
    def take(cls, path: Path) -> GuardLock:
        """Take ``<path>.lock`` at once. Raises ``JournalError`` naming the process that has it."""
        lock_path = path.with_name(path.name + ".lock")
        try:
            fd = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise JournalError(f"cannot lock the journal: {lock_path}: {error.strerror}") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(fd, 20, 0).decode(errors="replace").strip() or "unknown"
            os.close(fd)
            raise JournalError(
                f"another guard (pid {holder}) holds the journal {path}: stop it, or give this one its own --data"
            ) from None
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
        except OSError as error:  # a full disk; the next to open the journal would fail the same way
            os.close(fd)
            raise JournalError(f"cannot lock the journal: {lock_path}: {error.strerror}") from error
        return cls(fd)

    def release(self) -> None:
        """Let go. The file stays: removing it would let two guards lock two different files of one name."""
        os.close(self._fd)
