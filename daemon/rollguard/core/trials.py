"""What the first machines and their peers counted, over the same seconds: so many bad out of so many, rule by rule.

Counts are kept scrape interval by scrape interval: only within one did both sides surely have the same minute.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from statistics import median_high

from rollguard.core import judging
from rollguard.core.budgets import Burn, ByLabel
from rollguard.core.by_label import called
from rollguard.core.fleet import Tenure
from rollguard.core.gauges import as_limit
from rollguard.core.judging import Evidence
from rollguard.core.model import Reading
from rollguard.core.parting import narrowed
from rollguard.core.policy import Compared, Failing, Gauge, Probes, Quantile, Ratio, Rule, Threshold

SLOW_SHARE = 0.2
"""Times are compared at the bucket bound above which about this share of all requests lies."""


@dataclass(frozen=True, slots=True)
class Trials:
    """``bad`` of ``n``."""

    bad: float
    n: float

    @property
    def turned(self) -> Trials:
        """Where good is what is counted."""
        return Trials(self.n - self.bad, self.n)

    def __add__(self, other: Trials) -> Trials:
        return Trials(self.bad + other.bad, self.n + other.n)


NOBODY = Trials(0.0, 0.0)


@dataclass(frozen=True, slots=True)
class Both:
    """What the first machines and their peers counted in the same interval."""

    first: Trials
    peers: Trials


@dataclass(frozen=True, slots=True)
class Kind:
    """How much counts of one kind tell.

    ``weight`` discounts readings that cling. From about ``size`` bad ones of an interval on, more of them hardly tell
    more: they come in bursts. A share that is larger by ``slack`` is not worse. No interval speaks for the old image by
    more than ``most``: a machine has slow moments.
    """

    weight: float
    size: float = math.inf
    slack: float = 0.0
    most: float = math.inf


KINDS: dict[type, Kind] = {
    Ratio: Kind(1.0, size=6.0, slack=0.0005),
    Quantile: Kind(1.0, size=30.0, most=3.0),
    Failing: Kind(0.5),
    Threshold: Kind(0.2),
}
"""A probe counts half, and a gauge, which says the same thing again and again, a fifth."""

Countable = Ratio | Quantile | Failing | Threshold


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """What one rule counted on the first machines and on their peers, interval by interval.

    ``bound`` is the one at which times were compared. ``read_until`` is how far the readings reach: a metrics store may
    lie a minute behind. ``part``: the value of a label that alone was counted.
    """

    rule: Rule
    of: Countable
    strata: tuple[Both, ...]
    bound: float
    read_until: float
    part: str | None = None

    @property
    def kind(self) -> Kind:
        """How much its counts tell."""
        return KINDS[type(self.of)]

    @property
    def peers(self) -> Trials:
        """What the peers counted in all intervals."""
        return sum((s.peers for s in self.strata), NOBODY)

    @property
    def words(self) -> str:
        """The counts, for people."""
        first, peers = sum((s.first for s in self.strata), NOBODY), self.peers
        where = f"{called(self.part)}: " if self.part is not None else ""
        return (
            f"{self.rule.name}: {where}{first.bad:.0f} of {first.n:.0f} on the old image, "
            f"{peers.bad:.0f} of {peers.n:.0f} on the new one"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Beyond:
    """What the cohort counted, interval by interval, in so many seconds of single machines."""

    strata: tuple[Trials, ...]
    machine_s: float

    @property
    def total(self) -> Trials:
        """All intervals together."""
        return sum(self.strata, NOBODY)


def counted_by(rule: Rule, evidence: Evidence) -> Countable | None:
    """What of the rule can be counted; None: nothing."""
    condition = rule.condition.of if isinstance(rule.condition, Compared) else rule.condition
    match condition:
        case Probes(signal=signal):
            return Failing(signal=signal, k=1)
        case Gauge() if isinstance(rule.condition, Compared):
            return as_limit(rule.condition, evidence.policy, evidence.baseline)
        case Burn(bad=bad, total=total):
            slowest = min(condition.windows, key=lambda w: w.rate)
            limit, over_s = (1 - condition.objective) * slowest.rate, slowest.and_s
            return Ratio(bad=bad, total=total, over_s=over_s, limit=limit, above=True, min_count=condition.min_count)
        case Ratio() | Quantile() | Failing() | Threshold():
            return condition
        case _:
            return None


def key_of(of: Countable) -> str:
    """The key whose readings say how much was counted."""
    match of:
        case Ratio(total=key) | Failing(signal=key) | Quantile(key=key) | Threshold(key=key):
            return key


def keys_of(of: Countable) -> tuple[str, ...]:
    """Every key whose readings are counted."""
    return (of.total, of.bad) if isinstance(of, Ratio) else (key_of(of),)


def of_part(of: Countable, part: str | None, evidence: Evidence, since: float) -> Evidence:
    """The same evidence from ``since`` on, as if nothing had been counted but that value of the label that ``of`` is
    split by: what is wrong with a small route is lost in the whole.
    """
    if part is None or not isinstance(of, Ratio) or not isinstance(of.by, ByLabel):
        return evidence
    policy, view, windows = narrowed(of, part, (evidence.policy, evidence.view, evidence.windows), since)
    return replace(evidence, policy=policy, view=view, windows=windows)


def pair_of(
    rule: Rule, evidence: Evidence, first: tuple[str, ...], since: float, now: float, part: str | None = None
) -> Pair | None:
    """What ``rule`` counted on the machines ``first``, since they are up and settled, and on the cohort then; None:
    nothing on either side. ``since`` is from when on they are watched; ``part``: see ``of_part``.
    """
    of = counted_by(rule, evidence)
    mine = [t for t in evidence.view.others if t.machine in first and t.started]
    peers = list(evidence.view.serving)
    if of is None or not mine or not peers:
        return None
    # A machine's first moments say nothing about its image; both sides are compared over the same seconds. What it did
    # after them while it was looked at whether it is stable counts as well.
    settings = evidence.policy
    settled_at = max(t.since + settings.comparing.settle_s for t in mine)
    start = max(since - settings.rollback.stability_s, settled_at)
    evidence = of_part(of, part, evidence, start)
    bound = _telling(of, evidence, mine, peers, start, now)
    if bound is None:
        return None
    one, other = (_counted(of, bound, evidence, side, start, now) for side in (mine, peers))
    place = _intervals(of, evidence, [*mine, *peers], start, now)
    left, right = _by_interval(of, one, place), _by_interval(of, other, place)
    strata = tuple(Both(left[n], right[n]) for n in sorted(left.keys() & right.keys()) if left[n].n and right[n].n)
    if not strata:
        return None
    heard = _readings(evidence, key_of(of), [*mine, *peers], start, now)
    read_until = max((r.to for r in heard), default=since)
    return Pair(rule=rule, of=of, strata=strata, bound=bound, read_until=read_until, part=part)


def cohort_beyond(of: Countable, bound: float, evidence: Evidence, since: float, now: float) -> Beyond:
    """What the cohort counted since then, slower than ``bound`` or beyond it where it is about a value."""
    peers = list(evidence.view.serving)
    counted = _counted(of, bound, evidence, peers, since, now)
    strata = _by_interval(of, counted, _intervals(of, evidence, peers, since, now))
    read = [r for r in _readings(evidence, key_of(of), peers, since, now) if r.gap is None]
    increments = [r.to - r.since for r in read if r.since is not None and r.since >= since]
    every_s = every_s_of(of, evidence)
    return Beyond(
        strata=tuple(strata[n] for n in sorted(strata)),
        machine_s=sum(increments) if isinstance(of, Ratio | Quantile) else every_s * len(read),
    )


def bound_within(of: Countable, limit: float, evidence: Evidence, since: float, now: float) -> float | None:
    """The bound beyond which counts are on the wrong side of ``limit``, as near to it as a histogram has one; None:
    there is none.
    """
    if not isinstance(of, Quantile):
        return limit
    within = [b for b in _bounds(evidence, of.key, list(evidence.view.serving), since, now) if b <= limit]
    return max(within, default=None) if of.above else None


def every_s_of(of: Countable, evidence: Evidence) -> float:
    """How often it is read, in seconds."""
    return evidence.policy.signal(key_of(of).partition(".")[0]).every_s


# -- counting ----------------------------------------------------------------------------------------------------------

Counted = list[tuple[float, Trials]]
"""Until when, and what was counted up to then."""


def _counted(
    of: Countable, bound: float, evidence: Evidence, machines: Sequence[Tenure], start: float, now: float
) -> Counted:
    """What these machines counted: slower than ``bound``, or beyond it where the rule is about a value."""
    match of:
        case Ratio():
            total = _increments(evidence, of.total, machines, start, now)
            bad = _increments(evidence, of.bad, machines, start, now)
            of_all = [(r.to, Trials(0.0, r.value or 0.0)) for r in total]
            return of_all + [(r.to, Trials(r.value or 0.0, 0.0)) for r in bad]
        case Quantile():
            rows = [(r.to, dict(r.buckets)) for r in _increments(evidence, of.key, machines, start, now) if r.buckets]
            return [(to, Trials(row[math.inf] - row[bound], row[math.inf])) for to, row in rows if bound in row]
        case Failing():
            answers = _answers(evidence, of.signal, machines, start, now)
            return [(r.to, Trials(float(r.value == 0.0), 1.0)) for r in answers]
        case Threshold():
            values = _answers(evidence, of.key, machines, start, now)
            return [(r.to, Trials(float(judging.beyond(r.value or 0.0, bound, above=of.above)), 1.0)) for r in values]


def _telling(
    of: Countable, evidence: Evidence, mine: Sequence[Tenure], peers: Sequence[Tenure], start: float, now: float
) -> float | None:
    """The bound at which times are compared; of a value its limit."""
    if isinstance(of, Threshold):
        return of.limit
    if not isinstance(of, Quantile):
        return 0.0
    all_machines = [*mine, *peers]
    total = Trials(0.0, 0.0)
    shares: dict[float, float] = {}
    for bound in _bounds(evidence, of.key, all_machines, start, now):
        counted = _counted(of, bound, evidence, all_machines, start, now)
        total = sum((trials for _, trials in counted), NOBODY)
        shares[bound] = total.bad / total.n if total.n else 0.0

    def far(bound: float) -> float:
        """In ratios: where 40 % are slower tells much, where 3 % are tells little."""
        return abs(math.log(max(shares[bound], 0.5 / max(1.0, total.n)) / SLOW_SHARE))

    return min(shares, key=far, default=None)


def _bounds(evidence: Evidence, key: str, machines: Sequence[Tenure], start: float, now: float) -> list[float]:
    """The finite bounds that every histogram has."""
    rows = [{b for b, _ in r.buckets} for r in _increments(evidence, key, machines, start, now) if r.buckets]
    shared = set(rows[0]).intersection(*rows[1:]) if rows else set()
    return sorted(b for b in shared if not math.isinf(b))


class _Intervals:
    """To which scrape interval an instant belongs."""

    def __init__(self, first_at: float, length_s: float) -> None:
        self._first_at = first_at
        self._length_s = length_s

    def __call__(self, at: float) -> int:
        """Its number. Machines that a store scrapes a little later than others are in the same one."""
        return math.floor((at - self._first_at) / self._length_s + 0.5)


def _intervals(of: Countable, evidence: Evidence, machines: Sequence[Tenure], start: float, now: float) -> _Intervals:
    """Scrape intervals as they were; probes and gauges are their own, and all are taken together."""
    if isinstance(of, Failing | Threshold):
        return _Intervals(start, math.inf)
    read = _increments(evidence, key_of(of), machines, start, now)
    lengths = [r.to - r.since for r in read if r.since is not None and r.to > r.since]
    length_s = max(every_s_of(of, evidence), median_high(lengths) if lengths else 0.0)
    return _Intervals(min((r.to for r in read), default=start), length_s)


def _by_interval(of: Countable, counted: Counted, place: _Intervals) -> dict[int, Trials]:
    found: dict[int, Trials] = {}
    for at, trials in counted:
        found[place(at)] = found.get(place(at), NOBODY) + trials
    believed = {n: Trials(min(t.bad, t.n), t.n) for n, t in found.items()}
    good_ones = isinstance(of, Ratio | Quantile) and not of.above
    return {n: t.turned for n, t in believed.items()} if good_ones else believed


def _answers(evidence: Evidence, key: str, machines: Iterable[Tenure], start: float, now: float) -> list[Reading]:
    read = _readings(evidence, key, machines, start, now)
    return [r for r in read if r.gap is None and r.value is not None]


def _increments(evidence: Evidence, key: str, machines: Iterable[Tenure], start: float, now: float) -> list[Reading]:
    """Increases wholly inside the time of comparison."""
    read = _readings(evidence, key, machines, start, now)
    return [r for r in read if r.gap is None and r.since is not None and r.since >= start]


def _readings(evidence: Evidence, key: str, machines: Iterable[Tenure], start: float, now: float) -> list[Reading]:
    return [
        reading
        for tenure in machines
        for reading in evidence.windows.since(key, tenure.machine, max(start, tenure.since))
        if reading.at <= now
    ]
