"""Readings of a target that were saved, and what of them can serve as a baseline."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from rollguard.core.baseline import BLOCKS_MAX, Block
from rollguard.core.fleet import Tenure, View
from rollguard.core.learning import block_of
from rollguard.core.model import Reading
from rollguard.core.policy import Policy
from rollguard.core.window import Windows

DIGESTS_MAX = 10
"""Of those that ran alone, the last ones: nobody goes back further."""


@dataclass(frozen=True, slots=True)
class Runs:
    """What one machine ran, since when it did so, whether it was started, and where."""

    digest: str
    since: float
    started: bool
    region: str = ""


@dataclass(frozen=True, slots=True)
class Look:
    """The machines as they were from ``at`` to the next look that differs."""

    at: float
    machines: Mapping[str, Runs]

    @property
    def digest(self) -> str | None:
        """The digest that every machine ran, if it was one and somebody served."""
        digests = {m.digest for m in self.machines.values()}
        serving = any(m.started for m in self.machines.values())
        return digests.pop() if len(digests) == 1 and serving else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """What was read of ``target`` under the policy of this hash, from ``at`` on. Looks and readings are in order."""

    target: str
    policy: str
    at: float
    looks: tuple[Look, ...]
    readings: tuple[Reading, ...]

    @property
    def end(self) -> float:
        """When the newest of it was read."""
        return max((self.at, *(r[-1].at for r in (self.looks, self.readings) if r)))


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a recording of ``target`` knows of each digest that ran alone, the one that did so last at the end."""

    target: str
    blocks: Mapping[str, Sequence[Block]]

    def of(self, digest: str) -> Sequence[Block]:
        """Its blocks; where it never ran alone, those of what ran alone last."""
        return self.blocks.get(digest) or next(reversed(list(self.blocks.values())), ())


def recorded(recording: Recording, policy: Policy) -> Recorded:
    """A recording as blocks with what the policy compares."""
    alone = [look.digest for look in reversed(recording.looks) if look.digest is not None]
    digests = reversed([*dict.fromkeys(alone)][:DIGESTS_MAX])
    return Recorded(recording.target, {digest: blocks_of(recording, digest, policy) for digest in digests})


def blocks_of(recording: Recording, digest: str, policy: Policy) -> list[Block]:
    """The time in which every machine ran ``digest``, as blocks with what the policy compares; oldest first."""
    readings = sorted(recording.readings, key=lambda r: r.at)
    times = [r.at for r in readings]
    blocks: list[Block] = []
    for look, end in _stretches(recording, digest):
        for start, stop in _cut(look.at, end, policy.comparing.block_s, times):
            windows = Windows(float("inf"))
            windows.add(readings[bisect_right(times, start) : bisect_right(times, stop)])
            block = block_of(policy, _view(look), windows, start, stop)
            blocks += [block] if block is not None else []
    return blocks[-BLOCKS_MAX:]


def _stretches(recording: Recording, digest: str) -> Iterator[tuple[Look, float]]:
    """Each look at which ``digest`` ran alone, and until when it holds."""
    ends: Sequence[float] = [*(look.at for look in recording.looks[1:]), recording.end]
    for look, end in zip(recording.looks, ends, strict=True):
        if look.digest == digest:
            yield look, end


def _cut(start: float, end: float, block_s: float, times: Sequence[float]) -> Iterator[tuple[float, float]]:
    """Blocks of ``block_s`` in which something was read, the last one shorter. A pause of years is one step."""
    while start < end and (place := bisect_right(times, start)) < len(times):
        start += max(0, ceil((times[place] - start) / block_s) - 1) * block_s
        if start < end:
            yield start, min(end, start + block_s)
        start += block_s


def _view(look: Look) -> View:
    lives = tuple(
        Tenure(
            machine=name,
            instance_id="",
            digest=m.digest,
            since=m.since,
            digest_since=m.since,
            started=m.started,
            started_at=None,
            region=m.region,
        )
        for name, m in look.machines.items()
    )
    whole_since = max(m.since for m in look.machines.values())
    return View(candidate=lives[0].digest, cohort=lives, whole_since=whole_since)
