"""The benchmark of decisions: its fleets, its endings and its picture. Its figures are measured, not tested."""

from __future__ import annotations

import math
from typing import Any
from xml.etree import ElementTree

import pytest

from bench.decision.cohorts import CELLS, one, row
from bench.decision.picture import Curve, Point, draw
from bench.decision.public import OURS, scored, table
from bench.decision.watching import Ending, deploy
from bench.decision.world import NEW, Change, Habits, Trouble, World, poisson


def test_the_same_seed_is_the_same_app() -> None:
    def read(seed: int) -> list[Any]:
        world = World(seed)
        return [world.scrape(15.0 * n) + world.probes(15.0 * n) for n in range(1, 9)]

    assert read(1) == read(1)
    assert read(1) != read(2)


def test_a_scrape_counts_what_its_histogram_holds_and_no_more_errors_than_requests() -> None:
    world = World(3, change=Change(errors=0.9), habits=Habits(errors=0.3))
    for machine in range(4):
        world.install(machine, NEW, -30.0)
    for n in range(1, 20):
        read = {(r.key, r.subject): r for r in world.scrape(15.0 * n)}
        for machine in ("m0", "m1", "m2", "m3"):
            requests, errors = read["traffic.requests", machine], read["traffic.errors", machine]
            latency = read["traffic.latency", machine]
            assert latency.buckets[-1] == (math.inf, requests.value)
            assert 0 <= (errors.value or 0.0) <= (requests.value or 0.0)


def test_a_machine_that_starts_in_between_counts_from_its_start() -> None:
    world = World(4)
    world.install(2, NEW, 5.0)
    since = {r.subject: r.since for r in world.scrape(15.0) if r.key == "traffic.requests"}
    assert since["m2"] == (since["m1"] or 0.0) + 5.0


@pytest.mark.parametrize("mean", [0.0, 0.5, 30.0, 400.0])
def test_counts_have_the_mean_that_was_asked_for(mean: float) -> None:
    dice = World(5).dice
    drawn = [poisson(dice, mean) for _ in range(2000)]
    assert sum(drawn) / 2000 == pytest.approx(mean, abs=4 * math.sqrt(mean / 2000) + 1e-9)


def test_a_release_that_is_down_is_convicted_by_the_machines_that_have_not_got_it_yet() -> None:
    ending = deploy(World(6, change=Change(errors=1.0, probes=1.0)), watch_s=120.0)
    assert ending.side_by_side
    assert ending.rolled_back_s is not None
    assert ending.rolled_back_s <= 60.0


def test_an_outage_of_everything_stops_at_the_first_machine_or_before() -> None:
    outage = Trouble(begins_s=300.0, ends_s=900.0, errors=0.2)
    ending = deploy(World(7, rps=10.0, troubles=(outage,)), watch_s=900.0)
    assert ending.rolled_back_s is None
    assert ending.paged_s is not None
    assert ending.first in {"", "no better", "cannot tell", "recovered"}


def test_a_healthy_release_is_left_alone() -> None:
    assert deploy(World(8), watch_s=600.0) == Ending()


def test_every_cell_can_be_run_and_told() -> None:
    hard_down = next(n for n, cell in enumerate(CELLS) if cell.name == "hard down")
    told = row(CELLS[hard_down], [one(hard_down, 0), one(hard_down, 1)])
    assert told.startswith("| hard down | 2 of 2 |")
    assert "target" not in told
    assert len({cell.name for cell in CELLS}) == len(CELLS)


def cell_row(family: str, knob: str, scenario: str, p: float, med: float | None = None) -> dict[str, Any]:
    return {"family": family, "knob": knob, "scenario": scenario, "R": 100, "roll": {"p": p, "med": med}}


def test_a_score_pools_the_healthy_and_averages_the_delays_and_what_is_missed_counts_an_hour() -> None:
    rows = [
        cell_row("A", "1", "null", 0.02),
        cell_row("A", "1", "null_err1pct", 0.0),
        cell_row("A", "1", "err_5%", 1.0, 60.0),
        cell_row("A", "1", "lat_x2", 0.3),
    ]
    (score,) = scored(rows)
    assert (score.false, score.healthy) == (2, 200)
    assert score.delay_s == (60.0 + 3600.0) / 2
    assert score.found == pytest.approx(0.65)
    assert "| A | 1 | 2 of 200 (1.00%) | 65.0% | 1830 s |" in table([score])


def test_the_picture_is_sound_and_says_what_every_point_is() -> None:
    curves = [
        Curve("A & B", [Point(2, 200, 300.0, "1"), Point(0, 200, 900.0, "2")]),
        Curve(OURS, [Point(0, 200, 90.0, "1 in 1000")]),
    ]
    drawn = draw(curves)
    ElementTree.fromstring(drawn)
    assert "A &amp; B 1: 2 of 200, 300 s" in drawn
    assert 'fill="none" stroke="#5b8dd6"' in drawn, "none of so many is an open circle"
