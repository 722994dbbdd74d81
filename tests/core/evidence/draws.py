"""Counts drawn exactly, from a seed: for tests of what chance does."""

from __future__ import annotations

import math
import random

_CHUNK = 30.0


def poisson(dice: random.Random, mean: float) -> int:
    """So many events, exactly Poisson: a large mean is drawn in parts."""
    count = 0
    while mean > _CHUNK:
        count, mean = count + _walk_poisson(dice, _CHUNK), mean - _CHUNK
    return count + _walk_poisson(dice, mean)


def binomial(dice: random.Random, of: int, share: float) -> int:
    """So many of ``of``, exactly binomial; for at most about 500 of them."""
    if share > 0.5:
        return of - binomial(dice, of, 1 - share)
    left, part, odds = dice.random(), (1 - share) ** of, share / (1 - share)
    count = 0
    while left > part and count < of:
        left -= part
        part *= odds * (of - count) / (count + 1)
        count += 1
    return count


def quantile(of: int, share: float, level: float) -> int:
    """The smallest count that a binomial of ``of`` exceeds with a probability of at most 1 - ``level``."""
    below = 0.0
    for count in range(of + 1):
        below += math.exp(
            math.lgamma(of + 1)
            - math.lgamma(count + 1)
            - math.lgamma(of - count + 1)
            + count * math.log(share)
            + (of - count) * math.log1p(-share)
        )
        if below >= level:
            return count
    return of


def _walk_poisson(dice: random.Random, mean: float) -> int:
    left, part, count = dice.random(), math.exp(-mean), 0
    while left > part and count < 500:
        left -= part
        count += 1
        part *= mean / count
    return count
