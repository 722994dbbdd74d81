"""``notify test``: every channel is told once, told that it is over, and what came of it is said."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.running import POLICY, Home, environment

CHANNELS = """
notify:
  page: [pagerduty: {{routing_key_env: PAGERDUTY_KEY, url: "{pager}/v2/enqueue"}}]
  tell: [slack: {{token_env: SLACK, channel: "#engineering", url: "{chat}/api"}}]
  record: [github_issue: {{token_env: GITHUB, repo: acme/shop, labels: [production], url: "{hub}"}}]
"""


class Stage:
    """The stand-ins, and what they took."""

    def __init__(self, folder: Path, urls: dict[str, str]) -> None:
        self._folder, self.urls = folder, urls

    def took(self, name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (self._folder / name).read_text().splitlines()]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    urls: dict[str, str] = {}
    with contextlib.ExitStack() as stack:
        for name in ("pager", "chat", "hub"):
            command = (sys.executable, "-m", f"rollguard.localfly.{name}", "--out", str(tmp_path / name))
            process = stack.enter_context(
                subprocess.Popen(
                    command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
                )
            )
            stack.callback(process.kill)
            assert process.stdout is not None
            urls[name] = json.loads(process.stdout.readline())["url"]
        yield Stage(tmp_path, urls)


def telling(home: Home, stage: Stage, **tokens: str) -> Home:
    """A policy with three channels, and the tokens to use them."""
    head = POLICY.format(app=home.app, pager="").split("notify:")[0]
    home.write_policy(head + CHANNELS.format(**stage.urls))
    home.environ |= {"SLACK": "xoxb-local", "GITHUB": "ghp_local"} | tokens
    return home


def test_every_channel_is_told_once_and_told_that_it_is_over(home: Home, stage: Stage) -> None:
    ran = telling(home, stage).rollguard("notify", "test", "--config", str(home.policy))
    assert (ran.returncode, ran.stderr) == (0, "")
    names = [line.split(": ")[1] for line in ran.stdout.splitlines()]
    assert names == ["pagerduty", "slack", "github"]
    events = stage.took("pager")
    assert [event["event_action"] for event in events] == ["trigger", "resolve"]
    assert len({event["dedup_key"] for event in events}) == 1
    assert events[0]["payload"]["severity"] == "info"
    assert "TEST" in events[0]["payload"]["summary"]
    assert [(e["did"], bool(e["thread_ts"])) for e in stage.took("chat")] == [
        ("post", False),
        ("post", True),
        ("update", False),
    ]
    assert [entry["did"] for entry in stage.took("hub")] == ["create", "comment", "update"]
    assert stage.took("hub")[-1]["state"] == "closed"


def test_what_does_not_arrive_is_said_per_channel_and_exits_1(home: Home, stage: Stage) -> None:
    telling(home, stage, SLACK="xoxb-wrong", PAGERDUTY_KEY="")
    ran = home.rollguard("notify", "test", "--config", str(home.policy), "--output", "json")
    assert ran.returncode == 1
    problems = {item["channel"]: item["problem"] for item in json.loads(ran.stdout)["items"]}
    assert problems["slack"].startswith("slack says invalid_auth")
    assert "PAGERDUTY_KEY is missing or empty" in problems["pagerduty"]
    assert problems["github"] == ""
    assert "xoxb-wrong" not in ran.stdout + ran.stderr


def test_one_channel_may_be_tried_by_itself_and_must_be_there(home: Home, stage: Stage) -> None:
    telling(home, stage)
    ran = home.rollguard("notify", "test", "--config", str(home.policy), "--channel", "github")
    assert (ran.returncode, len(ran.stdout.splitlines())) == (0, 1)
    assert stage.took("pager") == []
    wrong = home.rollguard("notify", "test", "--config", str(home.policy), "--channel", "slak")
    assert (wrong.returncode, "did you mean slack?" in wrong.stderr) == (2, True)


def test_without_a_policy_it_is_the_one_that_the_guard_obeyed(home: Home) -> None:
    nobody = home.rollguard("notify", "test")
    assert (nobody.returncode, "name one with --config" in nobody.stderr) == (2, True)
    with home.guard():
        ran = home.rollguard("notify", "test")
    assert (ran.returncode, ran.stdout.startswith("shop: pagerduty: told")) == (0, True)


def test_a_policy_that_tells_nobody_is_a_problem(home: Home) -> None:
    home.write_policy(POLICY.format(app=home.app, pager=home.fly.pager).split("notify:")[0])
    ran = home.rollguard("notify", "test", "--config", str(home.policy))
    assert (ran.returncode, ran.stderr) == (1, "rollguard: there is no channel: a page would reach nobody\n")
