"""What is allowed but should be known before one relies on it; shown by ``rollguard check``."""

from __future__ import annotations

from collections.abc import Iterator

from rollguard.core.model import Mode
from rollguard.core.policy import Action, Failing, Policy, Quantile, Ratio, Rule, Threshold
from rollguard.core.signals import CountSignal, ProbeSignal, Scope


def lints(policy: Policy) -> list[str]:
    """Warnings as ``file: sentence`` or ``file:line: sentence``, in no way errors."""
    checks = (_mode, _rule_modes, _migration, _no_guarantee, _edge, _people)
    return [warning for check in checks for warning in check(policy)]


def _acting(policy: Policy) -> list[Rule]:
    return [rule for rule in policy.rules if rule.then is Action.ROLLBACK]


def _mode(policy: Policy) -> Iterator[str]:
    does = {Mode.OBSERVE: "only record", Mode.PAGE: "only page"}.get(policy.mode)
    if does and (acting := _acting(policy)):
        many = f"{len(acting)} rules" if len(acting) > 1 else "1 rule"
        yield f"{policy.path}: mode is {policy.mode.name.lower()}: {many} with then: rollback will {does}"


def _rule_modes(policy: Policy) -> Iterator[str]:
    for rule in _acting(policy):
        if rule.mode < policy.mode:
            yield f"{rule.origin}: mode {rule.mode.name.lower()} keeps rule '{rule.name}' from rolling back"


def _migration(policy: Policy) -> Iterator[str]:
    migration = policy.interlocks.migration
    if migration is None:
        yield (
            f"{policy.path}: no interlocks.migration: nothing keeps a rollback from going past a database migration "
            "that the older release does not understand"
        )
    elif migration.unknown_blocks:
        yield (
            f"{policy.path}: migration has unknown: block: a release whose image has no label '{migration.label}' "
            "can never be rolled back"
        )


def _no_guarantee(policy: Policy) -> Iterator[str]:
    for rule in _acting(policy):
        if isinstance(rule.condition, Threshold | Ratio | Quantile):
            yield (
                f"{rule.origin}: rule '{rule.name}' may roll back on an absolute limit, which has no statistical "
                "guarantee: how often it is wrong depends on the app"
            )


def _edge(policy: Policy) -> Iterator[str]:
    counting = [rule for rule in policy.rules if _scraped(policy, rule) == "machines"]
    if counting and not any(_scraped(policy, rule) == "edge" or _probes_edge(policy, rule) for rule in policy.rules):
        yield (
            f"{counting[0].origin}: rule '{counting[0].name}' counts what machines answered; when all of them are dead "
            "its counters fall silent: an edge rule must stand beside it"
        )


def _scraped(policy: Policy, rule: Rule) -> str:
    """Whose counters a rule reads: ``machines``, ``edge`` or nobody's (empty)."""
    match rule.condition:
        case Ratio(bad=key) | Quantile(key=key):
            signal = policy.signal(key.partition(".")[0])
            assert isinstance(signal, CountSignal)
            return "edge" if signal.machine_label is None else "machines"
        case _:
            return ""


def _probes_edge(policy: Policy, rule: Rule) -> bool:
    if not isinstance(rule.condition, Failing) or not rule.quorum.or_edge:
        return False
    signal = policy.signal(rule.condition.signal)
    return isinstance(signal, ProbeSignal) and Scope.EDGE in signal.scopes


def _people(policy: Policy) -> Iterator[str]:
    if not policy.page:
        yield f"{policy.path}: no notify.page: a page would reach nobody"
    if policy.heartbeat is None:
        yield f"{policy.path}: no heartbeat: nobody is told when this guard itself is down"
