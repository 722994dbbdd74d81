"""What the tests count: so many bad out of so many, machine by machine, within one scrape interval."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Tally(NamedTuple):
    """What one machine counted in one interval: ``bad`` of ``of``. Both are finite, and 0 <= bad <= of."""

    machine: str
    bad: float
    of: float


class Stratum(NamedTuple):
    """One scrape interval: machines on the candidate's image (``new``) and on another one (``old``).

    Only machines that ran one image during the whole interval, and were settled, are in it. ``at`` is its end,
    ``dt_s`` the time between two scrapes, ``gap`` how many of those it covers (1, or more after missed scrapes).
    """

    at: float
    dt_s: float
    gap: float = 1.0
    new: tuple[Tally, ...] = ()
    old: tuple[Tally, ...] = ()


def total(tallies: Iterable[Tally]) -> tuple[float, float]:
    """The bad ones of all machines together, and all of them."""
    bad = of = 0.0
    for tally in tallies:
        bad += tally.bad
        of += tally.of
    return bad, of
