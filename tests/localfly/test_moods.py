"""Code that behaves unlike its image: who is concerned, from when, until when."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from rollguard.localfly.http1 import Request
from rollguard.localfly.images import Behaviour
from rollguard.localfly.local_api import LocalApi
from rollguard.localfly.messages import ApiRequest, ApiResponse
from rollguard.localfly.pulse import Pulse
from rollguard.localfly.simulated_app import SimulatedApp
from tests.localfly.simulated import APP, Fly, at, first, live, settled
from tests.virtual_time import wall_clock

SEEN = "fly_edge_http_responses_count"


async def told(fly: Fly, path: str, body: Any) -> ApiResponse:
    """A control call's answer."""
    api = LocalApi(fly.world, wall_clock, pulse=Pulse(fly.world), faults=fly.faults)
    return await api.handle(ApiRequest.of("POST", f"/local/v1/apps/{APP}{path}", {}, json.dumps(body).encode()))


async def status(fly: Fly, machine: str, path: str = "/") -> int:
    """What a page of a machine answers."""
    inside = fly.host.app_of(machine)
    assert inside is not None
    return (await inside.answer(Request("GET", path))).status


def test_a_mood_of_one_machine_is_its_own_and_gone_when_it_restarts() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(machines=2)
        await settled(app)
        sick, well = app.machines
        assert (await told(fly, f"/machines/{sick}/mood", {"error_share": 1.0})).status == 200
        assert [await status(fly, machine) for machine in (sick, well)] == [500, 200]
        await fly.call("POST", at(app.machine(sick), "/restart"))
        await settled(app)
        assert await status(fly, sick) == 200

    live(story)


def test_a_mood_of_the_app_meets_every_machine_and_image_also_those_that_boot_later() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(machines=2)
        await settled(app)
        await told(fly, "/mood", {"behaviour": {"error_share": 1.0}})
        assert {await status(fly, machine) for machine in app.machines} == {500}
        await fly.update(first(app))
        await settled(app)
        assert {await status(fly, machine) for machine in app.machines} == {500}
        await told(fly, "/mood", {"behaviour": {}})
        assert {await status(fly, machine) for machine in app.machines} == {200}

    live(story)


def test_one_machines_mood_goes_before_the_apps() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(machines=2)
        await settled(app)
        one, other = app.machines
        await told(fly, "/mood", {"behaviour": {"error_share": 1.0}})
        await told(fly, f"/machines/{one}/mood", {"error_share": 0.0})
        assert [await status(fly, machine) for machine in (one, other)] == [200, 500]
        await told(fly, f"/machines/{one}/mood", {})
        assert await status(fly, one) == 500

    live(story)


def test_checks_follow_a_mood() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(machines=1)
        await settled(app)
        machine = first(app)
        for fails in (True, False):
            await told(fly, f"/machines/{machine.id}/mood", {"health_fails": fails})
            await settled(app)
            assert machine.health == ("failing" if fails else "passing")

    live(story)


def test_a_mood_to_crash_counts_from_the_boot_and_dies_with_the_machine() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(machines=1)
        await settled(app)
        machine = first(app)
        await told(fly, f"/machines/{machine.id}/mood", {"crash_after_s": 1.0})
        await settled(app)
        exits = [event for event in machine.events if event["type"] == "exit"]
        assert [each["request"]["exit_event"]["exit_code"] for each in exits] == [1]
        assert machine.routable

    live(story)


def test_users_meet_the_mood_too() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(machines=2)
        await settled(app)
        site = SimulatedApp(fly.world, fly.host, APP, wall_clock, rps=10)
        await told(fly, f"/machines/{first(app).id}/mood", {"error_share": 1.0})
        await asyncio.sleep(60)
        seen = {
            labels.get("status"): value for name, _, labels, value in site.crowd.samples(wall_clock()) if name == SEEN
        }
        assert seen["500"] == 300

    live(story)


@pytest.mark.parametrize(
    "mood",
    [
        {"error_shar": 1.0},
        {"error_share": "much"},
        {"error_share": True},
        {"crash_after_s": -1},
        {"drains": 1},
        {"needs": "https://example.com"},
        {"needs": "//"},
        {"latency_s": 1e999},
        [],
    ],
)
def test_a_mood_nothing_could_be_in_is_refused_and_changes_nothing(mood: Any) -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(machines=1)
        await settled(app)
        for path, body in (("/mood", {"behaviour": mood}), (f"/machines/{first(app).id}/mood", mood)):
            assert (await told(fly, path, body)).status in (400, 422)
        assert fly.world.mood(APP, first(app).id) == {}
        inside = fly.host.app_of(first(app).id)
        assert inside is not None
        assert inside.behaviour == Behaviour()

    live(story)


def test_nobody_can_be_in_a_mood_where_nothing_runs() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(machines=1)
        await settled(app)
        await fly.call("POST", at(first(app), "/stop"), {})
        await settled(app)
        assert (await told(fly, f"/machines/{first(app).id}/mood", {"error_share": 1.0})).status == 412
        assert (await told(fly, "/machines/none/mood", {})).status == 404

    live(story)
