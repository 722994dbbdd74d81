"""Identifiers as Fly.io shapes them, from one seeded generator."""

from __future__ import annotations

import random

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


class Ids:
    """The same seed and the same calls give the same identifiers."""

    def __init__(self, seed: int = 0) -> None:
        self._random = random.Random(seed)

    def ulid(self, now: float) -> str:
        """26 characters that sort by `now` (epoch seconds)."""
        number = (int(now * 1000) << 80) | self._random.getrandbits(80)
        return "".join(_CROCKFORD[(number >> shift) & 31] for shift in range(125, -1, -5))

    def hex(self, digits: int) -> str:
        """That many hexadecimal digits: 14 for a machine, 12 for a nonce."""
        return f"{self._random.getrandbits(4 * digits):0{digits}x}"
