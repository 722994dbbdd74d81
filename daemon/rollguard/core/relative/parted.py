"""Comparisons part by part: each value of a label, or each region, against its own past and the machines beside it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from rollguard.core import text
from rollguard.core.baseline import Baseline
from rollguard.core.budgets import ByLabel
from rollguard.core.by_label import called
from rollguard.core.by_region import blamed, worst_of
from rollguard.core.finding import Blame, Finding, RuleState
from rollguard.core.judging import Evidence
from rollguard.core.model import Reading
from rollguard.core.parting import By, in_part, in_region, part_of, without_probes
from rollguard.core.parts import OTHERS
from rollguard.core.policy import Policy, Quantile, Ratio
from rollguard.core.relative.counts import Round
from rollguard.core.signals import CountSignal

FIRST = (RuleState.FIRING, RuleState.BLIND, RuleState.PENDING, RuleState.CLEAR)


def split(of: object) -> tuple[Ratio | Quantile, By] | None:
    """What is compared part by part, and by what; None: as a whole."""
    return (of, of.by) if isinstance(of, Ratio | Quantile) and of.by is not None else None


def known_parts(measure: str, by: By, most: int, baselines: Sequence[Baseline]) -> list[str]:
    """The parts that have a past: at most so many, the busiest ones. All others together have none: which values of a
    label those are changes with a restart of the guard, and a bad one may be among them that was not before.
    """
    requests: dict[str, float] = {}
    for block in (block for baseline in baselines for block in baseline.blocks):
        for name in (*block.shares, *block.times):
            part = part_of(name, measure, by)
            if part is not None and not (part == OTHERS and isinstance(by, ByLabel)):
                requests[part] = requests.get(part, 0.0) + block.requests(name)
    return sorted(sorted(requests, key=lambda part: (-requests[part], part))[:most])


def most_parts(of: Ratio | Quantile, policy: Policy, regions: int) -> int:
    """Among how many parts the rule's share of the promise is divided."""
    signal = policy.signal((of.total if isinstance(of, Ratio) else of.key).partition(".")[0])
    if isinstance(of.by, ByLabel) and isinstance(signal, CountSignal) and signal.split is not None:
        return signal.split.most
    return max(1, regions)


def seen_in(of: Ratio | Quantile, part: str, said: Round, evidence: Evidence) -> tuple[Round, Evidence]:
    """A round of readings, and who ran what, as far as they are of that part."""
    if isinstance(of, Ratio) and isinstance(of.by, ByLabel):
        mine: dict[tuple[str, str], Reading] = {
            place: in_part(reading, part) for place, reading in said.items() if place[0] in {of.bad, of.total}
        }
        return mine, replace(evidence, policy=without_probes(evidence.policy, of))
    return said, replace(evidence, view=in_region(evidence.view, part))


def together(of: Ratio | Quantile, found: Mapping[str, Finding], evidence: Evidence) -> Finding:
    """What all parts come to. One value of a label that is worse is the release; of regions it takes more than half of
    those that serve it, fewer are the region's own affair.
    """
    if isinstance(of.by, ByLabel):
        return _of_label(of.by, found)
    serving = {t.region for t in evidence.view.serving}
    bad = {region: f for region, f in found.items() if f.firing and f.blame is Blame.RELEASE}
    if bad:
        mine = blamed(bad, max(1, len(serving)), of)
        if mine.blame is not Blame.REGION:
            return mine
        there = tuple(sorted(t.machine for t in evidence.view.cohort if t.region in bad))
        return replace(mine, machines=there, side_by_side=False)
    return worst_of(next(_alike(found)), of)


def _of_label(by: ByLabel, found: Mapping[str, Finding]) -> Finding:
    release = {part: f for part, f in found.items() if f.firing and f.blame is Blame.RELEASE}
    worst: Mapping[str, Finding] = release or next(_alike(found))
    ranked = sorted(worst, key=lambda part: (-(worst[part].odds or 0.0), -_value(worst[part]), part))
    finding, others = worst[ranked[0]], [called(part) for part in ranked[1:]]
    also = f"; also {text.listing(others)}" if others and finding.state is not RuleState.CLEAR else ""
    return replace(finding, said=f"{by.label} {called(ranked[0])}: {finding.sentence}{also}", part=ranked[0])


def _alike(found: Mapping[str, Finding]) -> Iterator[Mapping[str, Finding]]:
    """The findings of the gravest state that any part is in, then of the next."""
    for state in FIRST:
        if some := {part: f for part, f in found.items() if f.state is state}:
            yield some


def _value(finding: Finding) -> float:
    return finding.value if finding.value is not None else -math.inf
