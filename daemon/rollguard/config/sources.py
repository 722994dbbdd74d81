"""What a policy file may say about signals. Descriptions are shown by editors."""

from __future__ import annotations

from typing import Literal

from rollguard.config.journeys import STEPS_MAX, JourneyStep
from rollguard.config.scalars import (
    Count,
    Dotted,
    EnvName,
    Flag,
    Interval,
    Key,
    Label,
    Number,
    Positive,
    Series,
    StatusCode,
    Text,
    Url,
)
from rollguard.config.section import Section, doc, need

ScopeName = Literal["machine", "edge"]
SPLIT_MAX = 100
"""Parts of a counter; each is kept for every machine and reading."""

UnitName = Literal["ms", "s", "percent", "ratio", "bytes"]


class HttpProbe(Section):
    """GET an address; the probe succeeds when the status is expected and the answer in time."""

    url: Url = need("Address to ask, as users would. With scope machine, each machine is asked for it by name.")
    scope: tuple[ScopeName, ...] = doc(
        "Whom to ask: every machine by itself, and the edge as users see it.", default=("machine", "edge"), min_length=1
    )
    timeout: Positive = doc("Longest wait for the answer; shorter than `every`.", default="2s")
    ok_status: tuple[StatusCode, ...] = doc("Statuses that count as success.", default=(200,), min_length=1)


class JsonNumber(Section):
    """One number of a JSON answer."""

    path: Dotted = need("Keys from the top of the answer to the number, joined by dots: `metrics.uptime.overall`.")
    unit: UnitName | None = doc(
        "Unit of the number in the answer. Limits on it must be written with a unit of the same kind; "
        "without `unit`, as bare numbers."
    )
    gap_when: Number | None = doc("This number, in the answer's own unit, means that there is no reading yet.")


class JsonProbe(HttpProbe):
    """GET an address and read numbers from its JSON answer. Also a probe, by its status."""

    scope: tuple[ScopeName, ...] = doc(
        "Whom to ask: every machine by itself, the edge, or both.", default=("machine",), min_length=1
    )
    values: dict[Key, JsonNumber] = need("The numbers to read, by the names that rules use.", min_length=1)


class Split(Section):
    """A label by which counters are told apart, for rules with `by`."""

    label: Label = need("The label, such as `route`.")
    most: Count = doc("How many of its values are told apart, the busiest first.", default=20, ge=1, le=SPLIT_MAX)


class Scrape(Section):
    """Read counters and histograms from a metrics page (OpenMetrics or Prometheus text, also `/federate`)."""

    url: Url = need("Address of the metrics page.")
    token_env: EnvName | None = doc("Environment variable that holds the bearer token.")
    token_file: Text | None = doc("File that holds the bearer token; read at each use.")
    timeout: Positive = doc("Longest wait for the page; shorter than `every`.", default="5s")
    machine_label: Text = doc(
        "Label that names the machine of a series; `none` when the series are of the edge.", default="instance"
    )
    counts_probes: Flag = doc(
        "Whether the counted requests include this guard's own probes, which are then subtracted.",
        default=True,
    )
    counters: dict[Key, Series] = doc("Counters to read, by the names that rules use.", default={})
    histograms: dict[Key, Series] = doc(
        "Histograms to read, by the names that rules use; the series end in `_bucket`.", default={}
    )
    split: Split | None = doc("A label by which the counters are told apart, for rules with `by`.")


class PromValue(Section):
    """One PromQL expression that gives a number per machine or, with `machine_label: none`, one for the edge."""

    query: Text = need("The expression, such as `histogram_quantile(0.95, sum by (le, instance) (rate(…[2m])))`.")
    unit: UnitName | None = doc("Unit of the result; limits on it must be written with a unit of the same kind.")


class Prometheus(Section):
    """Ask a store that speaks Prometheus' HTTP API: Prometheus itself, Fly's, VictoriaMetrics, Thanos, Mimir."""

    url: Url = need("Base address of the store, before `/api/v1/`.")
    token_env: EnvName | None = doc("Environment variable that holds the bearer token.")
    token_file: Text | None = doc("File that holds the bearer token; read at each use.")
    timeout: Positive = doc("Longest wait for the answers; shorter than `every`.", default="5s")
    machine_label: Text = doc(
        "Label that names the machine of a series; `none` when the series are of the edge.", default="instance"
    )
    counts_probes: Flag = doc(
        "Whether the counted requests include this guard's own probes, which are then subtracted.", default=True
    )
    max_age: Positive = doc("Readings older than this are stale.", default="2m")
    counters: dict[Key, Series] = doc("Counters to read, by the names that rules use.", default={})
    histograms: dict[Key, Series] = doc(
        "Histograms to read, by the names that rules use; the series end in `_bucket`.", default={}
    )
    split: Split | None = doc("A label by which the counters are told apart, for rules with `by`.")
    values: dict[Key, PromValue] = doc("Expressions to evaluate, by the names that rules use.", default={})


class Journey(Section):
    """Ordered requests as one user would make them; cookies are kept on the way."""

    scope: tuple[ScopeName, ...] = doc(
        "Whom to ask: the edge as users see it, every machine by itself, or both.", default=("edge",), min_length=1
    )
    timeout: Positive = doc("Longest time for all steps together; shorter than `every`.", default="10s")
    steps: tuple[JourneyStep, ...] = need("The requests, in order.", min_length=1, max_length=STEPS_MAX)


class Logs(Section):
    """Lines of the app's log that people should see: counted per release, shown in pages. No rule can be made of it."""

    match: tuple[Text, ...] = need("Regular expressions; a line that matches one of them counts.", min_length=1)
    timeout: Positive = doc("Longest wait for the platform's answer; shorter than `every`.", default="5s")


class Platform(Section):
    """What the platform says of its machines: states, exits, checks, releases."""


class Signal(Section):
    """A named source of readings of exactly one kind: `http`, `json`, `journey`, `scrape`, `prometheus`, `logs` or
    `platform`.
    """

    http: HttpProbe | None = doc("A probe of an address.")
    json_: JsonProbe | None = doc("Numbers from a JSON answer.", alias="json")
    journey: Journey | None = doc("Ordered requests as one user would make them.")
    scrape: Scrape | None = doc("Counters and histograms from a metrics page.")
    prometheus: Prometheus | None = doc("Counters, histograms and expressions from a Prometheus-like store.")
    logs: Logs | None = doc("Lines of the app's log, as evidence for people.")
    platform: Platform | None = doc("The platform's word on its machines. Write `platform: {}`.")
    every: Interval = need("How often to look, such as 5s.")
