"""A metrics store's HTTP interface over a `History`, as Prometheus answers it: selectors, no query language.

``/prometheus/ORG/`` + ``federate``, ``api/v1/query``, ``query_range``, ``series``, ``labels``, ``label/NAME/values``.
A query is a selector, ``metric{label="…"}``, or one with a range, ``metric{…}[2m]``. Functions and operators are
refused with 400 ``bad_data``, and the refusal says so. Counters come as they are; whoever needs a rate takes two.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

from rollguard.localfly.counters import Match, Series, exposition, selector
from rollguard.localfly.history import History, Sample, Scrape, select

PATH = re.compile(r"/prometheus/[\w.-]+/(federate|api/v1/(?:query|query_range|series|labels|label/\w+/values))")
RANGE = re.compile(r"(?P<selector>.*\S)\s*\[(?P<number>\d{1,6})(?P<unit>ms|s|m|h|d)\]\s*", re.DOTALL)
UNIT_S = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
POINTS_MAX = 11_000
SELECTORS_MAX = 20
TEXT = "text/plain; version=0.0.4; charset=utf-8"
PLAIN = "text/plain; charset=utf-8"
JSON = "application/json"
NO_ENGINE = "the local platform answers series selectors only: no functions, no operators, no aggregation"

Answer = tuple[int, str, bytes]  # status, content type, body


class BadDataError(ValueError):
    """The query is not one of those that are answered here."""


@dataclass(frozen=True, slots=True)
class Asked:
    """One request: its parameters, from the address and the form together, and when it came."""

    parameters: Mapping[str, Sequence[str]]
    now: float

    def first(self, name: str) -> str:
        """A parameter's first value, or ""."""
        return (self.parameters.get(name) or [""])[0]

    def time(self, name: str) -> float:
        """A moment: Unix seconds or RFC 3339; now where it is not given."""
        text = self.first(name)
        if not text:
            return self.now
        try:
            found = float(text) if text[4:5] != "-" else datetime.fromisoformat(text).timestamp()
        except (ValueError, OverflowError):
            found = math.nan
        if not math.isfinite(found):
            raise BadDataError(f'invalid parameter "{name}": cannot parse {text[:40]!r} to a valid timestamp')
        return found

    def step(self) -> float:
        """The resolution: seconds, or a duration."""
        text = self.first("step")
        unit = re.fullmatch(r"(\d{1,6})(ms|s|m|h|d)", text)
        try:
            found = int(unit[1]) * UNIT_S[unit[2]] if unit else float(text)
        except ValueError:
            found = math.nan
        if not (math.isfinite(found) and found > 0):
            raise BadDataError('invalid parameter "step": zero or negative query resolution step widths')
        return found

    def matches(self) -> list[Match]:
        """Its `match[]` selectors."""
        texts = self.parameters.get("match[]") or []
        if len(texts) > SELECTORS_MAX:
            raise BadDataError(f"at most {SELECTORS_MAX} match[] are answered")
        return [_selector(text) for text in texts]


