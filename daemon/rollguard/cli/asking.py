"""Where a command finds its guard: at the socket when one runs, else in the journal."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rollguard.adapters.control_client import NotRunning, ask
from rollguard.app.options import journal_path, socket_path
from rollguard.cli.parser import Usage, complain, did_you_mean
from rollguard.core.events import Recorded
from rollguard.core.status import journal_object

FROM_JOURNAL = "no guard runs with this data folder: read from its journal"


def asked(data: Path, verb: str, args: Mapping[str, Any], by: str) -> dict[str, Any]:
    """Have the running guard act. Raises what the guard raised, or ``Unavailable``."""
    return ask(socket_path(data), verb, args, by)


def asked_if_running(data: Path, verb: str, args: Mapping[str, Any]) -> dict[str, Any] | None:
    """The guard's answer, or None when none listens in this data folder."""
    try:
        return ask(socket_path(data), verb, args, "cli")
    except NotRunning:
        return None


def objects(data: Path, target: str | None) -> list[dict[str, Any]]:
    """The targets as objects: as the running guard sees them, or, where none runs, as its journal knew them."""
    answer = asked_if_running(data, "status", {"target": target})
    if answer is not None:
        items: list[dict[str, Any]] = answer["items"]
        return items
    known = known_targets(data)
    names = [one_target(data, target)] if target or not known else known
    complain(FROM_JOURNAL)
    return [journal_object(name, journal(data, name), time.time()) for name in names]


def known_targets(data: Path) -> list[str]:
    """The targets that have a journal in the data folder. Raises ``Usage`` where it cannot be looked into."""
    try:
        return sorted(path.stem for path in data.iterdir() if path.suffix == ".db") if data.is_dir() else []
    except OSError as error:
        raise Usage(
            f"rollguard: cannot read the data folder {data}: {error.strerror}: ask as the guard's user"
        ) from error


def one_target(data: Path, name: str | None) -> str:
    """The named target, or the only one. Raises ``Usage``."""
    known = known_targets(data)
    if not known:
        raise Usage(f"rollguard: no journal in {data}: has a guard run with this --data?")
    if name is None:
        if len(known) > 1:
            raise Usage(f"rollguard: say which target: {', '.join(known)}")
        return known[0]
    if name not in known:
        raise Usage(f"rollguard: no target {name!r} in {data}{did_you_mean(name, known)}; there is {', '.join(known)}")
    return name


def journal(data: Path, target: str) -> list[Recorded]:
    """Every event of a target. Raises ``JournalError``."""
    from rollguard.adapters.journal.sqlite import read_journal

    return read_journal(journal_path(data, target), target)
