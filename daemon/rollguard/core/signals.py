"""Where readings come from, as a policy says it: one frozen value per kind of signal. Seconds and base units only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum


class Scope(StrEnum):
    """Whom a probe asks: every machine by name, or whichever one users would get."""

    MACHINE = "machine"
    EDGE = "edge"


@dataclass(frozen=True, slots=True)
class SecretRef:
    """Where a secret is, never the secret: a name in the environment, or a file that is read at each use."""

    env: str | None = None
    file: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpSignal:
    """GET ``url``; a probe succeeds when the status is in ``ok_status`` within ``timeout_s``."""

    name: str
    every_s: float
    url: str
    scopes: frozenset[Scope]
    timeout_s: float
    ok_status: frozenset[int]


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonValue:
    """A number at a dotted ``path``; file value times ``scale`` gives base units. ``gap_when``: means "none yet"."""

    name: str
    path: tuple[str, ...]
    scale: float = 1.0
    gap_when: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JsonSignal:
    """GET ``url`` and read ``values`` from the JSON answer. Also a probe by its status, like ``HttpSignal``."""

    name: str
    every_s: float
    url: str
    scopes: frozenset[Scope]
    timeout_s: float
    ok_status: frozenset[int]
    values: tuple[JsonValue, ...]


@dataclass(frozen=True, slots=True)
class Matcher:
    """``label op value`` with op one of ``=``, ``!=``, ``=~``, ``!~`` (regular expressions are anchored)."""

    label: str
    op: str
    value: str


@dataclass(frozen=True, slots=True)
class Selector:
    """Which series of a metrics page: a name and label matchers, as in PromQL. ``text`` is as written."""

    name: str
    matchers: tuple[Matcher, ...] = ()
    text: str = ""


@dataclass(frozen=True, slots=True)
class Split:
    """Counters are read for each value of ``label`` by itself, too: for the ``most`` that are seen first, the busiest
    first; all others together are one more.
    """

    label: str
    most: int = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class ScrapeSignal:
    """Reads OpenMetrics or Prometheus text. Series are summed per machine by ``machine_label``.

    ``machine_label`` None: every series belongs to the edge. ``counts_probes`` says that the counted requests
    include the guard's own probes, which are then subtracted.
    """

    name: str
    every_s: float
    url: str
    timeout_s: float
    counters: Mapping[str, Selector]
    histograms: Mapping[str, Selector] = field(default_factory=dict)
    machine_label: str | None = "instance"
    token: SecretRef | None = None
    counts_probes: bool = True
    split: Split | None = None


@dataclass(frozen=True, slots=True)
class Query:
    """A PromQL expression whose newest value, times ``scale``, is a number in base units."""

    text: str
    scale: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PrometheusSignal:
    """Asks a store that speaks Prometheus' HTTP API; ``url`` is its base, before ``/api/v1/``.

    ``counters`` and ``histograms`` are read as raw samples with their own times and summed per machine, as those of
    a ``ScrapeSignal``. ``values`` are expressions of one number per machine, or of one for the edge. What is older
    than ``max_age_s`` is stale.
    """

    name: str
    every_s: float
    url: str
    timeout_s: float
    counters: Mapping[str, Selector] = field(default_factory=dict)
    histograms: Mapping[str, Selector] = field(default_factory=dict)
    values: Mapping[str, Query] = field(default_factory=dict)
    machine_label: str | None = "instance"
    token: SecretRef | None = None
    counts_probes: bool = True
    split: Split | None = None
    max_age_s: float = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Expect:
    """What an answer must be. ``headers`` are regular expressions that must be found in the header's value, ``texts``
    must be in the body, ``json`` are (path, value) pairs that must be equal.
    """

    status: frozenset[int] = frozenset({200})
    headers: Mapping[str, str] = field(default_factory=dict)
    texts: tuple[str, ...] = ()
    json: tuple[tuple[tuple[str, ...], str | float | bool | None], ...] = ()


class Where(StrEnum):
    """Where in an answer a captured value is."""

    JSON = "json"
    HEADER = "header"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class Capture:
    """A value to take from an answer for later steps, as ``{name}``.

    ``what`` is a dotted path of the JSON body, a header's name, or a regular expression with one group.
    """

    name: str
    where: Where
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One request of a journey. ``url``, header values, form values and ``body`` may hold ``{name}``s captured before.

    ``form`` is sent as a form, ``body`` as JSON; at most one of them.
    """

    name: str
    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    form: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    expect: Expect = field(default_factory=Expect)
    capture: tuple[Capture, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class JourneySignal:
    """Ordered requests as one user would make them, cookies kept on the way; ``timeout_s`` bounds all of them.

    A probe like ``HttpSignal``: 1.0 when every step was as expected, else 0.0, and ``detail`` names the step.
    ``NAME.STEP`` is the time a step took, in seconds.
    """

    name: str
    every_s: float
    scopes: frozenset[Scope]
    timeout_s: float
    steps: tuple[Step, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class LogsSignal:
    """Lines of the app's log that match one of ``match``, counted per machine under ``NAME.lines``.

    Evidence for people: no rule may roll back on it. ``detail`` of a reading quotes the newest such line.
    """

    name: str
    every_s: float
    timeout_s: float
    match: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class PlatformSignal:
    """What the platform says of its machines: states, exits, checks, releases."""

    name: str
    every_s: float


ProbeSignal = HttpSignal | JsonSignal | JourneySignal
"""Signals that succeed or fail: what a ``failing`` rule may be about."""

CountSignal = ScrapeSignal | PrometheusSignal
"""Signals that count what happened: what ratios and quantiles are made of."""

Signal = HttpSignal | JsonSignal | JourneySignal | ScrapeSignal | PrometheusSignal | LogsSignal | PlatformSignal