class PrometheusApi:
    """Answers from `history`. Federation shows what is true now, unless a fault or a lag says otherwise.

    Every request is an occasion to take a sample; where faults are never to come, federation is spared that.
    """

    def __init__(self, history: History, clock: Callable[[], float], *, spare_federation: bool = False) -> None:
        self._history, self._clock, self._spare_federation = history, clock, spare_federation

    def answer(self, path: str, query: str, form: bytes = b"") -> Answer | None:
        """The answer to a request, or None where the path is none of these."""
        found = PATH.fullmatch(path)
        if found is None:
            return None
        asked = Asked(_parameters(query, form), self._clock())
        what = found[1]
        if what != "federate" or not self._spare_federation:
            self._history.record(asked.now)
        fault = self._history.faults.meeting("metrics")
        if fault == "503":
            return 503, PLAIN, b"upstream connect error\n"
        try:
            if what == "federate":
                return self._federate(asked, empty=fault == "empty")
            data = self._answers[what.removeprefix("api/v1/").partition("/")[0]](self, asked, what)
        except BadDataError as error:
            if what == "federate":
                return 400, PLAIN, f"match[]: {error}\n".encode()
            return 400, JSON, _dump({"status": "error", "errorType": "bad_data", "error": str(error)})
        return 200, JSON, _dump({"status": "success", "data": _emptied(data) if fault == "empty" else data})

    def _federate(self, asked: Asked, *, empty: bool) -> Answer:
        matches = asked.matches()
        if not matches:
            raise BadDataError(f"1 to {SELECTORS_MAX} match[] are needed")
        faults = self._history.faults
        if faults.metrics or faults.metrics_lag_s:
            scrape = None if empty else self._history.at(asked.now, asked.now)
            samples, at = _samples(scrape), scrape.at if scrape else asked.now
        else:
            samples, at = list(self._history.source()), asked.now
        return 200, TEXT, exposition(iter(samples), match=_any(matches), at_ms=int(at * 1000))

    def _query(self, asked: Asked, what: str) -> Any:
        text, when = asked.first("query"), asked.time("time")
        if found := RANGE.fullmatch(text):
            start = when - int(found["number"]) * UNIT_S[found["unit"]]
            scrapes = self._history.between(start, when, asked.now)
            matrix = _matrix([(scrape.at, scrape) for scrape in scrapes], _selector(found["selector"]))
            return {"resultType": "matrix", "result": matrix}
        seen = select(self._history.at(when, asked.now), _selector(text))
        result = [{"metric": labels, "value": [when, _text(value)]} for labels, value in seen]
        return {"resultType": "vector", "result": result}

    def _query_range(self, asked: Asked, what: str) -> Any:
        start, end, step = asked.time("start"), asked.time("end"), asked.step()
        if end < start:
            raise BadDataError('invalid parameter "end": end timestamp must not be before start time')
        count = int((end - start) / step) + 1
        if count > POINTS_MAX:
            raise BadDataError("exceeded maximum resolution of 11,000 points per timeseries")
        moments = [start + number * step for number in range(count)]
        points = [(when, scrape) for when in moments if (scrape := self._history.at(when, asked.now))]
        return {"resultType": "matrix", "result": _matrix(points, _selector(asked.first("query")))}

    def _series(self, asked: Asked, what: str) -> Any:
        if not asked.matches():
            raise BadDataError("no match[] parameter provided")
        return self._known(asked)

    def _labels(self, asked: Asked, what: str) -> Any:
        return sorted({name for labels in self._known(asked) for name in labels})

    def _label(self, asked: Asked, what: str) -> Any:
        name = what.split("/")[-2]
        return sorted({labels[name] for labels in self._known(asked) if name in labels})

    def _known(self, asked: Asked) -> list[Series]:
        """The label sets that match, of everything kept in the time asked for."""
        start = asked.time("start") if asked.first("start") else -math.inf
        scrapes = self._history.between(start, asked.time("end"), asked.now)
        wanted = _any(asked.matches())
        found = {key: None for scrape in scrapes for key in scrape.values}
        return [labels for key in found if wanted(labels := dict(key))]

    _answers: Mapping[str, Callable[[PrometheusApi, Asked, str], Any]] = {
        "query": _query,
        "query_range": _query_range,
        "series": _series,
        "labels": _labels,
        "label": _label,
    }


def _parameters(query: str, form: bytes) -> dict[str, list[str]]:
    both: dict[str, list[str]] = {}
    for text in (query, form.decode("utf-8", "replace")):
        for name, values in parse_qs(text, max_num_fields=100).items():
            both.setdefault(name, []).extend(values)
    return both


def _selector(text: str) -> Match:
    try:
        return selector(text)
    except ValueError as error:
        raise BadDataError(f"{error}: {NO_ENGINE}") from None


def _any(matches: Sequence[Match]) -> Match:
    return lambda series: not matches or any(each(series) for each in matches)


def _samples(scrape: Scrape | None) -> list[Sample]:
    values = scrape.values if scrape else {}
    return [(family, kind, dict(key), value) for key, (family, kind, value) in values.items()]


def _matrix(points: Sequence[tuple[float, Scrape]], match: Match) -> list[dict[str, Any]]:
    """Per series its values at those moments; a moment at which it was not there is left out."""
    found: dict[tuple[tuple[str, str], ...], list[Any]] = {}
    for when, scrape in points:
        for labels, value in select(scrape, match):
            found.setdefault(tuple(labels.items()), []).append([when, _text(value)])
    return [{"metric": dict(key), "values": values} for key, values in found.items()]


def _emptied(data: Any) -> Any:
    return {**data, "result": []} if isinstance(data, dict) else []


def _text(value: float) -> str:
    return f"{value:.17g}"


def _dump(document: Any) -> bytes:
    return json.dumps(document, separators=(",", ":")).encode()
