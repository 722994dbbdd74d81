"""What a policy's rules promise together: how often a healthy release is rolled back, and where nobody can say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from rollguard.core import text
from rollguard.core.model import Mode
from rollguard.core.policy import Action, Compared, Gauge, Policy, Probes, Quantile, Ratio, Reported, Rule

ALIKE: Mapping[type, type] = {Gauge: Quantile}
"""Kinds that are about the same thing, and share its part."""
WEIGHTS: Mapping[type, float] = {Ratio: 0.4, Quantile: 0.3, Probes: 0.3}
"""How much of what may go wrong each kind of comparison gets; one that is not there leaves its part to the others."""

PAGED = 0.02
"""Of healthy releases this share may be paged for by all comparisons that only page, together."""

BLIPS = "with two blips of 1 to 3 minutes a day up to 3 % of watches roll back a healthy release"
"""Measured, not proven: see docs/judge.md."""


def shares(policy: Policy) -> Mapping[str, float]:
    """By the name of each relative rule: the most that it may take of healthy releases, as a probability.

    Those that roll back have ``comparing.alpha`` together, those that page ``PAGED``.
    """
    acting = _split(_relative(policy, Action.ROLLBACK), policy.comparing.alpha)
    return acting | _split(_relative(policy, Action.PAGE), PAGED)


def promise(policy: Policy, machines: int | None = None) -> list[str]:
    """What may be relied on, in sentences. ``machines`` is how many the app has; None: not known."""
    return [*_together(policy), *_alone(policy, machines), *_without(policy)]


def _relative(policy: Policy, then: Action) -> list[tuple[Rule, Compared]]:
    return [(r, r.condition) for r in policy.rules if isinstance(r.condition, Compared) and r.then is then]


def _split(rules: Iterable[tuple[Rule, Compared]], alpha: float) -> dict[str, float]:
    """A kind's weight goes to its rules in equal parts; all parts together are ``alpha``."""
    kinds: dict[type, list[str]] = {}
    for rule, condition in rules:
        kind: type = type(condition.of)
        kinds.setdefault(ALIKE.get(kind, kind), []).append(rule.name)
    whole = sum(WEIGHTS[kind] for kind in kinds)
    return {name: alpha * WEIGHTS[kind] / whole / len(names) for kind, names in kinds.items() for name in names}


def _together(policy: Policy) -> Iterator[str]:
    parts = shares(policy)
    acting, paging = ([r.name for r, _ in _relative(policy, then)] for then in (Action.ROLLBACK, Action.PAGE))
    if acting:
        yield (
            f"{policy.path}: relative rules together: fewer than 1 healthy release in {_in(policy.comparing.alpha)} is "
            f"ever rolled back ({_parts(acting, parts)}), as long as it keeps within what the app did before"
        )
    if paging:
        yield (
            f"{policy.path}: relative rules that page, together: fewer than 1 healthy release in {_in(PAGED)} is paged "
            f"for ({_parts(paging, parts)})"
        )


def _alone(policy: Policy, machines: int | None) -> Iterator[str]:
    """With one machine nothing runs beside a release that would have the same bad minute."""
    if machines in (None, 1) and _relative(policy, Action.ROLLBACK):
        whose = "this app has one machine" if machines == 1 else "on an app of one machine"
        yield f"{policy.path}: {whose}: a bad minute cannot be told from a bad release by others that share it: {BLIPS}"


def _without(policy: Policy) -> Iterator[str]:
    for rule in policy.rules:
        plain = not isinstance(rule.condition, Compared | Reported)
        if plain and rule.then is Action.ROLLBACK and rule.mode is Mode.ENFORCE:
            yield (
                f"{rule.origin}: no guarantee: rule '{rule.name}' may roll back on an absolute limit; how often it is "
                "wrong depends on the app"
            )


def _parts(names: Sequence[str], parts: Mapping[str, float]) -> str:
    return text.listing([f"{name} 1 in {_in(parts[name])}" for name in names], most=20)


def _in(share: float) -> str:
    return f"{1 / share:.0f}"
