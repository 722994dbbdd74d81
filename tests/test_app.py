"""The composition root in one process: what no command line needs a daemon to show."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from rollguard.adapters.http import AiohttpTransport
from rollguard.app.desk import Desk
from rollguard.app.options import Options
from rollguard.app.preflight import missing_secrets
from rollguard.app.reload import Reloader, fingerprint
from rollguard.app.target import Shared, Target
from rollguard.core import events as ev
from rollguard.core.channels import PagerDuty
from rollguard.core.policy import Artifacts, Interlocks
from rollguard.core.signals import HttpSignal, Scope, SecretRef
from rollguard.errors import PolicyError, Refused
from rollguard.ports import HttpAnswer
from rollguard.telemetry.metrics import Metrics
from tests.builders import BAD, GOOD, a_policy, a_snapshot

HERE = "http://127.0.0.1:9"
ENVIRON = {
    "FLY_API_TOKEN": "token",
    "FLY_FLAPS_BASE_URL": HERE,
    "FLY_API_BASE_URL": HERE,
    "FLY_UIEX_BASE_URL": HERE,
}
POLICY = """\
version: 1
target: {name: shop-production, platform: fly, app: shop, token_env: FLY_API_TOKEN}
signals: {machines: {platform: {}, every: 5s}}
rules: [{name: crashes, signal: machines, crashed: 2 in 5m, then: page}]
"""


@asynccontextmanager
async def a_target(data: Path, **but: Any) -> AsyncIterator[Target]:
    """A target whose platform answers nothing, with its journal open and no loop running."""
    transport = AiohttpTransport()
    shared = Shared(transport=transport, environ=ENVIRON, data=data, metrics=Metrics(CollectorRegistry(), "1"))
    target = Target.on_disk(a_policy(**but), shared)
    try:
        await target.open()
        yield target
    finally:
        await target.close()
        await transport.close()


@asynccontextmanager
async def a_desk(folder: Path) -> AsyncIterator[tuple[Desk, Target, Path]]:
    config = folder / "policy.yaml"
    config.write_text(POLICY)
    options = Options(config=config, data=folder / "data", environ=ENVIRON)
    async with a_target(options.data) as target:
        targets = {target.name: target}
        reloader = Reloader(options, targets, Metrics(CollectorRegistry(), "1"), fingerprint(config))
        yield Desk(targets, reloader), target, config


async def begun(target: Target) -> None:
    """A rollback is under way."""
    now = target.clock.now()
    target.guard.watch.snapshot = a_snapshot(at=now)
    await target.record.add(
        ev.IncidentOpened(at=now, incident="i-1", candidate=BAD, sentence="it is bad"),
        ev.GoalSet(
            at=now,
            incident="i-1",
            candidate=BAD,
            target=GOOD,
            target_ref=f"registry.example/shop@{GOOD}",
            target_version=41,
            after_version=42,
            trigger="manual",
            by="ada",
            reason="slow",
            deadline_at=now + 900.0,
        ),
    )


# -- health ------------------------------------------------------------------------------------------------------------


async def test_a_guard_is_healthy_while_a_long_tick_drives_a_rollback(tmp_path: Path) -> None:
    async with a_target(tmp_path) as target:
        now = target.clock.now()
        target.vitals.last_tick_at, target.vitals.last_snapshot_at = now - 300.0, now - 1.0
        assert target.why_unhealthy() is None
        target.vitals.last_snapshot_at = now - 300.0
        assert "no tick for 299 s" in str(target.why_unhealthy()) or "no tick for 300 s" in str(target.why_unhealthy())


async def test_a_guard_that_cannot_write_is_neither_healthy_nor_ready(tmp_path: Path) -> None:
    async with a_target(tmp_path) as target:
        target.vitals.last_tick_at = target.vitals.last_snapshot_at = target.clock.now()
        assert target.why_unready() is None
        target.vitals.journal_error = "disk full"
        assert target.why_unhealthy() == "shop-production: the journal cannot be written: disk full"
        assert target.why_unready() == "shop-production: the journal cannot be written: disk full"


# -- artifacts ---------------------------------------------------------------------------------------------------------


async def test_a_rollback_leaves_its_record_even_when_it_is_handed_over(tmp_path: Path) -> None:
    async with a_target(tmp_path) as target:
        await begun(target)
        await target.artifacts.drain()
        folder = next((tmp_path / "artifacts" / "rollback").iterdir())
        before = {"pre-rollback-status.txt", "pre-rollback-releases.json", "incident.json"}
        assert {path.name for path in folder.iterdir()} == before
        ended = ev.GoalEnded(at=target.clock.now(), incident="i-1", outcome="yielded", sentence="ci deploys")
        await target.record.add(ended)
        await target.artifacts.drain()
        assert "outcome:     yielded: ci deploys" in (folder / "rollback-summary.txt").read_text()
        assert (folder / "post-rollback-status.txt").exists()


async def test_a_folder_that_takes_no_artifacts_is_logged_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with a_target(tmp_path, artifacts=Artifacts(dir="../elsewhere")) as target:
        with caplog.at_level(logging.ERROR):
            await begun(target)
            await target.artifacts.drain()
    assert "no artifacts of incident i-1: artifacts.dir '../elsewhere'" in caplog.text


# -- policies ----------------------------------------------------------------------------------------------------------


def test_every_missing_secret_is_named_once_and_never_shown() -> None:
    policy = a_policy(page=(PagerDuty(routing_key=SecretRef(env="KEY")), PagerDuty(routing_key=SecretRef(env="KEY"))))
    where = "the secret in environment variable"
    assert missing_secrets([policy], {"FLY_API_TOKEN": "two\nlines"}) == [
        f"?: target shop-production: {where} FLY_API_TOKEN is not one line of printable ASCII",
        f"?: notify.page pagerduty: {where} KEY is missing or empty",
    ]


async def test_a_reload_replaces_rules_and_says_which_target_changed(tmp_path: Path) -> None:
    async with a_desk(tmp_path) as (desk, target, config):
        assert (await desk.handle("reload", {}, "ada"))["say"] == "obeying the new policy of shop-production"
        assert [rule.name for rule in target.guard.policy.rules] == ["crashes"]
        assert (await desk.handle("reload", {}, "ada"))["say"] == "nothing changed"
        config.write_text(POLICY.replace("2 in 5m", "often"))
        with pytest.raises(Refused, match=r"the old policy stays: .*policy\.yaml:4:"):
            await desk.handle("reload", {}, "ada")
        assert target.vitals.reload_error is not None
        config.write_text(POLICY)
        assert "obeying" in (await desk.handle("reload", {}, "ada"))["say"]
        assert target.vitals.reload_error is None
        names = [type(entry.event).__name__ for entry in await target.record.open()]
        assert names == ["PolicyLoaded", "PolicyRejected", "PolicyLoaded"]
        assert target.view.generation == 1


async def test_a_reload_that_misses_a_secret_is_refused_as_at_the_start(tmp_path: Path) -> None:
    async with a_desk(tmp_path) as (_, target, config):
        config.write_text(POLICY + "notify: {page: [pagerduty: {routing_key_env: NO_SUCH_KEY}]}\n")
        options = Options(config=config, data=tmp_path, environ=ENVIRON)
        reloader = Reloader(options, {target.name: target}, Metrics(CollectorRegistry(), "1"), "")
        with pytest.raises(PolicyError, match=r"NO_SUCH_KEY is missing or empty"):
            await reloader.reload()


def test_a_fingerprint_is_of_what_the_files_say(tmp_path: Path) -> None:
    one = tmp_path / "one.yaml"
    one.write_text("a")
    before = fingerprint(one), fingerprint(tmp_path)
    one.write_text("a")
    assert (fingerprint(one), fingerprint(tmp_path)) == before
    (tmp_path / "two.yaml").write_text("b")
    assert fingerprint(tmp_path) != before[1]
    one.unlink()
    assert fingerprint(one).startswith("cannot be read: ")


def test_a_fingerprint_reads_no_pipe_and_no_more_of_a_file_than_a_policy_may_have(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    assert fingerprint(tmp_path / "pipe")
    assert fingerprint(Path("/dev/zero"))
    (tmp_path / "huge.yaml").write_bytes(b"a" * 300_000)
    huge = fingerprint(tmp_path / "huge.yaml")
    (tmp_path / "huge.yaml").write_bytes(b"a" * 400_000)
    assert fingerprint(tmp_path / "huge.yaml") == huge


# -- the desk ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "verb, args, sentence",
    [
        ("fly", {}, "this guard knows no act 'fly'; it knows status, explain, pause"),
        ("pause", {"target": "nope", "reason": "x"}, "no target 'nope'; it guards shop-production"),
        ("pause", {"target": 7, "reason": "x"}, "target must be a str"),
        ("pause", {}, "a reason is needed"),
        ("hold", {"reason": "x", "for_s": "20m"}, "a hold needs for_s"),
        ("hold", {"reason": "x", "for_s": True}, "a hold needs for_s"),
        ("hold", {"reason": "x", "for_s": float("inf")}, "a hold lasts more than"),
        ("adopt", {"reason": "x", "version": True}, "version must be a int"),
        ("rollback", {"reason": "x", "overrides": "pause"}, "overrides is a list of names"),
        ("rollback", {"reason": "x", "overrides": ["cooldown"]}, "'cooldown' cannot be overridden"),
        ("explain", {"rule": "nope"}, "the policy has no rule 'nope'; it has not-responding"),
    ],
)
async def test_what_the_desk_does_not_understand_is_refused_with_a_sentence(
    verb: str, args: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    async with a_desk(tmp_path) as (desk, target, _):
        with pytest.raises(Refused) as refused:
            await desk.handle(verb, args, "ada")
        assert sentence in str(refused.value)
        assert [type(e.event).__name__ for e in await target.record.open()] == []


# -- loops -------------------------------------------------------------------------------------------------------------


async def test_a_page_wakes_whoever_delivers_pages(tmp_path: Path) -> None:
    async with a_target(tmp_path, page=(PagerDuty(routing_key=SecretRef(env="KEY"), url=HERE),)) as target:
        delivering = asyncio.create_task(target.outbox.deliver_forever())
        await target.pages_waiting()  # by now it has looked, found nothing, and sleeps
        await target.guard.endings.notice("look", "clock", target.clock.now())
        names: list[str] = []
        async with asyncio.timeout(10.0):
            while "PageFailed" not in names:
                await asyncio.sleep(0.01)
                names = [type(entry.event).__name__ for entry in await target.record.open()]
        delivering.cancel()
        await asyncio.wait({delivering})
        assert names == ["PageQueued", "PageFailed"]
        assert await target.pages_waiting() == 1


async def test_an_app_that_hangs_takes_connections_only_from_its_own_target(tmp_path: Path) -> None:
    shared, own = AiohttpTransport(connections=1), AiohttpTransport(connections=1)
    health = HttpSignal(
        name="health",
        every_s=5.0,
        url="http://app.test/health",
        scopes=frozenset({Scope.EDGE}),
        timeout_s=4.0,
        ok_status=frozenset({200}),
    )
    asked: list[tuple[str, str]] = []

    def listening(transport: AiohttpTransport, name: str) -> AiohttpTransport:
        async def request(method: str, url: str, **_: Any) -> HttpAnswer:
            asked.append((name, url))
            return HttpAnswer(200, {}, b"")

        transport.request = request  # type: ignore[method-assign]
        return transport

    settings = Shared(
        transport=listening(shared, "shared"),
        probing=lambda: listening(own, "own"),
        environ=ENVIRON,
        data=tmp_path,
    )
    control = Interlocks(control=("http://control.test/",))
    target = Target.on_disk(a_policy(signals=(health,), interlocks=control), settings)
    try:
        await target.open()
        await target.start()
        guarding = asyncio.create_task(target.run())
        async with asyncio.timeout(5):
            while len({url for _, url in asked if ".test/" in url}) < 2:
                await asyncio.sleep(0.01)
        guarding.cancel()
        await asyncio.gather(guarding, return_exceptions=True)
    finally:
        await target.close()
        await asyncio.gather(shared.close(), own.close())
    assert {name for name, url in asked if url == "http://app.test/health"} == {"own"}
    assert {name for name, url in asked if url != "http://app.test/health"} == {"shared"}
