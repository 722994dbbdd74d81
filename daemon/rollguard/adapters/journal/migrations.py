"""The journal's numbered schema changes: applied in order, each in one transaction, never undone."""

from __future__ import annotations

import importlib.resources
import sqlite3

from rollguard.errors import JournalError

_TABLE = """
CREATE TABLE IF NOT EXISTS migration (
    version    INTEGER PRIMARY KEY,
    applied_at TEXT NOT NULL DEFAULT (strftime('%Y-%m-%dT%H:%M:%SZ', 'now'))
) STRICT
"""


def migrate(db: sqlite3.Connection) -> None:
    """Bring the schema up to ours. Raises ``JournalError`` when it is newer, ``sqlite3.Error`` when it fails."""
    have = schema_version(db)
    for version, script in _scripts().items():
        if version > have:
            record = f"INSERT INTO migration (version) VALUES ({version})"  # noqa: S608 -- an int of ours
            db.executescript(f"BEGIN IMMEDIATE; {_TABLE}; {script}; {record}; COMMIT;")


def schema_version(db: sqlite3.Connection) -> int:
    """The schema's number, 0 for an empty file. Raises ``JournalError`` when it is newer than this program."""
    if not db.execute("SELECT 1 FROM sqlite_master WHERE name = 'migration'").fetchone():
        return 0
    version = int(db.execute("SELECT max(version) FROM migration").fetchone()[0] or 0)
    newest = max(_scripts())
    if version > newest:
        raise JournalError(
            f"the journal was written by a newer rollguard (schema {version}, this one knows {newest}): upgrade"
        )
    return version


def _scripts() -> dict[int, str]:
    folder = importlib.resources.files(__package__) / "schema"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return {int(f.name.removesuffix(".sql")): f.read_text(encoding="utf-8") for f in files}
