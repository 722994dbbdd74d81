"""What is learnt of each machine before the deploy: its lasting level, and how much machines wander apart.

    levels = Levels.learnt(blocks)      # blocks: machine -> (bad, of), block by block
    levels.ratio("m1")                  # 1.2: bad things happen a fifth more often there than elsewhere; unknown: 1.0
    levels.exposure(tallies)            # requests, each weighed with its machine's level
    levels.envelope(1, 3)               # so many times apart may one machine and three others be by themselves

A machine that always had more errors than its neighbours does not make a release bad by being among the first to get
it, and machines that wander apart by themselves need a wider margin. What moves all of them together drops out.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rollguard.core.evidence.limits import SHRINK_BLOCKS, Trial
from rollguard.core.evidence.strata import Tally

COUNT_MAX = 1e12
"""More than this in one interval, or one block, is no count of anything."""
MACHINES_MAX = 1000
LEVEL_EVENTS = 20.0
"""A machine's level is believed to be the usual one as firmly as so many bad events would show it."""
USUAL_APART = 0.03
"""The relative variance from machine to machine that is believed in before anything is known: as six blocks."""
ENVELOPE_MAX = 1.2


@dataclass(frozen=True, slots=True)
class Levels:
    """Each machine's lasting level relative to all (``ratios``), and the standard deviation of the logarithm by which
    one machine's share strays from that within a block (``spread``).
    """

    ratios: Mapping[str, float] = field(default_factory=dict)
    spread: float = math.sqrt(math.log1p(USUAL_APART))

    @classmethod
    def learnt(cls, blocks: Sequence[Mapping[str, Trial]]) -> Levels:
        """From what each machine counted in each block. Impossible counts are left out; the order does not matter."""
        counted = [{m: t for m, t in block.items() if possible(*t) and t[1] > 0} for block in blocks]
        ratios = _ratios(counted)
        variance = (len(counted) * _apart(counted, ratios) + SHRINK_BLOCKS * USUAL_APART) / (
            len(counted) + SHRINK_BLOCKS
        )
        return cls(ratios, math.sqrt(math.log1p(variance)))

    def ratio(self, machine: str) -> float:
        """The machine's lasting level; 1 for one that is not known."""
        return self.ratios.get(machine, 1.0)

    def exposure(self, tallies: Iterable[Tally]) -> float:
        """How many requests these are, each counted as often as its machine's level says."""
        return math.fsum([t.of * self.ratios.get(t.machine, 1.0) for t in tallies])

    def envelope(self, a: int, b: int) -> float:
        """How many times apart the shares of ``a`` and of ``b`` machines may be within one interval by themselves."""
        if a <= 0 or b <= 0:
            return math.exp(ENVELOPE_MAX)
        return math.exp(min(2 * self.spread * math.sqrt(1 / a + 1 / b), ENVELOPE_MAX))

    def to_plain(self) -> list[Any]:
        """As JSON values."""
        return [dict(self.ratios), self.spread]

    @classmethod
    def from_plain(cls, plain: Sequence[Any]) -> Levels:
        """What ``to_plain`` gave. Raises ``ValueError``, ``TypeError`` for what it did not give."""
        ratios, spread = plain
        if not isinstance(ratios, dict):
            raise TypeError("levels are no table")
        found = cls({str(m): float(r) for m, r in ratios.items()}, float(spread))
        if not all(0 < value < math.inf for value in (*found.ratios.values(), found.spread)):
            raise ValueError("a level that is not above 0")
        return found


def possible(bad: float, of: float) -> bool:
    """Whether these can be counts at all: finite, not absurd, and no more bad ones than there are."""
    return 0 <= bad <= of <= COUNT_MAX


def _ratios(blocks: Sequence[Mapping[str, Trial]]) -> dict[str, float]:
    """Each machine's share relative to that of all, shrunk towards 1."""
    trials: dict[str, list[Trial]] = {}
    for block in blocks:
        for machine, trial in block.items():
            trials.setdefault(machine, []).append(trial)
    sums = {m: (math.fsum(k for k, _ in t), math.fsum(n for _, n in t)) for m, t in trials.items()}
    of = math.fsum(n for _, n in sums.values())
    share = math.fsum(k for k, _ in sums.values()) / of if of else 0.0
    return {m: (k + LEVEL_EVENTS) / (n * share + LEVEL_EVENTS) for m, (k, n) in sorted(sums.items())[:MACHINES_MAX]}


def _apart(blocks: Sequence[Mapping[str, Trial]], ratios: Mapping[str, float]) -> float:
    """The relative variance from machine to machine within blocks, beyond lasting levels and chance."""
    squares: list[float] = []
    expected: list[float] = []
    shared = 0
    for block in blocks:
        if len(block) < 2:
            continue
        shared += 1
        exposures = {m: n * ratios.get(m, 1.0) for m, (_, n) in block.items()}
        level = math.fsum(k for k, _ in block.values()) / math.fsum(exposures.values())
        expected += [exposures[m] * level for m in block]
        squares += [(k - exposures[m] * level) ** 2 for m, (k, _) in block.items()]
    count, total = len(expected), math.fsum(expected)
    if not total:
        return 0.0
    # A block's total is fitted, so that one machine of each block says nothing by itself.
    dispersion = math.fsum(squares) / total * count / (count - shared)
    return max(0.0, dispersion - 1) / max(total / count, 0.5)
