"""The record of each rollback as files for people, named as in the runbook, beside the journal."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from rollguard.core.policy import Artifacts
from rollguard.errors import Refused

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
FILES_MAX = 32
FILE_CHARS_MAX = 1 << 20
FOLDERS_MAX = 1000


def folder_name(at: float) -> str:
    """The folder of a rollback that began at ``at``: a time that sorts and that every file system can hold."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y%m%dT%H%M%SZ")


class ArtifactFolder:
    """``<data>/<settings.dir>``: one folder for each rollback, kept for ``settings.keep_s``."""

    def __init__(self, data: Path, settings: Artifacts) -> None:
        """Raises ``Refused`` when ``settings.dir`` leads out of the data folder."""
        self._root = (data / settings.dir).resolve()
        self._data = data.resolve()
        self._keep_s = settings.keep_s
        if not self._root.is_relative_to(self._data) or self._root == self._data:
            raise Refused(f"artifacts.dir {settings.dir!r} must be a folder inside the data folder {data}")

    def write(self, folder: str, files: Mapping[str, str]) -> Path:
        """Write whole files (0600) into a rollback's folder (0700), replacing those of the same name.

        Longer texts are cut and say so. Raises ``Refused`` for a name that is not plain, or when the disk will not.
        """
        for name in (folder, *files):
            if not _NAME.fullmatch(name):
                raise Refused(f"{name!r} cannot be the name of an artifact")
        if len(files) > FILES_MAX:
            raise Refused(f"{len(files)} artifacts for one rollback, at most {FILES_MAX}")
        try:
            path = self._make(self._root / folder)
            for name, text in files.items():
                _write_whole(path / name, _cut(text))
        except OSError as error:
            raise Refused(f"cannot write artifacts to {self._root / folder}: {error.strerror}") from error
        return path

    def prune(self, now: float) -> int:
        """Delete the folders last written before the time to keep, and beyond ``FOLDERS_MAX`` the oldest; how many.

        Raises ``Refused`` when the disk will not.
        """
        try:
            written_at = {path: path.stat().st_mtime for path in self._folders()}
            newest_first = sorted(written_at, key=lambda path: written_at[path], reverse=True)
            old = [
                path
                for place, path in enumerate(newest_first)
                if place >= FOLDERS_MAX or written_at[path] < now - self._keep_s
            ]
            for path in old:
                shutil.rmtree(path)
        except OSError as error:
            raise Refused(f"cannot delete old artifacts in {self._root}: {error.strerror}") from error
        return len(old)

    def _folders(self) -> list[Path]:
        """Only what this class could have made: nothing else is ever deleted."""
        if not self._root.is_dir():
            return []
        return [p for p in self._root.iterdir() if _NAME.fullmatch(p.name) and p.is_dir() and not p.is_symlink()]

    def _make(self, path: Path) -> Path:
        for folder in (*reversed(path.relative_to(self._data).parents), path.relative_to(self._data)):
            (self._data / folder).mkdir(mode=0o700, exist_ok=True)
        return path


def _write_whole(path: Path, text: str) -> None:
    """All of it or nothing: a crash must not leave half a report under its name."""
    draft = path.with_name(f".{path.name}.draft")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)
    draft.replace(path)


def _cut(text: str) -> str:
    return (
        text if len(text) <= FILE_CHARS_MAX else f"{text[:FILE_CHARS_MAX]}\n… cut after {FILE_CHARS_MAX} characters\n"
    )
