"""Rules that are judged region by region: a region in trouble is not a bad release, most of them are."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rollguard.core import text
from rollguard.core.by_sum import absolute
from rollguard.core.finding import Blame, Finding, RuleState
from rollguard.core.judging import Evidence
from rollguard.core.parting import in_region
from rollguard.core.policy import Quantile, Ratio, Rule


def by_region(rule: Rule, condition: Ratio | Quantile, evidence: Evidence, now: float) -> Finding:
    """The release, where more than half of the regions that serve it are beyond the limit; else those regions alone.

    Each has the rule's minimum of requests for itself; one with fewer agrees with nobody.
    """
    regions = sorted({t.region for t in evidence.view.serving})
    if not regions:
        return absolute(rule, condition, evidence, now)
    found = {
        region: absolute(rule, condition, replace(evidence, view=in_region(evidence.view, region)), now)
        for region in regions
    }
    bad = {region: f for region, f in found.items() if f.firing and f.blame is Blame.RELEASE}
    if bad:
        return blamed(bad, len(regions), condition)
    if fires := {region: f for region, f in found.items() if f.firing}:  # sick machines, or old and new alike
        return worst_of(fires, condition)
    blind = {region: f for region, f in found.items() if f.state is RuleState.BLIND}
    if len(blind) > len(regions) / 2:
        return worst_of(blind, condition)
    if pending := {region: f for region, f in found.items() if f.state is RuleState.PENDING}:
        return worst_of(pending, condition)
    clear = {region: f for region, f in found.items() if f.state is RuleState.CLEAR}
    return replace(worst_of(clear, condition), holds_until=min(f.holds_until for f in found.values()))


def blamed(bad: Mapping[str, Finding], regions: int, condition: Ratio | Quantile) -> Finding:
    """The release, if it is more than half of its regions; else the region."""
    worst = worst_of(bad, condition)
    since = min((f.since for f in bad.values() if f.since is not None), default=None)
    if len(bad) > regions / 2:
        many = f"{len(bad)} of {regions} regions" if regions > 1 else "the only region"
        return replace(worst, since=since, said=f"{worst.sentence} ({many})")
    names = text.listing([_called(region) for region in bad])
    sentence = f"region {names}, not the release: {worst.sentence} ({len(bad)} of {regions} regions)"
    return replace(worst, since=since, blame=Blame.REGION, said=sentence)


def worst_of(some: Mapping[str, Finding], condition: Ratio | Quantile) -> Finding:
    """The finding with the worst value, which says of which region it is."""
    sign = 1 if condition.above else -1
    ranked: Sequence[str] = sorted(some, key=lambda r: -math.inf if (v := some[r].value) is None else sign * v)
    region = ranked[-1]
    return replace(some[region], said=f"in {_called(region)}: {some[region].sentence}")


def _called(region: str) -> str:
    return text.one_line(region, 20) or "no region"
