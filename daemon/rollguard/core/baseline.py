"""What a release did while all was well: blocks of time, remembered for comparison with the release after it."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from rollguard.core import text
from rollguard.core.policy import Compared, Comparing, Gauge, Policy, Probes, Quantile, Ratio

REQUESTS_WANTED = 2000.0
"""With fewer requests in the newest blocks, older ones are kept as well."""

BLOCKS_MAX = 288
DIGESTS_MAX = 8
VALUES_MAX = 60
"""So many values of a gauge are kept of a block."""

Buckets = tuple[tuple[float, float], ...]
"""(upper bound, cumulative count), the last bound infinite."""


@dataclass(frozen=True, slots=True)
class Share:
    """So many bad ones out of so many."""

    bad: float
    total: float


@dataclass(frozen=True, slots=True)
class Times:
    """A histogram of how long requests took. ``own`` of them were the guard's probes: which ones, nobody can tell."""

    buckets: Buckets
    own: float = 0.0

    @property
    def total(self) -> float:
        return self.buckets[-1][1] if self.buckets else 0.0


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of time in which ``digest`` ran on every machine and nothing was wrong.

    ``shares``, ``times`` and ``gauges``, the values of gauges, are by measure (see ``measure_of``).
    """

    digest: str
    start: float
    end: float
    shares: Mapping[str, Share] = field(default_factory=dict)
    times: Mapping[str, Times] = field(default_factory=dict)
    gauges: Mapping[str, tuple[float, ...]] = field(default_factory=dict)

    def requests(self, measure: str) -> float:
        """How many requests of users it holds of one measure."""
        if measure in self.shares:
            return self.shares[measure].total
        times = self.times.get(measure)
        return times.total - times.own if times is not None else 0.0

    @property
    def most_requests(self) -> float:
        """How many requests it holds of the measure that has most of them."""
        return max((self.requests(m) for m in (*self.shares, *self.times)), default=0.0)


@dataclass(frozen=True, slots=True, eq=False)
class Baseline:
    """The blocks of one digest, oldest first. ``how`` is learnt or recorded. Equal only to itself."""

    digest: str
    blocks: tuple[Block, ...] = ()
    how: str = "learnt"

    def requests(self, measure: str) -> float:
        """How many requests of one measure all blocks hold."""
        return sum(block.requests(measure) for block in self.blocks)

    @property
    def most_requests(self) -> float:
        """How many requests they hold of the measure that has most of them."""
        return max((self.requests(m) for m in {m for b in self.blocks for m in (*b.shares, *b.times)}), default=0)

    def shares(self, measure: str) -> list[Share]:
        """Every block's share that counted something, oldest first."""
        return [s for b in self.blocks if (s := b.shares.get(measure)) is not None and s.total > 0]

    def times(self, measure: str) -> list[Times]:
        """Every block's histogram that counted something, oldest first."""
        return [t for b in self.blocks if (t := b.times.get(measure)) is not None and t.total > 0]

    def gauges(self, measure: str) -> list[float]:
        """Every value of a gauge, oldest first."""
        return [value for b in self.blocks for value in b.gauges.get(measure, ())]

    def with_block(self, block: Block, settings: Comparing) -> Baseline:
        """With one block more; the oldest are forgotten, unless there are too few requests in the newer ones."""
        blocks = sorted((*self.blocks, block), key=lambda b: b.end)
        return Baseline(self.digest, tuple(_newest(blocks, settings)), self.how)


def _newest(blocks: list[Block], settings: Comparing) -> list[Block]:
    kept: list[Block] = []
    requests = 0.0
    for block in reversed(blocks[-BLOCKS_MAX:]):
        if len(kept) >= settings.blocks and requests >= REQUESTS_WANTED:
            break
        kept.append(block)
        requests += block.most_requests if block.shares or block.times else REQUESTS_WANTED  # gauges count none
    return kept[::-1]


def compared(policy: Policy) -> tuple[Ratio | Quantile | Gauge, ...]:
    """What the policy's rules compare with the past."""
    found = (r.condition.of for r in policy.rules if isinstance(r.condition, Compared))
    return tuple(of for of in found if not isinstance(of, Probes))


