"""What an app is configured with, beside its image: as a digest was proven with it, as it is now, and how they differ.

A capsule is one machine's configuration as ``path: value``; a value that begins with ``#`` is a hash and is never
shown. See ``ports.Platform.capsule``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from rollguard.core import text
from rollguard.core.model import Machine, Snapshot

HASHED = "#"
ROWS_MAX = 16
"""Of a book; the newest proven rows of ``PROVEN_KEPT`` digests are the last to go."""
PROVEN_KEPT = 4
CHARS_MAX = 1 << 20
LINES_MAX = 100
"""Of a difference that is kept; the rest is counted."""
SHOWN = 6
LINE_CHARS, VALUE_CHARS = 120, 40

_OWN = re.compile(r"mounts\[\d+\]\.volume|standbys\b.*")
"""What differs from machine to machine of one group by its nature."""


class Unreadable(ValueError):
    """A book that was kept cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capsule:
    """What ``machine``, which stands for its process group, is configured with. ``hash`` is as in ``model.Machine``: by
    it is known that something may have changed.
    """

    group: str
    machine: str
    hash: str
    keys: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """The configuration of a fleet at ``at``, a capsule for each group, while it ran ``digest`` as release ``version``.

    ``proven``: the digest was proven with it. ``mixed`` are groups whose machines differ in their configuration.
    """

    digest: str
    version: int | None
    at: float
    capsules: tuple[Capsule, ...] = ()
    mixed: tuple[str, ...] = ()
    proven: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """What changed between two configurations, as lines without any value of an environment variable or a file."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    omitted: int = 0

    @property
    def lines(self) -> tuple[str, ...]:
        """Everything in it, what changed first."""
        return (*self.changed, *(f"{one} added" for one in self.added), *(f"{one} removed" for one in self.removed))

    def __bool__(self) -> bool:
        return bool(self.changed or self.added or self.removed or self.omitted)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drifts:
    """How today's configuration differs from what is known; None: that is not known.

    ``since_proven``: since the target of a rollback was proven. ``since_before``: since the release before this one,
    where both have the same image.
    """

    since_proven: Drift | None = None
    since_before: Drift | None = None


# -- telling -----------------------------------------------------------------------------------------------------------


def said(drift: Drift) -> str:
    """``env.API_URL changed, guest.memory_mb 256 → 512 and 3 more``; bounded, and safe wherever it is shown."""
    lines, total = drift.lines[:SHOWN], len(drift.lines) + drift.omitted
    return text.listing([*lines, f"{total - SHOWN} more"] if total > SHOWN else lines, most=SHOWN + 1)


# -- comparing ---------------------------------------------------------------------------------------------------------


def between(before: Config, now: Config) -> Drift:
    """What changed from one configuration to another. A line that holds for every group is told once."""
    old, new = ({c.group: c.keys for c in config.capsules} for config in (before, now))
    both = sorted(old.keys() & new.keys())
    parts = {group: _difference(old[group], new[group]) for group in both}
    added = _told({group: part.added for group, part in parts.items()})
    removed = _told({group: part.removed for group, part in parts.items()})
    changed = _told({group: part.changed for group, part in parts.items()})
    added += [f"group {group}" for group in sorted(new.keys() - old.keys())]
    removed += [f"group {group}" for group in sorted(old.keys() - new.keys())]
    return _bounded(added, removed, changed)


def _difference(before: Mapping[str, str], now: Mapping[str, str]) -> Drift:
    keys = [key for key in sorted(before.keys() | now.keys()) if not _OWN.fullmatch(key)]
    return Drift(
        added=tuple(key for key in keys if key not in before),
        removed=tuple(key for key in keys if key not in now),
        changed=tuple(
            _change(key, before[key], now[key])
            for key in keys
            if key in before and key in now and before[key] != now[key]
        ),
    )


def _change(key: str, before: str, now: str) -> str:
    """A hash is no value to be shown; nor is one that was, or became, a hash."""
    if before.startswith(HASHED) or now.startswith(HASHED):
        return f"{key} changed"
    return f"{key} {text.one_line(before, VALUE_CHARS)} → {text.one_line(now, VALUE_CHARS)}"


def _told(by_group: Mapping[str, Sequence[str]]) -> list[str]:
    common = set.intersection(*map(set, by_group.values())) if by_group else set()
    alone = [f"{group}: {line}" for group, lines in by_group.items() for line in lines if line not in common]
    return [*sorted(common), *alone]


def _bounded(added: Sequence[str], removed: Sequence[str], changed: Sequence[str]) -> Drift:
    room, kept = LINES_MAX, list[tuple[str, ...]]()
    for lines in (changed, added, removed):
        kept.append(tuple(text.one_line(line, LINE_CHARS) for line in lines[:room]))
        room -= len(kept[-1])
    omitted = len(added) + len(removed) + len(changed) - sum(map(len, kept))
    return Drift(changed=kept[0], added=kept[1], removed=kept[2], omitted=omitted)


# -- who stands for a group --------------------------------------------------------------------------------------------


def representatives(snapshot: Snapshot, before: Collection[str] = ()) -> dict[str, Machine]:
    """For each group the machine whose configuration is read: of the newest release, one of those that stood for it
    ``before`` where it can, for two machines may differ with nobody having changed anything; else awake where one is.
    """
    chosen: dict[str, Machine] = {}

    def rank(machine: Machine) -> tuple[object, ...]:
        newest = -(machine.release_version or 0)
        return newest, machine.id not in before, not machine.started, machine.standby, machine.id

    for machine in sorted(snapshot.managed, key=rank):
        if machine.host_ok and machine.config_hash:
            chosen.setdefault(machine.group, machine)
    return dict(sorted(chosen.items()))


def mixed(snapshot: Snapshot, capsules: Sequence[Capsule]) -> tuple[str, ...]:
    """The groups whose machines are configured differently. Those with volumes each have their own by nature."""
    own = {c.group for c in capsules if any(_OWN.fullmatch(key) for key in c.keys)}
    hashes: dict[str, set[str]] = {}
    for machine in snapshot.managed:
        if machine.host_ok and not machine.standby and machine.config_hash:
            hashes.setdefault(machine.group, set()).add(machine.config_hash)
    return tuple(group for group in sorted(hashes) if len(hashes[group]) > 1 and group not in own)


# -- the book ----------------------------------------------------------------------------------------------------------


def with_config(book: Sequence[Config], newest: Config) -> tuple[Config, ...]:
    """The book with one more row at its end, instead of one that says the same. Bounded; proven rows go last."""
    same = known(book, newest)
    if same is not None:
        newest = replace(newest, at=same.at, proven=newest.proven or same.proven)
    rows = [*(c for c in book if c is not same), newest]
    while len(rows) > ROWS_MAX:
        rows.remove(next((c for c in rows[:-1] if c not in _lasting(rows)), rows[0]))
    return tuple(rows)


def known(book: Sequence[Config], now: Config) -> Config | None:
    """The row that says the same of the same release."""
    return next((c for c in reversed(book) if _alike(c, now)), None)


def _alike(one: Config, other: Config) -> bool:
    return (one.digest, one.version) == (other.digest, other.version) and not between(one, other)


def _lasting(rows: Sequence[Config]) -> list[Config]:
    newest: dict[str, Config] = {}
    for row in reversed(rows):
        if row.proven:
            newest.setdefault(row.digest, row)
    return list(newest.values())[:PROVEN_KEPT]


def drifts(book: Sequence[Config], today: Config | None, target: str) -> Drifts:
    """How today's configuration differs from the one ``target`` was proven with, and from the release before's."""
    if today is None:
        return Drifts()
    proven = proven_with(book, target)
    before = _before(book, today)
    return Drifts(
        since_proven=between(proven, today) if proven else None,
        since_before=between(before, today) if before else None,
    )


def proven_with(book: Sequence[Config], digest: str) -> Config | None:
    """The newest configuration that the digest was proven with, or None."""
    return next((c for c in reversed(book) if c.proven and c.digest == digest), None)


def _before(book: Sequence[Config], today: Config) -> Config | None:
    """What the same image ran with as the release before."""
    mine = today.version
    return next(
        (
            c
            for c in reversed(book)
            if c.digest == today.digest and mine is not None and c.version is not None and c.version < mine
        ),
        None,
    )


def to_text(book: Sequence[Config], mark: str) -> str:
    """The book as one JSON document, its oldest rows left out where it would be too long.

    ``mark`` names the salt of its hashes: with another one they compare with nothing.
    """
    rows = [_row(config) for config in book]
    while len(whole := json.dumps({"mark": mark, "rows": rows}, separators=(",", ":"))) > CHARS_MAX and rows:
        rows.pop(0)
    return whole


def from_text(words: str, mark: str) -> tuple[Config, ...]:
    """What ``to_text`` wrote; nothing, where that was with another salt. Raises ``Unreadable``."""
    try:
        document = json.loads(words)
        return tuple(map(_config, document["rows"])) if document["mark"] == mark else ()
    except (ValueError, TypeError, KeyError, AttributeError) as broken:
        raise Unreadable(f"what was kept of configurations cannot be read: {broken!r}") from broken


def _row(config: Config) -> dict[str, Any]:
    return {
        "digest": config.digest,
        "version": config.version,
        "at": config.at,
        "proven": config.proven,
        "mixed": list(config.mixed),
        "capsules": [
            {"group": c.group, "machine": c.machine, "hash": c.hash, "keys": dict(c.keys)} for c in config.capsules
        ],
    }


def _config(row: Mapping[str, Any]) -> Config:
    capsules = tuple(
        Capsule(group=str(c["group"]), machine=str(c["machine"]), hash=str(c["hash"]), keys=_texts(c["keys"]))
        for c in row["capsules"]
    )
    return Config(
        digest=str(row["digest"]),
        version=None if row["version"] is None else int(row["version"]),
        at=float(row["at"]),
        capsules=capsules,
        mixed=tuple(map(str, row["mixed"])),
        proven=bool(row["proven"]),
    )


def _texts(keys: Mapping[str, Any]) -> dict[str, str]:
    return {str(name): str(value) for name, value in keys.items()}
