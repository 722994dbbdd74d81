"""From files to policies: ``load_policy`` for one, ``load_policies`` for a file or a folder of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rollguard.config.complaints import Complaints
from rollguard.config.convert import to_policy
from rollguard.config.lints import lints
from rollguard.config.problems import render, split_lines
from rollguard.config.yamltext import BYTES_MAX, read_document
from rollguard.core.policy import Policy
from rollguard.errors import PolicyError

__all__ = ["lints", "load_policies", "load_policy", "parse_policy"]

FILES_MAX = 256


def load_policy(path: Path, environ: Mapping[str, str]) -> Policy:
    """Read one policy file. Raises ``PolicyError`` with every mistake in it, in the order of the file."""
    return _load(path, environ).policy


def load_policies(path: Path, environ: Mapping[str, str]) -> tuple[Policy, ...]:
    """Read a file, or every ``*.yaml`` of a folder by name. Raises ``PolicyError`` with the mistakes of all of them."""
    try:
        if not path.is_dir():
            return (load_policy(path, environ),)
        files = sorted(file for file in path.iterdir() if file.suffix == ".yaml" and not file.name.startswith("."))
    except OSError as error:
        raise PolicyError([f"{path}: cannot be read: {error.strerror or error}"]) from error
    if not 0 < len(files) <= FILES_MAX:
        say = "no *.yaml file in this folder" if not files else f"more than {FILES_MAX} policy files in this folder"
        raise PolicyError([f"{path}: {say}"])
    problems: list[str] = []
    loaded: dict[str, _Loaded] = {}
    for file in files:
        try:
            one = _load(file, environ)
        except PolicyError as error:
            problems += error.problems
            continue
        other = loaded.setdefault(one.policy.target.name, one)
        if other is not one:
            problems += one.clash(other)
    if problems:
        raise PolicyError(problems)
    return tuple(one.policy for one in loaded.values())


def parse_policy(text: str, file: str, environ: Mapping[str, str]) -> Policy:
    """A policy from its text; ``file`` is what messages call it. Raises ``PolicyError``."""
    return _parse(text, file, environ).policy


@dataclass(frozen=True, slots=True)
class _Loaded:
    policy: Policy
    complaints: Complaints

    def clash(self, other: _Loaded) -> list[str]:
        """Two files guard one target: they would undo each other's work."""
        path = ("target", "name")
        place = f"{other.policy.path}:{other.complaints.line(path)}"
        self.complaints.value(path, f"{self.complaints.written(path)} is guarded by {place} already")
        document = self.complaints.document
        return render(document.file, document.lines, self.complaints.problems)


def _load(path: Path, environ: Mapping[str, str]) -> _Loaded:
    try:
        if not path.is_file():
            raise PolicyError([f"{path}: {'is not a regular file' if path.exists() else 'there is no such file'}"])
        with path.open("rb") as file:
            raw = file.read(BYTES_MAX + 1)
    except OSError as error:
        raise PolicyError([f"{path}: cannot be read: {error.strerror or error}"]) from error
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        before = split_lines(raw[: error.start].decode("utf-8"))
        place = f"{path}:{len(before)}:{len(before[-1]) + 1}"
        raise PolicyError([f"{place}: not text in UTF-8 (byte 0x{raw[error.start]:02x})"]) from error
    return _parse(text, str(path), environ)


def _parse(text: str, file: str, environ: Mapping[str, str]) -> _Loaded:
    document = read_document(text, file, environ)
    complaints = Complaints(document)
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    policy = to_policy(complaints, digest)
    if policy is None:
        raise PolicyError(render(file, document.lines, complaints.problems))
    return _Loaded(policy, complaints)
