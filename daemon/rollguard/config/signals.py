"""Signals of a policy file as core values, and the directory by which rules refer to them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rollguard.config import sources
from rollguard.config.complaints import Complaints
from rollguard.config.journeys import to_steps
from rollguard.config.problems import Wrong, did_you_mean, shown
from rollguard.config.quantity import Dimension, duration_text
from rollguard.config.yamltext import Path
from rollguard.core.patterns import pattern
from rollguard.core.policy import Gauge, Probes, Quantile, Ratio
from rollguard.core.signals import (
    HttpSignal,
    JourneySignal,
    JsonSignal,
    JsonValue,
    LogsSignal,
    PlatformSignal,
    PrometheusSignal,
    Query,
    Scope,
    ScrapeSignal,
    SecretRef,
    Signal,
    Split,
)

KINDS = ("http", "json", "journey", "scrape", "prometheus", "logs", "platform")


@dataclass(frozen=True, slots=True)
class Unit:
    """How the answer's number becomes base units, and how a limit on it must be written."""

    scale: float
    dimension: Dimension
    suffix: str


UNITS: Mapping[str | None, Unit] = {
    "ms": Unit(0.001, Dimension.TIME, "ms"),
    "s": Unit(1.0, Dimension.TIME, "s"),
    "percent": Unit(0.01, Dimension.RATIO, "%"),
    "ratio": Unit(1.0, Dimension.RATIO, "%"),
    "bytes": Unit(1.0, Dimension.SIZE, "B"),
    None: Unit(1.0, Dimension.NUMBER, ""),
}


@dataclass(frozen=True, slots=True)
class Directory:
    """Signals by name (None: written, but not sound, which is a complaint of its own), and the units of JSON values."""

    signals: Mapping[str, Signal | None]
    units: Mapping[str, Unit]

    def signal(self, name: str, offset: int = 0) -> Signal | None:
        """The signal of that name, or None if it is not sound. Raises ``Wrong`` if there is none, or no rule for it."""
        if name not in self.signals:
            hint = did_you_mean(name, self.signals)
            raise Wrong(f"there is no signal {shown(name)}{hint}", wanted="a signal of this file", offset=offset)
        if isinstance(self.signals[name], LogsSignal):
            message = (
                f"{shown(name)} is a logs signal: what an app writes is evidence for people, no rule is made of it"
            )
            raise Wrong(message, wanted="a signal that rules can use", offset=offset)
        return self.signals[name]

    def entry(self, key: str, offset: int = 0) -> tuple[Signal, str] | None:
        """The signal and the name within it that ``signal.name`` means, as ``signal``. Raises ``Wrong``."""
        name, dot, within = key.partition(".")
        signal = self.signal(name, offset)
        if signal is None:
            return None
        entries = names_of(signal)
        wanted = "a number of a signal of this file"
        if not dot:
            example = f"; write {name}.{entries[0]}" if entries else " and has no numbers"
            raise Wrong(f"{shown(name)} is a signal{example}", wanted=wanted, offset=offset)
        if within not in entries:
            hint = did_you_mean(within, entries)
            message = f"signal {shown(name)} has no {shown(within)}{hint}"
            raise Wrong(message, wanted=wanted, offset=offset + len(name) + 1)
        return signal, within


def signal_of(condition: Ratio | Quantile | Probes | Gauge) -> str:
    """The name of the signal whose readings decide."""
    if isinstance(condition, Probes):
        return condition.signal
    return (condition.total if isinstance(condition, Ratio) else condition.key).partition(".")[0]


def names_of(signal: Signal) -> list[str]:
    """What rules can ask of a signal, after the dot."""
    match signal:
        case JsonSignal():
            return [value.name for value in signal.values]
        case ScrapeSignal():
            return [*signal.counters, *signal.histograms]
        case PrometheusSignal():
            return [*signal.counters, *signal.histograms, *signal.values]
        case JourneySignal():
            return [step.name for step in signal.steps]
        case _:
            return []


def asks_edge(signal: Signal) -> bool:
    """Whether some readings of the signal are of the edge."""
    match signal:
        case HttpSignal() | JsonSignal() | JourneySignal():
            return Scope.EDGE in signal.scopes
        case ScrapeSignal() | PrometheusSignal():
            return signal.machine_label is None
        case PlatformSignal() | LogsSignal():
            return False


def to_signal(name: str, written: sources.Signal, complaints: Complaints) -> Signal | None:
    """The core signal, or None with its mistakes among the complaints."""
    path: Path = ("signals", name)
    given = [kind for kind in KINDS if getattr(written, "json_" if kind == "json" else kind) is not None]
    if len(given) != 1:
        message = f"a signal has exactly one of {', '.join(KINDS)}"
        complaints.key((*path, given[1]) if given else path, message)
        return None
    within = (*path, given[0])
    asked = (written.http, written.json_, written.journey, written.scrape, written.prometheus, written.logs)
    probe = next((one for one in asked if one is not None), None)
    if probe is not None and probe.timeout >= written.every:
        message = f"timeout ({duration_text(probe.timeout)}) must be shorter than every"
        complaints.value((*within, "timeout"), Wrong(message, wanted="shorter than every"))
    if written.http:
        return _http(name, written.every, written.http)
    if written.json_:
        return _json(name, written.every, written.json_)
    if written.scrape:
        return _scrape(name, written.every, written.scrape, within, complaints)
    if written.journey:
        return _journey(name, written.every, written.journey, within, complaints)
    if written.prometheus:
        return _prometheus(name, written.every, written.prometheus, within, complaints)
    if written.logs:
        return _logs(name, written.every, written.logs, within, complaints)
    return PlatformSignal(name=name, every_s=written.every)


