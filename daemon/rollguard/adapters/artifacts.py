"""The record of each incident as files for people, named as in the runbook, beside the journal."""

from __future__ import annotations

import gzip
import io
import os
import re
import shutil
import tarfile
from collections.abc import Mapping
from pathlib import Path

from rollguard.core.policy import Artifacts
from rollguard.errors import Refused

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)
FILES_MAX = 32
FILE_CHARS_MAX = 1 << 20
FOLDERS_MAX = 1000
BUNDLE_BYTES_MAX = 20 << 20
_CUT = "\n… cut: the bundle would be too large\n"


def packed(root: str, files: Mapping[str, str], at: float, bytes_max: int = BUNDLE_BYTES_MAX) -> bytes:
    """A ``.tar.gz`` with the files in folder ``root``, never larger than ``bytes_max``, the same for the same files.

    The first files come first: what there is no room for is cut after a whole line, or left empty, and says so.
    """
    left = bytes_max - 64 * 1024 - bytes_max // 1024  # for headers, and for what does not compress
    folder = re.sub(r"[^A-Za-z0-9._-]", "_", root)[:80]
    buffer = io.BytesIO()
    with (
        gzip.GzipFile(filename="", mode="wb", fileobj=buffer, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for name, words in list(files.items())[:FILES_MAX]:
            content = _fitting(words.encode("utf-8", "backslashreplace"), left)
            left = max(0, left - len(content))
            entry = tarfile.TarInfo(f"{folder}/{name}")
            entry.size, entry.mode, entry.mtime = len(content), 0o600, int(at)
            tar.addfile(entry, io.BytesIO(content))
    return buffer.getvalue()


def _fitting(content: bytes, most: int) -> bytes:
    if len(content) <= most:
        return content
    return content[: max(0, most)].rpartition(b"\n")[0] + _CUT.encode()


def copy_private(path: Path, out: Path) -> None:
    """Copy a file to ``out``, readable by its owner alone. Raises ``Refused``: never over something that is there."""
    try:
        content = path.read_bytes()
        with os.fdopen(os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb") as file:
            file.write(content)
    except OSError as error:
        raise Refused(f"cannot write {out}: {error.strerror}; the bundle is {path}") from error


def find(data: Path, folder: str) -> Path | None:
    """An incident's folder, wherever a policy keeps it in the data folder; None when there is none (any more)."""
    try:
        return next((path for path in data.rglob(folder) if path.is_dir()), None)
    except OSError:
        return None


class ArtifactFolder:
    """``<data>/<settings.dir>``: one folder for each incident, kept for ``settings.keep_s``."""

    def __init__(self, data: Path, settings: Artifacts) -> None:
        """Raises ``Refused`` when ``settings.dir`` leads out of the data folder."""
        self._root = (data / settings.dir).resolve()
        self._data = data.resolve()
        self._keep_s = settings.keep_s
        if not self._root.is_relative_to(self._data) or self._root == self._data:
            raise Refused(f"artifacts.dir {settings.dir!r} must be a folder inside the data folder {data}")

    def write(self, folder: str, files: Mapping[str, str | bytes]) -> Path:
        """Write whole files (0600) into an incident's folder (0700), replacing those of the same name.

        Longer texts are cut and say so. Raises ``Refused`` for a name that is not plain, or when the disk will not.
        """
        for name in (folder, *files):
            if not _NAME.fullmatch(name):
                raise Refused(f"{name!r} cannot be the name of an artifact")
        if len(files) > FILES_MAX:
            raise Refused(f"{len(files)} artifacts for one incident, at most {FILES_MAX}")
        try:
            path = self._make(self._root / folder)
            for name, content in files.items():
                _write_whole(path / name, content if isinstance(content, bytes) else _text(content))
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


def _write_whole(path: Path, content: bytes) -> None:
    """All of it or nothing: a crash must not leave half a report under its name."""
    draft = path.with_name(f".{path.name}.draft")
    fd = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "wb") as file:
        file.write(content)
    draft.replace(path)


def _text(text: str) -> bytes:
    whole = (
        text if len(text) <= FILE_CHARS_MAX else f"{text[:FILE_CHARS_MAX]}\n… cut after {FILE_CHARS_MAX} characters\n"
    )
    return whole.encode("utf-8", "backslashreplace")
