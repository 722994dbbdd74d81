"""Probes ask each started machine by name and the edge as users do; numbers an app tells are values or gaps."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import pytest

from rollguard.adapters.http import AiohttpTransport, Saturated, TooLarge
from rollguard.adapters.signals.http import HttpSource
from rollguard.adapters.signals.json import JsonSource
from rollguard.core.model import EDGE, GapKind
from rollguard.core.signals import JsonValue, Scope
from rollguard.errors import BadAnswer, GuardError, Unavailable
from rollguard.ports import Fleet, HttpAnswer
from tests.adapters import hostile
from tests.adapters.scripted_transport import Asked, ScriptedTransport, says
from tests.adapters.signals_of import NOON, HandClock, http_signal, json_signal, read

P95 = JsonValue(name="p95", path=("metrics", "performance", "routeP95"), scale=0.001, gap_when=0)
UPTIME = JsonValue(name="uptime", path=("metrics", "uptime", "overall"), scale=0.01)
ALERTS = JsonValue(name="alerts", path=("metrics", "alerts", "critical"))
HEALTHY = {"metrics": {"performance": {"routeP95": 250}, "uptime": {"overall": 99.5}, "alerts": {"critical": 2}}}
ZEROS = {"metrics": {"performance": {"routeP95": 0}, "uptime": {"overall": 0}, "alerts": {"critical": 0}}}


def forced(asked: Asked) -> str:
    return asked.headers.get("fly-force-instance-id", EDGE)


def test_every_started_machine_is_asked_by_name_and_the_edge_without() -> None:
    transport = ScriptedTransport(lambda asked: says({}, 500 if forced(asked) == "m2" else 200))
    readings = read(HttpSource(http_signal(), transport), HandClock(), "m1", "m2")
    assert [(r.key, r.subject, r.at, r.value, r.detail) for r in readings] == [
        ("health", "m1", NOON, 1.0, "HTTP 200"),
        ("health", "m2", NOON, 0.0, "HTTP 500"),
        ("health", EDGE, NOON, 1.0, "HTTP 200"),
    ]
    assert [forced(asked) for asked in transport.asked] == ["m1", "m2", EDGE]
    assert all(asked.headers["User-Agent"].startswith("rollguard/") for asked in transport.asked)
    assert all(asked.headers["Cache-Control"] == "no-cache" for asked in transport.asked)


@pytest.mark.parametrize("scope, subjects", [(Scope.MACHINE, ["m1"]), (Scope.EDGE, [EDGE])])
def test_only_the_scopes_of_the_signal_are_asked(scope: Scope, subjects: list[str]) -> None:
    source = HttpSource(http_signal(scopes=frozenset({scope})), ScriptedTransport(lambda asked: says({})))
    assert [r.subject for r in read(source, HandClock(), "m1")] == subjects


def test_without_a_started_machine_nobody_is_woken() -> None:
    transport = ScriptedTransport(lambda asked: says({}))
    assert read(HttpSource(http_signal(scopes=frozenset({Scope.MACHINE})), transport), HandClock()) == []
    assert transport.asked == []


@pytest.mark.parametrize(
    "outcome, value, gap, detail",
    [
        (Unavailable("timeout after 4s: GET shop.test/health"), 0.0, None, "timeout after 4s"),
        (Unavailable("connection refused: GET shop.test/health"), 0.0, None, "connection refused"),
        (BadAnswer("not a proper HTTP answer: GET shop.test/health"), 0.0, None, "not a proper HTTP answer"),
        (TooLarge("more than 64 KiB", HttpAnswer(200, {}, b"x")), 1.0, None, "HTTP 200"),
        (TooLarge("more than 64 KiB", HttpAnswer(500, {}, b"x")), 0.0, None, "HTTP 500"),
        (Saturated("the guard had no free connection within 4s: GET"), None, GapKind.NO_ANSWER, "the guard had no"),
        (says(b"", 302), 0.0, None, "HTTP 302"),
    ],
)
def test_a_failed_probe_says_how_and_the_guards_own_lack_is_a_gap(
    outcome: HttpAnswer | GuardError, value: float | None, gap: GapKind | None, detail: str
) -> None:
    source = HttpSource(http_signal(scopes=frozenset({Scope.EDGE})), ScriptedTransport(lambda asked: outcome))
    (reading,) = read(source, HandClock())
    assert (reading.value, reading.gap) == (value, gap)
    assert reading.detail.startswith(detail)


async def probe(misbehave: hostile.Misbehaviour) -> tuple[float | None, str]:
    transport = AiohttpTransport()
    async with hostile.server(misbehave) as url:
        signal = http_signal(url=url, timeout_s=0.3, scopes=frozenset({Scope.EDGE}))
        (reading,) = await HttpSource(signal, transport).read(Fleet(), HandClock())
    await transport.close()
    return reading.value, reading.detail


async def test_a_page_is_good_once_whole_or_its_first_64_kib_are_there_in_time() -> None:
    head = b"HTTP/1.1 200 OK\r\n"
    big = head + b"Content-Length: 10000000\r\n\r\n" + b"x" * 70_000
    assert await probe(hostile.hangs_after(big)) == (1.0, "HTTP 200")
    drip = hostile.repeats(head + b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", 0.02)
    assert await probe(drip) == (0.0, "timeout after 0.3s")
    assert await probe(hostile.hangs_after(head + b"Content-Length: 5\r\n\r\nhell")) == (0.0, "timeout after 0.3s")


async def test_a_round_takes_no_longer_than_the_timeout_however_many_machines_hang() -> None:
    transport = AiohttpTransport()
    async with hostile.server(hostile.hangs_after()) as url:
        source = HttpSource(http_signal(url=url, timeout_s=0.3), transport)
        async with asyncio.timeout(2):
            readings = await source.read(Fleet(tuple(f"m{n}" for n in range(20))), HandClock())
    await transport.close()
    assert [reading.value for reading in readings] == [0.0] * 21


def told(answer: HttpAnswer | GuardError) -> dict[str, float | GapKind | None]:
    source = JsonSource(json_signal(P95, UPTIME, ALERTS), ScriptedTransport(lambda asked: answer))
    return {r.key.removeprefix("monitoring"): r.gap or r.value for r in read(source, HandClock(), "m1")}


def test_values_are_in_base_units_beside_the_probe() -> None:
    assert told(says(HEALTHY)) == {"": 1.0, ".p95": 0.25, ".uptime": pytest.approx(0.995), ".alerts": 2.0}


def all_values(gap: GapKind) -> dict[str, GapKind]:
    return dict.fromkeys((".p95", ".uptime", ".alerts"), gap)


@pytest.mark.parametrize(
    "answer, probe, gap",
    [
        (Unavailable("timeout after 5s: GET"), 0.0, GapKind.NO_ANSWER),
        (says(HEALTHY, 500), 0.0, GapKind.NO_ANSWER),
        (says(b"<html>ok</html>"), 1.0, GapKind.BAD_ANSWER),
        (says(b""), 1.0, GapKind.BAD_ANSWER),
        (says(b"[" * 100_000), 1.0, GapKind.BAD_ANSWER),
        (says(b"\xff\xfe\x00"), 1.0, GapKind.BAD_ANSWER),
        (says([HEALTHY]), 1.0, GapKind.BAD_ANSWER),
        (TooLarge("more than 1 MiB", HttpAnswer(200, {}, json.dumps(HEALTHY).encode())), 1.0, GapKind.BAD_ANSWER),
        (says(ZEROS, 503), 1.0, GapKind.BAD_ANSWER),
    ],
)
def test_an_answer_without_numbers_is_a_gap_for_every_value(
    answer: HttpAnswer | GuardError, probe: float, gap: GapKind
) -> None:
    assert told(answer) == {"": probe} | all_values(gap)


def test_an_unhealthy_app_that_tells_its_numbers_is_believed() -> None:
    assert told(says(HEALTHY, 503))[".uptime"] == pytest.approx(0.995)


def test_zeros_with_a_200_are_numbers_and_zero_may_mean_none_yet() -> None:
    assert told(says(ZEROS)) == {"": 1.0, ".p95": GapKind.NO_TRAFFIC, ".uptime": 0.0, ".alerts": 0.0}


@pytest.mark.parametrize("raw", [True, "99", None, [], {}, math.nan, math.inf, -math.inf, 10**400])
def test_what_is_no_finite_number_is_a_gap_of_that_value_alone(raw: Any) -> None:
    document = json.loads(json.dumps(HEALTHY))
    document["metrics"]["uptime"]["overall"] = raw
    values = told(says(document))
    assert values[".uptime"] is GapKind.NOT_A_NUMBER
    assert values[".p95"] == 0.25


def test_a_missing_path_is_a_bad_answer_and_lists_are_indexed() -> None:
    second = JsonValue(name="second", path=("list", "1"))
    beyond = JsonValue(name="beyond", path=("list", "2"))
    source = JsonSource(json_signal(second, beyond), ScriptedTransport(lambda asked: says({"list": [1, 2]})))
    assert [r.gap or r.value for r in read(source, HandClock(), "m1")] == [1.0, 2.0, GapKind.BAD_ANSWER]
