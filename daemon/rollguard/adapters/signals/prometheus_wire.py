"""What a store that speaks Prometheus' HTTP API answers to an instant query.

``{"status": "success", "data": {"resultType": "matrix", "result": [{"metric": {…}, "values": [[at, "37"], …]}]}}``
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rollguard.core import jsontext
from rollguard.errors import BadAnswer

SERIES_MAX = 20_000
LABELS_CHARS_MAX = 4096

_HARMLESS = "metric might not be a counter"
"""An info of this kind is about a name; every other one may be about data that was left out."""


@dataclass(frozen=True, slots=True)
class Series:
    """One label set and its samples ``(at, value)``, oldest first, at least one. ``at`` is in epoch seconds."""

    labels: Mapping[str, str]
    samples: tuple[tuple[float, float], ...]


def parse_result(body: bytes) -> tuple[Series, ...]:
    """The series of a matrix, a vector or a scalar (as one series without labels).

    Raises ``BadAnswer`` for any other shape, and for an answer that says itself that it may not be all there is; the
    store's own words in it are not bounded yet.
    """
    document = _document(body)
    if document.get("status") != "success":
        raise BadAnswer("an answer that does not say success")
    _must_be_whole(document)
    data = document.get("data")
    kind, result = (data.get("resultType"), data.get("result")) if isinstance(data, dict) else (None, None)
    if kind == "scalar":
        return (Series({}, _samples([result])),)
    if kind not in {"matrix", "vector"} or not isinstance(result, list):
        raise BadAnswer("a result that is not a matrix, vector or scalar")
    if len(result) > SERIES_MAX:
        raise BadAnswer(f"more than {SERIES_MAX} series")
    return tuple(_series(entry, kind) for entry in result)


def parse_error(body: bytes) -> str:
    """``errorType: error`` as the store wrote them, unbounded; empty where it is not its answer but somebody else's."""
    try:
        document = _document(body)
    except BadAnswer:
        return ""
    return ": ".join(text for name in ("errorType", "error") if isinstance(text := document.get(name), str) and text)


def _document(body: bytes) -> dict[str, Any]:
    try:
        document = jsontext.parse(body)
    except ValueError as error:
        raise BadAnswer(str(error) if body.strip() else "an empty answer") from None
    if not isinstance(document, dict):
        raise BadAnswer("JSON, but not an object")
    return document


def _must_be_whole(document: Mapping[str, Any]) -> None:
    """A part of the truth looks like a low number, and that like health."""
    if document.get("isPartial", False) not in (False, None):
        raise BadAnswer("a partial answer: not all of the store's nodes took part")
    for name in ("warnings", "infos"):
        notes = document.get(name) or []
        if not isinstance(notes, list):
            raise BadAnswer(f"{name} that are not a list")
        said = [note if isinstance(note, str) else "a note that is no text" for note in notes]
        telling = [note for note in said if name == "warnings" or _HARMLESS not in note]
        if telling:
            raise BadAnswer(f"perhaps not all there is, the store says: {telling[0]}")


def _series(entry: Any, kind: str) -> Series:
    if not isinstance(entry, dict):
        raise BadAnswer("a series that is not an object")
    labels = entry.get("metric")
    if not isinstance(labels, dict) or not all(isinstance(value, str) for value in labels.values()):
        raise BadAnswer("a series whose labels are not texts")
    if sum(len(name) + len(value) for name, value in labels.items()) > LABELS_CHARS_MAX:
        raise BadAnswer(f"a series with more than {LABELS_CHARS_MAX} characters of labels")
    if "histogram" in entry or "histograms" in entry:
        raise BadAnswer("a native histogram, which cannot be read; ask for classic buckets")
    return Series(labels, _samples(entry.get("values") if kind == "matrix" else [entry.get("value")]))


def _samples(pairs: Any) -> tuple[tuple[float, float], ...]:
    try:
        if not all(type(value) is str for _, value in pairs):
            raise BadAnswer("a sample whose value is not a text")
        samples = [(float(at), float(value)) for at, value in pairs]
    except (TypeError, ValueError, OverflowError):
        raise BadAnswer("a sample that is not a time and a number") from None
    if not samples or not all(math.isfinite(at) for at, _ in samples):
        raise BadAnswer("a series without samples, or a sample without a time")
    samples.sort(key=lambda sample: sample[0])
    return tuple(samples)
