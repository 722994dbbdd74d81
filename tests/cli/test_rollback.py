"""Going back by hand: planned, asked, told step by step; with a guard and without one."""

from __future__ import annotations

import json
from pathlib import Path

from rollguard.core.events import GoalEnded, GoalSet, Proven, Verified
from tests.cli.running import Home, until

ARTIFACTS = {
    "pre-rollback-status.txt",
    "pre-rollback-releases.json",
    "post-rollback-status.txt",
    "post-rollback-releases.json",
    "rollback-summary.txt",
    "incident.json",
    "post-mortem.md",
}


def kinds(home: Home, kind: type) -> int:
    return sum(isinstance(event, kind) for event in home.events())


def ship_v2(home: Home) -> set[str]:
    """CI ships v2 once v1 is proven; the digests of v1."""
    until(lambda: kinds(home, Proven) == 1, "v1 is proven")
    before = home.fly.digests(home.app)
    home.fly.deploy(home.app, "TWO")
    until(lambda: kinds(home, Proven) == 2, "the guard has taken v2 in")
    return before


def test_a_rollback_through_the_guard_is_planned_asked_told_and_kept(own: Home) -> None:
    with own.guard():
        before = ship_v2(own)
        plan = own.rollguard("rollback", own.app, "--reason", "slow", "--dry-run")
        assert plan.returncode == 0
        assert plan.stdout.startswith("from v2 (")
        assert "2. group app: update" in plan.stdout
        declined = own.rollguard("rollback", own.app, "--reason", "slow", typed="no\n")
        assert declined.returncode == 1
        assert declined.stderr.endswith("Type yes: nothing was changed\n")
        nobody = own.rollguard("rollback", own.app, "--reason", "slow")
        assert nobody.returncode == 2
        assert "use --yes" in nobody.stderr
        there = own.rollguard("rollback", own.app, "2", "--reason", "slow", "--dry-run", "--output", "json")
        assert there.returncode == 1
        assert [r["name"] for r in json.loads(there.stdout)["refusals"]] == ["target already there"]
        assert own.fly.changes_of_the_guard(own.app) == {}
        assert kinds(own, GoalSet) == 0

        done = own.rollguard("rollback", own.app, "--reason", "slow", "--by", "ada", typed="yes\n")
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("is healthy on the target") == 1
        assert "by hand (ada): slow" in done.stdout
        assert own.fly.digests(own.app) == before
        until(lambda: kinds(own, Verified) == 1, "the restored release is verified")
        folder = next((own.data / "artifacts" / "rollback").iterdir())
        summary = folder / "rollback-summary.txt"
        until(lambda: summary.exists() and "verified:    restored" in summary.read_text(), "the summary is whole")
        bundle = json.loads(own.rollguard("bundle", own.app, "--output", "json").stdout)
        assert {"incident.json", "status.json", "explain.txt", "machines.json"} <= set(bundle["files"])
    assert Path(bundle["path"]).parent == folder
    Path(bundle["path"]).unlink()
    assert {path.name for path in folder.iterdir()} == ARTIFACTS
    assert "v2" in (folder / "pre-rollback-status.txt").read_text()
    shown = own.rollguard("show")
    assert "closed (restored)" in shown.stdout
    assert f"artifacts: {folder}" in shown.stdout
    incident = json.loads(own.rollguard("show", "--output", "json").stdout)
    assert incident["outcome"] == "restored"
    retold = own.rollguard("explain", own.app, "--incident", incident["incident"])
    assert "decided to rollback (manual)" in retold.stdout


def test_without_a_guard_the_same_hands_act_under_the_journals_lock(own: Home) -> None:
    with own.guard():
        before = ship_v2(own)
    words = ("rollback", own.app, "--reason", "the guard is down", "--yes")
    told = own.rollguard(*words)
    assert told.returncode == 2
    assert "no guard runs with" in told.stderr
    assert own.fly.changes_of_the_guard(own.app) == {}
    done = own.rollguard(*words, "--config", str(own.policy), "--output", "json")
    assert done.returncode == 0, done.stderr
    told_events = [json.loads(line)["event"] for line in done.stdout.splitlines()]
    assert [name for name in told_events if not name.startswith("Page")][-1] == "GoalEnded"
    assert own.fly.digests(own.app) == before
    assert own.fly.watch(own.app)["floor_violations"] == []
    with own.guard():
        until(lambda: kinds(own, Verified) == 1, "the next guard verifies it")


def test_a_release_nobody_saw_run_needs_an_override_by_name(own: Home) -> None:
    own.fly.deploy(own.app, "TWO")
    words = ("rollback", own.app, "1", "--reason", "first day", "--config", str(own.policy))
    held = own.rollguard(*words, "--dry-run")
    assert held.returncode == 1
    assert "was never proven: nobody saw it run clean (--override target-not-proven)" in held.stdout
    wrong = own.rollguard(*words, "--dry-run", "--override", "cooldown")
    assert wrong.returncode == 2
    assert "--override cannot lift 'cooldown'; it takes pause, target-not-proven, migration" in wrong.stderr
    chosen = own.rollguard(*words, "--dry-run", "--override", "target-not-proven")
    assert chosen.returncode == 0
    assert "note: target not proven" in chosen.stdout
    assert own.fly.changes_of_the_guard(own.app) == {}
    assert not own.data.exists(), "a dry run leaves nothing behind"


def test_a_guard_killed_in_the_middle_is_finished_by_hand_or_by_the_next(own: Home) -> None:
    with own.guard() as guard:
        before = ship_v2(own)
        with own.starting("rollback", own.app, "--reason", "slow", "--yes"):
            until(lambda: "StepIntended" in own.names(), "the rollback has begun")
            guard.process.kill()
    assert kinds(own, GoalEnded) == 0
    writes = own.fly.writes_of_the_guard(own.app)
    rehearsed = own.rollguard("rollback", own.app, "--reason", "x", "--dry-run", "--config", str(own.policy))
    assert rehearsed.returncode == 1
    assert "under way already" in rehearsed.stderr
    assert own.fly.writes_of_the_guard(own.app) == writes, "a dry run finishes nobody's rollback"
    with own.guard() as guard:
        until(lambda: kinds(own, GoalEnded) == 1, "the next life brings it to its end")
        assert guard.get("/-/healthy")[0] == 200
    assert own.fly.digests(own.app) == before
    assert kinds(own, GoalSet) == 1
