"""What the app did before: blocks of five minutes, the newest day of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from rollguard.core.evidence.limits import Trial

BLOCK_S = 300.0
BLOCKS_MAX = 288
LAST = 24
REQUESTS_MIN = 2000.0
WORST = 0.1
"""The share of blocks that is left out as blips: they must not blunt the judge."""


@dataclass(frozen=True, slots=True)
class Block:
    """Sums over one block: requests, errors among them, and how many took as long as each histogram bucket says
    (not cumulative; the last bucket is the one without a bound; empty where latency is not measured).
    """

    number: int
    requests: float
    errors: float
    buckets: tuple[float, ...] = ()

    def errors_of(self) -> Trial:
        """Errors out of requests."""
        return self.errors, self.requests

    def slower_than(self, edge: int) -> Trial:
        """Requests beyond the upper bound number ``edge``, out of all that were timed."""
        return sum(self.buckets[edge + 1 :]), sum(self.buckets)


@dataclass(slots=True)
class Blocks:
    """A ring of blocks, oldest first. Time is in seconds of any clock that only goes forward."""

    ring: list[Block] = field(default_factory=list)

    def add(self, at: float, requests: float, errors: float, buckets: Sequence[float] = ()) -> None:
        """Put counts into the block of that instant. Buckets of another shape than before begin anew."""
        number = int(at // BLOCK_S)
        last = self.ring[-1] if self.ring else None
        if last is None or last.number != number or (len(last.buckets) not in (0, len(buckets)) and buckets):
            self.ring.append(Block(number, requests, errors, tuple(buckets)))
            del self.ring[:-BLOCKS_MAX]
            return
        summed = tuple(a + b for a, b in zip(last.buckets, buckets, strict=True)) if last.buckets and buckets else ()
        self.ring[-1] = Block(
            number, last.requests + requests, last.errors + errors, summed or last.buckets or tuple(buckets)
        )

    def recent(self, shape: int | None = None) -> tuple[Block, ...]:
        """The last two blocks (with histograms of so many buckets)."""
        return tuple(self._of(shape)[-2:])

    def chosen(self, shape: int | None = None) -> tuple[Block, ...]:
        """The last two hours, and as much more as 2,000 requests need."""
        blocks = self._of(shape)
        start, total = len(blocks), 0.0
        while start > 0 and (len(blocks) - start < LAST or total < REQUESTS_MIN):
            start -= 1
            total += blocks[start].requests
        return tuple(blocks[start:])

    def _of(self, shape: int | None) -> list[Block]:
        if shape is None:
            return [b for b in self.ring if b.requests > 0]
        return [b for b in self.ring if b.requests > 0 and len(b.buckets) == shape]


def without_worst(blocks: Iterable[Block], trial: Callable[[Block], Trial]) -> tuple[Block, ...]:
    """The blocks but for the worst tenth by that share."""
    shares = sorted(((k / n if n else 0.0, b.number, b) for b in blocks for k, n in (trial(b),)), key=lambda x: x[:2])
    keep = len(shares) - int(len(shares) * WORST)
    return tuple(b for _, _, b in sorted(shares[:keep], key=lambda x: x[1]))
