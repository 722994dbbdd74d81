"""What happens without anybody asking for it: hosts go away, images are pruned, tokens end, machines sleep."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from rollguard.localfly.local_api import LocalApi
from rollguard.localfly.machines import Machine
from rollguard.localfly.messages import ApiRequest
from rollguard.localfly.pulse import Pulse
from tests.localfly.simulated import APP, GOOD, NEXT, Fly, at, first, image, live, settled
from tests.virtual_time import wall_clock

MACHINES = f"/v1/apps/{APP}/machines"
QUERY = "query($appName: String!, $imageRef: String!) { app(name: $appName) { id image(ref: $imageRef) { digest } } }"


async def tell(fly: Fly, path: str, body: dict[str, Any], status: int = 200) -> Any:
    """A call of the local interface, and what it answers."""
    local = LocalApi(fly.world, wall_clock, pulse=Pulse(fly.world), faults=fly.faults)
    answer = await local.handle(ApiRequest.of("POST", f"http://local/local/v1{path}", {}, json.dumps(body).encode()))
    assert answer.status == status, answer.body
    return json.loads(answer.body)


async def digest_of(fly: Fly, ref: str) -> str | None:
    """What GraphQL resolves the reference to."""
    body = {"query": QUERY, "variables": {"appName": APP, "imageRef": ref}}
    found = json.loads((await fly.call("POST", "/graphql", body)).body)["data"]["app"]["image"]
    return found and found["digest"]


def pinned(digest: str) -> str:
    return f"registry.fly.io/{APP}@{digest}"


async def create(fly: Fly, config: dict[str, Any], **more: Any) -> Machine:
    """A machine made by a deployer."""
    answer = await fly.call("POST", MACHINES, {"config": {"image": GOOD.ref, **config}, "region": "ord", **more})
    assert answer.status == 200, answer.body
    return fly.world.apps[APP].machines[json.loads(answer.body)["id"]]


# Hosts


@pytest.mark.parametrize("status", ["unreachable", "unknown"])
def test_without_its_host_a_machine_is_shown_without_its_config_and_cannot_be_changed(status: str) -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(3)
        await settled(app)
        machine = first(app)
        await tell(fly, f"/apps/{APP}/machines/{machine.id}/host", {"status": status})
        seen = (await fly.get(MACHINES))[0]
        assert (seen["host_status"], seen["incomplete_config"]["image"], "config" in seen) == (status, GOOD.ref, False)
        for answer in (
            await fly.update(machine),
            await fly.call("POST", at(machine, "/stop"), {}),
            await fly.call("POST", at(machine, "/lease?ttl=13")),
        ):
            assert (answer.status, "timed out talking to the host" in answer.body.decode()) == (408, True)
        assert (machine.image, machine.updates, machine.lease) == (GOOD, 0, None)
        await tell(fly, f"/apps/{APP}/machines/{machine.id}/host", {"status": "ok"})
        assert (await fly.update(machine)).status == 200

    live(story)


def test_a_wait_for_a_machine_without_its_host_ends_when_the_host_is_back_and_else_never() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(2)
        await settled(app)
        machine = first(app)
        fly.world.set_host_status(APP, machine.id, "unreachable", wall_clock())
        assert (await fly.call("GET", at(machine, "/wait?timeout=60"))).status == 408
        waiting = asyncio.create_task(fly.call("GET", at(machine, "/wait?timeout=60")))
        await asyncio.sleep(5)
        fly.world.set_host_status(APP, machine.id, "ok", wall_clock())
        assert (await waiting).status == 200

    live(story)


def test_a_deployer_may_destroy_a_machine_whose_host_is_away() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(2)
        await settled(app)
        machine = first(app)
        fly.world.set_host_status(APP, machine.id, "unreachable", wall_clock())
        assert (await fly.call("DELETE", at(machine) + "?force=true")).status == 200
        await settled(app)
        assert machine.state == "destroyed"

    live(story)


def test_a_standby_starts_when_the_host_of_its_machine_goes_away() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(1)
        await settled(app)
        worker = first(app)
        standby = await create(fly, {"standbys": [worker.id]}, skip_launch=True)
        bystander = await create(fly, {"standbys": ["0123456789abcd"]}, skip_launch=True)
        await settled(app)
        fly.world.set_host_status(APP, worker.id, "unreachable", wall_clock())
        await settled(app)
        assert (standby.state, bystander.state) == ("started", "stopped")

    live(story)


# Volumes


def test_a_volume_is_listed_with_the_machine_that_mounts_it_and_pins_it() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(1)
        volume = (await tell(fly, f"/apps/{APP}/volumes", {"name": "data", "size_gb": 3}, 201))["id"]
        mounts = [{"volume": volume, "path": "/data"}]
        machine = await create(fly, {"mounts": mounts})
        await settled(app)
        (shown,) = await fly.get(f"/v1/apps/{APP}/volumes")
        assert shown | {"created_at": ""} == {
            "id": volume,
            "name": "data",
            "state": "created",
            "region": "ord",
            "size_gb": 3,
            "zone": "5e1f",
            "encrypted": True,
            "attached_machine_id": machine.id,
            "attached_alloc_id": None,
            "host_status": "ok",
            "created_at": "",
        }
        assert (await fly.get(f"/v1/apps/{APP}"))["volume_count"] == 1
        another = await fly.call("POST", MACHINES, {"config": {"image": GOOD.ref, "mounts": mounts}, "region": "ord"})
        assert (another.status, b"is attached to machine" in another.body) == (412, True)
        assert (await fly.update(machine)).status == 200, "its image may change"
        await settled(app)
        moved = {**machine.config, "mounts": []}
        assert (await fly.call("POST", at(machine), {"config": moved})).status == 412, "its mounts may not"
        await fly.call("DELETE", at(machine) + "?force=true")
        await settled(app)
        assert (await fly.get(f"/v1/apps/{APP}/volumes/{volume}"))["attached_machine_id"] is None

    live(story)


@pytest.mark.parametrize(
    "region, volume, status", [("iad", "{id}", 422), ("ord", "vol_nobodys", 404), ("ord", "{id}", 200)]
)
def test_a_machine_can_only_mount_a_volume_that_is_where_it_is(region: str, volume: str, status: int) -> None:
    async def story(fly: Fly) -> None:
        fly.deploy(1)
        made = json.loads((await fly.call("POST", f"/v1/apps/{APP}/volumes", {"name": "data"})).body)
        config = {"image": GOOD.ref, "mounts": [{"volume": volume.format(**made), "path": "/data"}]}
        assert (await fly.call("POST", MACHINES, {"config": config, "region": region})).status == status

    live(story)


# Images


def test_a_pruned_image_is_kept_as_long_as_a_machine_has_it_and_then_gone_by_tag_and_digest() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(2)
        await settled(app)
        assert await tell(fly, "/images/prune", {"image": GOOD.ref}) == {"digest": GOOD.digest, "gone": False}
        one, other = app.machines.values()
        await fly.update(one)
        await settled(app)
        assert await digest_of(fly, GOOD.ref) == GOOD.digest, "the other machine still runs it"
        await fly.update(other)
        await settled(app)
        assert [await digest_of(fly, ref) for ref in (GOOD.ref, pinned(GOOD.digest))] == [None, None]
        assert (await fly.update(one, GOOD)).status == 422
        await tell(fly, "/images/prune", {"image": "registry.fly.io/hotdash:nothing"}, 404)

    live(story)


def test_an_unused_image_is_pruned_at_once() -> None:
    async def story(fly: Fly) -> None:
        fly.deploy(1)
        assert (await tell(fly, "/images/prune", {"image": NEXT.digest}))["gone"]
        assert await digest_of(fly, NEXT.ref) is None

    live(story)


def test_a_pruned_image_does_not_keep_a_failed_pull_from_going_back() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(1)
        await settled(app)
        machine = first(app)
        fly.faults.change({"pull": "fails"})
        await fly.update(machine)
        await tell(fly, "/images/prune", {"image": GOOD.ref})
        await settled(app)
        assert (machine.state, machine.image) == ("started", GOOD)

    live(story)


def test_a_moved_tag_boots_another_digest_while_a_digest_is_a_digest() -> None:
    async def story(fly: Fly) -> None:
        other = image("OTHER", error_share=1.0)
        fly.world.images.push(other)
        app = fly.deploy(2)
        await settled(app)
        one, two = app.machines.values()
        await tell(fly, "/images/tag", {"ref": GOOD.ref, "digest": other.digest})
        assert one.image == GOOD, "machines keep what they booted"
        await fly.call("POST", at(one, "/restart"))
        await settled(app)
        assert one.image == GOOD
        assert await digest_of(fly, GOOD.ref) == other.digest
        await fly.update(one, GOOD)
        await fly.call("POST", at(two), {"config": {**two.config, "image": pinned(GOOD.digest)}})
        await settled(app)
        assert (one.image, two.image) == (other, GOOD)
        assert (await fly.get(at(two)))["image_ref"]["digest"] == GOOD.digest
        await tell(fly, "/images/tag", {"ref": "registry.fly.io/theirs:x", "digest": GOOD.digest}, 422)

    live(story)


# Tokens


def test_a_revoked_token_is_a_strangers() -> None:
    async def story(fly: Fly) -> None:
        fly.deploy(1)
        await tell(fly, "/tokens", {"token": "guard-token", "revoked": True})
        assert (await fly.call("GET", MACHINES)).status == 401
        assert (await fly.call("GET", MACHINES, token="ci-token")).status == 200
        await tell(fly, "/tokens", {"token": "guard-token", "revoked": True}, 404)

    live(story)


def test_a_read_only_token_reads_everything_and_writes_nothing() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(1)
        await settled(app)
        await tell(fly, "/tokens", {"token": "guard-token", "read_only": True})
        machine = first(app)
        row = {"app_name": APP, "definition": {"app": APP}, "image": NEXT.ref}
        answers = [
            await fly.update(machine),
            await fly.call("POST", at(machine, "/lease?ttl=13")),
            await fly.call("POST", "/api/v1/releases", row),
        ]
        assert [(a.status, b"read-only" in a.body) for a in answers] == [(403, True)] * 3
        assert (await fly.call("GET", MACHINES)).status == 200
        assert await digest_of(fly, GOOD.ref) == GOOD.digest
        mutation = {"query": "mutation($input: I!) { createRelease(input: $input) { release { id } } }"}
        answer = json.loads((await fly.call("POST", "/graphql", {**mutation, "variables": {"input": row}})).body)
        assert answer["errors"][0]["extensions"]["code"] == "FORBIDDEN"
        await tell(fly, "/tokens", {"token": "guard-token", "read_only": False})
        assert (await fly.update(machine)).status == 200

    live(story)


def test_a_token_of_other_apps_is_refused() -> None:
    async def story(fly: Fly) -> None:
        fly.deploy(1)
        await tell(fly, "/tokens", {"token": "guard-token", "apps": ["another"]})
        assert (await fly.call("GET", MACHINES)).status == 403
        await tell(fly, "/tokens", {"token": "guard-token", "apps": [APP]})
        assert (await fly.call("GET", MACHINES)).status == 200

    live(story)


# The proxy, and machines that are not like the others


def sleeping(app_config: dict[str, Any], mode: object, least: int = 1) -> dict[str, Any]:
    """A config whose service sleeps when nobody uses it."""
    service = {**app_config["services"][0], "autostop": mode, "autostart": True, "min_machines_running": least}
    return {**app_config, "services": [service]}


@pytest.mark.parametrize("mode, ends_as", [(True, "stopped"), ("stop", "stopped"), ("suspend", "suspended")])
def test_an_idle_machine_goes_to_sleep_as_it_is_told_and_wakes_on_demand(mode: object, ends_as: str) -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(2)
        await settled(app)
        one, other = app.machines.values()
        for machine in (one, other):
            await fly.call("POST", at(machine), {"config": sleeping(dict(machine.config), mode)})
            await settled(app)
        await tell(fly, f"/apps/{APP}/machines/{one.id}/idle", {})
        await settled(app)
        assert one.state == ends_as
        newest = next(event for event in one.events if event["type"] == "exit")["request"]["exit_event"]
        assert (newest["requested_stop"], newest["exit_code"]) == (True, 0)
        await tell(fly, f"/apps/{APP}/machines/{other.id}/idle", {})
        await settled(app)
        assert other.state == "started", "the last one is kept running"
        assert not app.ledger.violations, "the proxy is no owner who breaks the floor"
        await tell(fly, f"/apps/{APP}/machines/{one.id}/wake", {})
        await settled(app)
        assert one.routable

    live(story)


def test_without_autostop_nothing_ever_sleeps() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(3)
        await settled(app)
        assert (await tell(fly, f"/apps/{APP}/machines/{first(app).id}/idle", {}))["state"] == "started"

    live(story)


def test_groups_unmanaged_machines_and_commands_are_told_apart() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(1)
        worker = await create(fly, {"metadata": {"fly_platform_version": "v2", "fly_process_group": "worker"}})
        stray = await create(fly, {"metadata": {}})
        command = {"fly_platform_version": "v2", "fly_process_group": "fly_app_release_command"}
        migrate = await create(fly, {"metadata": command, "auto_destroy": True, "restart": {"policy": "no"}})
        await settled(app)
        assert [(m.group, m.managed) for m in (first(app), worker, stray)] == [
            ("app", True),
            ("worker", True),
            ("app", False),
        ]
        assert (migrate.managed, migrate.state) == (False, "destroyed")
        listed = await fly.get(f"{MACHINES}?metadata.fly_process_group=worker")
        assert [machine["id"] for machine in listed] == [worker.id]

    live(story)


@pytest.mark.parametrize("crash_after_s, code", [(None, 0), (0.5, 1)])
def test_a_release_command_runs_once_as_flyctl_asks_and_its_exit_can_be_read_afterwards(
    crash_after_s: float | None, code: int
) -> None:
    async def story(fly: Fly) -> None:
        command = image("COMMAND", crash_after_s=crash_after_s)
        fly.world.images.push(command)
        fly.deploy(1)
        metadata = {"fly_platform_version": "v2", "fly_process_group": "fly_app_release_command"}
        config = {"image": command.ref, "metadata": metadata, "auto_destroy": True, "restart": {"policy": "no"}}
        machine = await create(fly, config, skip_launch=True)
        assert machine.state == "created"
        assert (await fly.get(at(machine, "/wait?state=stopped&timeout=60")))["ok"]
        assert (await fly.call("POST", at(machine, "/start"), {})).status == 200
        await fly.get(at(machine, "/wait?state=started&timeout=60"))
        await fly.get(at(machine, "/wait?state=destroyed&timeout=60"))
        seen = await fly.get(at(machine))
        assert [(e["type"], e["status"]) for e in seen["events"]][:2] == [("exit", "stopped"), ("start", "started")]
        assert seen["events"][0]["request"]["exit_event"]["exit_code"] == code

    live(story)


def test_a_machine_started_before_its_image_is_there_runs_all_the_same() -> None:
    async def story(fly: Fly) -> None:
        fly.deploy(1)
        machine = await create(fly, {}, skip_launch=True)
        await fly.call("POST", at(machine, "/start"), {})
        await settled(fly.world.apps[APP])
        assert machine.state == "started"

    live(story)


@pytest.mark.parametrize("pull, ends_with", [(None, NEXT), ("fails", GOOD)])
def test_an_update_that_comes_while_the_first_image_is_pulled_counts_its_own_pull(
    pull: str | None, ends_with: Any
) -> None:
    async def story(fly: Fly) -> None:
        fly.deploy(1)
        machine = await create(fly, {}, skip_launch=True)
        fly.faults.change({"pull": pull})
        assert (await fly.update(machine)).status == 200
        await settled(fly.world.apps[APP])
        assert (machine.state, machine.image, machine.pulls) == ("started", ends_with, 0)

    live(story)


def test_a_cordoned_machine_stays_cordoned_over_an_update() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(2)
        await settled(app)
        machine = first(app)
        await fly.call("POST", at(machine, "/cordon"))
        await fly.update(machine)
        await settled(app)
        assert (machine.cordoned, machine.state, machine.routable) == (True, "started", False)

    live(story)
