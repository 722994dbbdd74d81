"""What happens to machines: versions, restarts, checks and crash loops."""

from __future__ import annotations

import asyncio
import json

import pytest

from rollguard.localfly.machines import Machine
from rollguard.localfly.refusal import Refused
from rollguard.localfly.registry import Caller
from tests.localfly.simulated import GOOD, NEXT, Fly, at, first, image, live, settled
from tests.virtual_time import wall_clock

GUARD = Caller("guard@example.com")


def kinds(machine: Machine) -> list[str]:
    """Its events, oldest first."""
    return [f"{event['type']}/{event['status']}" for event in reversed(machine.events)]


def test_an_update_replaces_the_instance_and_goes_down_before_it_comes_up() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy()
        await settled(app)
        machine = first(app)
        before = machine.instance_id
        answer = json.loads((await fly.update(machine)).body)
        assert answer["instance_id"] == machine.instance_id != before
        assert answer["state"] == "replacing"
        assert answer["image_ref"]["digest"] == NEXT.digest
        await settled(app)
        assert machine.state == "started"
        assert kinds(machine)[-4:] == ["update/replacing", "exit/stopped", "launch/created", "start/started"]
        assert machine.events[2]["request"]["exit_event"]["requested_stop"] is True
        versions = await fly.get(at(machine, "/versions"))
        assert [v["version"] for v in versions] == [machine.instance_id, before]
        assert [v["user_config"]["image"] for v in versions] == [NEXT.ref, GOOD.ref]

    live(story)


def test_checks_are_empty_after_an_update_then_critical_in_grace_then_passing() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy()
        await settled(app)
        machine = first(app)
        await fly.update(machine)
        seen: list[tuple[str, str]] = []
        for _ in range(200):
            status = machine.checks["servicecheck-00-http-3000"].status if machine.checks else "empty"
            if not seen or seen[-1] != (machine.state, status):
                seen.append((machine.state, status))
            await asyncio.sleep(0.1)
        assert seen == [
            ("replacing", "empty"),
            ("started", "empty"),
            ("started", "critical"),
            ("started", "passing"),
        ]

    live(story)


def test_a_checks_updated_at_moves_only_when_its_status_does() -> None:
    async def story(fly: Fly) -> None:
        sick = image("SICK", broken_page="/")
        fly.world.images.push(sick)
        app = fly.deploy(checks=({"type": "http", "path": "/", "interval": "5s", "grace_period": "1s"},))
        await settled(app)
        machine = first(app)
        since = machine.checks["servicecheck-00-http-3000"].updated_at
        await asyncio.sleep(60)
        assert machine.checks["servicecheck-00-http-3000"].updated_at == since
        await fly.update(machine, sick)
        await settled(app)
        assert machine.checks["servicecheck-00-http-3000"].status == "critical"
        assert not machine.routable
        assert machine.state == "started", "no failing check ever stops a machine"

    live(story)


@pytest.mark.parametrize("skip_launch, ends_as", [(True, "stopped"), (False, "started")])
def test_an_update_of_a_stopped_machine_starts_it_unless_told_not_to(skip_launch: bool, ends_as: str) -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy()
        await settled(app)
        machine = first(app)
        fly.world.take_down(app.name, machine.id, "stop", GUARD, wall_clock())
        await settled(app)
        assert machine.state == "stopped"
        answer = await fly.update(machine, skip_launch=skip_launch)
        assert json.loads(answer.body)["state"] == "replacing"
        await settled(app)
        assert (machine.state, machine.image) == (ends_as, NEXT)

    live(story)


def test_a_crash_loop_restarts_by_policy_and_ends_stopped_with_every_exit_on_record() -> None:
    async def story(fly: Fly) -> None:
        crashing = image("CRASHING", crash_after_s=3.0)
        fly.world.images.push(crashing)
        app = fly.deploy()
        await settled(app)
        machine = first(app)
        config = {**machine.config, "restart": {"policy": "on-failure", "max_retries": 3}, "image": crashing.ref}
        await fly.call("POST", at(machine), {"config": config})
        await asyncio.sleep(120)
        exits = [event["request"] for event in machine.events if event["type"] == "exit"]
        crashes = [(e["restart_count"], e["exit_event"]["restarting"]) for e in exits if e["exit_event"]["exit_code"]]
        assert machine.state == "stopped"
        assert crashes == [(3, False), (2, True), (1, True), (0, True)], "newest first"

    live(story)


