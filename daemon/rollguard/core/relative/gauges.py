"""The bet where the app gives a time that it works out itself: the middle of its machines' values, round by round."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rollguard.core.evidence.bets import Terms
from rollguard.core.evidence.gauge import GaugeBet, GaugeBound
from rollguard.core.evidence.strata import Stratum, Tally
from rollguard.core.gauges import middle
from rollguard.core.relative.counts import Counts
from rollguard.core.relative.wagers import Bound, Wager, strata_of, strata_plain


@dataclass(slots=True)
class GaugeWager(Wager):
    """A wager on values: in its strata each machine has counted one thing, whose badness is the value in seconds.

    There is no live test: values of a trailing window on two images are of different times. ``sd`` is how far single
    values lay apart before, in logarithms.
    """

    sd: float = 0.0
    gauge: GaugeBet = field(default_factory=GaugeBet)

    @classmethod
    def against(cls, known: GaugeBound, alpha: float, size: float) -> GaugeWager:
        """One that begins now."""
        bound = Bound(bound_s=None, limit=known.limit, baseline=known.baseline)
        return cls(bound=bound, terms=Terms(limit=known.limit, alpha=alpha, size=size), sd=known.sd)

    def idle(self, span_s: float, watch_s: float) -> None:
        """Time in which nothing was read."""
        self.gauge.idle(span_s, watch_s)
        self.log_evidence = self.gauge.log_evidence

    def take(self, stratum: Stratum, regions: Sequence[Stratum], watch_s: float, *, frozen: bool) -> None:
        """Count one round. Where machines on the old image are beyond the limit too, it is evidence of nothing."""
        self.strata.append(stratum)
        value, before = value_of(stratum.new), value_of(stratum.old)
        self.old_too = before is not None and before > self.bound.limit
        if frozen or self.old_too or value is None:
            self.gauge.idle(stratum.dt_s * stratum.gap, watch_s)
        else:
            known = GaugeBound(self.bound.limit, self.bound.baseline, self.sd)
            self.gauge.count(value, known, self.terms, stratum.dt_s, stratum.gap, watch_s)
        self.log_evidence = self.gauge.log_evidence

    def counts_cold(self, counts: Counts) -> Stratum | None:
        """Never: a slow start is what a machine is left its first moments for."""
        return None

    def is_worse(self, tally: Tally) -> bool:
        """Whether a machine's value is beyond the limit."""
        return tally.bad > self.bound.limit

    def is_over(self, since: float) -> bool:
        """Whether the newest value is within the limit."""
        newest = value_of(self.strata[-1].new) if self.strata else None
        return newest is not None and newest <= self.bound.limit

    def sick(self) -> tuple[str, ...]:
        """Nobody: one machine alone does not move the middle."""
        return ()

    def to_plain(self) -> dict[str, Any]:
        """As JSON values."""
        return {
            "gauge": self.gauge.to_plain(),
            "bound": [self.bound.limit, self.bound.baseline, self.sd],
            "terms": [self.terms.alpha, self.terms.size],
            "old_too": self.old_too,
            "strata": strata_plain(self.strata),
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> GaugeWager:
        """What ``to_plain`` gave."""
        limit, baseline, sd = (float(number) for number in plain["bound"])
        alpha, size = (float(number) for number in plain["terms"])
        made = cls.against(GaugeBound(limit, baseline, sd), alpha, size)
        made.gauge = GaugeBet.from_plain(plain["gauge"])
        made.old_too, made.strata = bool(plain["old_too"]), strata_of(plain["strata"])
        made.log_evidence = made.gauge.log_evidence
        return made


def value_of(tallies: Iterable[Tally]) -> float | None:
    """The middle of so many machines' values."""
    return middle(tally.bad for tally in tallies)
