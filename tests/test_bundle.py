"""The record of an incident on the disk, and the bundle that is handed on: whole, private, bounded, without secrets."""

from __future__ import annotations

import json
import logging
import os
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rollguard.adapters.http import AiohttpTransport
from rollguard.adapters.journal.sqlite import SqliteJournal
from rollguard.app.bundle import without_a_guard
from rollguard.app.options import journal_path
from rollguard.app.target import Shared, Target
from rollguard.cli.main import main
from rollguard.core import events as ev
from rollguard.core.channels import Webhook
from rollguard.core.incident_record import BUNDLE, artifact_path
from rollguard.core.policy import Artifacts, Policy
from rollguard.core.signals import SecretRef
from rollguard.errors import Refused
from tests.builders import HEALTH, MACHINES, NOON, a_machine, a_policy, a_snapshot
from tests.core.test_incident_record import SHOP, STORY
from tests.core.test_support import LOGIN

HERE = "http://127.0.0.1:9"
CANARIES = {"FLY_API_TOKEN": "fm2_canary-fly-token", "HOOK_SECRET": "whsec_canary-hook"}
ENVIRON = {**CANARIES, **dict.fromkeys(("FLY_FLAPS_BASE_URL", "FLY_API_BASE_URL", "FLY_UIEX_BASE_URL"), HERE)}
POLICY = """\
version: 1  # the canary-comment of somebody
target: {name: shop-production, platform: fly, app: shop, token_env: FLY_API_TOKEN}
signals:
  login:
    journey: {scope: [edge], timeout: 5s, steps: [{post: "https://shop.example/", form: {password: canary-password}}]}
    every: 30s
  machines: {platform: {}, every: "${EVERY:-5s}"}
rules: [{name: crashes, signal: machines, crashed: 2 in 5m, then: page}]
notify: {page: [{webhook: {url: "https://hooks.example/canary-path", secret_env: HOOK_SECRET}}]}
"""
LEAKS = (
    ev.TickFailed(at=NOON + 5, error="HTTP 401: token fm2_canary-fly-token", failures=1),
    ev.RuleChanged(at=NOON + 6, rule="login", before="clear", after="pending", sentence="sent canary-password"),
)


def a_shop(folder: Path, **but: Any) -> Policy:
    path = folder / "policy.yaml"
    path.write_text(POLICY)
    hook = Webhook(url="https://hooks.example/canary-path", secret=SecretRef(env="HOOK_SECRET"))
    settings: dict[str, Any] = {"signals": (HEALTH, LOGIN, MACHINES), "page": (hook,), "path": str(path)}
    return a_policy(**settings | but)


@asynccontextmanager
async def a_target(folder: Path, **but: Any) -> AsyncIterator[Target]:
    transport = AiohttpTransport()
    target = Target.on_disk(a_shop(folder, **but), Shared(transport=transport, environ=ENVIRON, data=folder / "data"))
    try:
        await target.open()
        target.guard.watch.snapshot = a_snapshot(
            a_machine("m1", labels={"build": "canary-label"}, config_hash="canary-config"), a_machine("m2")
        )
        yield target
    finally:
        await target.close()
        await transport.close()


async def lived(target: Target, *events: ev.Event) -> None:
    """These events, each written, and the files that follow from it."""
    for event in events:
        await target.record.add(event)
        await target.artifacts.drain()


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def unpacked(path: Path) -> dict[str, str]:
    with tarfile.open(path, "r:gz") as tar:
        members = [m for m in tar.getmembers() if m.isfile()]
        return {Path(m.name).name: file.read().decode() for m in members if (file := tar.extractfile(m))}


def handed_over(outcome: str = "failed") -> tuple[ev.Event, ...]:
    opened = replace(STORY[6], at=NOON)
    ended = ev.GoalEnded(at=NOON + 70, incident="i-1", outcome=outcome, sentence="m2 is not healthy")
    return (*STORY[:6], *LEAKS, opened, *STORY[7:19], ended)


BEFORE = {"pre-rollback-status.txt", "pre-rollback-releases.json", "incident.json"}
AFTER = BEFORE | {"post-rollback-status.txt", "post-rollback-releases.json", "rollback-summary.txt", "post-mortem.md"}


