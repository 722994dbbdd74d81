"""Rolling back by other hands, all of it in real processes: a command, flyctl's command line, a workflow of GitHub."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from rollguard.core.events import Delegated, GoalEnded, GoalSet, Proven, StepIntended, Verified
from tests.adapters.programs import program
from tests.cli.running import DAEMON, REF, Home, environment, until

ROLLBACK = "rollback: {stability: 200ms,"
OFTEN = "every: 200ms"
"""More often than the platform's limits allow where somebody else must ask it as well."""
FLYCTL = f"""
sys.path.insert(0, {str(DAEMON)!r})
from rollguard.localfly import deployer
words, environ = sys.argv[1:], os.environ
asked = dict(zip(words, words[1:]))
assert words[0] == "deploy" and "--yes" in words and "--skip-release-command" in words
assert asked["--strategy"] == "rolling" and asked["--max-unavailable"] == "0.25"
assert environ["FLY_API_TOKEN"] not in words, "nobody reads the token in a process list"
assert os.listdir() == [], "no fly.toml of today"
assert "PAGERDUTY_KEY" not in environ
print("Searching for image", asked["--image"], "remotely...", flush=True)
where = ["--platform", environ["FLY_API_BASE_URL"], "--token", environ["FLY_API_TOKEN"], "--app", asked["--app"]]
code = deployer.main([*where, "--image", asked["--image"], "--smoke", "0"])
if code == 0 and environ.get("FLY_EMIT_RELEASE_JSON"):
    print(json.dumps({{"id": "rel", "version": 3, "image_ref": asked["--image"]}}))
sys.exit(code)
"""


def kinds(home: Home, kind: type) -> int:
    return sum(isinstance(event, kind) for event in home.events())


def use(home: Home, executor: str) -> None:
    """The home's policy, with that executor."""
    text = home.policy.read_text()
    assert ROLLBACK in text
    assert OFTEN in text
    home.write_policy(text.replace(ROLLBACK, f"{ROLLBACK} executor: {executor},").replace(OFTEN, "every: 2s"))


def ship_v2(home: Home) -> set[str]:
    """CI ships v2 once v1 is proven; the digests of v1."""
    until(lambda: kinds(home, Proven) == 1, "v1 is proven")
    before = home.fly.digests(home.app)
    home.fly.deploy(home.app, "TWO")
    until(lambda: kinds(home, Proven) == 2, "the guard has taken v2 in")
    return before


def deploys(home: Home, *, token: str = "ci-token") -> list[str]:
    """The words of a deploy of the first release's image, as CI would do it."""
    where = ["--platform", home.fly.url, "--token", token, "--app", home.app, "--smoke", "0"]
    return [sys.executable, "-m", "rollguard.localfly.deployer", *where, "--image"]


def folder_of(home: Home) -> Path:
    return next((home.data / "artifacts" / "rollback").iterdir())


def is_restored(home: Home, before: set[str]) -> None:
    until(lambda: kinds(home, Verified) == 1, "the restored release is verified")
    assert home.fly.digests(home.app) == before
    [goal] = [e for e in home.events() if isinstance(e, GoalSet)]
    assert goal.executor != "machines"
    [ended] = [e.outcome for e in home.events() if isinstance(e, GoalEnded)]
    assert ended == "restored"
    assert [e.kind for e in home.events() if isinstance(e, StepIntended)] == ["delegate"]


