"""The demo fails when it should: an app that does not drain loses requests, and no rollback can be called well then."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from rollguard.config.loader import load_policy
from rollguard.demo import main, stage
from rollguard.demo.lookout import Tail
from rollguard.demo.processes import Processes, StageError, environment
from rollguard.demo.scenarios import ERRORS, SCENARIOS

PATIENCE_S = 30.0


def test_with_draining_switched_off_the_demo_fails_and_lists_the_requests_that_were_cut(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Slow answers, so that several are under way whenever a machine goes. All else goes well."""
    cut = replace(ERRORS.release, drains=False, added_latency_s=0.25)
    scenario = replace(ERRORS, release=cut, waits_for_verdict=False)
    assert main.play(scenario, output="json") == main.PROBLEM
    out, story = capsys.readouterr()
    summary = json.loads(out)
    assert summary["ok"] is False
    assert summary["requests"]["failed_otherwise"] > 0
    assert {"update": 4, "release_create": 1}.items() <= summary["writes"].items()
    assert summary["floor_violations"] == 0
    against = [line for line in story.splitlines() if "other than by the bad image: " in line]
    assert len(against) == 1
    assert "made by the proxy (reset)" in against[0] or "connection error" in against[0]
    assert "GET /" in story.partition(against[0])[2], "each of them is listed"


def test_told_to_stop_the_demo_ends_everything_it_started() -> None:
    demo = subprocess.Popen(
        (sys.executable, "-m", "rollguard.cli.main", "demo", "good"), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        assert demo.stdout is not None
        while b"is on guard" not in (line := demo.stdout.readline()):
            assert line, "the demo ended before it began"
        started = descendants(demo.pid)
        assert len(started) >= 4 + 5, "machines, platform, edge, pager, users, guard"
        demo.send_signal(signal.SIGTERM)
        _, err = demo.communicate(timeout=PATIENCE_S)
    finally:
        demo.kill()
        demo.communicate()
    assert demo.returncode == main.INTERRUPTED, err
    deadline = time.monotonic() + PATIENCE_S
    while any(alive(pid) for pid in started):
        assert time.monotonic() < deadline, "somebody was left behind"
        time.sleep(0.05)


def test_an_unknown_scenario_is_a_mistake_of_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.demo(["erors"]) == main.USAGE
    said = capsys.readouterr().err
    assert "rollguard demo: no scenario 'erors'; did you mean errors?; there are errors, down, good, killed" in said


def test_a_folder_that_cannot_keep_a_run_is_said_before_the_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert main.demo(["good"], keep=tmp_path / "file" / "kept") == main.USAGE
    assert "kept: Not a directory: choose another with --keep" in capsys.readouterr().err


def test_what_an_earlier_run_left_behind_is_not_overwritten(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "good").mkdir()
    assert main.demo(["good"], keep=tmp_path) == main.USAGE
    assert "needs a new folder" in capsys.readouterr().err


def test_without_a_checkout_the_demo_says_where_its_policy_should_be(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(stage, "POLICY", Path("config", "examples", "nowhere.yaml"))
    assert main.demo(["errors"], output="json") == main.PROBLEM
    out, err = capsys.readouterr()
    assert json.loads(out)["outcome"] == "could not be played"
    assert "run the demo from a checkout" in err


def test_the_limits_come_from_the_policy_in_force() -> None:
    """Three probes at 0.5 s and a timeout of 0.4 s; a window of 3 s and a scrape of 1.5 s; two seconds each."""
    policy = load_policy(stage.find_policy(), {})
    assert SCENARIOS["down"].limit_s(policy) == pytest.approx(3 * 0.5 + 0.4 + 2.0)
    assert SCENARIOS["errors"].limit_s(policy) == pytest.approx(3.0 + 1.5 + 2.0)
    assert SCENARIOS["good"].limit_s(policy) is None


def test_the_guard_inherits_nothing_of_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FLY_API_TOKEN", "a real one")
    assert environment(A="1").get("FLY_API_TOKEN") is None
    assert environment(A="1")["A"] == "1"


def test_a_tail_gives_each_whole_line_once_and_skips_what_is_no_object(tmp_path: Path) -> None:
    path = tmp_path / "log"
    tail = Tail(path)
    assert list(tail.read()) == []
    path.write_text('{"n": 1}\nTraceback\n[2]\n{"n": 3')
    assert list(tail.read()) == [{"n": 1}]
    path.write_text('{"n": 1}\nTraceback\n[2]\n{"n": 3}\n')
    assert list(tail.read()) == [{"n": 3}]
    assert list(tail.read()) == []


async def test_a_process_that_does_not_start_is_named_with_its_last_words(tmp_path: Path) -> None:
    async with Processes(tmp_path) as processes:
        with pytest.raises(StageError, match=r"the edge did not start: .*arguments are required: --platform"):
            await processes.serve("edge", "edge")


async def test_a_process_that_will_not_go_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollguard.demo.processes.LEAVE_S_MAX", 0.2)
    deaf = (
        "import signal, sys, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(1, flush=True); time.sleep(99)"
    )
    async with Processes(tmp_path) as processes:
        child = await processes.start("deaf", "-c", deaf)
        assert child.stdout is not None
        async with asyncio.timeout(PATIENCE_S):
            await child.stdout.readline()
    assert child.returncode == -signal.SIGKILL


def descendants(pid: int) -> list[int]:
    """Every process below this one now (Linux)."""
    found: list[int] = []
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            found += [child, *descendants(child)]
    return found


def alive(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False
