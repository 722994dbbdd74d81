"""What people do while a guard runs, and what they see of it."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from rollguard.core.events import HoldSet, PauseLifted, PauseSet, Proven, Reported
from tests.cli.running import Home, until


def only(home: Home, kind: type[Any]) -> list[Any]:
    return [event for event in home.events() if isinstance(event, kind)]


def test_a_pause_is_recorded_with_who_and_why_shown_and_taken_off(home: Home) -> None:
    with home.guard():
        assert home.rollguard("pause", "shop", "--reason", "we look first", "--by", "ada").returncode == 0
        shown = home.rollguard("status")
        assert "Held          True" in shown.stdout
        assert "paused by ada since" in shown.stdout
        assert "we look first" in home.rollguard("explain").stdout
        done = home.rollguard("resume", "shop", "--reason", "looked", "--output", "json")
        assert json.loads(done.stdout) == {"say": "resumed"}
        again = home.rollguard("resume", "shop", "--reason", "looked")
        assert (again.returncode, again.stderr) == (1, "rollguard: neither paused nor held\n")
    assert [(e.by, e.reason) for e in only(home, PauseSet)] == [("ada", "we look first")]
    assert len(only(home, PauseLifted)) == 1


def test_a_pause_survives_a_restart(home: Home) -> None:
    with home.guard():
        home.rollguard("pause", "shop", "--reason", "night")
    with home.guard() as guard:
        assert 'rollguard_paused{target="shop"} 1.0' in guard.get("/metrics")[1]
        assert "paused by" in home.rollguard("status").stdout


def test_hold_adopt_and_report_reach_the_journal(home: Home) -> None:
    with home.guard():
        held = home.rollguard("hold", "shop", "--for", "20m", "--reason", "hotfix on its way")
        assert held.stdout.startswith("held until ")
        assert "held by" in home.rollguard("status").stdout
        adopted = home.rollguard("adopt", "shop", "v1", "--reason", "ran well for a year", "--by", "ada")
        assert adopted.stdout.startswith("v1 (")
        assert adopted.stdout.endswith("is proven: adopted by ada\n")
        reported = home.rollguard("report", "shop", "ui-glitch", "--version", "1", "--reason", "a button is green")
        assert "no rule listens to ui-glitch" in reported.stdout
        unknown = home.rollguard("adopt", "shop", "99", "--reason", "x")
        assert (unknown.returncode, unknown.stdout) == (1, "")
        assert "there is no release v99" in unknown.stderr
    (hold,) = only(home, HoldSet)
    assert (round(hold.until - hold.at), hold.reason) == (1200, "hotfix on its way")
    assert [(e.version, e.by) for e in only(home, Proven) if e.how == "adopted"] == [(1, "ada")]
    assert [(e.kind, e.version) for e in only(home, Reported)] == [("ui-glitch", 1)]


def test_a_target_reads_like_a_kubernetes_object(home: Home) -> None:
    with home.guard():
        until(lambda: "Proven" in home.names(), "the release is proven")
        until(lambda: home.rollguard("status").returncode == 0, "the target is well")
        (item,) = json.loads(home.rollguard("status", "shop", "--output", "json").stdout)["items"]
    assert item["metadata"] == {"name": "shop", "generation": 1}
    assert item["spec"]["mode"] == "enforce"
    assert len(item["spec"]["policy"]["hash"]) == 64
    status = item["status"]
    assert status["observedGeneration"] == 1
    assert {c["type"]: (c["status"], c["reason"]) for c in status["conditions"]} == {
        "Observed": ("True", "Watching"),
        "Healthy": ("True", "NoRuleFiring"),
        "RollbackReady": ("False", "TargetNotProven"),
        "Acting": ("False", "Idle"),
        "Held": ("False", "Free"),
    }
    assert all(c["lastTransitionTime"].endswith("Z") for c in status["conditions"])
    assert status["releases"][0]["marks"] == ["candidate", "running", "proven"]
    assert [(m["state"], m["healthy"]) for m in status["machines"]] == [("started", True)]
    assert [lock["name"] for lock in status["interlocks"] if lock["standing"]] == ["target not proven"]


def test_without_a_guard_the_journal_is_read_and_it_is_said(home: Home) -> None:
    with home.guard():
        home.rollguard("pause", "shop", "--reason", "night")
    shown = home.rollguard("status")
    assert shown.returncode == 1
    assert "no guard runs with this data folder" in shown.stderr
    assert "Observed      Unknown no guard runs" in shown.stdout
    assert "paused by" in shown.stdout
    lines = home.rollguard("history").stdout
    assert "runs for the first time" in lines
    assert lines.splitlines()[-1].endswith(": night")
    last = json.loads(home.rollguard("history", "--last", "1", "--output", "json").stdout)
    assert (last["event"], last["reason"]) == ("PauseSet", "night")
    assert home.rollguard("status", "shopp").stderr.startswith("rollguard: no target 'shopp' in ")
    nothing = home.rollguard("explain")
    assert (nothing.returncode, nothing.stdout) == (1, "")
    assert home.rollguard("show", "x").stderr == "rollguard: no incident x\n"


def test_explain_shows_every_interlock_and_one_rule_alone(home: Home) -> None:
    with home.guard():
        until(lambda: "crashes" in home.rollguard("explain").stdout, "rules are judged")
        data = json.loads(home.rollguard("explain", "shop", "crashes", "--output", "json").stdout)
        unknown = home.rollguard("explain", "shop", "crashs")
    assert [rule["name"] for rule in data["rules"]] == ["crashes"]
    assert data["rules"][0]["asksFor"] == "nothing"
    assert {"pause", "cooldown", "migration", "deploy in progress"} <= {lock["name"] for lock in data["interlocks"]}
    assert data["would"].startswith("a rule that fires now would page, held by target not proven")
    assert unknown.returncode == 1
    assert "the policy has no rule 'crashs'; it has crashes, leak" in unknown.stderr


def test_what_an_app_says_can_do_nothing_to_a_terminal(home: Home) -> None:
    with home.guard():
        home.rollguard("report", "shop", "bug", "--reason", "red \x1b[31malert\x07")
    assert "\x1b" not in home.rollguard("history").stdout


def test_only_the_owner_can_reach_what_the_guard_keeps(home: Home) -> None:
    def mode(path: Path) -> int:
        return stat.S_IMODE(path.stat().st_mode)

    with home.guard():
        assert mode(home.data) == 0o700
        assert mode(home.data / "control.sock") == 0o600
        assert mode(home.data / "shop.db") == 0o600