def test_a_leak_ends_as_an_out_of_memory_kill() -> None:
    async def story(fly: Fly) -> None:
        leaking = image("LEAKING", leak_mb_per_s=50.0)
        fly.world.images.push(leaking)
        app = fly.deploy()
        await settled(app)
        machine = first(app)
        await fly.update(machine, leaking)
        await asyncio.sleep(8)
        exit_event = next(e["request"]["exit_event"] for e in machine.events if e["type"] == "exit")
        assert exit_event["oom_killed"]
        assert exit_event["exit_code"] == 137
        assert not exit_event["requested_stop"]

    live(story)


def test_a_failed_pull_silently_puts_the_old_version_back() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy()
        await settled(app)
        machine = first(app)
        before = machine.instance_id
        fly.faults.change({"pull": "fails"})
        await fly.update(machine)
        await settled(app)
        assert (machine.state, machine.instance_id, machine.image) == ("started", before, GOOD)

    live(story)


def test_a_second_change_is_refused_while_one_is_under_way() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy()
        await settled(app)
        machine = first(app)
        await fly.update(machine)
        answers = [await fly.update(machine), await fly.call("POST", at(machine, "/start"))]
        assert [answer.status for answer in answers] == [409, 409]
        assert b"concurrent update in progress" in answers[0].body

    live(story)


def test_an_update_computed_from_another_version_is_refused() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy()
        await settled(app)
        machine = first(app)
        seen = machine.instance_id
        assert (await fly.update(machine, current_version=seen)).status == 200
        await settled(app)
        assert (await fly.update(machine, current_version=seen)).status == 412
        assert machine.updates == 1

    live(story)


@pytest.mark.parametrize("named", [NEXT.ref, f"{NEXT.ref}@{NEXT.digest}", f"registry.fly.io/hotdash@{NEXT.digest}"])
def test_an_image_is_found_by_tag_by_digest_and_by_both(named: str) -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy()
        machine = first(app)
        await settled(app)
        answer = await fly.call("POST", at(machine), {"config": {**machine.config, "image": named}})
        shown = json.loads(answer.body)
        assert shown["image_ref"]["digest"] == NEXT.digest
        assert shown["config"]["image"] == named

    live(story)


def test_an_unknown_image_is_refused_and_changes_nothing() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy()
        await settled(app)
        machine = first(app)
        answer = await fly.update(machine, image("NEVER-PUSHED"))
        assert answer.status == 422
        assert (machine.state, machine.image) == ("started", GOOD)

    live(story)


def test_a_moved_tag_names_another_digest() -> None:
    async def story(fly: Fly) -> None:
        moved = image("GOOD", error_share=0.5)
        fly.world.images.push(moved)
        assert moved.ref == GOOD.ref
        assert fly.world.images.resolve(GOOD.ref) == moved
        assert fly.world.images.resolve(f"{GOOD.ref}@{GOOD.digest}") == GOOD

    live(story)


def test_a_restart_keeps_the_instance_and_a_destroyed_machine_can_still_be_asked_for() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy()
        await settled(app)
        machine = first(app)
        before = machine.instance_id
        assert (await fly.call("POST", at(machine, "/restart"))).status == 200
        await settled(app)
        assert (machine.state, machine.instance_id) == ("started", before)
        assert (await fly.call("DELETE", at(machine) + "?kill=true")).status == 200
        await settled(app)
        assert (await fly.get(at(machine)))["state"] == "destroyed"
        assert machine.id not in [m["id"] for m in await fly.get("/v1/apps/hotdash/machines")]
        with pytest.raises(Refused, match="not found"):
            fly.world.start(app.name, machine.id, GUARD, wall_clock())

    live(story)


def test_a_request_wakes_a_stopped_machine_and_leaves_a_running_one_alone() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy()
        await settled(app)
        machine = first(app)
        events = len(machine.events)
        fly.world.wake(app.name, machine.id, wall_clock())
        assert len(machine.events) == events
        fly.world.take_down(app.name, machine.id, "stop", GUARD, wall_clock())
        await settled(app)
        assert fly.world.wake(app.name, machine.id, wall_clock()).state == "starting"
        await settled(app)
        assert machine.routable

    live(story)