async def test_a_rollback_that_is_handed_over_leaves_the_whole_record_and_a_bundle(tmp_path: Path) -> None:
    async with a_target(tmp_path) as target:
        *story, ended = handed_over()
        await lived(target, *story)
        folder = tmp_path / "data" / artifact_path(Artifacts(), SHOP, NOON)
        assert names(folder) == BEFORE
        await lived(target, ended)
    assert names(folder) == AFTER | {BUNDLE}
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in folder.iterdir())
    assert folder.stat().st_mode & 0o777 == 0o700
    document = json.loads((folder / "incident.json").read_text())
    assert document["goal"]["ended"]["outcome"] == "failed"
    assert [m["id"] for m in document["machines"]["before"]] == ["m1", "m2"]
    assert "was handed over: `m2 is not healthy`" in (folder / "post-mortem.md").read_text()


async def test_a_rollback_that_was_restored_needs_no_bundle_and_has_its_last_word_in_the_record(tmp_path: Path) -> None:
    async with a_target(tmp_path) as target:
        await lived(target, *handed_over("restored"))
        folder = tmp_path / "data" / artifact_path(Artifacts(), SHOP, NOON)
        assert names(folder) == AFTER - {"post-mortem.md"}, "nothing is due before it is verified"
        await lived(target, *STORY[22:24])
    assert names(folder) == AFTER
    assert json.loads((folder / "incident.json").read_text())["closed"]["outcome"] == "restored"


async def test_an_incident_that_was_only_paged_has_a_record_and_no_post_mortem(tmp_path: Path) -> None:
    page = ev.PageQueued(at=NOON, key=f"rollguard/{SHOP}/i-1", summary="it is bad", severity="error")
    decided = ev.Decided(at=NOON, incident="i-1", decision="page", trigger="absolute rule", sentence="it is bad")
    opened = replace(STORY[6], at=NOON)
    async with a_target(tmp_path) as target:
        await target.record.add(opened, decided, page)
        await target.artifacts.drain()
        folder = tmp_path / "data" / artifact_path(Artifacts(), SHOP, NOON)
        assert names(folder) == {"incident.json"}
        await lived(target, ev.IncidentClosed(at=NOON + 60, incident="i-1", outcome="recovered"))
    assert names(folder) == {"incident.json"}
    assert json.loads((folder / "incident.json").read_text())["closed"]["outcome"] == "recovered"


async def test_an_incident_that_nobody_was_told_of_leaves_no_files(tmp_path: Path) -> None:
    decided = ev.Decided(at=NOON, incident="i-1", decision="would-page", trigger="absolute rule", sentence="bad")
    async with a_target(tmp_path) as target:
        closed = ev.IncidentClosed(at=NOON + 60, incident="i-1", outcome="recovered")
        await lived(target, replace(STORY[6], at=NOON), decided, closed)
    assert not (tmp_path / "data" / "artifacts").exists()


async def test_the_record_goes_on_when_the_beginning_is_out_of_reach(tmp_path: Path) -> None:
    async with a_target(tmp_path) as target:
        *story, ended = handed_over()
        await lived(target, *story)
        target.record.recent.clear()
        await lived(target, ended)
    folder = tmp_path / "data" / artifact_path(Artifacts(), SHOP, NOON)
    assert json.loads((folder / "incident.json").read_text())["opened"] == "2026-08-21T12:00:00Z"


async def test_no_secret_is_in_a_bundle_or_in_the_record_of_an_incident(tmp_path: Path) -> None:
    async with a_target(tmp_path) as target:
        await lived(target, *handed_over())
    folder = tmp_path / "data" / artifact_path(Artifacts(), SHOP, NOON)
    inside = unpacked(folder / BUNDLE)
    expected = {"README.txt", "incident.json", "events.jsonl", "status.json", "explain.txt", "machines.json"}
    assert set(inside) == expected | {"releases.json", "guard.json", "policy.json"}
    assert not [name for name, text in inside.items() if "canary" in text]
    labels = json.loads((folder / "incident.json").read_text())["machines"]["before"][0]["labels"]
    assert labels["build"].startswith("#")
    policy = json.loads(inside["policy.json"])
    assert policy["policy"]["signals"]["machines"]["every"] == "${EVERY:-5s}", "variables are not filled in"
    assert policy["policy"]["target"]["token_env"] == "FLY_API_TOKEN"
    assert policy["asObeyed"] is False, "this file is not what the guard obeys"
    guard = json.loads(inside["guard.json"])
    assert abs(guard["clockDriftSeconds"]) < 60
    assert {"version", "python", "mode", "policy"} <= set(guard)
    assert guard["failedCalls"] == [
        {"at": "2026-08-21T12:00:47Z", "id": "01ABC-ord", "error": "HTTP 500 (fly-request-id 01ABC-ord)"}
    ]


