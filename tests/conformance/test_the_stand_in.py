"""The stand-in for flyctl, that all other tests and the demo deploy with, asks what flyctl asks, in the same order."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import pytest

from rollguard.localfly.images import Image
from tests.conformance.fly import APP, GOOD, ILL, NEXT, TOKEN, Fly, Ran, deploy_words, ended, set_up
from tests.conformance.traffic import Wire, overheard
from tests.contracts.openapi_traffic import DESCRIPTION, Description, Exchange, of_the_machines_api
from tests.contracts.test_openapi_of_local_platform import KNOWN

DAEMON = Path(__file__).parents[2] / "daemon"
ONLY_FLYCTL = (
    "GET app",
    "GET organization",
    "POST builds",
    "POST builds/finish",
    "graphql egress",
    "GET m/ps",
)
"""What the stand-in leaves out: it changes nothing, and nothing is decided by it."""
WHENEVER = ("refresh m/lease",)
"""By the clock, not in an order."""
ONLY_FLYCTLS_REQUESTS = {
    'fly.MachineService.force_instance_key: NoneType is not of type "string"',
    "UpdateMachineRequest.skip_secrets: not described",
}
"""How flyctl of 2026 differs from the vendor's description of 2024, beside what is known of the platform's answers."""

MACHINES = 3

Deployer = Callable[[Fly, Image, str], Coroutine[Any, Any, Ran]]


async def by_flyctl(fly: Fly, image: Image, strategy: str) -> Ran:
    return await fly.deploy(image, "--strategy", strategy, "--wait-timeout", "4s")


async def by_stand_in(fly: Fly, image: Image, strategy: str) -> Ran:
    options = {"platform": fly.url, "token": TOKEN, "app": APP, "image": image.ref, "strategy": strategy}
    options |= {"max-unavailable": "0.33", "wait-timeout": "4", "smoke": "0"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rollguard.localfly.deployer"),
        *(word for name, value in options.items() for word in (f"--{name}", value)),
        env={**os.environ, "PYTHONPATH": str(DAEMON)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    return await ended(process)


async def traffic(deployer: Deployer, home: Path, image: Image, strategy: str) -> tuple[Wire, int]:
    """What a deployer asks to put an image on three fresh machines, and its exit code."""
    async with overheard() as (url, wire):
        fly = Fly(Path(os.environ["FLYCTL"]), url, home)
        await set_up(fly, MACHINES)
        return wire, (await deployer(fly, image, strategy)).code


@pytest.mark.parametrize("strategy", ["rolling", "immediate"])
async def test_both_ask_and_write_the_same_in_the_same_order(tmp_path: Path, strategy: str) -> None:
    real, ours = await both(tmp_path, NEXT, strategy, code=0)
    for kind in ("POST m", "POST releases", "PATCH release running", "PATCH release complete"):
        theirs = [comparable(each.body) for each in real.of(kind)]
        assert [comparable(each.body) for each in ours.of(kind)] == theirs, kind


async def test_both_fail_alike_and_record_why(tmp_path: Path) -> None:
    for wire in await both(tmp_path, ILL, "rolling", code=1):
        (row,) = wire.of("PATCH release failed")
        (failed,) = wire.of("POST m")
        info = row.body["metadata"]["post_deployment_info"]
        assert set(info) == {"flyctl_version", "error"}
        assert f"timeout reached waiting for health checks to pass for machine {failed.machine}" in info["error"]


async def both(home: Path, image: Image, strategy: str, *, code: int) -> tuple[Wire, Wire]:
    """What flyctl and what the stand-in asked: the same, in the same order, but for what the tables above name."""
    (real, real_code), (ours, our_code) = [
        await traffic(deployer, home, image, strategy) for deployer in (by_flyctl, by_stand_in)
    ]
    assert (real_code, our_code) == (code, code)
    without = (*ONLY_FLYCTL, *WHENEVER)
    theirs, mine = real.kinds(without), ours.kinds(without)
    begun = theirs.index("POST m/lease")
    leased = begun + MACHINES
    assert mine[:leased] == theirs[:leased], "until all leases are held"
    assert ours.by_machine(without) == real.by_machine(without), "of every machine"
    assert mine[-MACHINES - 1 :] == theirs[-MACHINES - 1 :], "the end"
    assert sorted(each.machine for each in ours.of("POST m")) == sorted(each.machine for each in real.of("POST m"))
    assert set(theirs) == set(mine)
    return real, ours


def comparable(value: Any) -> Any:
    """A body without what differs from run to run, and what a Go program spells out."""
    if isinstance(value, list):
        return [comparable(each) for each in value]
    if not isinstance(value, dict):
        return value
    dull = {"build_id", "fly_flyctl_version", "flyctl_version", "fly_release_id"}
    named = {name: comparable(each) for name, each in value.items() if name not in dull and each is not None}
    return {name: each for name, each in named.items() if (name, each) != ("skip_secrets", False)}


async def test_a_deploy_changes_nothing_of_a_config_but_image_and_release(tmp_path: Path) -> None:
    async with overheard() as (url, wire):
        fly = Fly(Path(os.environ["FLYCTL"]), url, tmp_path)
        await set_up(fly, machines=1)
        (before,) = await fly.machines()
        assert (await fly.deploy(NEXT)).code == 0
        (after,) = await fly.machines()
    release = wire.of("POST releases")[0].response
    assert release is not None
    metadata = before["config"]["metadata"] | {
        "fly_release_id": re.findall(rb'"id":"(\w+)"', release.body)[0].decode(),
        "fly_release_version": "2",
    }
    wanted = before["config"] | {"image": NEXT.ref, "metadata": metadata}
    assert comparable(after["config"]) == comparable(wanted)


async def test_with_retries_flyctl_waits_for_three_ends_of_a_machine_at_once(tmp_path: Path) -> None:
    async with overheard() as (url, wire):
        fly = Fly(Path(os.environ["FLYCTL"]), url, tmp_path)
        await set_up(fly, machines=2)
        assert (await fly.deploy(NEXT, "--deploy-retries", "1")).code == 0
    waits = {"GET m/wait started", "GET m/wait stopped", "GET m/wait suspended"}
    assert waits <= set(wire.kinds())
    for kinds in wire.by_machine((*WHENEVER, *waits, "GET m/ps")).values():
        assert kinds == ["POST m/lease", "POST m", "GET m", "DELETE m/lease"]


async def test_interrupted_flyctl_says_so_in_its_row_and_gives_no_lease_back(tmp_path: Path) -> None:
    async with overheard() as (url, wire):
        fly = Fly(Path(os.environ["FLYCTL"]), url, tmp_path)
        await set_up(fly, machines=2)
        process = await fly.begin(*deploy_words(NEXT))
        await fly.until(lambda seen: any(event["kind"] == "update" for event in seen["events"]))
        process.send_signal(2)
        assert (await ended(process)).code == 127
    assert wire.of("DELETE m/lease") == []
    (row,) = wire.of("PATCH release interrupted")
    assert row.body["metadata"]["post_deployment_info"]["error"] == ""


@pytest.mark.skipif(not DESCRIPTION.exists(), reason="the vendor's description is not part of the project")
async def test_flyctls_traffic_is_what_the_vendor_describes(tmp_path: Path) -> None:
    async with overheard() as (url, wire):
        fly = Fly(Path(os.environ["FLYCTL"]), url, tmp_path)
        await set_up(fly, machines=2)
        machine = (await fly.machines())[0]["id"]
        assert (await fly.deploy(NEXT, "--deploy-retries", "1")).code == 0
        assert (await fly.run("machine", "update", machine, "--image", GOOD.ref, "-y", "-a", APP)).code == 0
        assert (await fly.run("machine", "list", "-a", APP)).code == 0
    description = Description()
    heard = [Exchange(each.request, each.response) for each in wire.asked]
    found = {what for each in heard if of_the_machines_api(each) for what in description.differences(each)}
    assert found - set(KNOWN) == ONLY_FLYCTLS_REQUESTS
