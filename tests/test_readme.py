"""Every command in the README is run, in its order, as a reader would run it.

The two ``make`` targets and the demo are run by ``.ci/run`` itself: this holds it to that.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.cli.running import Fly, environment, platform, until

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
ROLLGUARD = ".venv/bin/rollguard "
APP = "my-app"
MAY_END = {"check": {0, 3}}  # 3: sound, with warnings


def commands() -> list[str]:
    """The README's commands, from its console blocks and from code in its sentences, in order."""
    found: list[str] = []
    for block, code in re.findall(r"```console\n(.*?)```|`([^`]+)`", README, re.DOTALL):
        lines = block.splitlines() if block else [" ".join(code.split())]
        found += [line.partition("  #")[0].strip() for line in lines]
    return [c for c in found if c.startswith((ROLLGUARD, "cp ")) or re.fullmatch(r"make [a-z]+( \S+=\S+)?", c)]


def test_what_the_readme_says_of_make_is_what_continuous_integration_does() -> None:
    ci = (ROOT / ".ci" / "run").read_text().splitlines()
    made = [c for c in commands() if c.startswith("make ")]
    assert {"make demo", "make test"} <= set(made)
    assert not [c for c in made if c not in ci]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[tuple[Fly, dict[str, str]]]:
    """An empty folder beside the shipped config, and an app with its edge, as the reader's would be."""
    (tmp_path / "config").symlink_to(ROOT / "config")
    with platform() as fly, ExitStack() as stack:
        fly.app(APP, machines=2)
        command = (sys.executable, "-m", "rollguard.localfly.edge", "--platform", fly.url, "--app", APP)
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        edge = stack.enter_context(subprocess.Popen(command, env=environment(), **pipes))  # type: ignore[call-overload]
        stack.callback(edge.terminate)
        url = json.loads(edge.stdout.readline())["url"]
        with urllib.request.urlopen(f"{url}/", timeout=30) as page:  # somebody uses the app: it is counted
            page.read()
        yield fly, _environ(fly, url)


def _environ(fly: Fly, edge: str) -> dict[str, str]:
    return fly.environ | {
        "HOTDASH_URL": edge,
        "FLY_PROMETHEUS_URL": f"{edge}/prometheus/personal",
        "FLY_METRICS_TOKEN": "none",
        "PAGERDUTY_URL": fly.pager,
    }


def test_every_other_command_of_the_readme_works_in_its_order(
    stage: tuple[Fly, dict[str, str]], tmp_path: Path
) -> None:
    fly, environ = stage
    done: list[str] = []
    with ExitStack() as stack:
        for command in commands():
            if command.startswith("make "):
                continue
            words = shlex.split(command)
            if words[0] == "cp":
                subprocess.run(words, cwd=tmp_path, check=True)
                policy = tmp_path / words[-1]
                policy.write_text(policy.read_text().replace("hotdash-production", APP))  # step 1
            elif words[1] == "run":
                _on_duty(stack, words[1:], environ, tmp_path)
            else:
                if words[1] == "rollback":
                    fly.deploy(APP, "TWO")  # there is something to go back from
                run = _rollguard(words[1:], environ, tmp_path)
                assert run.returncode in MAY_END.get(words[1], {0}), f"{command}\n{run.stdout}\n{run.stderr}"
            done.append(words[1])
    for verb in ("check", "run", "adopt", "status", "explain", "history", "rollback", "pause", "resume", "hold"):
        assert verb in done, f"the README shows {verb}"


def _rollguard(words: list[str], environ: dict[str, str], folder: Path) -> subprocess.CompletedProcess[str]:
    command = (sys.executable, "-m", "rollguard", *words)
    return subprocess.run(
        command,
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def _on_duty(stack: ExitStack, words: list[str], environ: dict[str, str], folder: Path) -> None:
    """The guard as the README starts it, on any free port, for as long as the test goes on."""
    command = (sys.executable, "-m", "rollguard", *words, "--listen", "127.0.0.1:0")
    guard = stack.enter_context(
        subprocess.Popen(command, cwd=folder, env=environ, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    )
    stack.callback(guard.terminate)
    heard: list[bytes] = []
    listener = threading.Thread(target=lambda: heard.extend(guard.stderr or ()), daemon=True)
    listener.start()
    stack.callback(listener.join)
    stack.callback(guard.terminate)

    def sees() -> bool:
        assert guard.poll() is None, b"".join(heard).decode()
        shown = _rollguard(["status", "--output", "json"], environ, folder)
        return shown.returncode == 0 and "Observed" in shown.stdout and "started" in shown.stdout

    until(sees, "the guard sees the machines", within_s=40)
