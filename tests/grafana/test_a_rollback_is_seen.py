"""With a real Prometheus and a real rollback, every panel has something to show, and the rollback is what it shows."""

from __future__ import annotations

import asyncio
import math
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from rollguard.demo import acts
from rollguard.demo.scenarios import ERRORS
from tests.grafana.expressions import RULES, Query, mark_queries, panel_queries
from tests.grafana.rehearsal import Prometheus, rehearsed

pytestmark = pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not installed")

VALUES = {"target": ".+", "rule": ".+", "__rate_interval": "4s", "__range": "2m"}
ONLY_WHEN_SOMETHING_FAILS = {"Writes to the platform / B"}
ONLY_AFTER_A_DRILL = {"Since the last good drill / A", "Length of the last good drill / A"}

Series = list[dict[str, Any]]


@dataclass(frozen=True)
class Seen:
    """What Prometheus answered to every query and every annotation, and what fired of the rules about the guard."""

    queries: Mapping[str, Series]
    marks: Mapping[str, Series]
    alerts: Series


async def look_on(folder: Path) -> Seen:
    scenario = replace(ERRORS, acts=(acts.adopt, acts.deploy, acts.rolled_back))
    async with rehearsed(scenario, folder, RULES) as prometheus:
        end = time.time()
        queries = {query.where: await ask(prometheus, query, end) for query in panel_queries()}
        marks = {query.where: await ask(prometheus, query, end) for query in mark_queries()}
        alerts = await prometheus.range('ALERTS{alertstate="firing"}', prometheus.began, end)
        return Seen(queries, marks, alerts)


async def ask(prometheus: Prometheus, query: Query, end: float) -> Series:
    expr = query.filled_in(VALUES)
    return await (prometheus.now(expr, end) if query.instant else prometheus.range(expr, prometheus.began, end))


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Seen:
    return asyncio.run(look_on(tmp_path_factory.mktemp("rehearsal")))


def numbers(series: Mapping[str, Any]) -> Iterator[float]:
    return (float(value) for _, value in series["values"])


@pytest.mark.parametrize(
    "where", sorted({q.where for q in panel_queries()} - ONLY_WHEN_SOMETHING_FAILS - ONLY_AFTER_A_DRILL)
)
def test_every_query_has_something_to_show(seen: Seen, where: str) -> None:
    found = [number for series in seen.queries[where] for number in numbers(series)]
    assert any(map(math.isfinite, found)), "no series, or none with a number"
    assert not any(map(math.isinf, found)), "a number without end cannot be drawn"


def history(seen: Seen, where: str, **labels: str) -> list[float]:
    """The numbers of the one series with these labels, one a second."""
    (one,) = [series for series in seen.queries[where] if labels.items() <= series["metric"].items()]
    return list(numbers(one))


def test_a_rule_goes_from_clear_to_firing(seen: Seen) -> None:
    """Which of the rules about errors comes first is chance."""
    firing = 3.0
    rules = [list(numbers(series)) for series in seen.queries["Rules / A"]]
    assert all(states[0] != firing for states in rules)
    assert any(firing in states for states in rules)


def test_the_machines_turn_from_rejected_to_proven_one_after_the_other(seen: Seen) -> None:
    rejected = history(seen, "Machines by image / A", image="rejected")
    proven = history(seen, "Machines by image / A", image="proven")
    back = proven[len(proven) - 1 - proven[::-1].index(0.0) :]
    assert max(proven[: -len(back)]) == 4.0, "before the deploy"
    assert max(rejected) >= 3.0
    assert rejected[-1] == 0.0
    assert (back[0], back[-1]) == (0.0, 4.0)
    assert back == sorted(back)
    assert len(set(back)) > 3, "not all at once"


def test_the_floor_of_serving_machines_can_be_read_off(seen: Seen) -> None:
    assert min(number for number in history(seen, "Machines by image / B") if number) >= 3.0


def test_the_phases_come_in_their_order(seen: Seen) -> None:
    phases = history(seen, "Incident / A")
    first = {phase: phases.index(phase) for phase in (0.0, 2.0, 3.0)}
    assert first[0.0] < first[2.0] < first[3.0], "calm, rolling back, verifying"


def test_deploys_and_rollbacks_are_marked(seen: Seen) -> None:
    assert all(seen.marks[name] for name in ("Deploys", "Rollbacks", "Rollbacks ended")), list(seen.marks)
    assert {series["metric"]["outcome"] for series in seen.marks["Rollbacks ended"]} == {"restored"}
    (deploys,), (rollbacks,) = seen.marks["Deploys"], seen.marks["Rollbacks"]
    assert deploys["values"][0][0] < rollbacks["values"][0][0]


def test_a_guard_that_does_its_work_sets_off_none_of_the_alerts_about_it(seen: Seen) -> None:
    assert seen.alerts == []
