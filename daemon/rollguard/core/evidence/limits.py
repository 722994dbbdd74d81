"""Limits of an unknown share, and how much more a share wanders than chance alone lets it."""

from __future__ import annotations

import math
from collections.abc import Sequence

Trial = tuple[float, float]
"""So many bad ones, out of so many."""

SHRINK_BLOCKS = 6.0
USUAL_VARIATION = 0.06
"""What apps are believed to wander (relative variance from block to block) before anything is known: as six blocks."""


def upper(bad: float, of: float, z: float) -> float:
    """The upper confidence limit of the share ``bad / of``, ``z`` standard deviations up (score limit of a Poisson
    mean; Garwood 1936 gives the exact one). Infinite where there was nothing.
    """
    if of <= 0:
        return math.inf
    return (bad + z * z / 2 + z * math.sqrt(bad + z * z / 4)) / of


def lower(bad: float, of: float, z: float) -> float:
    """The lower confidence limit of the share, 0 where there was nothing."""
    if of <= 0:
        return 0.0
    return max(0.0, (bad + z * z / 2 - z * math.sqrt(bad + z * z / 4)) / of)


def wandering(blocks: Sequence[Trial]) -> float:
    """The standard deviation of the logarithm of the share from block to block, beyond what counting explains.

    The index of dispersion of the blocks' counts (Fisher 1950), shrunk towards ``USUAL_VARIATION``: few blocks say
    little, and so do blocks of few bad ones, which differ by chance as much as an app wanders. The relative variance
    of one block's count, of ``events`` expected, is ``USUAL_VARIATION`` + 1 / events; by the square of the first one's
    part in it a block counts.
    """
    count = len(blocks)
    total, bad = math.fsum(n for _, n in blocks), math.fsum(k for k, _ in blocks)
    events = bad / max(count, 1)
    excess = weight = 0.0
    if count > 1 and total > 0 and events > 0:
        share = bad / total
        dispersion = math.fsum((k - n * share) ** 2 for k, n in blocks) / bad
        excess = max(0.0, dispersion * count / (count - 1) - 1) / max(events, 0.5)
        weight = count * (USUAL_VARIATION / (USUAL_VARIATION + 1 / events)) ** 2
    shrunk = (weight * excess + SHRINK_BLOCKS * USUAL_VARIATION) / (weight + SHRINK_BLOCKS)
    return math.sqrt(math.log1p(shrunk))
