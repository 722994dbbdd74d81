"""A rollback rehearsed from the command line: planned, asked, told step by step; with a guard and without one."""

from __future__ import annotations

import json
from itertools import count
from pathlib import Path

import pytest

from rollguard.core.events import DrillBegan, DrillEnded, Proven
from tests.cli.running import Fly, Home, until

_numbers = count(1)


@pytest.fixture
def two(fly: Fly, tmp_path: Path) -> Home:
    """A policy for an app of its own: two machines on release v1."""
    app = f"drilled-{next(_numbers)}"
    fly.app(app, machines=2)
    return Home(tmp_path, fly, app)


def kinds(home: Home, kind: type) -> int:
    return sum(isinstance(event, kind) for event in home.events())


def ship_v2(home: Home) -> set[str]:
    """CI ships v2 once v1 is proven, and it is proven too; the digests of v2."""
    until(lambda: kinds(home, Proven) == 1, "v1 is proven")
    home.fly.deploy(home.app, "TWO")
    until(lambda: kinds(home, Proven) == 2, "v2 is proven")
    return home.fly.digests(home.app)


def test_a_drill_through_the_guard_is_planned_asked_told_and_remembered(two: Home) -> None:
    with two.guard() as guard:
        never = two.rollguard("status", two.app)
        assert "rollback last proven: never" in never.stdout
        serving = ship_v2(two)
        words = ("drill", two.app, "--reason", "monthly", "--by", "ada")
        plan = two.rollguard(*words, "--dry-run")
        assert plan.returncode == 0, plan.stderr
        assert plan.stdout.startswith("from v2 (")
        assert "2. machine " in plan.stdout
        declined = two.rollguard(*words, typed="no\n")
        assert (declined.returncode, kinds(two, DrillBegan)) == (1, 0)
        assert declined.stderr.endswith("Type yes: nothing was changed\n")
        wrong = two.rollguard(*words, "--machine", "nobody")
        assert wrong.returncode == 1
        assert "held by machine: there is no managed machine nobody" in wrong.stdout
        assert two.fly.changes_of_the_guard(two.app) == {}

        done = two.rollguard(*words, typed="yes\n")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "a drill begins: machine " in done.stdout
        assert done.stdout.count(" is healthy on the target") == 1
        assert done.stdout.count(" is healthy where it was") == 1
        assert "done: a rollback works: " in done.stdout
        assert two.fly.digests(two.app) == serving
        (ended,) = [e for e in two.events() if isinstance(e, DrillEnded)]
        assert (ended.result, ended.machines, ended.left) == ("ok", 1, ())
        assert " by drill (1 machine, " in two.rollguard("status", two.app).stdout
        (item,) = json.loads(two.rollguard("status", two.app, "--output", "json").stdout)["items"]
        assert item["status"]["lastProven"]["how"] == "drill"
        assert item["status"]["lastProven"]["newestDrill"] == {"id": ended.drill, "result": "ok"}
        metrics = guard.get("/metrics")[1]
        assert f'rollguard_drills_total{{result="ok",target="{two.app}"}} 1.0' in metrics
        assert f'rollguard_last_drill_success_timestamp_seconds{{target="{two.app}"}} ' in metrics
    assert " by drill (1 machine, " in two.rollguard("status", two.app).stdout, "without a guard too"
    assert "the drill ended, ok" in two.rollguard("history", two.app).stdout


def test_the_whole_app_is_taken_only_when_its_name_is_typed(two: Home) -> None:
    with two.guard():
        serving = ship_v2(two)
        words = ("drill", two.app, "--reason", "quarterly", "--all")
        refused = two.rollguard(*words, typed="yes\n")
        assert refused.returncode == 1
        assert f"Type {two.app}: nothing was changed" in refused.stderr
        done = two.rollguard(*words, "--output", "json", typed=f"{two.app}\n")
        assert done.returncode == 0, done.stdout + done.stderr
        told = [json.loads(line) for line in done.stdout.splitlines()]
        assert [e["way"] for e in told if e["event"] == "DrillMoved"] == ["there"] * 2 + ["back"] * 2
        assert two.fly.digests(two.app) == serving
        assert two.fly.watch(two.app)["floor_violations"] == []


def test_without_a_guard_the_same_hands_rehearse_under_the_journals_lock(two: Home) -> None:
    with two.guard():
        serving = ship_v2(two)
    words = ("drill", two.app, "--reason", "the guard is down", "--yes")
    told = two.rollguard(*words)
    assert told.returncode == 2
    assert "rollguard drill: no guard runs with" in told.stderr
    planned = two.rollguard(*words, "--config", str(two.policy), "--dry-run")
    assert planned.returncode == 0, planned.stdout + planned.stderr
    assert "note: no guard: no rule is judged meanwhile" in planned.stdout
    assert two.fly.changes_of_the_guard(two.app) == {}
    done = two.rollguard(*words, "--config", str(two.policy))
    assert done.returncode == 0, done.stdout + done.stderr
    assert two.fly.digests(two.app) == serving


def test_a_guard_killed_in_the_middle_of_a_drill_is_put_right_by_the_next_act_by_hand(two: Home) -> None:
    with two.guard() as guard:
        serving = ship_v2(two)
        with two.starting("drill", two.app, "--reason", "monthly", "--yes"):
            until(lambda: "StepIntended" in two.names(), "the drill has begun")
            guard.process.kill()
    assert kinds(two, DrillEnded) == 0
    again = two.rollguard("drill", two.app, "--reason", "again", "--yes", "--config", str(two.policy))
    assert again.returncode == 1
    assert "an earlier drill was interrupted" in again.stderr
    assert two.fly.digests(two.app) == serving
    (ended,) = [e for e in two.events() if isinstance(e, DrillEnded)]
    assert ended.result == "stopped"
    assert kinds(two, DrillBegan) == 1
