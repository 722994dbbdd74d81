"""Is it one region that is out, and not the release?

The same image runs everywhere. Where every machine of one region is in trouble, and no machine anywhere else, the
region is what they have in common.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from rollguard.core import text
from rollguard.core.finding import Blame, Finding
from rollguard.core.fleet import Tenure, View
from rollguard.core.judging import Evidence
from rollguard.core.policy import Quantile, Ratio, Rule

MACHINES_MIN = 2
"""One machine that fails alone is a sick machine, wherever it stands."""

JudgeRule = Callable[[Rule, Evidence], Finding]


def told_apart(
    findings: Sequence[Finding], evidence: Evidence, judge: JudgeRule, of_users: Callable[[Finding], bool]
) -> tuple[Finding, ...]:
    """The same findings; those that one region alone explains blame it.

    ``judge`` judges a rule for a part of the fleet. What users got at the edge (``of_users``) cannot say from where: it
    is that region's doing where the machines' own evidence says so.
    """
    fires = [f for f in findings if f.firing and f.blame is Blame.RELEASE]
    regions = _regions(evidence.view) if fires else {}
    region = next((r for r in regions if _is_it(r, regions, findings, evidence, judge, of_users)), None)
    if region is None:
        return tuple(findings)
    where = f"region {text.one_line(region, 20)}, not the release"
    machines = tuple(sorted(t.machine for t in regions[region]))
    return tuple(
        replace(f, blame=Blame.REGION, machines=machines, said=f"{where}: {f.sentence}") if f in fires else f
        for f in findings
    )


def _is_it(
    region: str,
    regions: Mapping[str, Sequence[Tenure]],
    findings: Sequence[Finding],
    evidence: Evidence,
    judge: JudgeRule,
    of_users: Callable[[Finding], bool],
) -> bool:
    """Whether all of this region is in trouble by the machines' own evidence, and no machine elsewhere."""
    inside = {t.machine for t in regions[region]}
    firing = [f for f in findings if f.firing and f.blame is not Blame.EVERYONE]
    if len(inside) < MACHINES_MIN or any(not inside.issuperset(f.machines) for f in firing):
        return False
    summed = [f for f in firing if f.blame is Blame.RELEASE and not f.machines and not of_users(f)]
    if not all(_only_there(f.rule, inside, evidence, judge) for f in summed):
        return False
    return bool(summed) or any(inside == set(f.machines) for f in firing)


def _regions(view: View) -> Mapping[str, Sequence[Tenure]]:
    """The machines that serve, by region; none where not all run the same, are in one place, or nobody says where."""
    found: dict[str, list[Tenure]] = {}
    for tenure in view.serving:
        found.setdefault(tenure.region, []).append(tenure)
    return found if view.whole and not view.deploying and len(found) > 1 and "" not in found else {}


def _only_there(rule: Rule, inside: set[str], evidence: Evidence, judge: JudgeRule) -> bool:
    """Whether these machines together do what a rule fires for, and all others together do not."""
    if not isinstance(rule.condition, Ratio | Quantile):
        return False
    there, elsewhere = (_part(evidence, inside, within=within) for within in (True, False))
    return judge(rule, there).firing and not judge(rule, elsewhere).firing


def _part(evidence: Evidence, machines: set[str], *, within: bool) -> Evidence:
    """The evidence on these machines of the candidate alone, or on all others; what the edge counted is nobody's."""
    view = evidence.view
    cohort = tuple(t for t in view.cohort if (t.machine in machines) is within)
    return replace(evidence, view=replace(view, cohort=cohort, whole=False))
