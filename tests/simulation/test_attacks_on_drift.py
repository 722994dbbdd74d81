"""What a guard says of configurations is true, and holds no value of one."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import Any

import pytest

from rollguard.adapters.fly import opaque
from rollguard.adapters.fly.capsule import capsule_of
from rollguard.core import events as ev
from rollguard.core.drift import Capsule, Config, Drift, drifts, with_config
from rollguard.core.event import Event
from rollguard.core.incident_json import Salt, without_labels
from rollguard.engine.drift import NAME
from rollguard.telemetry.logs import log_event
from tests.simulation.siege import QUICK, Aftermath, Siege, besiege
from tests.simulation.stage import APP, FINE, GOOD
from tests.simulation.test_drift import env, fail, known, release
from tests.simulation.test_readiness import ahead

LEASES = f"/v1/apps/{APP}/machines"


# -- nothing leaks ---------------------------------------------------------------------------------------------------

SALT = b"s" * 32


@pytest.mark.parametrize(
    "config",
    [
        {"guest": {"kernel_args": ["KEY=canary"]}},
        {"checks": {"up": {"path": "/health?key=canary"}}},
        {"services": [{"checks": [{"path": "/health?key=canary"}]}]},
        {"metrics": {"path": "/m?canary"}},
        {"processes": [{"cmd": ["canary"], "env": {"A": "canary"}, "secrets": [{"name": "canary"}]}]},
        {"containers": [{"healthchecks": [{"exec": {"command": ["canary"]}}], "env": {"A": "canary"}}]},
        {"containers": [{"image": "https://me:canary@registry.example/x"}]},
        {"services": [{"ports": [{"http_options": {"response": {"headers": {"X": "canary"}}}}]}]},
        {"files": [{"guest_path": "/a", "raw_value": "canary"}]},
        {"something_new": {"deep": [{"er": "canary"}]}},
    ],
)
def test_no_place_of_a_config_tells_what_may_be_a_secret(config: dict[str, Any]) -> None:
    assert "canary" not in json.dumps(capsule_of(config, SALT))


@pytest.mark.parametrize("one, other", [("1", "1.0"), ("0.50", "0.5"), ("1e3", "1000"), ("-0", "0")])
def test_a_number_written_in_another_way_is_no_change(one: str, other: str) -> None:
    configs = [opaque.load(f'{{"guest":{{"memory_mb":{n}}}}}'.encode(), "GET") for n in (one, other)]
    assert capsule_of(configs[0], SALT) == capsule_of(configs[1], SALT)


@pytest.mark.parametrize(
    "one, other", [("1", "2"), ("1e999", "2e999"), ("1e-999", "0"), ("12345678901234567", "12345678901234568")]
)
def test_two_numbers_are_two(one: str, other: str) -> None:
    configs = [opaque.load(f'{{"guest":{{"memory_mb":{n}}}}}'.encode(), "GET") for n in (one, other)]
    assert capsule_of(configs[0], SALT) != capsule_of(configs[1], SALT)


def test_no_hash_without_salt_of_a_configuration_is_kept_with_its_keys() -> None:
    """Who knows all of it but ``DEBUG`` would try ``true`` and ``false``."""
    hashes: set[str] = set()

    async def story(siege: Siege) -> None:
        await known(siege)
        snapshot = siege.guard.watch.snapshot
        assert snapshot is not None
        hashes.update(m.config_hash for m in snapshot.managed)

    after = besiege(story, looks_ahead=True)
    assert hashes
    assert not [one for one in hashes if one in after.stage.disk.kept[NAME]]


def a_drill(config: str) -> Event:
    return ev.DrillBegan(
        at=1.0,
        drill="d1",
        serving=FINE.digest,
        serving_ref=FINE.ref,
        serving_version=2,
        target=GOOD.digest,
        target_ref=GOOD.ref,
        target_version=1,
        machines=("m1",),
        whole=False,
        after_version=2,
        by="ann",
        reason="to see",
        deadline_at=900.0,
        span_s=60.0,
        instances={"m1": "i1"},
        configs={"m1": config},
    )


def test_a_drill_tells_no_hash_without_salt_in_the_log_or_a_bundle(caplog: pytest.LogCaptureFixture) -> None:
    event = a_drill("f00d" * 16)
    with caplog.at_level(logging.INFO, logger="rollguard"):
        log_event(ev.Recorded(seq=1, event=event), APP)
    assert caplog.records
    assert "f00d" not in json.dumps([record.__dict__ for record in caplog.records], default=str)
    bundled = without_labels(QUICK, event, Salt("x"))
    assert isinstance(bundled, ev.DrillBegan)
    assert bundled.configs["m1"].startswith("f00d") is False


# -- what is said of the configuration is true -----------------------------------------------------------------------


def warned(after: Aftermath) -> str:
    return " ".join([*after.pages, *(w for e in after.of(ev.Decided) for w in e.warnings)])


def test_machines_of_one_group_that_always_differed_are_no_change() -> None:
    async def story(siege: Siege) -> None:
        second = siege.machines[1]
        here = siege.stage.app.machines[second].config
        big = dict(here) | {"guest": {"cpu_kind": "shared", "cpus": 1, "memory_mb": 4096}}
        assert await siege.call("POST", f"{LEASES}/{second}", {"config": big})
        await asyncio.sleep(700)
        await siege.stage.deploy(FINE)
        await asyncio.sleep(20)
        for machine in siege.machines:
            if machine != second:
                await siege.machine(machine, "stop")
        await asyncio.sleep(60)
        plan = await siege.acts.rollback("bob", "to see", None, (), dry_run=True)
        assert not [w.sentence for w in plan.warnings if w.name == "config drift"]

    ahead(story)


def test_a_group_whose_host_cannot_be_reached_is_not_said_to_be_removed() -> None:
    async def story(siege: Siege) -> None:
        worker = await siege.add_machine(group="worker", services=None, checks=None)
        await asyncio.sleep(700)
        await siege.stage.deploy(FINE)
        await asyncio.sleep(30)
        lost = siege.stage.app.machines[worker]
        lost.host_status = "unreachable"
        lost.touch(siege.guard.clock.now())
        await asyncio.sleep(30)
        good = siege.guard.record.state.record(GOOD.digest)
        assert siege.guard.configs.drifts(good, siege.guard.watch.snapshot).since_proven == Drift()
        assert "group worker" not in siege.stage.disk.kept[NAME]

    ahead(story)


def test_a_configuration_that_was_left_and_came_back_is_the_one_that_the_release_was_proven_with() -> None:
    def row(digest: str, version: int, key: str) -> Config:
        capsule = Capsule(group="app", machine="m1", hash="", keys={"guest.memory_mb": key})
        return Config(digest=digest, version=version, at=0.0, capsules=(capsule,), proven=True)

    book: tuple[Config, ...] = ()
    for config in (row("good", 1, "256"), row("good", 1, "512"), row("good", 1, "256")):
        book = with_config(book, config)
    assert len(book) == 2
    assert drifts(book, row("bad", 2, "256"), "good").since_proven == Drift()


def test_a_configuration_change_that_goes_bad_is_paged_by_the_names_of_its_keys() -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(FINE)
        await asyncio.sleep(30)
        await siege.acts.adopt("alice", "it is fine", None)
        await known(siege)
        await release(siege, FINE, env=env(siege, DEBUG="true", API_URL="canary-9"))
        await fail(siege)

    after = besiege(story, looks_ahead=True)
    assert not after.of(ev.GoalSet)
    page = next(p for p in after.pages if "has the same image as" in p)
    assert "env.API_URL added" in page
    assert "env.DEBUG added" in page
    assert "canary" not in warned(after)
