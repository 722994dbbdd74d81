"""Recordings on disk: what was written is read back; what is not whole is refused with its line."""

from __future__ import annotations

import json
import math
import stat
from collections import deque
from itertools import repeat
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.adapters import recording
from rollguard.adapters.recording import Full, RecordingFile, read_recording
from rollguard.core.model import EDGE, GapKind, Reading
from rollguard.core.recording import Look, Runs
from rollguard.errors import Refused
from tests.builders import GOOD, NOON, a_policy, bucketed

LOOK = Look(NOON, {"m1": Runs(GOOD, NOON - 60, True), "m2": Runs(GOOD, NOON - 30, False, "fra")})
HEADER = json.dumps(
    {"rollguard": "recording", "format": 1, "version": "1", "target": "shop", "policy": "abc", "at": NOON}
)
READING = {"at": NOON, "key": "health", "subject": "m1", "value": 1.0}


def test_what_was_written_is_read_back(tmp_path: Path) -> None:
    readings = (
        Reading(key="health", subject="m1", at=NOON, value=0.0, detail="HTTP 503"),
        Reading(key="traffic.requests", subject=EDGE, at=NOON + 1, gap=GapKind.NO_ANSWER, detail="timeout"),
        bucketed({0.1: 3.0, 1.0: 4.0}, at=NOON + 2),
        Reading(key="traffic.errors", subject="m2", at=NOON + 3, value=0.0, since=NOON, until=NOON + 2),
        Reading(
            key="traffic.requests", subject="m2", at=NOON + 3, value=5.0, since=NOON, parts=(("", 2.0), ("/", 3.0))
        ),
    )
    path = tmp_path / "shop.jsonl"
    with RecordingFile(path, a_policy(hash="abc"), NOON) as file:
        file.look(LOOK)
        for reading in readings:
            file.reading(reading)
    back = read_recording(path)
    assert (back.target, back.policy, back.at, back.end) == ("shop-production", "abc", NOON, NOON + 3)
    assert (back.looks, back.readings) == ((LOOK,), readings)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@given(st.text(), st.floats(allow_nan=False, allow_infinity=False, min_value=0, max_value=4e9))
def test_whatever_an_app_said_a_line_stays_a_line(
    tmp_path_factory: pytest.TempPathFactory, said: str, at: float
) -> None:
    path = tmp_path_factory.mktemp("recordings") / "shop.jsonl"
    with RecordingFile(path, a_policy(), NOON) as file:
        file.reading(Reading(key="health", subject="m1", at=at, value=0.0, detail=said))
    (back,) = read_recording(path).readings
    assert (back.at, back.detail.isprintable(), len(back.detail) <= 200) == (at, True, True)


def test_a_recording_grows_no_further_than_it_may_and_stays_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recording, "BYTES_MAX", 1000)
    path = tmp_path / "shop.jsonl"
    reading = Reading(key="health", subject="m1", at=NOON, value=1.0)
    with RecordingFile(path, a_policy(), NOON) as file, pytest.raises(Full, match="never larger"):
        deque(map(file.reading, repeat(reading)))
    assert path.stat().st_size <= 1000
    assert len(read_recording(path).readings) > 5


def test_neither_a_file_nor_a_link_is_written_over(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "target")
    (tmp_path / "file").write_text("mine")
    for name in ("link", "file", "no/folder"):
        with pytest.raises(Refused, match="cannot write a recording to"):
            RecordingFile(tmp_path / name, a_policy(), NOON)
    assert not (tmp_path / "target").exists()


def line(**but: object) -> str:
    return json.dumps({**READING, **but})


@pytest.mark.parametrize(
    "lines, why",
    [
        ([""], ":1: not JSON"),
        (["{}"], ":1: not a recording of rollguard"),
        ([HEADER.replace('"format": 1', '"format": 2')], ":1: format 2 is not known"),
        ([HEADER.replace('"shop"', "7")], ":1: target is not a text"),
        ([HEADER, line()[:-3]], ":2: not JSON: the file was cut off or changed"),
        ([HEADER, line(), "[1]"], ":3: not a JSON object"),
        ([HEADER, "[" * 5000], ":2: not JSON"),
        ([HEADER, line(detail="x" * 70_000)], ":2: a line of more than 64 KiB"),
        ([HEADER, line(value=None)], ":2: neither a value nor a gap"),
        ([HEADER, line(gap="bored")], ":2: gap is none of"),
        ([HEADER, line(gap=["no answer"])], ":2: gap is none of"),
        ([HEADER, line(value="1")], ":2: value is not a number"),
        ([HEADER, line(value=math.nan)], ":2: value is not a number"),
        ([HEADER, line(value=True)], ":2: value is not a number"),
        ([HEADER, line(at=None)], ":2: at is not a number"),
        ([HEADER, line(at=10**400)], ":2: at is not a number"),
        ([HEADER, line(at=1e17)], ":2: at is no instant between 1970 and 2100"),
        ([HEADER, line(since=-1)], ":2: since is no instant between 1970 and 2100"),
        ([HEADER, '{"at": 1e17, "machines": {}}'], ":2: at is no instant between 1970 and 2100"),
        ([HEADER, line(subject="m" * 300)], ":2: subject is not a text"),
        ([HEADER, line(buckets=[[1.0, 2.0]])], ":2: the last bucket is not +Inf"),
        ([HEADER, line(buckets=[[1.0, 2.0], ["+Inf", 1.0]])], ":2: buckets are not in order"),
        ([HEADER, line(buckets=[[1.0, -2.0], ["+Inf", 1.0]])], ":2: buckets are not in order"),
        ([HEADER, line(buckets=[[1.0], ["+Inf", 1.0]])], ":2: a bucket is a bound and a count"),
        ([HEADER, line(buckets={"+Inf": 1})], ":2: buckets is not a list"),
        ([HEADER, line(parts={"/": 1})], ":2: parts is not a list"),
        ([HEADER, line(parts=[["/"]])], ":2: a part is a name and a count"),
        ([HEADER, line(parts=[[1, 2.0]])], ":2: part is not a text"),
        ([HEADER, line(parts=[["/", "2"]])], ":2: a part's count is not a number"),
        ([HEADER, '{"at": 1, "machines": []}'], ":2: machines is not an object"),
        ([HEADER, '{"at": 1, "machines": {"m1": {"digest": "x", "since": 1}}}'], ":2: machine m1 does not say"),
        ([HEADER, '{"at": 1, "machines": {"m1": {"since": 1, "started": true}}}'], ":2: digest is not a text"),
    ],
)
def test_a_line_that_is_not_whole_is_refused_with_its_place_and_why(tmp_path: Path, lines: list[str], why: str) -> None:
    path = tmp_path / "shop.jsonl"
    path.write_text("\n".join(lines) + "\n")
    with pytest.raises(Refused) as refused:
        read_recording(path)
    assert f"{path}{why}" in str(refused.value)


def test_an_empty_absent_or_oversized_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "empty").touch()
    for name, why in (("empty", "empty"), ("absent", "No such file"), (".", "Is a directory")):
        with pytest.raises(Refused, match=why):
            read_recording(tmp_path / name)
    (tmp_path / "big").write_text(HEADER)
    monkeypatch.setattr(recording, "BYTES_MAX", 10)
    with pytest.raises(Refused, match="larger than"):
        read_recording(tmp_path / "big")
