"""The Machines API: waiting, listing, refusing."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from rollguard.localfly.apps import AppSpec
from rollguard.localfly.messages import ApiRequest
from tests.localfly.simulated import APP, NEXT, Fly, at, first, image, live, settled
from tests.virtual_time import wall_clock

MACHINES = f"/v1/apps/{APP}/machines"


def test_wait_blocks_until_the_state_is_reached() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy()
        await settled(app)
        machine = first(app)
        began = wall_clock()
        await fly.update(machine)
        answer = await fly.get(at(machine, f"/wait?state=started&timeout=60&version={machine.instance_id}"))
        assert machine.state == "started"
        assert 0.5 < wall_clock() - began < 5
        assert answer["version"] == machine.instance_id

    live(story)


def test_wait_gives_up_with_408_after_its_timeout() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy()
        await settled(app)
        began = wall_clock()
        answer = await fly.call("GET", at(first(app), "/wait?state=stopped&timeout=7"))
        assert answer.status == 408
        assert b"machine failed to reach desired state, stopped, currently started" in answer.body
        assert wall_clock() - began == pytest.approx(7, abs=0.001)

    live(story)


def test_the_old_version_does_not_satisfy_a_wait_for_it_but_does_one_without_a_version() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy()
        await settled(app)
        machine = first(app)
        old = machine.instance_id
        fly.faults.change({"pull": "fails"})
        new = json.loads((await fly.update(machine)).body)["instance_id"]
        await settled(app)
        assert machine.instance_id == old, "the platform went back to the old version"
        assert (await fly.call("GET", at(machine, "/wait?timeout=1"))).status == 200
        answer = await fly.call("GET", at(machine, f"/wait?timeout=1&version={new}"))
        assert answer.status == 408
        assert b"currently replaced" in answer.body

    live(story)


@pytest.mark.parametrize("timeout", ["0", "61", "-1", "soon"])
def test_wait_refuses_a_timeout_outside_a_minute(timeout: str) -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy()
        assert (await fly.call("GET", at(first(app), f"/wait?timeout={timeout}"))).status == 400

    live(story)


def test_settled_is_any_resting_state() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy()
        machine = first(app)
        assert machine.state == "starting"
        assert (await fly.get(at(machine, "/wait?state=settled&timeout=60")))["state"] == "started"

    live(story)


def test_the_list_can_be_filtered_by_metadata_state_and_region() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy()
        await settled(app)
        machine = first(app)
        await fly.call("POST", at(machine, "/metadata/colour"), {"value": "blue"})
        await fly.call("POST", at(machine, "/stop"), {"signal": "SIGTERM", "timeout": "1s"})
        await settled(app)
        for query, count in (
            ("metadata.colour=blue", 1),
            ("metadata.colour=red", 0),
            ("state=started", 3),
            ("state=started,stopped", 4),
            ("region=iad", 0),
        ):
            assert len(await fly.get(f"{MACHINES}?{query}")) == count, query

    live(story)


def test_a_created_machine_may_come_with_a_lease_and_without_a_launch() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy()
        config = {"image": NEXT.ref, "metadata": {"fly_process_group": "fly_app_release_command"}, "auto_destroy": True}
        body = {"config": config, "skip_launch": True, "lease_ttl": 60, "region": "iad"}
        answer = json.loads((await fly.call("POST", MACHINES, body)).body)
        assert (answer["state"], answer["region"]) == ("created", "iad")
        machine = app.machines[answer["id"]]
        assert (await fly.call("POST", at(machine, "/start"))).status == 409
        await fly.call("POST", at(machine, "/start"), fly_machine_lease_nonce=answer["nonce"])
        assert (await fly.get(at(machine, "/wait?state=destroyed&timeout=60")))["ok"]
        assert machine.events[0]["request"]["exit_event"]["exit_code"] == 0

    live(story)


@pytest.mark.parametrize(
    "method, path, token, status, sentence",
    [
        ("GET", MACHINES, "stolen", 401, "Authenticate: token validation error"),
        ("GET", "/v1/apps/nobodys/machines", "guard-token", 404, "app not found"),
        ("GET", "/v1/apps/theirs/machines", "guard-token", 403, "unauthorized: token is not for this app"),
        ("GET", f"{MACHINES}/0000000000000a", "guard-token", 404, "machine not found"),
        ("POST", f"{MACHINES}/0000000000000a/lease", "guard-token", 404, "machine not found"),
        ("POST", MACHINES, "guard-token", 422, "invalid_argument: config.image is required"),
    ],
)
def test_what_may_not_be_is_refused_in_flys_words(
    method: str, path: str, token: str, status: int, sentence: str
) -> None:
    async def story(fly: Fly) -> None:
        fly.deploy()
        theirs = AppSpec(name="theirs", image=NEXT.ref, tokens={"other": "other@example.com"}, machines=1)
        fly.world.create_app(theirs, wall_clock())
        answer = await fly.call(method, path, token=token)
        assert (answer.status, json.loads(answer.body)["error"]) == (status, sentence)
        assert answer.headers["fly-request-id"]

    live(story)


def test_an_unrouted_path_is_plain_text_and_comes_before_authentication() -> None:
    async def story(fly: Fly) -> None:
        answer = await fly.call("GET", "/v1/nothing/here", token="stolen")
        assert (answer.status, answer.body) == (404, b"404 page not found\n")
        assert answer.headers["content-type"].startswith("text/plain")

    live(story)


@pytest.mark.parametrize("body", [b"{", b"[]", b"\xff"])
def test_a_malformed_body_is_a_400(body: bytes) -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy()
        headers = {"authorization": "Bearer guard-token"}
        answer = await fly.api.handle(ApiRequest.of("POST", f"http://fly{at(first(app))}", headers, body))
        assert answer.status == 400

    live(story)


def test_a_list_fault_meets_only_the_owner_it_is_for() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy()
        await settled(app)
        fly.faults.change({"list_machines": "empty", "owner": "guard@example.com"})
        assert await fly.get(MACHINES) == []
        assert len(await fly.get(MACHINES, token="ci-token")) == 4
        fly.faults.change({"list_machines": "503"})
        assert (await fly.call("GET", MACHINES)).status == 503
        fly.faults.change({"list_machines": "truncated"})
        with pytest.raises(json.JSONDecodeError):
            json.loads((await fly.call("GET", MACHINES)).body)

    live(story)


def test_a_408_may_come_after_the_update_took_effect() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy()
        await settled(app)
        fly.faults.change({"update": "408-after-effect"})
        assert (await fly.update(first(app))).status == 408
        fly.faults.change({"update": None})
        await settled(app)
        assert first(app).image == NEXT

    live(story)


def test_a_slow_interface_answers_late() -> None:
    async def story(fly: Fly) -> None:
        fly.deploy()
        fly.faults.change({"guard_api_delay_s": 9.0})
        began = wall_clock()
        await fly.get(MACHINES)
        assert wall_clock() - began == pytest.approx(9, abs=0.001)

    live(story)


def test_a_machine_is_serialised_once_per_change_and_a_poll_is_cheap() -> None:
    async def story(fly: Fly) -> float:
        app = fly.deploy(machines=10)
        await settled(app)
        assert first(app).wire() is first(app).wire()
        began = time.process_time()
        for _ in range(200):
            await fly.call("GET", MACHINES)
        return (time.process_time() - began) / 200

    assert live(story) < 0.001


def test_two_waits_at_once_are_both_answered_and_a_dropped_one_harms_nobody() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy()
        await settled(app)
        machine = first(app)
        waits = [
            asyncio.create_task(fly.call("GET", at(machine, f"/wait?state={s}"))) for s in ("stopped", "suspended")
        ]
        await asyncio.sleep(1)
        waits[1].cancel()
        await fly.call("POST", at(machine, "/stop"), {})
        assert (await waits[0]).status == 200
        with pytest.raises(asyncio.CancelledError):
            await waits[1]

    live(story)


def test_ps_shows_what_the_machine_listens_on() -> None:
    async def story(fly: Fly) -> None:
        slow = image("SLOW", boots_in_s=5.0)
        fly.world.images.push(slow)
        app = fly.deploy(image=slow.ref)
        assert (await fly.call("GET", at(first(app), "/ps"))).status == 412
        await settled(app)
        assert (await fly.get(at(first(app), "/ps")))[0]["listen_sockets"] == [
            {"proto": "tcp", "address": "0.0.0.0:3000"}
        ]

    live(story)
