"""A rule as it is written, where it stands, and what it may refer to."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from rollguard.config import schema
from rollguard.config.complaints import Complaints
from rollguard.config.problems import Wrong
from rollguard.config.quantity import Dimension, in_dimension
from rollguard.config.signals import Directory, Unit
from rollguard.config.yamltext import Path
from rollguard.core.policy import Condition
from rollguard.core.signals import Signal

_SHARE = Unit(1.0, Dimension.RATIO, "%")


@dataclass(frozen=True, slots=True)
class Asked:
    """A rule or verify limit, where it stands, and what it may refer to."""

    path: Path
    written: schema.VerifyLimit
    directory: Directory
    complaints: Complaints

    @contextmanager
    def complaining(self, *within: str) -> Iterator[None]:
        """A ``Wrong`` raised inside is about the value there."""
        try:
            yield
        except Wrong as wrong:
            self.complaints.value((*self.path, *within), wrong)

    def limit(self, unit: Unit) -> tuple[float, bool] | None:
        """The limit in base units, and whether it is an upper one. Exactly one is written, by its form."""
        above = self.written.above is not None
        quantity = self.written.above if above else self.written.below
        assert quantity is not None
        with self.complaining("above" if above else "below"):
            return in_dimension(quantity, unit.dimension, unit=unit.suffix), above
        return None

    @property
    def is_limited(self) -> bool:
        """Whether a limit is written down, and not left to a baseline."""
        return self.written.above is not None or self.written.below is not None

    def share(self) -> tuple[float, bool] | None:
        """A limit on a ratio of counts, which lies from 0 to 1 and must be possible to breach."""
        found = self.limit(_SHARE)
        if found and (found[0] >= 1 if found[1] else not 0 < found[0] <= 1):
            key = "above" if found[1] else "below"
            self.complaints.value((*self.path, key), Wrong("a share can never be beyond this limit"))
        return found


Made = tuple[Condition, Signal | None] | None
"""A condition and the signal it is about (None: reports, or one that is not sound); or nothing, having complained."""