def measure_of(of: Ratio | Quantile | Gauge, policy: Policy) -> str:
    """What is counted, as the name under which blocks keep it.

    It changes with the selectors behind it: after them, what was counted before cannot be compared any more.
    """
    keys = (of.bad, of.total) if isinstance(of, Ratio) else (of.key,)
    behind = [_behind(key, policy) for key in keys]
    mark = hashlib.sha256(repr(behind).encode()).hexdigest()[:8]
    return f"{' / '.join(keys)} #{mark}"


def _behind(key: str, policy: Policy) -> object:
    name, _, value = key.partition(".")
    signal = policy.signal(name)
    selectors = {**getattr(signal, "counters", {}), **getattr(signal, "histograms", {})}
    selector = selectors.get(value)
    parts: object = (selector.name, sorted(repr(m) for m in selector.matchers)) if selector is not None else ()
    values = getattr(signal, "values", ())  # of a store by name, of a page with its name in it
    number = values.get(value) if isinstance(values, Mapping) else next((v for v in values if v.name == value), None)
    if number is not None:
        parts = repr(number)
    return key, parts, getattr(signal, "machine_label", None)


def summary(baseline: Baseline, now: float) -> str:
    """Where it is from, how much of it there is, and how old it is."""
    count, newest = len(baseline.blocks), max((b.end for b in baseline.blocks), default=now)
    blocks = f"{count} block{'s' * (count != 1)} of {baseline.most_requests:.0f} requests"
    age = text.seconds(max(0.0, now - newest)) or "0 s"
    return f"{blocks}, {baseline.how}, the newest {age} old"


class Unreadable(ValueError):
    """A kept text is not what ``to_text`` wrote; the sentence says what is wrong with it."""


def to_text(baselines: Iterable[Baseline]) -> str:
    """As JSON, to be kept across restarts."""
    return json.dumps({"format": 1, "baselines": [_plain(b) for b in baselines]}, separators=(",", ":"))


def from_text(kept: str) -> tuple[Baseline, ...]:
    """What ``to_text`` wrote. Raises ``Unreadable``."""
    try:
        data = json.loads(kept)
        if data["format"] != 1:
            raise Unreadable(f"format {data['format']!r} is not known")
        return tuple(_baseline(b) for b in data["baselines"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise Unreadable(f"not a kept baseline: {error}") from error


def _plain(baseline: Baseline) -> dict[str, Any]:
    blocks = [
        {
            "start": round(b.start, 3),
            "end": round(b.end, 3),
            "shares": {name: [share.bad, share.total] for name, share in b.shares.items()},
            "times": {name: [list(_finite(t.buckets)), t.total, t.own] for name, t in b.times.items()},
            **({"gauges": b.gauges} if b.gauges else {}),
        }
        for b in baseline.blocks
    ]
    return {"digest": baseline.digest, "how": baseline.how, "blocks": blocks}


def _finite(buckets: Buckets) -> Iterator[list[float]]:
    """JSON has no infinity: the last bucket's count is written beside the others."""
    return ([bound, count] for bound, count in buckets if math.isfinite(bound))


def _baseline(data: Mapping[str, Any]) -> Baseline:
    digest = str(data["digest"])
    blocks = tuple(
        Block(
            digest,
            float(b["start"]),
            float(b["end"]),
            {name: Share(_count(bad), _count(total)) for name, (bad, total) in b["shares"].items()},
            {name: Times(_buckets(finite, total), _count(own)) for name, (finite, total, own) in b["times"].items()},
            {name: tuple(map(_count, some[:VALUES_MAX])) for name, some in b.get("gauges", {}).items()},
        )
        for b in data["blocks"][-BLOCKS_MAX:]
    )
    return Baseline(digest, blocks, str(data["how"]))


def _buckets(finite: Any, total: Any) -> Buckets:
    buckets = (*((float(bound), _count(count)) for bound, count in finite), (math.inf, _count(total)))
    if any(b[0] <= a[0] or b[1] < a[1] for a, b in pairwise(buckets)):
        raise ValueError("a histogram that is not in order")
    return buckets


def _count(value: Any) -> float:
    count = float(value)
    if not 0 <= count < math.inf:
        raise ValueError(f"{count} counts nothing")
    return count
