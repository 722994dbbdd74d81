"""The command line before it does anything."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from rollguard import __version__
from rollguard.cli.main import VERBS, main
from tests.cli.running import environment


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_help_that_says_what_it_is_for(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main([verb, "--help"])
    assert ended.value.code == 0
    said = capsys.readouterr().out
    assert f"usage: rollguard {verb}" in said
    assert VERBS[verb][1].split(":")[0] in " ".join(said.split())


def test_without_a_verb_all_of_them_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    said = capsys.readouterr().err
    assert all(f"\n  {verb} " in said for verb in VERBS)


@pytest.mark.parametrize(
    "words, hint",
    [
        (["stauts"], "unknown verb 'stauts'; did you mean status?"),
        (["rolback", "shop"], "did you mean rollback?"),
        (["status", "--ouput", "json"], "unknown option --ouput; did you mean --output?"),
        (["rollback", "shop", "--reason", "x", "--dryrun"], "unknown option --dryrun; did you mean --dry-run?"),
        (["status", "--out", "json"], "unknown option --out"),
        (["pause", "shop"], "the following arguments are required: --reason"),
        (["rollback", "shop", "forty", "--reason", "x"], "'forty' is no release number, such as 42 or v42"),
        (["run"], "the following arguments are required: --config"),
        (["run", "--config", "x", "--mode", "act"], "invalid choice: 'act'"),
        (["version", "now"], "unknown argument now"),
    ],
)
def test_what_cannot_be_understood_exits_2_with_one_sentence(
    words: list[str], hint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    said = capsys.readouterr().err
    assert hint in said
    assert "Traceback" not in said


def test_a_mistyped_verb_gets_its_hint_and_not_the_list(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["stauts"]) == 2
    assert capsys.readouterr().err.splitlines() == [
        "rollguard: unknown verb 'stauts'; did you mean status?",
        "rollguard help lists them all",
    ]


def test_a_hold_needs_a_length_with_a_unit(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hold", "shop", "--for", "20", "--reason", "x"]) == 2
    assert "--for 20 has no unit" in capsys.readouterr().err


def test_the_version_is_for_people_and_for_programs(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["version"]) == 0
    assert main(["--version"]) == 0
    assert main(["version", "--output", "json"]) == 0
    assert capsys.readouterr().out.splitlines()[1:] == [f"rollguard {__version__}", f'{{"version": "{__version__}"}}']


def test_asking_where_no_guard_ever_ran_is_a_sentence(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    data = ["--data", f"{tmp_path}/none"]
    assert main(["status", *data]) == 2
    assert main(["show", *data]) == 2
    assert main(["pause", "shop", "--reason", "x", *data]) == 1
    said = capsys.readouterr().err
    assert said.count("has a guard run with this --data?") == 2
    assert "no guard listens at" in said


@pytest.mark.parametrize("verb", ["status", "pause", "version"])
def test_a_small_verb_does_not_load_the_daemon(verb: str) -> None:
    words = f"import sys; from rollguard.cli.main import main; main([{verb!r}, '--help'])"
    look = f"import atexit, json, sys; atexit.register(lambda: print(json.dumps(sorted(sys.modules)))); {words}"
    ran = subprocess.run((sys.executable, "-c", look), env=environment(), capture_output=True, text=True, check=True)
    loaded = set(json.loads(ran.stdout.splitlines()[-1]))
    assert not loaded & {"aiohttp", "pydantic", "prometheus_client", "yaml", "sqlite3"}
