"""What the command line says about how to run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rollguard.core.model import Mode
from rollguard.errors import GuardError

DEFAULT_LISTEN = "127.0.0.1:9464"
DEFAULT_DATA = "data"


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How to run. ``config`` is a policy file or a folder of them; ``limit`` the most the guard may do at all."""

    config: Path
    data: Path
    environ: Mapping[str, str]
    listen: str = DEFAULT_LISTEN
    limit: Mode = Mode.ENFORCE


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A rollback as a person asks for it."""

    version: int | None
    overrides: tuple[str, ...]
    by: str
    reason: str


class CannotStart(GuardError):
    """The guard cannot go on duty as told; nothing outside was touched. ``problems`` are sentences."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


def journal_path(data: Path, target: str) -> Path:
    """Where the journal of a target is."""
    return data / f"{target}.db"


def socket_path(data: Path) -> Path:
    """Where the guard of a data folder listens for acts."""
    return data / "control.sock"
