"""Saving what the signals of a target say, and vouching for a release with it."""

from __future__ import annotations

import json
import stat

from rollguard.adapters.recording import read_recording
from rollguard.core.model import EDGE
from tests.cli.running import POLICY, Home

PROBED = POLICY.replace(
    "signals:\n", 'signals:\n  health: {{http: {{url: "{pager}", scope: [edge], timeout: 290ms}}, every: 300ms}}\n'
)
"""With a page that answers."""


def probing(home: Home) -> Home:
    home.write_policy(PROBED.format(app=home.app, pager=home.fly.pager))
    return home


def test_a_policys_signals_are_read_for_a_while_and_saved_without_a_guard(home: Home) -> None:
    file = home.folder / "shop.jsonl"
    done = probing(home).rollguard("record", str(home.policy), "--for", "1500ms", "--out", str(file))
    assert (done.returncode, done.stderr) == (0, "")
    assert "readings of 1 machine" in done.stdout
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    header = json.loads(file.read_text().splitlines()[0])
    assert (header["rollguard"], header["target"], len(header["policy"])) == ("recording", "shop", 64)
    saved = read_recording(file)
    assert [look.digest for look in saved.looks] == list(home.fly.digests("shop"))
    assert {(r.key, r.subject, r.value) for r in saved.readings} == {("health", EDGE, 1.0)}
    assert len(saved.readings) >= 4
    assert not home.data.exists(), "nothing is written but the file"
    assert home.fly.changes_of_the_guard("shop") == {}


def test_a_target_is_recorded_by_the_policy_that_its_guard_obeyed(home: Home) -> None:
    file = home.folder / "shop.jsonl"
    with probing(home).guard():
        done = home.rollguard("record", "shop", "--for", "500ms", "--out", str(file), "--output", "json")
    said = json.loads(done.stdout)
    assert (done.returncode, said["target"], said["machines"], said["full"]) == (0, "shop", 1, False)
    assert said["readings"] == len(read_recording(file).readings)


def test_a_recording_is_never_written_over_something_else(home: Home) -> None:
    precious = home.folder / "precious"
    precious.write_text("mine")
    done = probing(home).rollguard("record", str(home.policy), "--for", "1s", "--out", str(precious))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"rollguard: cannot write a recording to {precious}: File exists\n"
    assert precious.read_text() == "mine"


def test_where_nothing_can_be_read_the_exit_code_says_so(home: Home) -> None:
    done = home.rollguard("record", str(home.policy), "--for", "300ms", "--out", str(home.folder / "empty"))
    assert done.returncode == 1, done.stdout
    assert " readings of " in done.stdout, done.stderr  # none, or gaps alone where a busy machine let one begin


def test_mistakes_are_said_before_anything_is_read(home: Home) -> None:
    out = ("--out", str(home.folder / "x"))
    for words, code, why in (
        (("nobody", "--for", "1s", *out), 2, "no journal in"),
        ((str(home.policy), "--for", "30", *out), 2, "--for"),
        ((str(home.policy), "--for", "25h", *out), 2, "at most 1 d"),
    ):
        done = home.rollguard("record", *words)
        assert (done.returncode, why in done.stderr) == (code, True), done.stderr
    assert not (home.folder / "x").exists()


def test_what_cannot_be_a_baseline_is_refused_with_the_reason_and_nothing_is_adopted(home: Home) -> None:
    header = {"rollguard": "recording", "format": 1, "version": "0", "target": "shop", "policy": "", "at": 0.0}
    files = {
        "other": (json.dumps({**header, "target": "bar"}), "the recording is of 'bar', not of shop"),
        "plain": (json.dumps(header), "no rule of the policy compares a release with a baseline"),
        "broken": (json.dumps(header) + '\n{"at": 1, "key"', "broken:2: not JSON: the file was cut off or changed"),
        "absent": (None, "absent: cannot be read: No such file or directory"),
    }
    with home.guard():
        for name, (content, why) in files.items():
            path = home.folder / name
            if content is not None:
                path.write_text(content)
            done = home.rollguard("adopt", "shop", "--reason", "runs well", "--baseline", str(path))
            assert (done.returncode, why in done.stderr) == (1, True), done.stderr
    assert "BaselineLoaded" not in home.names()
