"""flyctl as it is driven: the words that work, an environment of its own, and what it says in the end."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pytest

from rollguard.adapters.executors.flyctl import flyctl, reading, words
from rollguard.adapters.executors.process import ProcessDelegate
from rollguard.core.executors import Flyctl
from rollguard.core.order import Begun, Work
from rollguard.core.policy import Policy, Rollback, Target
from rollguard.core.signals import SecretRef
from rollguard.errors import Refused
from tests.adapters.programs import ORDER, ended, program

POLICY = Policy(target=Target(name="shop", app="shop", token=SecretRef(env="DEPLOY_TOKEN")), signals=(), rules=())
MADE = '{"id":"rel_1","version":43,"image_ref":"registry.fly.io/shop:deployment-A"}'


def driven(folder: Path, body: str, **environ: str) -> ProcessDelegate:
    settings = Flyctl(binary=program(folder, body, "flyctl"))
    known = {"PATH": os.environ["PATH"], "DEPLOY_TOKEN": "fo1_hush-hush", **environ}
    return flyctl(settings, POLICY, known, folder / "orders")


def test_it_deploys_the_digest_rolling_and_without_what_a_rollback_must_not_do() -> None:
    assert words(Flyctl(), POLICY, ORDER) == (
        *("flyctl", "deploy", "--app", "shop", "--image", ORDER.image),
        *("--strategy", "rolling", "--max-unavailable", "0.25", "--wait-timeout", "300s", "--deploy-retries", "0"),
        *("--skip-release-command", "--update-only", "--dns-checks=false", "--yes"),
    )


def test_all_at_once_is_not_one_at_a_time() -> None:
    policy = replace(POLICY, rollback=Rollback(max_unavailable=1.0))
    said = words(Flyctl(), policy, ORDER)
    assert said[said.index("--max-unavailable") + 1] == "0.999", "flyctl takes 1 for a count"


def test_a_binary_that_is_named_by_its_place_is_found_from_anywhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert words(Flyctl(binary="./bin/flyctl"), POLICY, ORDER)[0] == str(tmp_path / "bin/flyctl")


async def test_it_finds_the_targets_token_the_platforms_addresses_and_nothing_of_anybody_else(tmp_path: Path) -> None:
    body = "print(json.dumps([sys.argv[1:], dict(os.environ), os.getcwd(), os.listdir()]))"
    secrets = {"PAGERDUTY_KEY": "pd", "FLY_ACCESS_TOKEN": "fo1_another", "LOG_LEVEL": "debug", "CI": "1"}
    one = driven(tmp_path, body, FLY_API_BASE_URL="http://127.0.0.1:4000", HTTPS_PROXY="http://proxy:1", **secrets)
    word = await ended(one, await one.begin(ORDER))
    assert word.work is Work.SUCCEEDED
    argv, environ, folder, files = json.loads(await one.printed(Begun(ORDER.id)))
    assert environ["FLY_API_TOKEN"] == "[FLY_API_TOKEN]", "it was there, and is not shown"
    assert not [one for one in argv if "hush" in one]
    assert not set(secrets) & set(environ)
    assert (environ["FLY_API_BASE_URL"], environ["HTTPS_PROXY"]) == ("http://127.0.0.1:4000", "http://proxy:1")
    assert environ["FLY_CONFIG_DIR"] == environ["HOME"] == folder
    assert files == [], "no fly.toml, no login"
    assert {environ[n] for n in ("FLY_NO_UPDATE_CHECK", "FLY_EMIT_RELEASE_JSON", "NO_COLOR")} == {"1"}
    await one.close()


async def test_without_a_token_nothing_begins(tmp_path: Path) -> None:
    one = driven(tmp_path, "print('x')", DEPLOY_TOKEN="")
    with pytest.raises(Refused, match="DEPLOY_TOKEN is missing or empty"):
        await one.begin(ORDER)
    assert await one.printed(Begun(ORDER.id)) == ""


async def test_the_release_that_it_made_is_said(tmp_path: Path) -> None:
    one = driven(tmp_path, f"print('Updating machines'); print('''{MADE}''')")
    word = await ended(one, await one.begin(ORDER))
    assert (word.work, word.sentence) == (Work.SUCCEEDED, "it made release v43")
    await one.close()


@pytest.mark.parametrize(
    "code, output, said",
    [
        (0, f"Updating\n{MADE}\nVisit https://shop.fly.dev\n", "it made release v43"),
        (0, "Updating\n", ""),
        (0, '{"version": "43", "image_ref": "x"}\n{"version": 43}\n[1]\n' + "[" * 5000, ""),
        (1, 'x\nError: could not find image "a"\n', 'could not find image "a"'),
        (1, "Error: \x1b[31mred\x1b[0m\n", "[31mred [0m"),
        (126, "Error: deadline\n", "its time was over; deadline"),
        (127, "", "it was interrupted"),
        (1, "no word of an error\n", ""),
    ],
)
def test_what_its_end_means(code: int, output: str, said: str) -> None:
    assert reading(code, output) == said


async def test_a_failure_without_a_word_of_its_own_tells_the_last_line(tmp_path: Path) -> None:
    one = driven(tmp_path, "print('machine 1 is not healthy'); sys.exit(1)")
    word = await ended(one, await one.begin(ORDER))
    assert (word.work, word.sentence) == (Work.FAILED, "exit code 1: machine 1 is not healthy")
    await one.close()


async def test_no_part_of_the_token_is_shown_where_flyctl_takes_it_apart(tmp_path: Path) -> None:
    token = "FlyV1 fm2_one-secret,fm2_two-secret"
    one = driven(tmp_path, "print('using fm2_two-secret'); print('Error: fm2_one-secret expired')", DEPLOY_TOKEN=token)
    word = await ended(one, await one.begin(ORDER))
    assert "secret" not in word.output + word.sentence + await one.printed(Begun(ORDER.id))
    assert "[FLY_API_TOKEN 2]" in word.output
    await one.close()
