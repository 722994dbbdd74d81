"""What a metrics store counted, as increases per machine, and what its silence means."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollguard.adapters.signals.prometheus import PrometheusSource
from rollguard.adapters.signals.prometheus_lines import questions
from rollguard.adapters.signals.registry import build_sources
from rollguard.core.counters import DIP_MIN
from rollguard.core.model import EDGE, GapKind, Reading
from rollguard.core.signals import Matcher, Selector, Split
from rollguard.ports import HttpAnswer
from tests import builders
from tests.adapters.prometheus_of import (
    ENVIRON,
    P95,
    TOKEN,
    Asking,
    matrix,
    queries,
    refused,
    responses,
    signal,
    summary,
    total,
    vector,
)
from tests.adapters.scripted_transport import ScriptedTransport
from tests.adapters.signals_of import ERRORS, NOON, RESPONSES, SECONDS


def test_the_signal_has_its_source() -> None:
    policy = builders.a_policy(signals=(signal(),), rules=())
    (source,) = build_sources(policy, ScriptedTransport(lambda asked: matrix()), ENVIRON)
    assert isinstance(source, PrometheusSource)
    assert (source.name, source.every_s) == ("traffic", 15.0)


# ── the question ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_raw_samples_are_asked_for_and_never_a_rate() -> None:
    asking = Asking(signal(values={"p95": P95}, max_age_s=120.0))
    asking.read("m1", responses=matrix(), p95=vector())
    first, second = asking.transport.asked
    assert queries([first, second]) == ['responses{app="shop"}[135s]', "p95"]
    assert (first.method, first.url) == ("POST", "https://prom.test/prometheus/shop/api/v1/query")
    assert first.headers["Authorization"] == f"FlyV1 {TOKEN}"
    assert parse_qs(first.body.decode())["timeout"] == ["9"]
    assert "time=" not in first.body.decode()  # the store's own clock says what is newest


APP, GET = Matcher("app", "=", "shop"), Matcher("method", "=", "GET")


@pytest.mark.parametrize(
    "selectors, asked",
    [
        ([ERRORS, RESPONSES], ['responses{app="shop"}']),
        ([Selector("a", (APP, GET)), Selector("a", (APP, Matcher("code", "!~", "5.|4.")))], None),
        ([Selector("a"), Selector("b")], ["a", "b"]),
        ([Selector("a"), Selector("a", (Matcher("x", "=", 'q"\\\n'),))], ["a"]),
        ([Selector("a"), Selector("a", (Matcher("x", "=~", "[[:digit:]]"),))], ["a", 'a{x=~"[[:digit:]]"}']),
        ([Selector("a", (Matcher("x", "=", 'q"\\\n'),))], ['a{x="q\\"\\\\\\n"}']),
    ],
)
def test_one_question_serves_every_selector_that_its_answer_covers(
    selectors: list[Selector], asked: list[str] | None
) -> None:
    asked = asked or ['a{app="shop",method="GET"}', 'a{app="shop",code!~"5.|4."}']
    of = signal(counters={f"c{n}": selector for n, selector in enumerate(selectors)}, max_age_s=45.0)
    found = questions(of, 60.0)
    assert [question.query for question in found] == [f"{query}[60s]" for query in asked]
    assert sorted(key.name for q in found for key in q.keys) == [f"traffic.c{n}" for n in range(len(selectors))]


# ── counters and histograms ───────────────────────────────────────────────────────────────────────────────────────


def test_increases_come_per_machine_and_are_dated_by_the_samples_own_times() -> None:
    asking = Asking(signal())
    assert asking.counts("m1", "m2", lag_s=20.0, m1_200=100, m1_500=3, m2_200=50) == []
    readings = asking.counts("m1", "m2", lag_s=20.0, m1_200=160, m1_500=7, m2_200=90)
    assert summary(readings) == {".errors@m1": 4.0, ".requests@m1": 64.0, ".errors@m2": 0.0, ".requests@m2": 40.0}
    assert {(r.since, r.until, r.at) for r in readings} == {(NOON - 5, NOON + 10, NOON + 30)}


def test_counters_are_told_apart_by_the_label_that_the_signal_is_split_by() -> None:
    asking = Asking(signal(split=Split("status", 1)))
    asking.counts("m1", m1_200=100, m1_500=3)
    readings = asking.counts("m1", m1_200=160, m1_500=7, m1_503=2)
    parts = {r.key.removeprefix("traffic."): dict(r.parts) for r in readings}
    assert parts == {"requests": {"200": 60.0, "": 6.0}, "errors": {"": 6.0}}


def test_requests_and_no_series_of_errors_is_0_and_not_a_gap() -> None:
    asking = Asking(signal())
    asking.counts("m1", m1_200=100)
    assert summary(asking.counts("m1", m1_200=101)) == {".errors@m1": 0.0, ".requests@m1": 1.0}


def test_a_series_born_at_37_is_37_where_its_machine_was_read_before_and_nothing_where_it_was_not() -> None:
    asking = Asking(signal())
    asking.counts("m1", "m2", m1_200=100)
    readings = asking.counts("m1", "m2", m1_200=100, m1_500=37, m2_500=37)
    assert summary(readings) == {".errors@m1": 37.0, ".requests@m1": 37.0}


def test_a_counter_that_falls_was_reset_and_what_it_counted_until_then_is_not_lost() -> None:
    asking = Asking(signal())
    asking.counts("m1", m1_200=100)
    samples = [(NOON + 15, 100), (NOON + 20, 150), (NOON + 25, 4), (NOON + 30, 160)]
    readings = asking.read("m1", responses=matrix(responses("m1_200", samples)))
    assert [(r.value, r.since, r.until) for r in readings if r.key == "traffic.requests"] == [
        (50.0, NOON + 15, NOON + 20),
        (4.0, NOON + 20, NOON + 25),
        (156.0, NOON + 25, None),
    ]


def test_what_fell_before_the_last_round_is_not_counted_again() -> None:
    asking = Asking(signal())
    samples = [(NOON, 100), (NOON + 10, 2), (NOON + 15, 5)]
    asking.read("m1", responses=matrix(responses("m1_200", samples)))
    readings = asking.read("m1", responses=matrix(responses("m1_200", [*samples, (NOON + 25, 9)])))
    assert total(readings, "requests") == 4.0


@settings(max_examples=60, deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=30, max_size=30),
    restarts=st.sets(st.integers(1, 29), max_size=4),
    lag=st.integers(0, 3),
    every=st.sampled_from([1, 3, 7]),
)
def test_whatever_falls_whenever_it_is_read_each_count_that_was_scraped_counts_once(
    steps: list[tuple[int, int]], restarts: set[int], lag: int, every: int
) -> None:
    """Scrapes every 5 s of one machine that restarts now and then; 200 and 500 responses in between."""
    scraped: list[tuple[float, tuple[int, int]]] = []
    counts = (0, 0)
    for second, more in enumerate(steps):
        counts = more if second in restarts else (counts[0] + more[0], counts[1] + more[1])
        scraped.append((NOON + 5.0 * second, counts))
    asking, seen, last = Asking(signal(max_age_s=60.0)), list[Reading](), 0
    for last in range(0, len(steps) - lag, every):
        asking.clock.at = NOON + 5.0 * (last + lag)
        shown = [scrape for scrape in scraped[: last + 1] if scrape[0] > asking.clock.at - 75.0]
        rows = [responses(f"m1_{code}", [(at, c[n]) for at, c in shown]) for n, code in enumerate(("200", "500"))]
        seen += asking.read("m1", after_s=0.0, responses=matrix(*rows))
    pairs = [(scraped[n][1], scraped[n + 1][1]) for n in range(last)]
    fine, failed = (sum(new[n] - old[n] if new[n] >= old[n] else new[n] for old, new in pairs) for n in (0, 1))
    assert total(seen, "errors") <= failed
    if not any(old[n] >= DIP_MIN and old[n] / 2 < new[n] < old[n] for old, new in pairs for n in (0, 1)):
        assert [r for r in seen if r.gap is not None] == []
        assert (total(seen, "requests"), total(seen, "errors")) == (fine + failed, failed)


def test_falls_that_were_counted_are_not_counted_again_after_a_replica_that_is_behind() -> None:
    asking = Asking(signal())
    samples = [(NOON, 100), (NOON + 10, 150), (NOON + 20, 5), (NOON + 30, 9)]
    asking.read("m1", responses=matrix(responses("m1_200", samples[:1])))
    readings = [*asking.read("m1", responses=matrix(responses("m1_200", samples)))]
    behind = asking.read("m1", responses=matrix(responses("m1_200", samples[:2])))
    assert {r.gap for r in behind} == {GapKind.STALE}
    readings += asking.read("m1", responses=matrix(responses("m1_200", [*samples, (NOON + 60, 12)])))
    assert total(readings, "requests") == 50.0 + 12.0
    assert all(r.gap is None for r in readings)


def test_a_histogram_gives_bucket_increases() -> None:
    def buckets(at: float, *counts: int) -> HttpAnswer:
        labels = {"__name__": "seconds_bucket", "app": "shop", "instance": "m1"}
        return matrix(*(({**labels, "le": le}, [(at, n)]) for le, n in zip(("0.5", "10", "+Inf"), counts, strict=True)))

    asking = Asking(signal(counters={}, histograms={"latency": SECONDS}))
    asking.read("m1", seconds_bucket=buckets(NOON + 15, 1, 2, 3))
    (reading,) = asking.read("m1", seconds_bucket=buckets(NOON + 30, 2, 4, 7))
    assert reading.buckets == ((0.5, 1.0), (10.0, 2.0), (math.inf, 4.0))


@pytest.mark.parametrize("name", ["seconds", "seconds_bucket"])
def test_a_histogram_may_be_named_with_or_without_its_suffix(name: str) -> None:
    (question,) = questions(signal(counters={}, histograms={"latency": Selector(name)}), 60.0)
    assert question.query == "seconds_bucket[60s]"


@pytest.mark.parametrize("bound", [{}, {"le": "nan"}, {"le": "x\n" * 1000}])
def test_a_bucket_without_a_bound_is_a_bad_answer(bound: Mapping[str, str]) -> None:
    asking = Asking(signal(counters={}, histograms={"latency": SECONDS}))
    (reading,) = asking.read("m1", seconds_bucket=matrix(({"instance": "m1", **bound}, [(NOON, 1)])))
    assert (reading.key, reading.subject, reading.gap) == ("traffic.latency", EDGE, GapKind.BAD_ANSWER)
    assert reading.detail.isprintable()
    assert len(reading.detail) < 300


def test_without_a_machine_label_everything_is_of_the_edge() -> None:
    asking = Asking(signal(machine_label=None))
    asking.counts("m1", m1_200=100, m2_200=50)
    assert summary(asking.counts("m1", m1_200=110, m2_500=5, m2_200=50)) == {
        ".errors@edge": 5.0,
        ".requests@edge": 15.0,
    }


def test_counters_are_all_or_nothing_because_an_unread_error_is_not_no_error() -> None:
    of = signal(counters={"errors": Selector("failures"), "requests": RESPONSES})
    asking = Asking(of)
    good = matrix(responses("m1_200", [(NOON, 9)]))
    readings = asking.read("m1", responses=good, failures=refused(503, "timeout", "query timed out"))
    assert summary(readings) == {".errors@edge": GapKind.NO_ANSWER, ".requests@edge": GapKind.NO_ANSWER}
    assert readings[0].detail == "HTTP 503: timeout: query timed out (query failures[135s])"


@pytest.mark.parametrize("value", ["NaN", "+Inf", "-1"])
def test_a_count_that_is_no_number_is_a_gap(value: str) -> None:
    asking = Asking(signal())
    asking.counts("m1", m1_200=100)
    readings = asking.read("m1", responses=matrix(responses("m1_200", [(NOON + 30, value)])))
    assert summary(readings)[".requests@m1"] is GapKind.NOT_A_NUMBER


# ── silence ───────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_machine_that_falls_silent_is_stale_with_its_age_and_stays_so_for_however_long() -> None:
    asking = Asking(signal(max_age_s=60.0))
    asking.counts("m1", "m2", m1_200=1, m2_200=1)
    old = responses("m2_200", [(NOON + 15, 1)])
    fresh = responses("m1_200", [(NOON + 85, 2)])
    readings = asking.read("m1", "m2", after_s=70.0, responses=matrix(old, fresh))
    assert summary(readings)[".errors@m2"] is GapKind.STALE
    assert {r.detail for r in readings if r.subject == "m2"} == {"the newest sample is 70s old"}
    for hours in (1, 2):
        readings = asking.read("m1", "m2", after_s=3600.0, responses=matrix(responses("m1_200", [(NOON, 2)])))
        assert summary(readings)[".requests@m2"] is GapKind.STALE
        assert {r.detail for r in readings if r.subject == "m2"} == {f"no sample for {70 + 3600 * hours}s"}


def test_a_machine_that_was_stopped_in_between_may_be_without_traffic_and_its_old_samples_are_no_news() -> None:
    asking = Asking(signal(max_age_s=60.0))
    asking.counts("m1", "m2", m1_200=1, m2_200=1)
    old = responses("m2_200", [(NOON + 15, 1)])
    readings = asking.read("m1", after_s=70.0, responses=matrix(old, responses("m1_200", [(NOON + 85, 1)])))
    assert {r.subject for r in readings} == {"m1"}
    readings = asking.counts("m1", "m2", m1_200=1)
    assert summary(readings)[".requests@m2"] is GapKind.NO_TRAFFIC


def test_a_machine_that_was_never_heard_of_has_no_traffic_where_others_were_recognized() -> None:
    asking = Asking(signal())
    asking.counts("m1", "m2", m1_200=1)
    assert summary(asking.counts("m1", "m2", m1_200=1))[".requests@m2"] is GapKind.NO_TRAFFIC


@pytest.mark.parametrize(
    "rows, label, words",
    [
        ([], "instance", "no series at all"),
        ([], None, "no series at all"),
        ([responses("x_200", [(NOON, 1)])], "machine", "1 series, none with the label machine"),
        ([responses("10.0.0.7:9090_200", [(NOON, 1)])], "instance", "but with instance 10.0.0.7:9090"),
    ],
)
def test_when_nobody_was_ever_heard_of_it_is_no_answer_because_the_question_may_be_wrong(
    rows: Any, label: str | None, words: str
) -> None:
    asking = Asking(signal(machine_label=label))
    readings = asking.read("m1", responses=matrix(*rows))
    assert {r.gap for r in readings} == {GapKind.NO_ANSWER}
    assert {r.subject for r in readings} == {EDGE if label is None else "m1"}
    assert words in readings[0].detail
    assert readings[0].detail.endswith('(query responses{app="shop"}[135s])')


# ── clocks ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_samples_from_a_clock_ahead_of_ours_are_dated_by_ours_and_counted_once() -> None:
    asking = Asking(signal())
    asking.counts("m1", lag_s=-90.0, m1_200=100)
    readings = asking.counts("m1", lag_s=-90.0, m1_200=130)
    assert [(r.value, r.since, r.to) for r in readings if r.key == "traffic.requests"] == [(30.0, NOON + 15, NOON + 30)]
    assert total(asking.counts("m1", lag_s=-90.0, m1_200=130), "requests") == 0.0


def test_samples_from_a_clock_behind_ours_are_late_and_stale_when_it_is_too_far() -> None:
    asking = Asking(signal(max_age_s=60.0))
    asking.counts("m1", lag_s=50.0, m1_200=100)
    assert summary(asking.counts("m1", lag_s=50.0, m1_200=130))[".requests@m1"] == 30.0
    assert summary(asking.counts("m1", lag_s=61.0, m1_200=160))[".requests@m1"] is GapKind.STALE


def test_a_replica_that_is_behind_is_stale_and_no_reset() -> None:
    asking = Asking(signal())
    asking.counts("m1", m1_200=100)
    readings = asking.counts("m1", lag_s=20.0, m1_200=90)
    assert summary(readings)[".requests@m1"] is GapKind.STALE
    assert total(asking.counts("m1", m1_200=120), "requests") == 20.0
