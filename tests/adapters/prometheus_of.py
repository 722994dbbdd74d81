"""A prometheus source, its clock, and a store that answers as told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs

from rollguard.adapters.signals.prometheus import PrometheusSource
from rollguard.core.model import GapKind, Reading
from rollguard.core.signals import PrometheusSignal, Query, SecretRef
from rollguard.errors import GuardError
from rollguard.ports import HttpAnswer
from tests.adapters.scripted_transport import Asked, ScriptedTransport, says
from tests.adapters.signals_of import ERRORS, RESPONSES, HandClock, read

TOKEN = "fm2_secretsecret"
ENVIRON = {"METRICS_TOKEN": f"FlyV1 {TOKEN}"}
P95 = Query("p95", scale=0.001)

Samples = Sequence[tuple[float, float | str]]


def signal(**but: Any) -> PrometheusSignal:
    usual: dict[str, Any] = {
        "name": "traffic",
        "every_s": 15.0,
        "url": "https://prom.test/prometheus/shop/",
        "timeout_s": 10.0,
        "counters": {"errors": ERRORS, "requests": RESPONSES},
        "token": SecretRef(env="METRICS_TOKEN"),
    }
    return PrometheusSignal(**usual | but)


def values_only(**but: Any) -> PrometheusSignal:
    return signal(**{"counters": {}, "values": {"p95": P95}} | but)


def vector(*rows: tuple[Mapping[str, str], float, str], kind: str = "vector", **beside: Any) -> HttpAnswer:
    result = [{"metric": labels, "value": [at, value]} for labels, at, value in rows]
    return success({"resultType": kind, "result": result}, **beside)


def matrix(*rows: tuple[Mapping[str, str], Samples], **beside: Any) -> HttpAnswer:
    result = [{"metric": labels, "values": [[at, str(value)] for at, value in some]} for labels, some in rows]
    return success({"resultType": "matrix", "result": result}, **beside)


def success(data: Any, **beside: Any) -> HttpAnswer:
    return says({"status": "success", "data": data} | beside)


def refused(status: int, kind: str, words: str) -> HttpAnswer:
    return says({"status": "error", "errorType": kind, "error": words}, status)


def responses(name: str, samples: Samples) -> tuple[Mapping[str, str], Samples]:
    """``m1_500`` is machine m1's counter of responses with status 500."""
    machine, _, status = name.partition("_")
    return {"__name__": "responses", "app": "shop", "instance": machine, "status": status}, samples


def queries(asked: Sequence[Asked]) -> list[str]:
    return [parse_qs(a.body.decode())["query"][0] for a in asked]


class Asking:
    """A source, its clock, and a store that answers by the beginning of the query."""

    def __init__(self, of: PrometheusSignal, environ: Mapping[str, str] = ENVIRON) -> None:
        self.answers: dict[str, HttpAnswer | GuardError] = {}
        self.transport = ScriptedTransport(self._answer)
        self.source = PrometheusSource(of, self.transport, environ)
        self.clock = HandClock()

    def _answer(self, asked: Asked) -> HttpAnswer | GuardError:
        (query,) = queries([asked])
        return next(answer for start, answer in self.answers.items() if query.startswith(start))

    def read(self, *started: str, after_s: float = 15.0, **answers: HttpAnswer | GuardError) -> list[Reading]:
        """The next round, finding these answers."""
        self.clock.at += after_s
        self.answers = answers
        return read(self.source, self.clock, *started)

    def counts(self, *started: str, after_s: float = 15.0, lag_s: float = 0.0, **counts: float) -> list[Reading]:
        """The next round; each counter is given by its newest value."""
        at = self.clock.at + after_s - lag_s
        rows = [responses(name, [(at, value)]) for name, value in counts.items()]
        return self.read(*started, after_s=after_s, responses=matrix(*rows))


def summary(readings: Sequence[Reading]) -> dict[str, float | GapKind | None]:
    return {f"{r.key.removeprefix('traffic')}@{r.subject}": r.gap or r.value for r in readings}


def total(readings: Sequence[Reading], key: str) -> float:
    return sum(r.value or 0.0 for r in readings if r.key == f"traffic.{key}")


def asking_once(of: PrometheusSignal, answer: HttpAnswer | GuardError) -> list[Reading]:
    return Asking(of).read("m1", "m2", p95=answer)
