"""The scenes of the demo on real processes: what each fault looks like from where a guard stands."""

from __future__ import annotations

import asyncio
import json
import signal
import time
from typing import Any

import pytest

from rollguard.localfly.http1 import BadMessageError
from rollguard.localfly.images import Behaviour
from rollguard.localfly.rollout import LEASE_TTL_S
from tests.localfly.local import OWNER, Local
from tests.localfly.running import get

QUICK = Behaviour(latency_s=0.0, boots_in_s=0.0)


async def machines_of(local: Local) -> list[dict[str, Any]]:
    return sorted((await local.watch())["machines"], key=lambda machine: str(machine["id"]))


async def test_a_deploy_killed_half_way_leaves_mixed_machines_a_running_release_and_its_leases(local: Local) -> None:
    await local.start(QUICK, machines=4)
    old, new = (await machines_of(local))[0]["digest"], await local.push("NEW", Behaviour(latency_s=0.001))
    code, said = await local.deploy(new, "--smoke", "0", "--die-after", "2")
    assert (code, said) == (-signal.SIGKILL, "")
    assert [machine["digest"] for machine in await machines_of(local)] == [new.digest] * 2 + [old] * 2
    world = await local.watch()
    assert [(row["version"], row["status"]) for row in world["releases"]] == [(2, "running"), (1, "complete")]
    assert "lease_release" not in world["writes"][OWNER]
    leases = [m["lease"] for m in await local.fly("/v1/apps/shop/machines?include_leases=true")]
    assert len(leases) == 4
    assert all(0 <= lease["expires_at"] - time.time() <= LEASE_TTL_S for lease in leases)


async def test_a_deploy_of_a_crash_loop_completes_and_the_exits_follow(local: Local) -> None:
    await local.start(QUICK, machines=2)
    code, said = await local.deploy(await local.push("LOOP", Behaviour(latency_s=0.0, crash_after_s=3.0)))
    assert (code, json.loads(said)["ok"]) == (0, True)

    async def all_crash() -> bool:
        return all([await crashes(local, machine["id"]) > 0 for machine in await machines_of(local)])

    await local.until(all_crash)


async def crashes(local: Local, machine: str) -> int:
    events = await local.fly(f"/v1/apps/shop/machines/{machine}/events?limit=50")
    exits = [event["request"]["exit_event"] for event in events if event["type"] == "exit"]
    return sum(each["exit_code"] == 1 and each["restarting"] for each in exits)


async def test_while_the_dependency_is_down_every_image_fails_where_it_reads_and_nowhere_else(local: Local) -> None:
    need = await local.serve("dependency")
    await local.start(Behaviour(latency_s=0.0, boots_in_s=0.0, needs=need), machines=2)
    old, new = await machines_of(local)
    image = await local.push("NEW", Behaviour(latency_s=0.001, boots_in_s=0.0, needs=need))
    assert (await local.deploy(image, "--smoke", "0", "--die-after", "1"))[0] == -signal.SIGKILL
    await local.until(local.is_whole)

    async def see(status: int) -> bool:
        return [await local.visit(machine["id"]) for machine in (old, new)] == [status, status]

    assert await see(200)
    for how in ("503", "hang"):
        await get(need, "/local/v1/down", "POST", json.dumps({"how": how}).encode())
        await local.until(lambda: see(500))
        assert [await local.visit(old["id"], path) for path in ("/", "/health")] == [200, 200]
        await get(need, "/local/v1/up", "POST")
        await local.until(lambda: see(200))


async def test_one_machine_can_be_sick_until_it_restarts_and_the_log_tells_which(local: Local) -> None:
    await local.start(QUICK, machines=2)
    sick, well = (machine["id"] for machine in await machines_of(local))
    await local.tell(f"/local/v1/apps/shop/machines/{sick}/mood", {"error_share": 1.0})

    async def fails() -> bool:
        return await local.visit(sick) == 500

    await local.until(fails)
    assert await local.visit(well) == 200
    lines = await local.fly(f"/api/v1/apps/shop/logs?next_token=&instance={sick}&region=ord")
    said = [line["attributes"] for line in lines["data"]]
    assert said[0]["message"].startswith("info: HotDash serves, image sha256:")
    assert (said[-1]["level"], said[-1]["message"]) == ("error", "error: GET /products 500 Unexpected Server Error")
    assert {line["instance"] for line in said} == {sick}

    restart = f"/v1/apps/shop/machines/{sick}/restart"
    await get(local.platform, restart, "POST", b"{}", authorization="Bearer fo1_ci")
    await local.until(local.is_whole)
    assert await local.visit(sick) == 200


async def test_the_mood_of_an_app_is_that_of_every_image_until_it_is_lifted(local: Local) -> None:
    await local.start(QUICK, machines=2)
    await local.tell("/local/v1/apps/shop/mood", {"behaviour": {"error_share": 1.0}})
    ids = [machine["id"] for machine in await machines_of(local)]

    async def all_see(status: int) -> bool:
        return {await local.visit(machine) for machine in ids} == {status}

    await local.until(lambda: all_see(500))
    assert (await local.deploy(await local.push("NEW", Behaviour(latency_s=0.001)), "--smoke", "0"))[0] == 0
    assert await all_see(500)
    await local.tell("/local/v1/apps/shop/mood", {"behaviour": {}})
    await local.until(lambda: all_see(200))


@pytest.mark.parametrize("deed", ["503", "drop", "hang"])
async def test_the_metrics_of_an_edge_can_die_while_its_pages_live_and_come_back(local: Local, deed: str) -> None:
    await local.start(QUICK, machines=1)
    scrape = "/prometheus/acme/federate?match[]=fly_edge_http_responses_count"
    await faults(local, [{"do": deed}])
    asked = asyncio.create_task(get(local.edge, scrape))

    async def used_up() -> bool:
        return not await faults(local)

    await local.until(used_up)
    assert (await get(local.edge, "/")).status == 200
    await faults(local, [])  # who hangs is let go
    if deed == "503":
        assert (await asked).status == 503
    else:
        with pytest.raises((BadMessageError, OSError)):
            await asked
    assert (await get(local.edge, scrape)).status == 200


async def faults(local: Local, script: list[dict[str, Any]] | None = None) -> Any:
    """What is left of the edge's script, after a change of it where one is given."""
    body = b"" if script is None else json.dumps({"faults": script}).encode()
    answer = await get(local.edge, "/local/v1/faults", "GET" if script is None else "POST", body)
    assert answer.status == 200, answer.body
    return json.loads(answer.body)["faults"]
