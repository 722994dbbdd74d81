"""Numbers that an app tells about itself in a JSON answer; a probe by status as well."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any

from rollguard.adapters.signals.probing import Probe, probe_all
from rollguard.core import jsontext
from rollguard.core.jsonpath import lookup
from rollguard.core.model import GapKind, Reading
from rollguard.core.signals import JsonSignal, JsonValue
from rollguard.ports import Clock, Fleet, Transport

BODY_BYTES_MAX = 1 << 20
NO_TRAFFIC = "nothing measured yet"


class JsonSource:
    """``ports.SignalSource`` of a ``JsonSignal``: per subject the probe under ``name``, a value or gap under each
    ``name.value``.

    An answer that is welcome though its status is not 200 (a health page's 503), and in which every wanted number is
    0, comes from a handler that failed and filled in zeros: its values are gaps, not an uptime of 0.
    """

    def __init__(self, signal: JsonSignal, transport: Transport) -> None:
        self.name = signal.name
        self.every_s = signal.every_s
        self._signal = signal
        self._transport = transport

    async def read(self, fleet: Fleet, clock: Clock) -> Sequence[Reading]:
        """One reading per subject, and one per subject and value."""
        return await probe_all(
            self._signal,
            self._transport,
            fleet,
            clock,
            BODY_BYTES_MAX,
            lambda probe: (probe.reading, *self._values(probe)),
        )

    def _values(self, probe: Probe) -> list[Reading]:
        values = self._signal.values
        if not probe.ok or probe.answer is None:
            return [self._gap(probe, value, GapKind.NO_ANSWER, probe.reading.detail) for value in values]
        if probe.too_large:
            return [self._gap(probe, value, GapKind.BAD_ANSWER, "more than 1 MiB") for value in values]
        try:
            document = jsontext.parse(probe.answer.body)
        except ValueError as error:
            return [self._gap(probe, value, GapKind.BAD_ANSWER, str(error)) for value in values]
        found = [self._value(probe, value, document) for value in values]
        if probe.answer.status != HTTPStatus.OK and _all_zero(document, values):
            why = f"HTTP {probe.answer.status} with every number 0"
            return [self._gap(probe, value, GapKind.BAD_ANSWER, why) for value in values]
        return found

    def _value(self, probe: Probe, value: JsonValue, document: Any) -> Reading:
        try:
            raw = lookup(document, value.path)
        except KeyError:
            return self._gap(probe, value, GapKind.BAD_ANSWER, f"no {'.'.join(value.path)} in the answer")
        number = finite(raw)
        if number is None or not math.isfinite(number * value.scale):
            return self._gap(probe, value, GapKind.NOT_A_NUMBER, f"{'.'.join(value.path)} is no number")
        if number == value.gap_when:
            return self._gap(probe, value, GapKind.NO_TRAFFIC, NO_TRAFFIC)
        return replace(probe.reading, key=f"{self.name}.{value.name}", value=number * value.scale, detail="")

    def _gap(self, probe: Probe, value: JsonValue, gap: GapKind, detail: str) -> Reading:
        return replace(probe.reading, key=f"{self.name}.{value.name}", value=None, gap=gap, detail=detail)


def finite(raw: Any) -> float | None:
    """A JSON number as a float; None for anything else: booleans, text, NaN, numbers beyond all bounds."""
    if isinstance(raw, bool) or not isinstance(raw, int | float):
        return None
    try:
        number = float(raw)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _all_zero(document: Any, values: Sequence[JsonValue]) -> bool:
    for value in values:
        try:
            if finite(lookup(document, value.path)) != 0:
                return False
        except KeyError:
            return False
    return bool(values)
