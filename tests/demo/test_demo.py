"""The demo fails when it should: an app that does not drain loses requests, and no rollback can be called well then."""

from __future__ import annotations

import asyncio
import io
import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from rollguard.cli.main import main as cli
from rollguard.config.loader import load_policy
from rollguard.demo import main, stage
from rollguard.demo.lookout import GivenUp, Lookout, Tail
from rollguard.demo.processes import Processes, StageError, environment
from rollguard.demo.scenarios import ERRORS, SCENARIOS
from rollguard.demo.story import Story
from rollguard.demo.tellers import FleetTeller, UsersTeller

PATIENCE_S = 30.0


def test_with_draining_switched_off_the_demo_fails_and_lists_the_requests_that_were_cut(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Slow answers, so that several are under way whenever a machine goes. All else goes well."""
    cut = replace(ERRORS.release, drains=False, added_latency_s=0.25)
    scenario = replace(ERRORS, release=cut, acts=ERRORS.acts[:-1])  # all but the wait for the guard's verdict
    assert main.play(scenario, output="json") == main.PROBLEM
    out, story = capsys.readouterr()
    summary = json.loads(out)
    assert summary["ok"] is False
    assert summary["requests"]["failed_otherwise"] > 0
    assert summary["writes"]["release_create"] == 1
    assert summary["writes"]["update"] >= 1, "on a busy machine the first one's proof may not come in time"
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


@pytest.mark.parametrize(
    ("scenario", "limit_s"),
    [
        ("down", 3 * 0.5 + 0.4 + 2.0),  # three probes and a timeout; two seconds are for writing
        ("errors", 3.0 + 1.5 + 2.0),  # a window and a scrape
        ("crash-loop", 30.0 + 1.0 + 2.0),  # two crashes within so long, and a look
        ("corruption", 1.0 + 2.0),  # the next look
        ("half", 60.0 + 20.0 + 3.0 + 1.5 + 2.0),  # a deploy nobody works on any more is dead after 80 s
        ("slow", 240.0),
        ("good", None),
    ],
)
def test_the_limits_come_from_the_policy_in_force(scenario: str, limit_s: float | None) -> None:
    policy = load_policy(stage.find(stage.POLICY), {})
    assert SCENARIOS[scenario].limit_s(policy) == (limit_s and pytest.approx(limit_s))


def test_every_scenario_is_listed_with_how_it_must_end(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli(["demo", "--list"]) == main.OK
    said = capsys.readouterr().out
    assert all(f"{s.name} " in said and s.about in said and s.expected in said for s in SCENARIOS.values())
    assert cli(["demo", "--list", "--output", "json"]) == main.OK
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["scenario"] for row in rows] == list(SCENARIOS)


def test_all_are_played_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    played: list[str] = []
    monkeypatch.setattr(main, "play", lambda scenario, **_: played.append(scenario.name) or main.OK)
    assert cli(["demo", "--all"]) == main.OK
    assert played == list(SCENARIOS)
    assert len(played) == 15


async def test_a_wait_that_takes_too_long_ends_the_acts_and_is_told(tmp_path: Path) -> None:
    told = io.StringIO()
    lookout = Lookout(
        "http://127.0.0.1:1/",
        Story(told, colour=False),
        (FleetTeller({}, {}), UsersTeller(None)),
        folder=tmp_path,
        good="sha256:good",
        check=lambda: None,
    )

    async def look() -> None:
        lookout.view = {"machines": []}

    lookout.look = look  # type: ignore[method-assign]
    with pytest.raises(GivenUp):
        await lookout.until(lambda: False, 0.0, "the rollback")
    assert lookout.late == ["the rollback: not within 0 s"]
    assert "wrong    the rollback: not within 0 s" in told.getvalue()


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
