"""The Fly driver and the local platform agree: what the one sends, the other carries out and tells again."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace

import pytest

from rollguard.adapters.fly.client import FlyClient
from rollguard.adapters.fly.driver import FlyPlatform
from rollguard.core.model import Machine
from rollguard.core.signals import SecretRef
from rollguard.errors import Conflict, Refused
from rollguard.localfly.messages import ApiRequest
from rollguard.ports import HttpAnswer, Platform
from tests.localfly.simulated import APP, GOOD, NEXT, Fly, at, first, live, settled
from tests.loop_clock import LoopClock


class InProcess:
    """``ports.Transport`` straight into the local platform."""

    def __init__(self, fly: Fly) -> None:
        self._fly = fly

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout_s: float = 10.0,
        max_bytes: int = 1 << 20,
    ) -> HttpAnswer:
        async with asyncio.timeout(timeout_s):
            answer = await self._fly.api.handle(ApiRequest.of(method, url, headers, body or b""))
        assert len(answer.body) <= max_bytes
        return HttpAnswer(answer.status, {name.lower(): text for name, text in answer.headers.items()}, answer.body)


def driver(fly: Fly, *, token: str = "guard-token", app: str = APP) -> FlyPlatform:
    client = FlyClient(InProcess(fly), SecretRef(env="FLY_API_TOKEN"), {"FLY_API_TOKEN": token})
    platform = FlyPlatform(app, client, LoopClock())
    assert_is_platform(platform)
    return platform


def assert_is_platform(platform: Platform) -> None:
    """For the type checker."""


def pinned(digest: str) -> str:
    return f"registry.fly.io/{APP}@{digest}"


def test_a_settled_app_is_seen_healthy_with_its_digest_labels_and_release() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(3)
        await settled(app)
        snapshot = await driver(fly).snapshot()
        assert [m.id for m in snapshot.machines] == sorted(app.machines)
        assert all(m.healthy_routable and m.managed and m.has_checks for m in snapshot.machines)
        assert {(m.digest, m.labels["rollguard.migration"], m.group) for m in snapshot.machines} == {
            (GOOD.digest, "none", "app")
        }
        assert all(m.started_at is not None and m.started_at <= snapshot.at for m in snapshot.machines)
        assert [(r.version, r.status, r.image_ref) for r in snapshot.releases] == [(1, "complete", GOOD.ref)]
        assert len({m.config_hash for m in snapshot.machines}) == 1

    live(story)


def test_a_machine_is_rolled_under_a_lease_and_verified() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(2)
        await settled(app)
        platform, machine = driver(fly), first(app)
        before = dict(machine.config)
        held = await platform.acquire_lease(machine.id, "rollguard i1", 13)
        assert held.instance_id == machine.instance_id
        assert (await platform.leases(list(app.machines))).keys() == {machine.id}
        instance = await platform.update(
            held,
            instance_id=held.instance_id,
            image=pinned(NEXT.digest),
            metadata={"rollguard_incident": "i1"},
            skip_launch=False,
        )
        held = await platform.refresh_lease(held, 60)
        assert not await platform.wait_started(machine.id, held.instance_id, 1)
        assert await platform.wait_started(machine.id, instance, 60)
        await platform.release_lease(held)
        await platform.release_lease(held)
        seen = await platform.machine(machine.id)
        assert (seen.instance_id, seen.digest, seen.incident) == (instance, NEXT.digest, "i1")
        assert [exit_.requested for exit_ in seen.exits] == [True]
        assert await platform.leases([machine.id]) == {}
        changed = {"image", "metadata"}
        assert {k: v for k, v in machine.config.items() if k not in changed} == {
            k: v for k, v in before.items() if k not in changed
        }
        assert machine.config["metadata"] == before["metadata"] | {"rollguard_incident": "i1"}

    live(story)


def test_a_foreign_lease_and_a_foreign_change_are_conflicts() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(2)
        await settled(app)
        ours, theirs, machine = driver(fly), driver(fly, token="ci-token"), first(app)
        foreign = await theirs.acquire_lease(machine.id, "deploying", 13)
        with pytest.raises(Conflict, match=r"held by ci@example\.com"):
            await ours.acquire_lease(machine.id, "rollguard", 13)
        (lease,) = (await ours.leases(list(app.machines))).values()
        assert (lease.owner, lease.description) == ("ci@example.com", "deploying")
        await theirs.release_lease(foreign)
        held = await ours.acquire_lease(machine.id, "rollguard", 120)
        seen = await ours.machine(machine.id)
        await update(ours, held, seen)
        await settled(app)
        with pytest.raises(Conflict, match="not"):
            await update(ours, held, seen)

    async def update(platform: FlyPlatform, held: object, seen: Machine) -> None:
        await platform.update(
            held,  # type: ignore[arg-type]
            instance_id=seen.instance_id,
            image=pinned(NEXT.digest),
            metadata={},
            skip_launch=False,
        )

    live(story)


def test_a_lost_lease_is_noticed_at_its_refresh() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(2)
        await settled(app)
        platform, machine = driver(fly), first(app)
        held = await platform.acquire_lease(machine.id, "rollguard", 13)
        await asyncio.sleep(14)
        await driver(fly, token="ci-token").acquire_lease(machine.id, "deploying", 13)
        with pytest.raises(Conflict):
            await platform.refresh_lease(held, 13)
        await platform.release_lease(held)
        assert (await platform.leases([machine.id]))[machine.id].owner == "ci@example.com"

    live(story)


def test_a_stopped_machine_gets_its_image_without_being_started() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(2)
        await settled(app)
        machine = first(app)
        await fly.call("POST", at(machine, "/stop"), {})
        await settled(app)
        platform = driver(fly)
        held = await platform.acquire_lease(machine.id, "rollguard", 60)
        await platform.update(
            held, instance_id=held.instance_id, image=pinned(NEXT.digest), metadata={}, skip_launch=True
        )
        await settled(app)
        seen = await platform.machine(machine.id)
        assert (seen.state, seen.digest) == ("stopped", NEXT.digest)

    live(story)


def test_a_release_row_is_made_marked_and_listed() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(1)
        platform = driver(fly)
        made = await platform.create_release(pinned(GOOD.digest))
        await platform.mark_release(made.id, "running", {})
        await platform.mark_release(made.id, "complete", {"incident": "i1"})
        newest = (await platform.snapshot()).releases[0]
        assert (newest.id, newest.version, newest.status, newest.user) == (made.id, 2, "complete", "guard@example.com")
        assert app.releases[-1].definition == app.releases[0].definition
        assert json.loads(json.dumps(app.releases[-1].metadata))["rollguard"] == {"incident": "i1"}

    live(story)


def test_images_resolve_to_digests_or_to_nothing() -> None:
    async def story(fly: Fly) -> None:
        fly.deploy(1)
        platform = driver(fly)
        assert await platform.resolve(GOOD.ref) == GOOD.digest
        assert await platform.resolve(pinned(GOOD.digest)) == GOOD.digest
        assert await platform.resolve("registry.fly.io/hotdash:gone") is None

    live(story)


def test_a_wrong_token_and_an_unknown_app_are_told_apart_at_the_start() -> None:
    async def story(fly: Fly) -> None:
        fly.deploy(1)
        assert await driver(fly).whoami() == f"{APP} of personal"
        with pytest.raises(Refused, match="does not accept this token"):
            await driver(fly, token="nobody").whoami()
        with pytest.raises(Refused, match="no app elsewhere"):
            await driver(fly, app="elsewhere").whoami()

    live(story)


def test_two_machines_of_one_release_have_the_same_capsule_and_an_update_keeps_it() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(2)
        await settled(app)
        platform, machine = driver(fly), first(app)
        one, other = [await platform.capsule(m) for m in app.machines]
        assert one == other
        assert {"guest.cpus", "restart.policy", "services[0].internal_port"} <= set(one)
        held = await platform.acquire_lease(machine.id, "rollguard i1", 60)
        image = pinned(NEXT.digest)
        await platform.update(held, instance_id=held.instance_id, image=image, metadata={}, skip_launch=False)
        assert await platform.capsule(machine.id) == one

    live(story)


def test_rights_are_told_and_the_lease_that_was_tried_is_gone_again() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(2)
        await settled(app)
        platform, machine = driver(fly), first(app)
        rights = await platform.rights(machine.id)
        assert rights == dict.fromkeys(("app", "machines", "releases", "images", "lease"), "")
        assert await platform.leases([machine.id]) == {}
        foreign = driver(fly, token="ci-token")
        await foreign.acquire_lease(machine.id, "deploying", 13)
        assert not any((await platform.rights(machine.id)).values()), (
            "held by somebody else: the guard may all the same"
        )
        nobody = await driver(fly, token="unknown").rights(machine.id)
        assert all(nobody.values()), nobody

    live(story)


def test_a_token_that_only_reads_lacks_the_lease() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(1)
        await settled(app)
        known = fly.world.tokens["guard-token"]
        fly.world.tokens["guard-token"] = replace(known, read_only=True)
        rights = await driver(fly).rights(first(app).id)
        assert [need for need, why in rights.items() if why] == ["lease"]
        assert "read-only" in rights["lease"]

    live(story)