def _http(name: str, every_s: float, probe: sources.HttpProbe) -> HttpSignal:
    return HttpSignal(
        name=name,
        every_s=every_s,
        url=probe.url,
        scopes=frozenset(map(Scope, probe.scope)),
        timeout_s=probe.timeout,
        ok_status=frozenset(probe.ok_status),
    )


def _json(name: str, every_s: float, probe: sources.JsonProbe) -> JsonSignal:
    return JsonSignal(
        name=name,
        every_s=every_s,
        url=probe.url,
        scopes=frozenset(map(Scope, probe.scope)),
        timeout_s=probe.timeout,
        ok_status=frozenset(probe.ok_status),
        values=tuple(
            JsonValue(name=k, path=tuple(v.path.split(".")), scale=UNITS[v.unit].scale, gap_when=v.gap_when)
            for k, v in probe.values.items()
        ),
    )


def _journey(name: str, every_s: float, journey: sources.Journey, path: Path, complaints: Complaints) -> JourneySignal:
    return JourneySignal(
        name=name,
        every_s=every_s,
        scopes=frozenset(map(Scope, journey.scope)),
        timeout_s=journey.timeout,
        steps=to_steps(journey.steps, path, complaints),
    )


def _logs(name: str, every_s: float, logs: sources.Logs, path: Path, complaints: Complaints) -> LogsSignal:
    for index, text in enumerate(logs.match):
        try:
            pattern(text)
        except ValueError as error:
            complaints.value((*path, "match", index), Wrong(str(error), wanted="a regular expression"))
    return LogsSignal(name=name, every_s=every_s, timeout_s=logs.timeout, match=logs.match)


def _prometheus(
    name: str, every_s: float, store: sources.Prometheus, path: Path, complaints: Complaints
) -> PrometheusSignal:
    _check_series(store, path, complaints)
    if not store.counters and not store.histograms and not store.values:
        complaints.value(path, "a prometheus signal needs counters, histograms or values")
    for key in store.values:
        if key in store.counters or key in store.histograms:
            complaints.key((*path, "values", key), f"{shown(key)} is the name of a counter or histogram already")
    if store.max_age < every_s:
        complaints.value((*path, "max_age"), Wrong("max_age is shorter than every", wanted="as long as every"))
    return PrometheusSignal(
        name=name,
        every_s=every_s,
        url=store.url,
        timeout_s=store.timeout,
        counters=store.counters,
        histograms=store.histograms,
        values={key: Query(value.query, UNITS[value.unit].scale) for key, value in store.values.items()},
        machine_label=None if store.machine_label == "none" else store.machine_label,
        token=secret("token", store.token_env, store.token_file, path, complaints, required=False),
        counts_probes=store.counts_probes,
        split=_split(store, path, complaints),
        max_age_s=store.max_age,
    )


def _check_series(page: sources.Scrape | sources.Prometheus, path: Path, complaints: Complaints) -> None:
    for key, series in page.histograms.items():
        if key in page.counters:
            complaints.key((*path, "histograms", key), f"{shown(key)} is the name of a counter already")
        if not series.name.endswith("_bucket"):
            wanted = "the series of a histogram, which ends in _bucket"
            message = f"a histogram is read from its buckets; write {series.name}_bucket"
            complaints.value((*path, "histograms", key), Wrong(message, wanted=wanted))


def _split(page: sources.Scrape | sources.Prometheus, path: Path, complaints: Complaints) -> Split | None:
    if page.split is None:
        return None
    label = page.split.label
    if label in ("region", page.machine_label):
        what = f"{'regions' if label == 'region' else 'machines'} are told apart without it"
        complaints.value((*path, "split", "label"), Wrong(what, wanted="another label"))
    return Split(label, page.split.most)


def _scrape(name: str, every_s: float, page: sources.Scrape, path: Path, complaints: Complaints) -> ScrapeSignal:
    if not page.counters and not page.histograms:
        complaints.value(path, "a scrape signal needs counters or histograms")
    _check_series(page, path, complaints)
    return ScrapeSignal(
        name=name,
        every_s=every_s,
        url=page.url,
        timeout_s=page.timeout,
        counters=page.counters,
        histograms=page.histograms,
        machine_label=None if page.machine_label == "none" else page.machine_label,
        token=secret("token", page.token_env, page.token_file, path, complaints, required=False),
        counts_probes=page.counts_probes,
        split=_split(page, path, complaints),
    )


def secret(
    name: str, env: str | None, file: str | None, path: Path, complaints: Complaints, *, required: bool = True
) -> SecretRef | None:
    """Where a secret is. ``NAME_env`` or ``NAME_file``, not both."""
    if env and file:
        complaints.key((*path, f"{name}_file"), f"write {name}_env or {name}_file, not both")
    elif required and not env and not file:
        complaints.value((*path, f"{name}_env"), f"missing key '{name}_env' (or '{name}_file')")
    return SecretRef(env, file) if env or file else None
