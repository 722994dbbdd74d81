"""Users: they do not wait for each other, and every one of them is written down as it was."""

from __future__ import annotations

import asyncio
import io
import json
import random
import signal
import sys
import time
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any

import pytest

from rollguard.localfly import traffic
from rollguard.localfly.http1 import Request, Response
from rollguard.localfly.http1_server import Server
from rollguard.localfly.traffic import Record, Users, Visit, arrivals, play
from tests.localfly.running import PATIENCE_S, eventually


def visits(lines: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in lines.splitlines()]


def first_minute(seed: int, rate: float = 40.0) -> list[tuple[float, str]]:
    return list(takewhile(lambda arrival: arrival[0] < 60, arrivals(rate, random.Random(seed))))


def test_arrivals_come_at_their_rate_in_their_mix_and_a_seed_repeats_them() -> None:
    minute = first_minute(1)
    assert 2250 < len(minute) < 2550
    shares = {path: sum(wanted == path for _, wanted in minute) / len(minute) for path in traffic.MIX}
    assert shares == pytest.approx({"/": 0.5, "/products": 0.25, "/api/products": 0.15, "/login": 0.1}, abs=0.03)
    assert minute == first_minute(1)
    assert minute != first_minute(2)


def test_arrivals_are_as_irregular_as_people() -> None:
    times = [at_s for at_s, _ in first_minute(1)]
    gaps = [after - before for before, after in pairwise(times)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert deviation == pytest.approx(mean, rel=0.1)  # exponential gaps


class Shop:
    """An edge that answers by path, on a real socket."""

    def __init__(self) -> None:
        self.server = Server(self.answer)
        self.url = ""
        self.at_once = 0
        self.go_on = asyncio.Event()

    async def answer(self, request: Request) -> Response:
        self.at_once += 1
        match request.path:
            case "/slow":
                await self.go_on.wait()
            case "/proxy":
                return Response(502, b"", [("x-edge-error", "reset"), ("x-machine", "m1")])
            case "/broken":
                return Response(500, b"", [("x-machine", "m1"), ("x-image", "sha256:0")])
        return Response(200, b"ok", [("x-machine", "m1"), ("x-image", "sha256:0")])

    async def __aenter__(self) -> Shop:
        self.url = f"http://127.0.0.1:{await self.server.start('127.0.0.1', 0)}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.server.drain(0.0)


@pytest.mark.parametrize(
    ("path", "seen"),
    [
        ("/", {"status": 200, "machine": "m1", "image": "sha256:0", "error": None}),
        ("/broken", {"status": 500, "machine": "m1", "image": "sha256:0", "error": None}),
        ("/proxy", {"status": 502, "machine": "m1", "image": None, "error": "proxy:reset"}),
        ("/slow", {"status": None, "machine": None, "image": None, "error": "timeout"}),
    ],
)
async def test_a_visit_is_written_down_as_its_user_saw_it(path: str, seen: dict[str, Any]) -> None:
    async with Shop() as shop:
        file = io.StringIO()
        users = Users(shop.url, timeout_s=0.1, record=Record(file))
        before = time.time()
        await users.visit(path)
        users.leave()
        (visit,) = visits(file.getvalue())
    assert {key: visit[key] for key in seen} == seen
    assert visit["path"] == path
    assert before - 1 < visit["at"] <= time.time()
    assert 0 <= visit["latency_s"] < 1


async def test_a_refused_connection_is_an_error_of_its_own() -> None:
    file = io.StringIO()
    await Users("http://127.0.0.1:1", timeout_s=1, record=Record(file)).visit("/")
    assert [(visit["status"], visit["error"]) for visit in visits(file.getvalue())] == [(None, "connection")]


async def test_connections_are_reused_and_a_closed_one_costs_no_request() -> None:
    async with Shop() as shop:
        file = io.StringIO()
        users = Users(shop.url, timeout_s=1, record=Record(file))
        await users.visit("/")
        await users.visit("/")
        assert len(users._idle) == 1
        await shop.server.drain(0.0)  # closes idle connections
        other = Shop()
        await other.server.start("127.0.0.1", int(shop.url.rpartition(":")[2]))
        await users.visit("/")
        users.leave()
        await other.server.drain(0.0)
    assert [visit["error"] for visit in visits(file.getvalue())] == [None, None, None]


async def test_users_do_not_wait_for_each_other_and_none_is_dropped_in_silence(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(traffic, "MIX", {"/slow": 1})
    monkeypatch.setattr(traffic, "IN_FLIGHT_MAX", 5)
    async with Shop() as shop:
        file, stop = io.StringIO(), asyncio.Event()
        record = Record(file)
        users = Users(shop.url, timeout_s=5, record=record)
        playing = asyncio.create_task(play(users, rate=500, dice=random.Random(1), stop=stop))
        await eventually(lambda: shop.at_once == 5 and "shed" in file.getvalue())
        stop.set()
        shop.go_on.set()
        await playing
        users.leave()
    outcomes = [visit["error"] for visit in visits(file.getvalue())]
    assert outcomes.count(None) == 5
    assert set(outcomes) == {None, "shed"}
    assert record.summary()["requests"] == len(outcomes)


def test_the_summary_adds_up() -> None:
    record = Record(io.StringIO())
    seen: list[tuple[int | None, str | None]] = [(200, None), (500, None), (503, "proxy:no-route"), (None, "timeout")]
    for status, error in seen:
        visit = Visit(at=0.0, path="/", status=status, latency_s=0.1, machine=None, image=None, error=error)
        record.add(visit)
    assert record.summary() == {
        "requests": 4,
        "failed": 3,
        "by_status": {"200": 1, "500": 1, "503": 1},
        "errors": {"proxy:no-route": 1, "timeout": 1},
        "latency_p50_s": 0.1,
        "latency_p95_s": 0.1,
    }


async def test_the_process_writes_as_it_goes_and_sums_up_when_told_to_stop(tmp_path: Path) -> None:
    out = tmp_path / "visits.jsonl"
    async with Shop() as shop:
        args = ("--edge", shop.url, "--rate", "100", "--out", str(out))
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "rollguard.localfly.traffic", *args, stdout=asyncio.subprocess.PIPE
        )
        try:
            await eventually(lambda: out.exists() and out.read_text().count("\n") >= 20)
            process.send_signal(signal.SIGTERM)
            async with asyncio.timeout(PATIENCE_S):
                stdout, _ = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.communicate()
    summary = json.loads(stdout)
    assert process.returncode == 0
    assert summary["requests"] == len(visits(out.read_text()))
    assert (summary["failed"], summary["errors"]) == (0, {})