def test_the_teams_command_rolls_back_and_what_it_printed_is_kept(own: Home) -> None:
    run = json.dumps([*deploys(own), "{image}"])
    use(own, f"{{command: {{run: {run}, env: [PYTHONPATH], timeout: 30s}}}}")
    with own.guard():
        before = ship_v2(own)
        plan = own.rollguard("rollback", own.app, "--reason", "slow", "--dry-run")
        assert f"tell command {sys.executable} to put every machine on it" in plan.stdout
        done = own.rollguard("rollback", own.app, "--reason", "slow", "--by", "ada", "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
        is_restored(own, before)
        assert not {"update", "release_create"} & set(own.fly.writes_of_the_guard(own.app)), "its own hands were still"
        kept = folder_of(own) / "executor-output.txt"
        until(kept.exists, "the output is kept")
        assert '"ok": true' in kept.read_text()
        assert kept.stat().st_mode & 0o777 == 0o600


def test_a_command_that_fails_is_handed_over_with_its_last_lines(own: Home, tmp_path: Path) -> None:
    script = program(tmp_path, "print('cannot reach the registry'); sys.exit(4)")
    use(own, f"{{command: {{run: [{script}, '{{version}}'], timeout: 30s}}}}")
    with own.guard():
        ship_v2(own)
        done = own.rollguard("rollback", own.app, "--reason", "slow", "--by", "ada", "--yes")
        assert done.returncode == 1
        until(lambda: kinds(own, GoalEnded) == 1, "it is over")
        [ended] = [e for e in own.events() if isinstance(e, GoalEnded)]
        assert (ended.outcome, "exit code 4: cannot reach the registry; the mix is 1 on" in ended.sentence) == (
            "failed",
            True,
        )
        last = [e for e in own.events() if isinstance(e, Delegated)][-1]
        assert (last.state, last.output) == ("failed", "cannot reach the registry")


def test_flyctl_is_driven_in_the_form_that_works(own: Home, tmp_path: Path) -> None:
    real = os.environ.get("FLYCTL")
    binary = real or program(tmp_path, FLYCTL, "flyctl", "-I")
    use(own, f"{{flyctl: {{binary: {binary}, timeout: 55s}}}}")
    with own.guard():
        before = ship_v2(own)
        done = own.rollguard("rollback", own.app, "--reason", "slow", "--by", "ada", "--yes")
        assert done.returncode == 0, done.stdout + done.stderr
        is_restored(own, before)
        last = [e for e in own.events() if isinstance(e, Delegated)][-1]
        assert (last.state, last.sentence) == ("succeeded", "it made release v3")
        until((folder_of(own) / "executor-output.txt").exists, "the output is kept")
        assert "guard-token" not in (folder_of(own) / "executor-output.txt").read_text()


@contextlib.contextmanager
def workflows(home: Home, out: Path, *options: str) -> Iterator[str]:
    """GitHub, with a workflow that deploys the first release's image; its address."""
    words = (*deploys(home), REF.format(home.app, "ONE"))
    command = (sys.executable, "-m", "rollguard.localfly.workflows", "--out", str(out), *options, "--", *words)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=environment(), **pipes) as process:  # type: ignore[call-overload]
        try:
            yield json.loads(process.stdout.readline())["url"]
        finally:
            process.terminate()


def did(out: Path) -> list[str]:
    return [json.loads(line)["did"] for line in out.read_text().splitlines()]


def use_github(home: Home, url: str) -> None:
    home.environ |= {"GITHUB_TOKEN": "ghp_local"}
    github = f"repo: acme/shop, workflow: rollback.yml, token_env: GITHUB_TOKEN, url: '{url}', timeout: 55s"
    use(home, f"{{github: {{{github}}}}}")


def test_a_workflow_is_dispatched_followed_and_linked_to(own: Home, tmp_path: Path) -> None:
    out = tmp_path / "hub.jsonl"
    with workflows(own, out, "--old", "--untitled") as url:
        use_github(own, url)
        assert "no first machine proves the rollback" in own.rollguard("check", str(own.policy)).stdout
        with own.guard():
            before = ship_v2(own)
            done = own.rollguard("rollback", own.app, "--reason", "slow", "--by", "ada", "--yes")
            assert done.returncode == 0, done.stdout + done.stderr
            is_restored(own, before)
            assert did(out) == ["dispatch", "end"]
            assert f"{url}/acme/shop/actions/runs/" in done.stdout + own.rollguard("show").stdout


def test_a_guard_killed_while_the_workflow_runs_finds_it_again(own: Home, tmp_path: Path) -> None:
    out = tmp_path / "hub.jsonl"
    with workflows(own, out) as url:
        use_github(own, url)
        with own.guard() as guard:
            before = ship_v2(own)
            with own.starting("rollback", own.app, "--reason", "slow", "--by", "ada", "--yes"):
                until(lambda: out.exists() and "dispatch" in out.read_text(), "the workflow is dispatched")
                guard.stop(signal.SIGKILL)
        with own.guard():
            is_restored(own, before)
        assert did(out).count("dispatch") == 1


def test_check_tells_what_could_not_be_told_to_roll_back(home: Home, tmp_path: Path) -> None:
    policy = home.policy.read_text()
    use(home, "{flyctl: {binary: ./no-such-flyctl, timeout: 30s}}")
    checked = home.rollguard("check", str(home.policy))
    assert checked.returncode == 3
    assert "./no-such-flyctl is not there, or cannot be run" in checked.stdout
    home.write_policy(policy)
    with workflows(home, tmp_path / "hub.jsonl", "--token", "ghp_other") as url:
        use_github(home, url)
        live = home.rollguard("check", str(home.policy), "--live")
        assert live.returncode == 1
        assert "github workflow rollback.yml of acme/shop: HTTP 401: Bad credentials" in live.stdout
