"""The daemon as a process: what it refuses to start with, what it shows, and how it ends."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
from collections.abc import Callable, Iterator

import pytest

from tests.cli.running import Home, until

Spoil = Callable[[Home], contextlib.AbstractContextManager[dict[str, str]]]


@contextlib.contextmanager
def environ(home: Home, **changed: str) -> Iterator[dict[str, str]]:
    yield home.environ | changed


@contextlib.contextmanager
def policy(home: Home, old: str, new: str) -> Iterator[dict[str, str]]:
    home.write_policy(home.policy.read_text().replace(old, new))
    yield home.environ


@contextlib.contextmanager
def no_policy(home: Home) -> Iterator[dict[str, str]]:
    home.policy.unlink()
    yield home.environ


@contextlib.contextmanager
def file_for_data(home: Home) -> Iterator[dict[str, str]]:
    home.data.write_text("in the way")
    yield home.environ


BAD: dict[str, tuple[Spoil, str]] = {
    "no policy file": (no_policy, "there is no such file"),
    "a mistake in the policy": (lambda h: policy(h, "2 in 5m", "often"), "policy.yaml:7:"),
    "an unknown key": (lambda h: policy(h, "deadline:", "dead_line:"), "did you mean 'deadline'?"),
    "no token": (lambda h: environ(h, FLY_API_TOKEN=""), "environment variable FLY_API_TOKEN is missing or empty"),
    "no routing key": (
        lambda h: environ(h, PAGERDUTY_KEY=""),
        "notify.page pagerduty: the secret in environment variable",
    ),
    "a wrong token": (lambda h: environ(h, FLY_API_TOKEN="wrong"), "Fly does not accept this token"),
    "an unknown app": (lambda h: policy(h, f"app: {h.app},", "app: nobodys,"), "no app nobodys for this token"),
    "an unreachable platform": (
        lambda h: environ(h, FLY_FLAPS_BASE_URL="http://127.0.0.1:9"),
        "the Machines API at http://127.0.0.1:9 cannot be used now: connection refused",
    ),
    "a data folder that is none": (file_for_data, "cannot write to the data folder"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_input_exits_2_with_a_sentence_and_touches_nothing(what: str, home: Home) -> None:
    spoil, sentence = BAD[what]
    with spoil(home) as environ:
        ran = home.rollguard(*home.run_args(), environ=environ)
    assert ran.returncode == 2, ran.stderr
    assert sentence in ran.stderr
    assert "Traceback" not in ran.stderr
    assert home.fly.changes_of_the_guard(home.app) == {}
    assert not list(home.data.glob("*.db")) if home.data.is_dir() else True


@pytest.mark.parametrize("listen", ["nowhere", "127.0.0.1:99999"])
def test_an_address_that_is_none_exits_2(listen: str, home: Home) -> None:
    ran = home.rollguard("run", "--config", str(home.policy), "--data", str(home.data), "--listen", listen)
    assert ran.returncode == 2
    assert "is no address to listen on" in ran.stderr


def test_a_port_in_use_exits_2_and_names_it(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        ran = home.rollguard("run", "--config", str(home.policy), "--data", str(home.data), "--listen", address)
    assert ran.returncode == 2
    assert f"{address} is in use: choose another with --listen" in ran.stderr
    assert not home.data.exists(), "nothing was touched"


def test_a_folder_too_deep_for_a_socket_exits_2_and_is_not_made(home: Home) -> None:
    deep = home.folder / ("d" * 110)
    ran = home.rollguard("run", "--config", str(home.policy), "--data", str(deep), "--listen", "127.0.0.1:0")
    assert ran.returncode == 2
    assert "give the guard a shorter --data" in ran.stderr
    assert not deep.exists(), "nothing was touched"


@pytest.mark.parametrize("what", ["/dev/zero", "pipe"])
def test_a_policy_that_is_no_file_exits_2_at_once(what: str, home: Home) -> None:
    pipe = home.folder / "pipe"
    os.mkfifo(pipe)
    ran = home.rollguard("run", "--config", str(home.folder / what), "--data", str(home.data))
    assert ran.returncode == 2
    assert "is not a regular file" in ran.stderr


def test_a_second_guard_on_the_same_journal_is_refused_and_the_first_goes_on(home: Home) -> None:
    with home.guard() as guard:
        ran = home.rollguard(*home.run_args())
        assert ran.returncode == 2
        assert f"another guard (pid {guard.process.pid}) holds the journal" in ran.stderr
        assert guard.get("/-/healthy")[0] == 200


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_told_to_stop_it_is_gone_within_5_s_with_exit_code_0(number: int, home: Home) -> None:
    with home.guard() as guard:
        code, took_s = guard.stop(number)
    assert code == 0
    assert took_s < 5.0
    assert not (home.data / "control.sock").exists()


def test_a_guard_that_only_watches_writes_nothing_and_shows_what_it_sees(home: Home) -> None:
    with home.guard("--mode", "observe") as guard:
        until(lambda: "Proven" in home.names(), "the release is proven")
        metrics = guard.get("/metrics")[1]
        assert guard.get("/-/healthy") == (200, "rollguard is healthy\n")
    assert home.fly.changes_of_the_guard(home.app) == {}
    assert f'rollguard_mode{{mode="observe",target="{home.app}"}} 1.0' in metrics
    assert f'rollguard_rule_state{{rule="crashes",state="clear",target="{home.app}"}} 1.0' in metrics
    assert home.names()[:2] == ["GuardStarted", "PolicyLoaded"]


def test_a_restart_while_the_platform_is_away_goes_on_duty_blind(home: Home) -> None:
    with home.guard():
        pass
    home.environ["FLY_FLAPS_BASE_URL"] = "http://127.0.0.1:9"
    with home.guard(blind=True) as guard:
        until(lambda: "TickFailed" in home.names(), "it says that it cannot look")
        assert guard.get("/-/ready")[0] == 503
    assert home.names().count("GuardStarted") == 2


def test_a_bad_policy_file_changes_nothing_and_a_good_one_is_obeyed(home: Home) -> None:
    good = home.policy.read_text()
    with home.guard() as guard:
        home.write_policy(good.replace("2 in 5m", "often"))
        until(lambda: "PolicyRejected" in home.names(), "the bad file is noticed by itself")
        status = json.loads(home.rollguard("status", "--output", "json").stdout)["items"][0]
        assert status["metadata"]["generation"] == 2
        assert status["status"]["observedGeneration"] == 1
        assert "policy.yaml:7:" in status["status"]["policyError"]
        assert "\\n" not in status["status"]["policyError"], "one line, as logs and terminals have it"
        assert [rule["name"] for rule in status["status"]["rules"]] == ["crashes", "leak"]
        assert "rollguard_config_last_reload_successful 0.0" in guard.get("/metrics")[1]
        told = home.rollguard("reload")
        assert told.returncode == 1
        assert "the old policy stays" in told.stderr

        home.write_policy(good.replace("name: leak", "name: spill").replace("every: 60s", "every: 50s"))
        guard.process.send_signal(signal.SIGHUP)
        until(lambda: home.names().count("PolicyLoaded") == 2, "the good file is obeyed")
        until(lambda: "spill" in home.rollguard("status").stdout, "its rules are judged")
        assert "rollguard_config_last_reload_successful 1.0" in guard.get("/metrics")[1]
        assert home.rollguard("reload").stdout == "nothing changed\n"


def test_another_app_under_a_known_name_needs_a_restart(home: Home) -> None:
    with home.guard():
        home.write_policy(home.policy.read_text().replace(f"app: {home.app},", "app: other,"))
        told = home.rollguard("reload")
        assert told.returncode == 1
        assert "is another app now: restart the guard" in told.stderr


def test_one_process_guards_every_target_of_a_folder(home: Home) -> None:
    other = f"{home.app}-b"
    home.fly.app(other)
    folder = home.folder / "policies"
    folder.mkdir()
    text = home.policy.read_text()
    (folder / "a.yaml").write_text(text)
    (folder / "b.yaml").write_text(text.replace(home.app, other))
    home.policy = folder
    with home.guard():
        items = json.loads(home.rollguard("status", "--output", "json").stdout)["items"]
        assert [item["metadata"]["name"] for item in items] == [home.app, other]
        assert "which target: shop, shop-b?" in home.rollguard("explain").stderr
    assert {path.name for path in home.data.glob("*.db")} == {"shop.db", "shop-b.db"}


def test_a_journal_that_cannot_be_written_ends_the_guard_with_exit_code_1(home: Home) -> None:
    def little_disk() -> None:
        import resource

        resource.setrlimit(resource.RLIMIT_FSIZE, (96 * 1024, 96 * 1024))

    with home.guard(preexec_fn=little_disk) as guard:
        for number in range(200):
            if home.rollguard("pause", home.app, "--reason", f"{number} " + "x" * 480).returncode:
                break
        assert guard.process.wait(10.0) == 1
    assert "the guard ends: JournalError: " in home.log.read_text()
    assert "Traceback" not in home.log.read_text()
