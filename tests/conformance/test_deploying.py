"""What flyctl does to machines and releases, and leaves behind."""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

import pytest

from tests.conformance.conftest import Opener
from tests.conformance.fly import APP, GOOD, ILL, NEXT, USER, Fly, deploy_words, ended, killed, wait_for


async def left_behind(fly: Fly) -> dict[str, Any]:
    """Digests, release versions in metadata, open leases."""
    machines = await fly.machines()
    return {
        "digests": {m["image_ref"]["digest"] for m in machines},
        "versions": {m["config"]["metadata"]["fly_release_version"] for m in machines},
        "leases": [m["lease"] for m in machines if "lease" in m],
    }


async def newest(fly: Fly) -> tuple[int, str, str]:
    row = (await fly.run("releases", "-a", APP, "--json", "--image")).json[0]
    return row["Version"], row["Status"], row["ImageRef"]


@pytest.mark.parametrize("retries", ["0", "1"])
@pytest.mark.parametrize("strategy", ["rolling", "immediate"])
async def test_a_healthy_image_is_deployed(fly: Fly, strategy: str, retries: str) -> None:
    ran = await fly.deploy(NEXT, "--strategy", strategy, "--deploy-retries", retries)
    assert ran.code == 0, ran.err
    assert await newest(fly) == (2, "complete", NEXT.ref)
    left = await left_behind(fly)
    assert left == {"digests": {NEXT.digest}, "versions": {"2"}, "leases": []}
    (written,) = [r for r in (await fly.seen())["releases"] if r["version"] == 2]
    assert written["user"] == USER


async def test_a_rolling_deploy_changes_one_machine_after_the_other(open_fly: Opener) -> None:
    async with open_fly(machines=4) as fly:
        await fly.deploy(NEXT, "--max-unavailable", "0.25")
        times = [e["at"] for e in (await fly.seen())["events"] if e["kind"] == "update"]
        assert len(times) == 4
        gaps = [b - a for a, b in itertools.pairwise(sorted(times))]
        assert min(gaps) > 0.5, "the next one only after the one before was well"


@pytest.mark.parametrize("retries", ["0", "1"])
async def test_an_image_whose_checks_fail_leaves_a_mix_and_a_failed_release(fly: Fly, retries: str) -> None:
    ran = await fly.deploy(ILL, "--wait-timeout", "8s", "--deploy-retries", retries, "--max-unavailable", "1")
    assert ran.code == 1
    assert (await newest(fly))[:2] == (2, "failed")
    left = await left_behind(fly)
    assert left["digests"] == {GOOD.digest, ILL.digest}, "nothing is put back"
    assert left["versions"] == {"1", "2"}


async def test_an_immediate_deploy_asks_nobody_whether_it_went_well(fly: Fly) -> None:
    ran = await fly.deploy(ILL, "--strategy", "immediate")
    assert ran.code == 0
    assert await newest(fly) == (2, "complete", ILL.ref)
    assert (await left_behind(fly))["digests"] == {ILL.digest}


async def test_an_unknown_image_makes_no_release(fly: Fly) -> None:
    ran = await fly.run("deploy", "-a", APP, "--image", f"registry.fly.io/{APP}:gone", "--yes")
    assert ran.code == 1
    assert "could not find image" in ran.err
    assert (await newest(fly))[0] == 1
    assert (await fly.seen())["writes"][USER] == {}


async def test_one_machine_is_updated_without_a_release(fly: Fly) -> None:
    machine = (await fly.machines())[0]["id"]
    ran = await fly.run("machine", "update", machine, "--image", NEXT.ref, "-y", "-a", APP)
    assert ran.code == 0, ran.err
    updated = next(m for m in await fly.machines() if m["id"] == machine)
    assert updated["image_ref"]["digest"] == NEXT.digest
    assert updated["config"]["image"].endswith(f"@{NEXT.digest}")
    assert updated["config"]["metadata"]["fly_release_version"] == "1", "the number of the release before stays"
    assert "lease" not in updated
    assert (await newest(fly))[0] == 1


async def test_smoke_checks_watch_every_machine_for_ten_seconds(open_fly: Opener) -> None:
    async with open_fly(machines=1) as fly:
        ran = await fly.deploy(NEXT, "--smoke-checks=true")
        assert ran.code == 0, ran.err
        took_s = max(e["at"] for e in (await fly.seen())["events"] if e["kind"] == "release_patch")
        begun = [e["at"] for e in (await fly.seen())["events"] if e["kind"] == "update"]
        assert took_s - begun[0] >= 10


async def test_a_deploy_that_is_killed_leaves_a_running_release_and_leases_that_expire(fly: Fly) -> None:
    process = await fly.begin(*deploy_words(NEXT))
    await fly.until(lambda seen: sum(e["kind"] == "update" for e in seen["events"]) == 1)
    killed(process)
    await ended(process)
    assert (await newest(fly))[:2] == (2, "running")
    assert (await left_behind(fly))["leases"]

    async def no_leases() -> bool:
        return not (await left_behind(fly))["leases"]

    await wait_for(no_leases, within_s=20)
    assert len((await left_behind(fly))["versions"]) == 2


async def test_the_platforms_rate_limits_do_not_stop_a_deploy(open_fly: Opener) -> None:
    async with open_fly(machines=4, rate_limits=True) as fly:
        ran = await fly.deploy(NEXT, "--smoke-checks=true")
        assert ran.code == 0, ran.err
        await asyncio.sleep(2)
        assert (await left_behind(fly))["digests"] == {NEXT.digest}
