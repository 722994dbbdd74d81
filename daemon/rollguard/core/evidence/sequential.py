"""The judge of one release against its own app's past: fed sample by sample, it says at any time how sure it is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from rollguard.core.evidence.bets import Bet, Terms
from rollguard.core.evidence.blocks import Blocks
from rollguard.core.evidence.bounds import PROBES, error_bound, slow_bounds

ALPHA, ALPHA_PAGE = 1 / 1000, 0.02
WEIGHTS = {"errors": 0.4, "slow": 0.3, "probes": 0.3}
SIZE_ERRORS, SIZE_OTHERS = 6.0, 10.0
WATCH_S = 3600.0
NO_PAGE_S = 75.0
BLIND_S = 300.0
FACTOR_ROLL, FACTOR_PAGE = 1.5, 1.2
CONTROL = 0.5
SEVERE_N, SEVERE = 4.0, 0.35


class Verdict(IntEnum):
    """What to do about a release. ``LEARNING``: there is no release to judge yet."""

    OK = 0
    LEARNING = 1
    NO_DATA = 2
    PAGE = 3
    ROLLBACK = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """What was counted between two scrapes, ``gap`` intervals of ``dt_s`` apart. ``requests`` None: no scrape.

    ``buckets`` are not cumulative; the last one is without a bound. ``control_fails``: failed probes, out of as many
    as were sent, of something that the release cannot touch.
    """

    at: float
    dt_s: float
    gap: float = 1.0
    requests: float | None = None
    errors: float = 0.0
    buckets: tuple[float, ...] = ()
    probes: float = 0.0
    probes_failed: float = 0.0
    control_failed: float = 0.0


@dataclass(slots=True)
class Wager:
    """A bet of one signal. ``edge`` -1: errors; -2: probes; else the edge of the histogram. ``page``: no rollback."""

    signal: str
    edge: int
    terms: Terms
    baseline: float
    page: bool = False
    bet: Bet = field(default_factory=Bet)


@dataclass(slots=True)
class Judge:
    """One app: what it did, and the bets against its newest release. ``settle_s``: how long it is cold after one."""

    bounds_s: Sequence[float]
    settle_s: float = 0.0
    blocks: Blocks = field(default_factory=Blocks)
    wagers: list[Wager] = field(default_factory=list)
    released_at: float | None = None
    armed_at: float = 0.0
    last_scrape_at: float | None = None

    def release(self, at: float) -> None:
        """A new release: the past becomes the bounds, and all bets begin anew."""
        self.released_at = at
        self._arm(at)

    def take(self, sample: Sample) -> tuple[Verdict, Wager | None]:
        """Count a sample; the verdict now, and the bet that says so."""
        if self.released_at is None:
            self._learn(sample)
            return Verdict.LEARNING, None
        if sample.at - self.armed_at > WATCH_S:
            self._arm(sample.at)
        frozen = sample.probes > 0 and sample.control_failed > CONTROL * sample.probes
        for wager in self.wagers:
            self._count(wager, sample, frozen)
        self._learn(sample)
        return self._verdict(sample, frozen)

    def _learn(self, sample: Sample) -> None:
        if sample.requests is not None:
            self.last_scrape_at = sample.at
            if sample.requests > 0:
                self.blocks.add(sample.at - sample.dt_s / 2, sample.requests, sample.errors, sample.buckets)

    def _arm(self, at: float) -> None:
        self.armed_at = at
        errors = error_bound(self.blocks)
        slow = slow_bounds(self.blocks, self.bounds_s, FACTOR_ROLL)
        pages = slow_bounds(self.blocks, self.bounds_s, FACTOR_PAGE, page=True)
        probes = Terms(limit=PROBES, alpha=ALPHA * WEIGHTS["probes"], size=SIZE_OTHERS, least_s=40.0)
        self.wagers = [
            Wager(
                "errors",
                -1,
                Terms(limit=errors.limit, alpha=ALPHA * WEIGHTS["errors"], size=SIZE_ERRORS),
                errors.baseline,
            ),
            *(
                Wager(
                    "latency",
                    b.edge,
                    Terms(limit=b.limit, alpha=ALPHA * WEIGHTS["slow"] / 2, size=SIZE_OTHERS, blatant_s=75.0),
                    b.baseline,
                )
                for b in slow
            ),
            *(
                Wager(
                    "latency",
                    b.edge,
                    Terms(limit=b.limit, alpha=ALPHA_PAGE / 2, size=SIZE_OTHERS, blatant_s=75.0),
                    b.baseline,
                    page=True,
                )
                for b in pages
            ),
            Wager("probes", -2, probes, 0.0),
        ]

    def _count(self, wager: Wager, sample: Sample, frozen: bool) -> None:
        bad, of = self._trial(wager, sample)
        assert self.released_at is not None
        cold = sample.at - self.released_at <= self.settle_s and wager.edge != -2
        severe = wager.edge == -1 and of >= SEVERE_N and bad >= SEVERE * of
        if frozen or (cold and not severe):
            wager.bet.idle(sample.dt_s, WATCH_S)
        else:
            wager.bet.count(bad, of, wager.terms, sample.dt_s, sample.gap, WATCH_S)

    def _trial(self, wager: Wager, sample: Sample) -> tuple[float, float]:
        if wager.edge == -2:
            return sample.probes_failed, sample.probes
        if sample.requests is None:
            return 0.0, 0.0
        if wager.edge == -1:
            return sample.errors, sample.requests
        return float(sum(sample.buckets[wager.edge + 1 :])), float(sum(sample.buckets))

    def _verdict(self, sample: Sample, frozen: bool) -> tuple[Verdict, Wager | None]:
        assert self.released_at is not None
        since_s = sample.at - self.released_at
        strongest = max(self.wagers, key=lambda w: w.bet.log_evidence - w.terms.need)
        won = [w for w in self.wagers if not w.page and w.bet.log_evidence >= w.terms.need]
        if won and not frozen and since_s <= WATCH_S:
            return Verdict.ROLLBACK, max(won, key=lambda w: w.bet.log_evidence - w.terms.need)
        suspicious = [
            w for w in self.wagers if w.bet.log_evidence >= (w.terms.need if w.page else math.log(1 / ALPHA_PAGE))
        ]
        if suspicious and since_s > NO_PAGE_S:
            return Verdict.PAGE, strongest
        if self.last_scrape_at is None or sample.at - self.last_scrape_at > BLIND_S:
            return Verdict.NO_DATA, None
        return Verdict.OK, None
