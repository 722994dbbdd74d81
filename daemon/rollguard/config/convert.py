"""A policy file as one core ``Policy``: every section by itself first, so that one mistake hides no other."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any

from pydantic import BaseModel, ValidationError

from rollguard.config import schema, sources
from rollguard.config.channels import Notify, to_channels
from rollguard.config.complaints import Complaints, complain
from rollguard.config.executors import to_executor
from rollguard.config.interlocks import Interlocks, to_interlocks
from rollguard.config.problems import Wrong, shown
from rollguard.config.rules import to_rule, to_verify_limit
from rollguard.config.signals import UNITS, Directory, Unit, secret, signal_of, to_signal
from rollguard.config.yamltext import Path
from rollguard.core import policy as core
from rollguard.core import signals as core_signals
from rollguard.core.model import Mode

_SECTIONS: Mapping[str, type[BaseModel]] = {
    "target": schema.Target,
    "interlocks": Interlocks,
    "rollback": schema.Rollback,
    "comparison": schema.Comparison,
    "verify": schema.Verify,
    "notify": Notify,
    "reports": schema.Reports,
    "heartbeat": schema.Heartbeat,
    "artifacts": schema.Artifacts,
}


def to_policy(complaints: Complaints, digest: str) -> core.Policy | None:
    """The policy, or None with every mistake among the complaints."""
    document = complaints.document
    if not isinstance(document.data, dict):
        if not complaints.problems:
            complaints.value((), "a policy is a mapping: version, target, signals, rules, …")
        return None
    _refuse_nothing(document.data, (), complaints)
    file, bad = _validated(document.data, complaints)
    data: dict[str, Any] = document.data
    directory = _directory(data.get("signals"), bad, complaints)
    rules = _rules(data.get("rules"), bad, directory, complaints)
    sound = {
        name: model.model_validate(data.get(name, {}))
        for name, model in _SECTIONS.items()
        if (name,) not in bad and (name in data or name not in {"target", "heartbeat", "reports"})
    }
    target = _target(sound.get("target"), complaints)
    verify = _verify(sound.get("verify"), directory, complaints)
    limits = sound.get("interlocks")
    interlocks = to_interlocks(limits, complaints) if isinstance(limits, Interlocks) else core.Interlocks()
    rollback = _rollback(sound.get("rollback"), complaints)
    comparing = _comparing(sound.get("comparison"), limits, rules, directory, complaints)
    notify = sound.get("notify")
    groups = {
        group: to_channels(getattr(notify, group), group, complaints) if isinstance(notify, Notify) else ()
        for group in ("page", "tell", "record")
    }
    reports = _reports(sound.get("reports"), complaints)
    if complaints.problems or file is None:
        return None
    assert target is not None
    return core.Policy(
        target=target,
        signals=tuple(signal for signal in directory.signals.values() if signal),
        rules=tuple(rules),
        mode=Mode[file.mode.upper()],
        interlocks=interlocks,
        rollback=rollback,
        verify=verify,
        comparing=comparing,
        approval_s=file.approval.expires,
        reports=reports,
        page=groups["page"],
        tell=groups["tell"],
        record=groups["record"],
        heartbeat=_heartbeat(file.heartbeat),
        artifacts=core.Artifacts(dir=file.artifacts.dir, keep_s=file.artifacts.keep),
        runbook=file.runbook or "",
        path=document.file,
        hash=digest,
    )


def _refuse_nothing(value: object, path: Path, complaints: Complaints) -> None:
    """A key without a value means nothing in a policy; say so once and go on without it."""
    if value is None:
        complaints.key(path, f"{shown(path[-1])} has no value" if isinstance(path[-1], str) else "an empty item")
        complaints.document.broken.add(path)
    elif isinstance(value, dict):
        for key, inner in value.items():
            _refuse_nothing(inner, (*path, key), complaints)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            _refuse_nothing(inner, (*path, index), complaints)


def _validated(data: object, complaints: Complaints) -> tuple[schema.PolicyFile | None, set[Path]]:
    """The file as its models see it, if sound, and every path that has a mistake at or under it."""
    bad = set(complaints.document.broken)
    file = None
    try:
        file = schema.PolicyFile.model_validate(data)
    except ValidationError as error:
        bad.update(complain(error, schema.PolicyFile, complaints))
    return file, {path[:n] for path in bad for n in range(len(path) + 1)}


def _directory(written: object, bad: set[Path], complaints: Complaints) -> Directory:
    signals: dict[str, core_signals.Signal | None] = {}
    units: dict[str, Unit] = {}
    items = written.items() if isinstance(written, dict) else ()
    for name, raw in islice(items, schema.SIGNALS_MAX):
        if ("signals", name, "[key]") in bad:
            continue
        signals[name] = None
        if ("signals", name) not in bad:
            signal = sources.Signal.model_validate(raw)
            signals[name] = to_signal(name, signal, complaints)
            units |= _units(name, signal, signals[name])
    return Directory(signals, units)


def _units(name: str, written: sources.Signal, signal: core_signals.Signal | None) -> dict[str, Unit]:
    """The unit of every number that a ``value`` rule may be about."""
    units = {key: value.unit for key, value in written.json_.values.items()} if written.json_ else {}
    if written.prometheus:
        units |= {key: value.unit for key, value in written.prometheus.values.items()}
    if isinstance(signal, core_signals.JourneySignal):
        units |= {step.name: "ms" for step in signal.steps}
    return {f"{name}.{key}": UNITS[unit] for key, unit in units.items()}


def _rules(written: object, bad: set[Path], directory: Directory, complaints: Complaints) -> list[core.Rule]:
    rules: list[core.Rule] = []
    first_line: dict[str, int] = {}
    for index, raw in enumerate(written[: schema.RULES_MAX] if isinstance(written, list) else ()):
        path: Path = ("rules", index)
        name = raw.get("name") if isinstance(raw, dict) else None
        if isinstance(name, str) and name in first_line:
            said = complaints.written((*path, "name"))
            message = f"a rule {said} stands on line {first_line[name]} already"
            complaints.value((*path, "name"), Wrong(message, wanted="a name of its own"))
        elif isinstance(name, str):
            first_line[name] = complaints.line((*path, "name"))
        if path not in bad:
            rule = to_rule(index, schema.Rule.model_validate(raw), directory, complaints)
            rules += [rule] if rule else []
    return rules


def _target(written: BaseModel | None, complaints: Complaints) -> core.Target | None:
    if not isinstance(written, schema.Target):
        return None
    token = secret("token", written.token_env, written.token_file, ("target",), complaints)
    return core.Target(name=written.name, app=written.app, token=token, platform=written.platform) if token else None


def _verify(written: BaseModel | None, directory: Directory, complaints: Complaints) -> core.Verify:
    if not isinstance(written, schema.Verify):
        return core.Verify()
    for index, name in enumerate(written.require):
        path: Path = ("verify", "require", index)
        try:
            signal = directory.signal(name)
        except Wrong as wrong:
            complaints.value(path, wrong)
            continue
        if signal is not None and not isinstance(signal, core_signals.ProbeSignal):
            complaints.value(path, Wrong("only an http, json or journey signal can be required", wanted="a probe"))
    found = (to_verify_limit(i, w, written.settle, directory, complaints) for i, w in enumerate(written.limits))
    limits = tuple(limit for limit in found if limit)
    if written.otherwise[-1] != "page" or len(set(written.otherwise)) < len(written.otherwise):
        complaints.value(("verify", "otherwise"), "must be [restart, page] or [page]: a person is told in the end")
    restart = "restart" in written.otherwise
    return core.Verify(settle_s=written.settle, restart=restart, require=written.require, limits=limits)


def _rollback(written: BaseModel | None, complaints: Complaints) -> core.Rollback:
    if not isinstance(written, schema.Rollback):
        return core.Rollback()
    path: Path = ("rollback",)
    if written.max_unavailable == 0:
        complaints.value((*path, "max_unavailable"), "must be more than 0%: nothing could ever go back")
    for key, length, longer, bound in (
        ("wait_timeout", written.wait_timeout, "deadline", written.deadline),
        ("stability", written.stability, "wait_timeout", written.wait_timeout),
    ):
        if length > bound:
            complaints.value((*path, key), Wrong(f"{key} is longer than {longer}", wanted=f"as short as {longer}"))
    return core.Rollback(
        first=written.first.machines,
        first_wait_s=core.Rollback().first_wait_s if written.first.wait is None else written.first.wait,
        first_wait_auto=written.first.wait is None,
        go_on_unclear=written.first.on_unclear == "go_on",
        restart_sick=written.restart_sick,
        max_unavailable=written.max_unavailable,
        healthy_floor=written.healthy_floor,
        wait_timeout_s=written.wait_timeout,
        stability_s=written.stability,
        pause_between_s=written.pause_between,
        deadline_s=written.deadline,
        not_ready_after_s=written.not_ready_after,
        executor=to_executor(written.executor, written.deadline, complaints),
    )


def _comparing(
    written: BaseModel | None,
    interlocks: BaseModel | None,
    rules: list[core.Rule],
    directory: Directory,
    complaints: Complaints,
) -> core.Comparing:
    """A block must hold readings, and a release must be compared before that is over."""
    if not isinstance(written, schema.Comparison):
        return core.Comparing()
    settle_s = core.Comparing().settle_s if written.settle is None else written.settle
    if isinstance(interlocks, Interlocks) and settle_s >= interlocks.watch:
        by_settle = "settle" in written.model_fields_set
        message = "comparison.settle is as long as interlocks.watch: nothing would ever be compared"
        path: Path = ("comparison", "settle") if by_settle else ("interlocks", "watch")
        complaints.value(path, Wrong(message, wanted="shorter than watch" if by_settle else "longer than settle"))
    for rule in rules:
        if isinstance(rule.condition, core.Compared) and not isinstance(rule.condition.of, core.Probes):
            signal = directory.signals[signal_of(rule.condition.of)]
            if signal is not None and written.block < signal.every_s:
                by_block = "block" in written.model_fields_set
                message = f"comparison.block is shorter than the time between two readings of {shown(signal.name)}"
                path = ("comparison", "block") if by_block else ("signals", signal.name, "every")
                complaints.value(path, Wrong(message, wanted="long enough" if by_block else "as short as a block"))
    return core.Comparing(
        block_s=written.block,
        blocks=written.blocks,
        settle_s=settle_s,
        settle_auto=written.settle is None,
        alpha=written.healthy_rolled_back,
        alone_s=written.alone,
    )


def _heartbeat(written: schema.Heartbeat | None) -> core.Heartbeat | None:
    return core.Heartbeat(url=written.url, every_s=written.every) if written and written.url else None


def _reports(written: BaseModel | None, complaints: Complaints) -> core.Reports | None:
    if not isinstance(written, schema.Reports):
        return None
    token = secret("token", written.token_env, written.token_file, ("reports",), complaints)
    return core.Reports(token=token) if token else None