async def test_a_disk_that_takes_nothing_stops_nothing(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with a_target(tmp_path) as target:
        (tmp_path / "data" / "artifacts").write_text("in the way")
        with caplog.at_level(logging.ERROR):
            await lived(target, *handed_over())
        assert target.record.state.goal is None
    assert "no artifacts of incident i-1: cannot write artifacts to" in caplog.text


async def test_old_records_are_deleted_when_a_new_one_is_written(tmp_path: Path) -> None:
    async with a_target(tmp_path) as target:
        old = tmp_path / "data" / artifact_path(Artifacts(), SHOP, NOON - 40 * 86400)
        old.mkdir(parents=True)
        os.utime(old, (NOON - 40 * 86400,) * 2)
        await lived(target, *handed_over())
    assert not old.exists()


async def test_a_bundle_is_made_by_hand_of_any_incident(tmp_path: Path) -> None:
    async with a_target(tmp_path) as target:
        nothing = await target.bundler.by_hand(None)
        assert (nothing.incident, "incident.json" in nothing.files) == ("", False)
        for event in STORY:
            await target.record.add(event)
        assert (await target.bundler.by_hand(None)).incident == "i-1"
        older = await target.bundler.by_hand("i-0")
        assert json.loads(unpacked(older.path)["incident.json"])["metadata"]["name"] == "i-0"
        with pytest.raises(Refused, match="the journal of shop-production has no incident 'i-9'"):
            await target.bundler.by_hand("i-9")


# -- without a guard ---------------------------------------------------------------------------------------------------


@pytest.fixture
async def data(tmp_path: Path) -> Path:
    """The journal that a guard left behind."""
    (tmp_path / "data").mkdir()
    journal = SqliteJournal.open(journal_path(tmp_path / "data", SHOP), SHOP)
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    loaded = ev.PolicyLoaded(at=NOON - 5000, hash="abc", path=str(policy), mode="enforce")
    await journal.append([loaded, *STORY[:19], *LEAKS])
    await journal.close()
    return tmp_path / "data"


@pytest.mark.parametrize("more", ["", "nonsense: true\n"], ids=["a policy", "one that cannot be obeyed any more"])
async def test_a_bundle_can_be_made_while_no_guard_runs(data: Path, more: str) -> None:
    (data.parent / "policy.yaml").write_text(POLICY + more)
    made = without_a_guard(data, SHOP, None, ENVIRON)
    inside = unpacked(made.path)
    assert set(inside) == {
        "README.txt",
        "incident.json",
        "events.jsonl",
        "status.json",
        "explain.txt",
        "guard.json",
        "policy.json",
    }
    document = json.loads(inside["incident.json"])
    assert document["goal"]["trigger"] == "absolute rule"
    assert document["metadata"]["app"] == ("?" if more else "shop")
    assert "decided to rollback" in inside["explain.txt"]
    assert not [name for name, text in inside.items() if "canary" in text]


async def test_the_command_copies_the_bundle_to_where_it_is_wanted_and_writes_over_nothing(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = data.parent / "for-support.tar.gz"
    words = ["bundle", SHOP, "i-1", "--data", str(data), "--out", str(out), "--output", "json"]
    assert main(words) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["path"], answer["incident"], answer["target"]) == (str(out), "i-1", SHOP)
    assert "incident.json" in unpacked(out)
    assert out.stat().st_mode & 0o777 == 0o600
    assert main(words) == 1
    assert "for-support.tar.gz: File exists; the bundle is " in capsys.readouterr().err
    assert main(["bundle", SHOP, "i-9", "--data", str(data)]) == 1
    assert "has no incident 'i-9'" in capsys.readouterr().err


async def test_show_says_where_the_record_is(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["show", "--data", str(data)]) == 0
    assert "artifacts:" not in capsys.readouterr().out
    assert main(["bundle", SHOP, "--data", str(data)]) == 0
    capsys.readouterr()
    assert main(["show", "--data", str(data)]) == 0
    folder = data / artifact_path(Artifacts(), SHOP, NOON + 10)
    assert f"artifacts: {folder}" in capsys.readouterr().out
    assert main(["show", "--data", str(data), "--output", "json"]) == 0
    assert json.loads(capsys.readouterr().out)["artifacts"] == str(folder)
