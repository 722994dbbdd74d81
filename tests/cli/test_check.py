"""``check``: all mistakes at once, and what a file means in the world."""

from __future__ import annotations

import json

from tests.cli.running import Home


def test_a_sound_policy_with_nothing_to_warn_of_is_0(home: Home) -> None:
    ran = home.rollguard("check", str(home.policy))
    said = ran.stdout.splitlines()
    assert (ran.returncode, said[-1], ran.stderr) == (0, "1 policy, nothing wrong in the files", "")
    (promised,) = said[:-1]
    assert promised.startswith(f"{home.policy}:7: no guarantee: rule 'crashes' may roll back on an absolute limit; ")


COMPARED = """\
  traffic: {scrape: {url: http://127.0.0.1:9/, counters: {errors: e, requests: r}}, every: 6s}
rules:
  - {name: errors, ratio: traffic.errors / traffic.requests, worse_than_baseline: {}, then: rollback}
"""


def test_what_the_rules_that_compare_promise_is_said_for_the_app_as_it_is(home: Home) -> None:
    home.write_policy(home.policy.read_text().replace("rules:\n", COMPARED))
    beforehand = json.loads(home.rollguard("check", "--output", "json", str(home.policy)).stdout)["facts"]
    assert beforehand[0].startswith(
        f"{home.policy}: relative rules together: fewer than 1 healthy release in 1000 is ever "
    )
    assert "on an app of one machine" in beforehand[1]
    live = json.loads(home.rollguard("check", "--live", "--output", "json", str(home.policy)).stdout)["facts"]
    assert f"{home.app} of personal: 1 machines" in live[0]
    assert "this app has one machine" in live[2]


def test_warnings_alone_are_3(home: Home) -> None:
    home.write_policy(home.policy.read_text().replace("mode: enforce", "mode: page"))
    ran = home.rollguard("check", str(home.policy))
    assert ran.returncode == 3
    assert "warning: " in ran.stdout
    assert "mode is page" in ran.stdout


def test_every_mistake_of_every_file_is_shown_at_once_with_its_place(home: Home) -> None:
    home.write_policy(
        home.policy.read_text().replace("crashed: 2 in 5m", "crashed: often").replace("deadline: 60s", "deadline: 60")
    )
    other = home.folder / "other.yaml"
    other.write_text("version: 1\n")
    ran = home.rollguard("check", str(home.policy), str(other), str(home.folder / "gone.yaml"))
    assert ran.returncode == 2
    assert f"{home.policy}:7:" in ran.stdout
    assert f"{home.policy}:12:" in ran.stdout
    assert f"{other}:" in ran.stdout
    assert "gone.yaml: there is no such file" in ran.stdout
    assert "^" in ran.stdout
    assert "Traceback" not in ran.stderr


def test_live_finds_the_app_behind_the_token_and_writes_nothing(home: Home) -> None:
    ran = home.rollguard("check", "--live", "--output", "json", str(home.policy))
    assert ran.returncode == 0
    found = json.loads(ran.stdout)
    assert found["live"] == []
    assert f"{home.app} of personal: 1 machines" in found["facts"][0]
    assert home.fly.changes_of_the_guard(home.app) == {}


def test_live_says_what_is_wrong_with_a_token_and_exits_1(home: Home) -> None:
    ran = home.rollguard("check", "--live", str(home.policy), environ=home.environ | {"FLY_API_TOKEN": "wrong"})
    assert ran.returncode == 1
    assert f"Fly does not accept this token for {home.app}" in ran.stdout
    assert ran.stdout.splitlines()[-1].endswith("; but --live found 1 to mend")


def test_live_asks_every_signal_once_and_says_which_do_not_answer(home: Home) -> None:
    probe = "  nowhere: {http: {url: http://127.0.0.1:9/, scope: [edge], timeout: 1s}, every: 5s}\n"
    home.write_policy(home.policy.read_text().replace("rules:\n", probe + "rules:\n"))
    ran = home.rollguard("check", "--live", str(home.policy))
    assert ran.returncode == 1
    assert f"{home.policy}: signal nowhere: " in ran.stdout
    assert "(the edge)" in ran.stdout
    assert home.fly.changes_of_the_guard(home.app) == {}
