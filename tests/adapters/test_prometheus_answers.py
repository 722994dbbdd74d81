"""Whatever a store answers: a gap with a sentence where it is not the whole truth, and the token is never shown."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import pytest

from rollguard.adapters.http import AiohttpTransport, TooLarge
from rollguard.adapters.signals.prometheus import PrometheusSource
from rollguard.core.model import EDGE, GapKind
from rollguard.core.signals import Query, SecretRef
from rollguard.errors import GuardError, Unavailable
from rollguard.ports import Fleet, HttpAnswer
from tests.adapters import hostile
from tests.adapters.prometheus_of import (
    ENVIRON,
    P95,
    TOKEN,
    Asking,
    asking_once,
    matrix,
    refused,
    responses,
    signal,
    success,
    summary,
    total,
    values_only,
    vector,
)
from tests.adapters.scripted_transport import says
from tests.adapters.signals_of import NOON, HandClock

ONE = ({"instance": "m1"}, NOON + 15, "1")
PARTIAL = "perhaps not all there is, the store says: "


@pytest.mark.parametrize(
    "answer, gap, detail",
    [
        (
            refused(400, "bad_data", 'parse error: unexpected "x"'),
            "no answer",
            "HTTP 400: bad_data: parse error: unexp",
        ),
        (refused(422, "execution", "many-to-many"), "no answer", "HTTP 422: execution: many-to-many (query p95)"),
        (refused(429, "too_many", "slow down"), "no answer", "HTTP 429: too_many: slow down (query p95)"),
        (refused(503, "timeout", "took too long"), "no answer", "HTTP 503: timeout: took too long (query p95)"),
        (says(b"<html>Bad gateway</html>", 502), "no answer", "HTTP 502 (query p95)"),
        (says(b"", 302), "bad answer", "HTTP 302 (query p95)"),
        (says(b"<html>Log in</html>"), "bad answer", "not JSON, or nested too deep (query p95)"),
        (says(b"[" * 100_000), "bad answer", "not JSON, or nested too deep (query p95)"),
        (says(b" "), "bad answer", "an empty answer (query p95)"),
        (says([1]), "bad answer", "JSON, but not an object (query p95)"),
        (says({"status": "error", "data": {}}), "bad answer", "an answer that does not say success (query p95)"),
        (success(None), "bad answer", "a result that is not a matrix, vector or scalar (query p95)"),
        (success({"resultType": "string", "result": [1, "x"]}), "bad answer", "a result that is not a matrix, vector"),
        (vector(ONE, kind="streams"), "bad answer", "a result that is not a matrix, vector or scalar (query p95)"),
        (success({"resultType": "vector", "result": {}}), "bad answer", "a result that is not a matrix, vector"),
        (success({"resultType": "vector", "result": [7]}), "bad answer", "a series that is not an object (query p95)"),
        (
            success({"resultType": "vector", "result": [{"metric": {"a": 1}}]}),
            "bad answer",
            "a series whose labels are",
        ),
        (vector(({"a": "x" * 5000}, NOON, "1")), "bad answer", "a series with more than 4096 characters of labels"),
        (success({"resultType": "vector", "result": [{"metric": {}}]}), "bad answer", "a sample that is not a time"),
        (success({"resultType": "matrix", "result": [{"metric": {}, "values": []}]}), "bad answer", "a series without"),
        (success({"resultType": "scalar", "result": [NOON, 7]}), "bad answer", "a sample whose value is not a text"),
        (success({"resultType": "scalar", "result": [NOON, "x"]}), "bad answer", "a sample that is not a time and a"),
        (success({"resultType": "scalar", "result": [None, "1"]}), "bad answer", "a sample that is not a time and a"),
        (success({"resultType": "scalar", "result": [math.nan, "1"]}), "bad answer", "a series without samples, or a"),
        (success({"resultType": "scalar", "result": ["1"]}), "bad answer", "a sample that is not a time and a number"),
        (
            success({"resultType": "vector", "result": [{"metric": {}, "histogram": [NOON, {}]}]}),
            "bad answer",
            "a native histogram, which cannot be read; ask for classic buckets (query p95)",
        ),
        (vector(*[ONE] * 20_001), "bad answer", "more than 20000 series (query p95)"),
        (
            TooLarge("more than 4194304 bytes: POST x", HttpAnswer(200, {}, b"")),
            "bad answer",
            "more than 4194304 bytes",
        ),
        (Unavailable("timeout after 10s: POST x"), "no answer", "timeout after 10s (query p95)"),
        (vector(ONE, warnings=["store b: down"]), "bad answer", f"{PARTIAL}store b: down (query p95)"),
        (vector(ONE, infos=["PromQL info: ignored histograms"]), "bad answer", f"{PARTIAL}PromQL info: ignored"),
        (vector(ONE, warnings="x"), "bad answer", "warnings that are not a list (query p95)"),
        (vector(ONE, isPartial=True), "bad answer", "a partial answer: not all of the store's nodes took part"),
        (vector(ONE, isPartial="maybe"), "bad answer", "a partial answer: not all of the store's nodes took part"),
    ],
)
def test_what_is_no_whole_answer_is_a_gap_with_a_sentence_and_the_query_and_never_a_low_number(
    answer: HttpAnswer | GuardError, gap: str, detail: str
) -> None:
    readings = asking_once(values_only(), answer)
    assert {(r.key, r.subject) for r in readings} == {
        ("traffic", EDGE),
        ("traffic.p95", EDGE),
        ("traffic.p95", "m1"),
        ("traffic.p95", "m2"),
    }
    assert {str(r.gap) for r in readings} == {gap}
    assert readings[0].detail.startswith(detail)
    assert all("query p95" in r.detail and r.value is None for r in readings)


@pytest.mark.parametrize(
    "beside",
    [
        {"isPartial": False},
        {"warnings": [], "infos": None},
        {"stats": {"seriesFetched": "1"}},
        {"infos": ["PromQL info: metric might not be a counter, name does not end in _total/_sum: hits"]},
    ],
)
def test_what_says_nothing_about_the_data_is_no_reason_to_doubt_it(beside: Mapping[str, Any]) -> None:
    assert summary(asking_once(values_only(machine_label=None), vector(ONE, **beside))) == {".p95@edge": 0.001}


def test_what_the_store_says_is_bounded_and_on_one_line() -> None:
    hostile_words = "line\nline\x1b[31m\u202e" + "x" * 100_000
    long_query = "sum(" * 5000
    for answer in (refused(400, "bad_data\r", hostile_words), vector(ONE, warnings=[hostile_words])):
        readings = Asking(values_only(values={"p95": Query(long_query)})).read("m1", sum=answer)
        detail = readings[0].detail
        assert "line line" in detail
        assert detail.isprintable()
        assert len(detail) < 500


@pytest.mark.parametrize("series", [2001])
def test_more_series_than_one_app_has_are_a_bad_answer_and_not_remembered(series: int) -> None:
    asking = Asking(signal())
    asking.counts("m1", m1_200=1)
    readings = asking.counts("m1", **{f"m1_{n}": 1 for n in range(series)})
    assert summary(readings) == {".errors@edge": GapKind.BAD_ANSWER, ".requests@edge": GapKind.BAD_ANSWER}
    assert total(asking.counts("m1", m1_200=5), "requests") == 4.0


def test_the_same_series_twice_is_a_bad_answer() -> None:
    asking = Asking(signal())
    asking.counts("m1", m1_200=1)
    twice = [responses("m1_200", [(NOON + 30, n)]) for n in (5, 6)]
    assert summary(asking.read("m1", responses=matrix(*twice)))[".requests@m1"] is GapKind.BAD_ANSWER


def test_after_a_round_that_failed_the_next_increase_spans_it() -> None:
    asking = Asking(signal())
    asking.counts("m1", m1_200=100)
    readings = asking.read("m1", responses=Unavailable("connection refused: POST x"))
    assert summary(readings) == dict.fromkeys(("@edge", ".errors@edge", ".requests@edge"), GapKind.NO_ANSWER)
    (reading,) = [r for r in asking.counts("m1", m1_200=160) if r.key == "traffic.requests"]
    assert (reading.value, reading.since) == (60.0, NOON + 15)


# ── the token ─────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "token, words",
    [
        (SecretRef(env="METRICS_TOKEN"), "the token in environment variable METRICS_TOKEN is not accepted"),
        (SecretRef(file="{file}"), "the token in file {file} is not accepted"),
        (None, "the signal has no token"),
    ],
)
@pytest.mark.parametrize("status", [401, 403])
def test_a_token_that_is_not_accepted_is_named_by_its_place_and_never_shown(
    status: int, token: SecretRef | None, words: str, tmp_path: Any
) -> None:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\n")
    if token is not None and token.file:
        token = SecretRef(file=str(file))
    answer = refused(status, "unauthorized", f"{'x' * 190} {TOKEN} is revoked")
    readings = Asking(values_only(token=token)).read("m1", p95=answer)
    assert readings[0].detail.startswith(f"HTTP {status}: {words.format(file=file)}: unauthorized: x")
    if token is not None:
        assert all(part not in repr(readings) for part in (TOKEN, TOKEN[:8]))


def test_the_token_is_read_at_each_use() -> None:
    environ = dict(ENVIRON)
    asking = Asking(values_only(), environ)
    asking.read("m1", p95=vector(ONE))
    environ["METRICS_TOKEN"] = "other"
    asking.read("m1", p95=vector(ONE))
    assert [a.headers["Authorization"] for a in asking.transport.asked] == [f"FlyV1 {TOKEN}", "Bearer other"]
    del environ["METRICS_TOKEN"]
    readings = asking.read("m1", p95=vector(ONE))
    assert {r.gap for r in readings} == {GapKind.NO_ANSWER}
    assert "environment variable METRICS_TOKEN is missing" in readings[0].detail
    assert len(asking.transport.asked) == 2


# ── the wire ──────────────────────────────────────────────────────────────────────────────────────────────────────


async def test_a_round_over_a_store_that_hangs_ends_with_the_signals_timeout() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
    transport = AiohttpTransport()
    try:
        async with hostile.server(hostile.hangs_after(head, b'{"status":')) as url:
            of = signal(url=url, timeout_s=0.3, values={"p95": P95, "p50": Query("p50")}, token=None)
            readings = await PrometheusSource(of, transport, {}).read(Fleet(("m1",)), HandClock())
    finally:
        await transport.close()
    assert {r.gap for r in readings} == {GapKind.NO_ANSWER}
    assert {r.detail for r in readings if r.key == "traffic.p95"} == {"timeout after 0.3s (query p95)"}


async def test_an_answer_without_end_is_cut_off() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"
    transport = AiohttpTransport()
    try:
        async with hostile.server(hostile.repeats(head, json.dumps(["x" * 65_000]).encode())) as url:
            of = values_only(url=url, token=None, machine_label=None)
            readings = await PrometheusSource(of, transport, {}).read(Fleet(("m1",)), HandClock())
    finally:
        await transport.close()
    assert {(r.gap, r.detail) for r in readings} == {(GapKind.BAD_ANSWER, "more than 4194304 bytes (query p95)")}
