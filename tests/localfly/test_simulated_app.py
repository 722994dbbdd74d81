"""The edge in simulated time: routes like the real one, counts like Fly, and repeats itself for the same seed."""

from __future__ import annotations

import asyncio
import json
import re
import time

from rollguard.localfly.simulated_app import SimulatedApp
from tests.localfly.simulated import APP, Fly, at, first, image, live, settled
from tests.virtual_time import wall_clock

EDGE = "https://hotdash.fly.dev"
FEDERATE = f'{EDGE}/prometheus/personal/federate?match[]={{__name__=~"fly_.*_responses_count"}}'


async def counts(site: SimulatedApp, name: str = "fly_edge_http_responses_count") -> dict[str, int]:
    """Responses by status so far."""
    _, _, body = await site.answer("GET", FEDERATE)
    found: dict[str, int] = {}
    for line in body.decode().splitlines():
        if line.startswith(name) and (match := re.search(r'status="(\d+)".* (\d+) \d+$', line)):
            found[match[1]] = found.get(match[1], 0) + int(match[2])
    return found


def site_of(fly: Fly, rps: float = 20.0, seed: int = 0) -> SimulatedApp:
    return SimulatedApp(fly.world, fly.host, APP, wall_clock, rps=rps, seed=seed)


def test_requests_go_round_and_a_forced_one_goes_where_it_says() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy()
        await settled(app)
        site = site_of(fly)
        served = [(await site.answer("GET", f"{EDGE}/"))[1]["x-machine"] for _ in range(8)]
        assert sorted(served[:4]) == sorted(served[4:]) == sorted(app.machines)
        for machine in app.machines:
            status, headers, body = await site.answer(
                "GET", f"{EDGE}/api/monitoring/health", {"fly-force-instance-id": machine}
            )
            assert (status, headers["x-machine"]) == (200, machine)
            assert json.loads(body)["status"] == "healthy"

    live(story)


def test_nothing_routable_is_the_proxys_own_error_and_only_the_edge_counts_it() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy()
        await settled(app)
        site = site_of(fly, rps=10)
        for machine in app.machines.values():
            await fly.call("POST", at(machine, "/cordon"))
        assert (await site.answer("GET", f"{EDGE}/"))[0] == 503
        await asyncio.sleep(60)
        assert (await counts(site))["503"] == 601
        assert "503" not in await counts(site, "fly_app_http_responses_count")

    live(story)


def test_a_request_wakes_a_sleeping_app() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(machines=1, checks=())
        await settled(app)
        site = site_of(fly, rps=0)
        await fly.call("POST", at(first(app), "/stop"), {})
        await settled(app)
        assert (await site.answer("GET", f"{EDGE}/"))[0] == 200
        assert first(app).state == "started"

    live(story)


def test_users_see_the_errors_of_a_bad_image_while_checks_stay_green() -> None:
    async def story(fly: Fly) -> None:
        bad = image("BAD", error_share=1.0)
        fly.world.images.push(bad)
        app = fly.deploy(machines=2)
        await settled(app)
        site = site_of(fly, rps=10)
        await asyncio.sleep(60)
        assert await counts(site) == {"200": 600}
        await fly.update(first(app), bad)
        await settled(app)
        assert first(app).routable
        before = await counts(site)
        await asyncio.sleep(60)
        after = await counts(site)
        assert after["500"] - before["500"] == after["200"] - before["200"] == 300
        _, _, body = await site.answer("GET", f"{EDGE}/api/monitoring/health", {"fly-force-instance-id": first(app).id})
        assert json.loads(body)["metrics"]["errors"]["total"] > 300

    live(story)


def test_the_same_seed_gives_the_same_history() -> None:
    async def story(fly: Fly) -> bytes:
        flaky = image("FLAKY", error_share=0.07)
        fly.world.images.push(flaky)
        app = fly.deploy(image=flaky.ref)
        await settled(app)
        site = site_of(fly)
        await asyncio.sleep(300)
        return (await site.answer("GET", f"{EDGE}/metrics"))[2]

    assert live(story) == live(story)


def test_a_whole_rollback_is_cheap_enough_to_simulate_thousands() -> None:
    async def story(fly: Fly) -> float:
        app = fly.deploy(machines=4)
        await settled(app)
        began = time.process_time()
        for machine in app.machines.values():
            lease = json.loads((await fly.call("POST", at(machine, "/lease?ttl=13"), {})).body)["data"]["nonce"]
            await fly.update(machine, nonce=lease, current_version=machine.instance_id)
            await fly.get(at(machine, f"/wait?version={machine.instance_id}"))
            while not machine.routable:
                await asyncio.sleep(1)
                await fly.get(at(machine))
                await fly.get("/v1/apps/hotdash/machines?include_leases=true")
            await fly.call("DELETE", at(machine, "/lease"), fly_machine_lease_nonce=lease)
        return time.process_time() - began

    assert live(story) < 0.1, "50 ms were the aim; twice that on a busy machine"
