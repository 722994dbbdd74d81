"""Recordings as files: one JSON object a line. First a header, then the machines whenever they change, and readings.

What is written can be read by any tool; what is read is believed only where it is whole: nothing is guessed.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rollguard import __version__
from rollguard.core.model import GapKind, Reading
from rollguard.core.policy import Policy
from rollguard.core.recording import Look, Recording, Runs
from rollguard.core.text import one_line
from rollguard.errors import Refused

FORMAT = 1
BYTES_MAX = 64 << 20
LINE_BYTES_MAX = 64 << 10
DETAIL_CHARS_MAX = 200
NAME_CHARS_MAX = 200
MACHINES_MAX = 500
BUCKETS_MAX = 201
YEAR_2100 = 4_102_444_800


class Full(Refused):
    """The recording is as large as one may be; what was written is whole."""


class RecordingFile:
    """Writes a recording to a new file, 0600. Raises ``Refused`` when the disk will not, ``Full`` when it is full."""

    def __init__(self, path: Path, policy: Policy, at: float) -> None:
        self.path = path
        self._bytes = 0
        try:
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise Refused(f"cannot write a recording to {path}: {error.strerror}") from error
        self._file = os.fdopen(fd, "wb")
        header = {"rollguard": "recording", "format": FORMAT, "version": __version__}
        self._line({**header, "target": policy.target.name, "policy": policy.hash, "at": at})

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._file.close()
        except OSError as failed:
            raise Refused(f"cannot write a recording to {self.path}: {failed.strerror}") from failed

    def look(self, look: Look) -> None:
        """The machines, as they are from now on."""
        machines = {
            name: {"digest": m.digest, "since": m.since, "started": m.started, "region": m.region}
            for name, m in look.machines.items()
        }
        self._line({"at": look.at, "machines": machines})

    def reading(self, reading: Reading) -> None:
        """One reading."""
        row: dict[str, Any] = {"at": reading.at, "key": reading.key, "subject": reading.subject}
        known = {"value": reading.value, "since": reading.since, "until": reading.until, "gap": reading.gap}
        row |= {name: value for name, value in known.items() if value is not None}
        if reading.detail:
            row["detail"] = one_line(reading.detail, DETAIL_CHARS_MAX)
        if reading.buckets:
            row["buckets"] = [[bound if math.isfinite(bound) else "+Inf", n] for bound, n in reading.buckets]
        if reading.parts:
            row["parts"] = [[name, count] for name, count in reading.parts]
        self._line(row)

    def _line(self, row: Mapping[str, Any]) -> None:
        line = json.dumps(row, separators=(",", ":"), allow_nan=False).encode() + b"\n"
        if self._bytes + len(line) > BYTES_MAX:
            raise Full(f"{self.path} has {BYTES_MAX >> 20} MiB: a recording is never larger")
        try:
            self._file.write(line)
        except OSError as error:
            raise Refused(f"cannot write a recording to {self.path}: {error.strerror}") from error
        self._bytes += len(line)


def read_recording(path: Path) -> Recording:
    """A whole recording. Raises ``Refused`` with file, line and why."""
    rows, number = _Rows(), 0
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_size > BYTES_MAX:
                raise Refused(f"{path}: larger than {BYTES_MAX >> 20} MiB")
            while line := file.readline(LINE_BYTES_MAX + 2):
                number += 1
                rows.take(line.removesuffix(b"\n"))
    except OSError as error:
        raise Refused(f"{path}: cannot be read: {error.strerror}") from error
    except _Wrong as wrong:
        raise Refused(f"{path}:{number}: {wrong}") from None
    if rows.header is None:
        raise Refused(f"{path}:1: empty: a recording begins with its header")
    looks, readings = sorted(rows.looks, key=lambda look: look.at), sorted(rows.readings, key=lambda r: r.at)
    return Recording(
        target=rows.header["target"],
        policy=rows.header["policy"],
        at=rows.header["at"],
        looks=tuple(looks),
        readings=tuple(readings),
    )


class _Wrong(Exception):
    """What is wrong with a line."""


class _Rows:
    def __init__(self) -> None:
        self.header: dict[str, Any] | None = None
        self.looks: list[Look] = []
        self.readings: list[Reading] = []

    def take(self, line: bytes) -> None:
        """One more line. Raises ``_Wrong``."""
        row = _object(line)
        if self.header is None:
            self.header = _header(row)
        elif "machines" in row:
            self.looks.append(_look(row))
        else:
            self.readings.append(_reading(row))


def _object(line: bytes) -> dict[str, Any]:
    if len(line) > LINE_BYTES_MAX:
        raise _Wrong(f"a line of more than {LINE_BYTES_MAX >> 10} KiB")
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise _Wrong("not JSON: the file was cut off or changed") from None
    if not isinstance(row, dict):
        raise _Wrong("not a JSON object")
    return row


def _header(row: dict[str, Any]) -> dict[str, Any]:
    if row.get("rollguard") != "recording":
        raise _Wrong("not a recording of rollguard")
    if row.get("format") != FORMAT:
        raise _Wrong(f"format {one_line(str(row.get('format')), 40)} is not known, only {FORMAT}")
    return {"target": _text(row, "target"), "policy": _text(row, "policy"), "at": _instant(row, "at")}


def _look(row: dict[str, Any]) -> Look:
    machines = row["machines"]
    if not isinstance(machines, dict) or len(machines) > MACHINES_MAX:
        raise _Wrong(f"machines is not an object of at most {MACHINES_MAX}")
    found = {}
    for name, runs in machines.items():
        if not isinstance(runs, dict) or not isinstance(runs.get("started"), bool):
            raise _Wrong(f"machine {one_line(name, 40)} does not say whether it is started")
        region = _text(runs, "region") if "region" in runs else ""
        found[name] = Runs(_text(runs, "digest"), _instant(runs, "since"), runs["started"], region)
    return Look(_instant(row, "at"), found)


def _reading(row: dict[str, Any]) -> Reading:
    gap = row.get("gap")
    if gap is not None and gap not in tuple(GapKind):
        raise _Wrong("gap is none of " + ", ".join(GapKind))
    if gap is None and row.get("value") is None:
        raise _Wrong("neither a value nor a gap")
    return Reading(
        key=_text(row, "key"),
        subject=_text(row, "subject"),
        at=_instant(row, "at"),
        value=None if row.get("value") is None else _finite(row["value"], "value"),
        gap=GapKind(gap) if gap is not None else None,
        detail=_text(row, "detail") if "detail" in row else "",
        since=None if row.get("since") is None else _instant(row, "since"),
        until=None if row.get("until") is None else _instant(row, "until"),
        buckets=_buckets(row.get("buckets", [])),
        parts=_parts(row.get("parts", [])),
    )


def _parts(rows: Any) -> tuple[tuple[str, float], ...]:
    if not isinstance(rows, list) or len(rows) > BUCKETS_MAX:
        raise _Wrong(f"parts is not a list of at most {BUCKETS_MAX}")
    if any(not isinstance(pair, list) or len(pair) != 2 for pair in rows):
        raise _Wrong("a part is a name and a count")
    return tuple((_text({"part": name}, "part"), _finite(count, "a part's count")) for name, count in rows)


def _buckets(rows: Any) -> tuple[tuple[float, float], ...]:
    if not isinstance(rows, list) or len(rows) > BUCKETS_MAX:
        raise _Wrong(f"buckets is not a list of at most {BUCKETS_MAX}")
    buckets: list[tuple[float, float]] = []
    for pair in rows:
        if not isinstance(pair, list) or len(pair) != 2:
            raise _Wrong("a bucket is a bound and a count")
        bound = math.inf if pair[0] == "+Inf" else _finite(pair[0], "a bucket's bound")
        count = _finite(pair[1], "a bucket's count")
        if count < 0 or (buckets and not (bound > buckets[-1][0] and count >= buckets[-1][1])):
            raise _Wrong("buckets are not in order, or their counts not cumulative")
        buckets.append((bound, count))
    if buckets and not math.isinf(buckets[-1][0]):
        raise _Wrong("the last bucket is not +Inf")
    return tuple(buckets)


def _text(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, str) or len(value) > NAME_CHARS_MAX:
        raise _Wrong(f"{name} is not a text of at most {NAME_CHARS_MAX} characters")
    return value


def _instant(row: Mapping[str, Any], name: str) -> float:
    at = _finite(row.get(name), name)
    if not 0 <= at < YEAR_2100:
        raise _Wrong(f"{name} is no instant between 1970 and 2100")
    return at


def _finite(value: Any, name: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e18:
        raise _Wrong(f"{name} is not a number")
    return float(value)
