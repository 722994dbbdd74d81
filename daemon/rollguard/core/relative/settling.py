"""How long machines of this app take to settle after a start, learnt from earlier healthy releases."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rollguard.core.policy import Comparing

RELEASES_MIN, RELEASES_MAX = 5, 10
MORE = 1.2
"""The longest one seen may be beaten by a little."""
SETTLE_S_MAX = 180.0


@dataclass(slots=True)
class Settling:
    """``known``: for how long after a start machines of the newest proven releases did worse than tolerated."""

    known: list[float] = field(default_factory=list)
    now_s: float = 0.0
    noted: bool = False

    def begin(self) -> None:
        """Another release."""
        self.now_s, self.noted = 0.0, False

    def saw(self, cold_s: float) -> None:
        """A machine of that age does worse than tolerated."""
        self.now_s = max(self.now_s, cold_s)

    def proven(self) -> None:
        """The release is healthy: what was seen of it was its start."""
        if not self.noted:
            self.noted = True
            self.known = [*self.known, self.now_s][-RELEASES_MAX:]

    def settle_s(self, settings: Comparing) -> float:
        """As the policy says; where it leaves that to be learnt, once enough releases are known, what they took."""
        if not settings.settle_auto or len(self.known) < RELEASES_MIN:
            return settings.settle_s
        return min(SETTLE_S_MAX, max(self.known) * MORE)

    def to_plain(self) -> dict[str, Any]:
        """As JSON values."""
        return {"known": self.known, "now_s": self.now_s, "noted": self.noted}

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Settling:
        """What ``to_plain`` gave."""
        return cls([float(s) for s in plain["known"]][-RELEASES_MAX:], float(plain["now_s"]), bool(plain["noted"]))
