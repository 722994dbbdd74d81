"""What is allowed but should be known before one relies on it; shown by ``rollguard check``."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from rollguard.config.quantity import duration_text
from rollguard.core.budgets import Burn
from rollguard.core.channels import PagerDuty, Webhook
from rollguard.core.executors import Machines
from rollguard.core.model import Mode
from rollguard.core.policy import Action, Compared, Failing, Policy, Quantile, Ratio, Rule
from rollguard.core.signals import CountSignal, HttpSignal, JourneySignal, JsonSignal, ProbeSignal, Scope, Signal


def lints(policy: Policy) -> list[str]:
    """Warnings as ``file: sentence`` or ``file:line: sentence``, in no way errors."""
    checks = (_mode, _rule_modes, _executor, _migration, _freeze, _edge, _control, _own_address, _people)
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


def _executor(policy: Policy) -> Iterator[str]:
    executor = policy.rollback.executor
    if not isinstance(executor, Machines):
        yield (
            f"{policy.path}: rollback.executor is {executor.name}: no first machine proves the rollback, and the floor "
            "is not the guard's to keep (first, healthy_floor and pause_between count for nothing)"
        )


def _migration(policy: Policy) -> Iterator[str]:
    migration = policy.interlocks.migration
    if migration is None:
        yield (
            f"{policy.path}: no interlocks.migration: nothing keeps a rollback from going past a database migration "
            "that the older release does not understand"
        )
        return
    if not migration.unknown_blocks:
        return
    unlabelled = f"{policy.path}: migration has unknown: block: a release whose image has no label '{migration.label}'"
    if migration.probe is None:
        yield f"{unlabelled} can never be rolled back"
    else:
        yield f"{unlabelled} can never be rolled back either if {migration.probe.url} did not tell the schema under it"


def _freeze(policy: Policy) -> Iterator[str]:
    for freeze in policy.interlocks.freeze:
        once = freeze.begins_at is not None and freeze.ends_at is not None
        length_s = (freeze.ends_at or 0.0) - (freeze.begins_at or 0.0) if once else freeze.length_s
        if freeze.holds_rollback and length_s > policy.interlocks.release_age_s:
            yield (
                f"{policy.path}: freeze '{freeze.name}' holds rollbacks for {duration_text(length_s)}, longer than "
                "release_age: what is deployed early in it can never be rolled back"
            )


def _edge(policy: Policy) -> Iterator[str]:
    counting = [rule for rule in policy.rules if _counted(policy, rule) == "machines"]
    if counting and not any(_counted(policy, rule) == "edge" or _probes_edge(policy, rule) for rule in policy.rules):
        yield (
            f"{counting[0].origin}: rule '{counting[0].name}' counts what machines answered; when all of them are dead "
            "its counters fall silent: an edge rule must stand beside it"
        )


def _counted(policy: Policy, rule: Rule) -> str:
    """Whose counters a rule reads: ``machines``, ``edge`` or nobody's (empty)."""
    condition = rule.condition.of if isinstance(rule.condition, Compared) else rule.condition
    match condition:
        case Burn(bad=key) | Ratio(bad=key) | Quantile(key=key):
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


def _control(policy: Policy) -> Iterator[str]:
    if policy.interlocks.control:
        return
    yield f"{policy.path}: no interlocks.control: a guard that is cut off itself takes the app for dead"
    for rule in _acting(policy):
        if isinstance(rule.condition, Compared):
            yield (
                f"{rule.origin}: rule '{rule.name}' may roll back on a comparison, and without interlocks.control "
                "trouble of this guard's own network can look like the release's"
            )


def _own_address(policy: Policy) -> Iterator[str]:
    """Asked through the app, a failure of the release would itself hold its rollback."""
    limits = policy.interlocks
    own = {_host(url) for signal in policy.signals for url in _asked(signal)}
    for what, url in (
        *(("a control address", url) for url in limits.control),
        *((f"the dependency '{one.name}'", one.url) for one in limits.dependencies),
    ):
        if _host(url) in own:
            yield f"{policy.path}: {what} is the app itself ({url}): a release that is down may hold its own rollback"


def _asked(signal: Signal) -> tuple[str, ...]:
    """The addresses of the app that a signal asks."""
    match signal:
        case HttpSignal() | JsonSignal():
            return (signal.url,)
        case JourneySignal():
            return (signal.steps[0].url,)  # later steps may lead elsewhere: to a login, to a bank
        case _:
            return ()


def _host(url: str) -> tuple[str | None, int | None]:
    """Host and port, as both name a server."""
    parts = urlsplit(url)
    return parts.hostname, parts.port or {"http": 80, "https": 443}.get(parts.scheme)


def _people(policy: Policy) -> Iterator[str]:
    if not policy.page:
        others = " (notify.tell and notify.record are read later)" if policy.tell or policy.record else ""
        yield f"{policy.path}: no notify.page: a page would reach nobody{others}"
    elif not any(isinstance(channel, PagerDuty | Webhook) for channel in policy.page):
        yield f"{policy.path}: notify.page has only channels that wake nobody: add pagerduty or webhook"
    if policy.heartbeat is None:
        yield f"{policy.path}: no heartbeat: nobody is told when this guard itself is down"
