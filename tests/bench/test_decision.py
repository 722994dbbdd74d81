"""The benchmark of decisions: its fleets, its endings and its picture. Its figures are measured, not tested."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench.decision import cohorts
from bench.decision.cells import CELLS, Cell
from bench.decision.cohorts import kept, one, row, told, upper
from bench.decision.picture import Curve, Point, draw
from bench.decision.public import OURS, scored, table
from bench.decision.watching import Ending, deploy
from bench.decision.world import NEW, Change, Habits, Trouble, World, binomial, poisson


def test_the_same_seed_is_the_same_app() -> None:
    def read(seed: int) -> list[Any]:
        world = World(seed)
        return [world.scrape(15.0 * n) + world.probes(15.0 * n) for n in range(1, 9)]

    assert read(1) == read(1)
    assert read(1) != read(2)


def test_a_scrape_counts_what_its_histogram_holds_and_no_more_errors_than_requests() -> None:
    world = World(3, change=Change(errors=0.9), habits=Habits(errors=0.3))
    for machine in world.names:
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
    world.install("m2", NEW, 5.0)
    since = {r.subject: r.since for r in world.scrape(15.0) if r.key == "traffic.requests"}
    assert since["m2"] == (since["m1"] or 0.0) + 5.0


@pytest.mark.parametrize(("of", "share"), [(0, 0.5), (20, 0.1), (300, 0.02), (300, 0.97), (5000, 0.3), (30, 1.0)])
def test_parts_have_the_mean_that_was_asked_for_and_are_no_more_than_the_whole(of: int, share: float) -> None:
    dice = World(5).dice
    drawn = [binomial(dice, of, share) for _ in range(2000)]
    assert all(0 <= k <= of for k in drawn)
    assert sum(drawn) / 2000 == pytest.approx(of * share, abs=4 * math.sqrt(of * share * (1 - share) / 2000) + 0.5 / 40)


@pytest.mark.parametrize("mean", [0.0, 0.5, 30.0, 400.0])
def test_counts_have_the_mean_that_was_asked_for(mean: float) -> None:
    dice = World(5).dice
    drawn = [poisson(dice, mean) for _ in range(2000)]
    assert sum(drawn) / 2000 == pytest.approx(mean, abs=4 * math.sqrt(mean / 2000) + 1e-9)


def test_a_release_that_is_down_is_convicted_by_the_machines_that_have_not_got_it_yet() -> None:
    ending = deploy(World(6, change=Change(errors=1.0, probes=1.0)), watch_s=180.0)
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
    ending = deploy(World(8), watch_s=600.0)
    assert (ending.rolled_back_s, ending.paged_s, ending.first) == (None, None, "")


def test_every_cell_has_its_own_name_and_a_world_of_its_seed() -> None:
    assert len({cell.name for cell in CELLS}) == len(CELLS)
    for cell in CELLS:
        assert cell.worlds(1).troubles == cell.worlds(1).troubles
        assert cell.watch_s % 60 == 0


def bad_cell(**but: Any) -> Cell:
    return Cell(name="a bad one", worlds=lambda seed: World(seed, change=Change(errors=0.5)), bad=True, **but)


def test_what_is_not_found_is_infinitely_late() -> None:
    endings = [*[Ending(rolled_back_s=20.0)] * 18, Ending(rolled_back_s=200.0), Ending(paged_s=30.0)]
    assert (told(bad_cell(), endings)["median_s"], told(bad_cell(), endings)["p95_s"]) == (20.0, 200.0)
    assert told(bad_cell(), endings[:19] + endings[19:] * 2)["p95_s"] is None
    assert told(bad_cell(median_s=20, p95_s=200, least=0.95), endings)["met"] is True
    assert told(bad_cell(median_s=20, p95_s=199), endings)["met"] is False
    assert "**not met** (few)" in row(bad_cell(least=1.0), endings)


def test_a_rollback_before_it_went_bad_found_nothing() -> None:
    late = Cell(name="late", worlds=lambda s: World(s, change=Change(errors=0.5, since_s=600.0)), bad=True)
    what = told(late, [Ending(rolled_back_s=300.0), Ending(rolled_back_s=660.0)])
    assert (what["before_it_went_bad"], what["median_s"], what["p95_s"]) == (1, 60.0, None)


def test_a_healthy_cell_counts_full_rollbacks_only() -> None:
    healthy = Cell(name="well", worlds=World, most=0.1)
    endings = [*[Ending(first="no better", paged_s=5.0)] * 9, Ending(rolled_back_s=9.0)]
    assert told(healthy, endings)["met"] is True
    assert row(healthy, endings).startswith("| well | 1 of 10 (10.00%) | 39.42% | no better 9 | 9 |")


def test_how_sure_one_may_be_is_exact() -> None:
    assert upper(0, 3000) == pytest.approx(1 - 0.05 ** (1 / 3000))
    assert upper(10, 10) == 1.0


def test_runs_that_are_done_are_not_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "few"
    options = ["--cells", "hard down, 2", "--processes", "1", "--out", str(out)]
    assert cohorts.main(["--runs", "2", *options]) == 0
    first = out.with_suffix(".jsonl").read_text()
    assert cohorts.main(["--runs", "3", *options]) == 0
    both = out.with_suffix(".jsonl").read_text()
    assert both.startswith(first)
    assert sorted(json.loads(line)["run"] for line in both.splitlines()) == [0, 1, 2]
    assert "hard down, 2 machines | 3 of 3" in out.with_suffix(".md").read_text()
    assert json.loads(out.with_suffix(".json").read_text())["cells"][0]["runs"] == 3
    monkeypatch.setattr(cohorts, "code", lambda: "changed")
    assert kept(out.with_suffix(".jsonl"), "1", hold=True) == {}


def test_a_run_is_its_seed() -> None:
    job = ("errors 50 %, 5/s", "7", 3, True)
    assert one(job) == one(job)


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
