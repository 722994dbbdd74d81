"""Values of expressions: of machines or of the edge, or a gap that says why not."""

from __future__ import annotations

import pytest

from rollguard.core.model import EDGE, GapKind, Reading
from rollguard.core.signals import Query
from rollguard.ports import HttpAnswer
from tests.adapters.prometheus_of import (
    P95,
    Asking,
    asking_once,
    matrix,
    refused,
    responses,
    signal,
    success,
    summary,
    values_only,
    vector,
)
from tests.adapters.signals_of import NOON


def test_a_value_is_per_machine_by_its_label_and_in_base_units() -> None:
    asking = Asking(values_only())
    rows = [({"instance": m}, NOON + 15, v) for m, v in (("m1", "250"), ("m2", "NaN"), ("m9", "1"))]
    readings = asking.read("m1", "m2", p95=vector(*rows))
    assert summary(readings) == {".p95@m1": 0.25, ".p95@m2": GapKind.NOT_A_NUMBER}


@pytest.mark.parametrize(
    "answer",
    [
        vector(({}, NOON, "250")),
        vector(({"app": "shop"}, NOON, "250")),
        success({"resultType": "scalar", "result": [NOON, "250"]}),
        matrix(({}, [(NOON, 250), (NOON - 30, 999)])),
    ],
)
def test_one_series_without_a_machine_is_the_edges_newest_value(answer: HttpAnswer) -> None:
    assert Asking(values_only()).read("m1", p95=answer) == [
        Reading(key="traffic.p95", subject=EDGE, at=NOON + 15, value=0.25, until=NOON)
    ]


@pytest.mark.parametrize(
    "label, labels, words",
    [
        ("instance", ["region"], "2 series without the label instance (query p95)"),
        (None, ["instance"], "2 series for edge (query p95)"),
    ],
)
def test_several_series_where_one_is_wanted_are_a_bad_answer_with_the_query(
    label: str | None, labels: list[str], words: str
) -> None:
    rows = [(dict.fromkeys(labels, place), NOON + 15, "1") for place in ("ams", "fra")]
    (reading,) = Asking(values_only(machine_label=label)).read("m1", p95=vector(*rows))
    assert (reading.subject, reading.gap, reading.detail) == (EDGE, GapKind.BAD_ANSWER, words)


def test_two_series_of_one_machine_are_a_bad_answer_for_that_machine_alone() -> None:
    rows = [({"instance": m, "proxy": p}, NOON + 15, "1") for m, p in (("m1", "a"), ("m1", "b"), ("m2", "a"))]
    readings = asking_once(values_only(), vector(*rows))
    assert summary(readings) == {".p95@m1": GapKind.BAD_ANSWER, ".p95@m2": 0.001}


@pytest.mark.parametrize("value, scale", [("NaN", 1.0), ("+Inf", 1.0), ("-Inf", 1.0), ("1e308", 1e6)])
def test_a_value_that_is_not_finite_is_not_a_number(value: str, scale: float) -> None:
    of = values_only(machine_label=None, values={"p95": Query("p95", scale)})
    assert [r.gap for r in asking_once(of, vector(({}, NOON, value)))] == [GapKind.NOT_A_NUMBER]


def test_an_empty_result_is_no_answer_where_nothing_shows_that_the_store_sees_the_app() -> None:
    readings = asking_once(values_only(), vector())
    assert summary(readings) == dict.fromkeys((".p95@m1", ".p95@m2", ".p95@edge"), GapKind.NO_ANSWER)
    assert readings[0].detail == "an empty result (query p95)"


def test_an_empty_result_is_no_traffic_for_whom_the_same_store_counts_now() -> None:
    asking = Asking(signal(values={"p95": P95}))
    fresh, old = responses("m1_200", [(NOON + 15, 1)]), responses("m2_200", [(NOON - 900, 1)])
    readings = asking.read("m1", "m2", responses=matrix(fresh, old), p95=vector())
    gaps = {r.subject: r.gap for r in readings if r.key == "traffic.p95"}
    assert gaps == {"m1": GapKind.NO_TRAFFIC, "m2": GapKind.NO_ANSWER, EDGE: GapKind.NO_TRAFFIC}


def test_a_machine_that_the_result_leaves_out_is_a_gap_that_says_whom_it_has() -> None:
    readings = asking_once(values_only(), vector(({"instance": "10.0.0.7:9090"}, NOON + 15, "1")))
    assert {r.subject: r.gap for r in readings} == {"m1": GapKind.NO_ANSWER, "m2": GapKind.NO_ANSWER}
    assert readings[0].detail == "not in the result, which has 10.0.0.7:9090 (query p95)"


def test_a_value_with_an_old_time_is_stale_with_its_age() -> None:
    (reading,) = asking_once(values_only(max_age_s=60.0, machine_label=None), matrix(({}, [(NOON - 50, 1)])))
    assert (reading.gap, reading.detail) == (GapKind.STALE, "the newest sample is 65s old (query p95)")


def test_a_value_from_a_clock_ahead_of_ours_is_a_value_of_now() -> None:
    (reading,) = asking_once(values_only(machine_label=None), vector(({}, NOON + 600, "1")))
    assert (reading.value, reading.to) == (0.001, NOON + 15)


def test_more_machines_than_an_app_has_are_a_bad_answer() -> None:
    rows = [({"instance": f"m{n}"}, NOON + 15, "1") for n in range(1001)]
    assert {r.gap for r in asking_once(values_only(), vector(*rows))} == {GapKind.BAD_ANSWER}


def test_one_wrong_expression_takes_nothing_else_with_it() -> None:
    asking = Asking(signal(values={"p95": P95}))
    good = matrix(responses("m1_200", [(NOON + 15, 1)]))
    asking.read("m1", responses=good, p95=vector(({}, NOON, "1")))
    again = matrix(responses("m1_200", [(NOON + 30, 4)]))
    readings = asking.read("m1", responses=again, p95=refused(422, "execution", "found duplicate series"))
    assert summary(readings) == {
        ".errors@m1": 0.0,
        ".requests@m1": 3.0,
        ".p95@m1": GapKind.NO_ANSWER,
        ".p95@edge": GapKind.NO_ANSWER,
    }
