"""What is known of one image digest, and its place among the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestRecord:
    """What is known of one image digest. ``proven_at`` None: never proven.

    ``full_at`` is when it first ran on every machine, ``served_at`` since when it did so last.
    """

    digest: str
    image_ref: str
    version: int | None
    first_seen_at: float
    first_sight: bool = False
    by_guard: bool = False
    labels: Mapping[str, str] = field(default_factory=dict)
    born_into: frozenset[str] = frozenset()
    full_at: float | None = None
    full_version: int | None = None
    served_at: float | None = None
    proven_at: float | None = None
    proven_how: str = ""


def place_of(version: int | None, digests: Sequence[DigestRecord]) -> int:
    """A release that a person names afterwards takes its place by number; otherwise first seen, first in order.

    So numbers never fall from one digest to the next, and the search from the newest ends soon.
    """
    place = len(digests)
    for index, known in enumerate(reversed(digests), start=1):
        if known.version is None:
            continue
        if version is None or known.version <= version:
            break
        place = len(digests) - index
    return place
