"""The newest two hours of the app, machine by machine, whatever it ran and however it was."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from rollguard.core.baseline import Buckets
from rollguard.core.evidence.limits import Trial
from rollguard.core.relative.counts import Counts

BLOCK_S = 300.0
BLOCKS_MAX = 24
MACHINES_MAX = 64
"""What more machines count goes unnamed: their levels are taken for the app's."""
OTHERS = ""


@dataclass(frozen=True, slots=True)
class Sum:
    """What was counted in the ``BLOCK_S`` from ``begun`` on: ``bad`` of ``of``, or a histogram of ``of``."""

    begun: float
    bad: float
    of: float
    buckets: Buckets


@dataclass(slots=True)
class _Block:
    """Sums of one stretch of time: machine → [of, bad, then the counts of each bucket, not cumulative]."""

    number: int
    bounds: tuple[float, ...] = ()
    machines: dict[str, list[float]] = field(default_factory=dict)

    @property
    def sum(self) -> Sum:
        """Of all machines together."""
        rows = [*self.machines.values(), [0.0] * (2 + len(self.bounds))]
        of, bad, *counts = (sum(column) for column in zip(*rows, strict=True))
        return Sum(self.number * BLOCK_S, bad, of, tuple(zip(self.bounds, accumulate(counts), strict=True)))


@dataclass(slots=True)
class History:
    """Blocks of one measure, oldest first."""

    blocks: list[_Block] = field(default_factory=list)

    def add(self, counts: Counts) -> Sequence[Sum]:
        """Take one interval in; what all machines counted in the blocks that it ended.

        A histogram with other bounds than before begins a block of its own.
        """
        number, newest = int(counts.at // BLOCK_S), self.blocks[-1] if self.blocks else None
        ended: list[Sum] = []
        for count in counts.every:
            bounds = tuple([bound for bound, _ in count.buckets])
            block = self._block(number, bounds)
            if block is not newest:
                ended += [newest.sum] if newest is not None else []
                newest = block
            machine = count.machine if count.machine in block.machines or len(block.machines) < MACHINES_MAX else OTHERS
            row = block.machines.setdefault(machine, [0.0] * (2 + len(block.bounds)))
            row[0] += count.of
            row[1] += count.bad
            below = 0.0
            for place, (_, upto) in enumerate(count.buckets, 2):
                row[place] += upto - below
                below = upto
        return ended

    @property
    def newest(self) -> int:
        """The number of the newest block; -1: there is none."""
        return self.blocks[-1].number if self.blocks else -1

    def recent(self) -> list[Trial]:
        """The bad ones of all requests in each of the newest two blocks that have any."""
        rows = [[sum(r[n] for r in b.machines.values()) for n in (1, 0)] for b in self.blocks]
        return [(bad, of) for bad, of in rows if of > 0][-2:]

    def recent_times(self) -> list[Buckets]:
        """The same as histograms."""
        found = []
        for block in self.blocks:
            if block.bounds and block.machines:
                sums = [sum(row[place] for row in block.machines.values()) for place in range(2, 2 + len(block.bounds))]
                if sum(sums) > 0:
                    found.append(tuple(zip(block.bounds, accumulate(sums), strict=True)))
        return found[-2:]

    def by_machine(self, bound_s: float | None) -> list[Mapping[str, Trial]]:
        """Block by block, each machine's bad ones of all; at a histogram's bound, who was slower than that."""
        found: list[Mapping[str, Trial]] = []
        for block in self.blocks:
            if bound_s is None:
                found.append({m: (row[1], row[0]) for m, row in block.machines.items() if m != OTHERS})
            elif bound_s in block.bounds:
                beyond = 2 + block.bounds.index(bound_s) + 1
                found.append({m: (sum(row[beyond:]), row[0]) for m, row in block.machines.items() if m != OTHERS})
        return found

    def to_plain(self) -> list[Any]:
        """As JSON values; the infinite bound is left out."""
        return [[b.number, b.bounds[:-1], len(b.bounds), b.machines] for b in self.blocks]

    @classmethod
    def from_plain(cls, plain: Sequence[Any]) -> History:
        """What ``to_plain`` gave. Raises ``ValueError``, ``TypeError`` for what it did not give."""
        blocks = []
        for number, bounds, count, machines in plain[-BLOCKS_MAX:]:
            edges = (*(float(b) for b in bounds), float("inf")) if count else ()
            rows = {str(m): [float(v) for v in row] for m, row in machines.items()}
            if any(len(row) != 2 + len(edges) for row in rows.values()):
                raise ValueError("a row of another length")
            blocks.append(_Block(int(number), edges, rows))
        return cls(blocks)

    def _block(self, number: int, bounds: tuple[float, ...]) -> _Block:
        last = self.blocks[-1] if self.blocks else None
        if last is None or last.number < number or (bounds and last.bounds != bounds):
            last = _Block(number, bounds)
            self.blocks.append(last)
            del self.blocks[:-BLOCKS_MAX]
        return last
