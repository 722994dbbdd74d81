"""What SQLite's errors mean to the person who has to do something about them."""

from __future__ import annotations

import sqlite3
from pathlib import Path

DAMAGED = "it is damaged: move the file aside, keep it, and start with an empty one; the guard learns anew"

_ADVICE = (
    ("SQLITE_FULL", "the disk is full: free some space"),
    ("SQLITE_READONLY", "it is read-only: check the owner and the permissions of the file and its folder"),
    ("SQLITE_CANTOPEN", "it cannot be opened: check that the folder exists and is the guard's to write"),
    ("SQLITE_PERM", "it is not ours to open: check the owner and the permissions"),
    ("SQLITE_CORRUPT", DAMAGED),
    ("SQLITE_NOTADB", "it is not a journal: give the guard another --data, or move the file aside"),
    ("SQLITE_IOERR", "the disk fails: look at the system's log, then restart the guard"),
    ("SQLITE_BUSY", "another program has it locked: close it"),
)
_LASTING = ("SQLITE_CORRUPT", "SQLITE_NOTADB", "SQLITE_IOERR")


def told(path: Path, error: sqlite3.Error) -> str:
    """The sentence for ``JournalError``: the path, what is wrong, what to do."""
    name = _name(error)
    advice = next((advice for prefix, advice in _ADVICE if name.startswith(prefix)), "")
    return f"journal {path}: {advice} ({error})" if advice else f"journal {path}: {error}"


def is_lasting(error: sqlite3.Error) -> bool:
    """Whether the same connection must not be trusted again: after a failed flush the next one may lie."""
    return _name(error).startswith(_LASTING)


def _name(error: sqlite3.Error) -> str:
    return getattr(error, "sqlite_errorname", "") or ""
