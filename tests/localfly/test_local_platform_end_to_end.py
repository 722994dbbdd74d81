"""Everything real: platform, machines, edge, users and a deploy. Draining loses nobody; not draining does."""

from __future__ import annotations

from rollguard.localfly.images import Behaviour
from tests.localfly.local import OWNER, Local


async def test_a_rolling_deploy_of_draining_machines_loses_no_request(local: Local) -> None:
    await local.start(Behaviour(latency_s=0.2), machines=4)
    new = await local.push("NEW", Behaviour(latency_s=0.2))
    said, seen = await local.deploy_under_traffic(new)
    assert (said["ok"], said["version"]) == (True, 2)
    assert seen["errors"] == {}
    assert seen["failed"] == 0
    assert seen["requests"] > 100
    world = await local.watch()
    assert {machine["digest"] for machine in world["machines"]} == {new.digest}
    assert [(release["version"], release["status"]) for release in world["releases"]] == [
        (2, "complete"),
        (1, "complete"),
    ]
    assert world["floor_violations"] == []
    writes = world["writes"][OWNER]
    assert (writes["lease"], writes["update"], writes["lease_release"]) == (4, 4, 4)


async def test_machines_that_do_not_drain_lose_requests_and_the_users_say_so(local: Local) -> None:
    await local.start(Behaviour(latency_s=0.2, added_latency_s=0.8, drains=False), machines=2)
    said, seen = await local.deploy_under_traffic(await local.push("NEW", Behaviour()))
    assert said["ok"] is True
    assert seen["errors"].get("proxy:reset", 0) > 0


async def test_a_release_whose_answers_fail_stays_green_to_the_platform(local: Local) -> None:
    await local.start(Behaviour(latency_s=0.05), machines=2)
    bad = await local.push("BAD", Behaviour(latency_s=0.05, error_share=1.0))
    said, seen = await local.deploy_under_traffic(bad)
    assert said["ok"] is True
    assert seen["errors"] == {}
    assert seen["by_status"]["500"] > 0
    assert all(machine["routable"] for machine in (await local.watch())["machines"])
