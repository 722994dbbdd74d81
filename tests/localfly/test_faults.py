"""Faults of the platform: what each does to a request, whom it meets, how often, and that it can be lifted."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from rollguard.localfly.fault_table import TABLE
from rollguard.localfly.faults import ACCEPTED, KINDS, Faults
from rollguard.localfly.local_api import LocalApi
from rollguard.localfly.machines import Machine
from rollguard.localfly.messages import AnswerLost, ApiRequest
from rollguard.localfly.pulse import Pulse
from rollguard.localfly.refusal import Refused
from tests.localfly.requests_by_kind import REQUESTS, Ask
from tests.localfly.simulated import APP, GOOD, NEXT, Fly, at, first, live, settled
from tests.virtual_time import wall_clock

GUARD, CI = "guard@example.com", "ci@example.com"
MACHINES = f"/v1/apps/{APP}/machines"
LOST = 0  # in place of a status
EXPECTED: dict[tuple[str, str], tuple[int, bool, str]] = {  # the status, whether it took effect, words of the answer
    ("list_machines", "empty"): (200, False, "[]"),
    ("list_machines", "one missing"): (200, False, "instance_id"),
    ("list_machines", "truncated"): (200, False, "instance_id"),
    ("list_machines", "503"): (503, False, "unavailable"),
    ("list_machines", "404-text"): (404, False, "404 page not found\n"),
    ("list_machines", "500"): (500, False, "internal"),
    ("get_machine", "503"): (503, False, "unavailable"),
    ("get_machine", "truncated"): (200, False, "instance_id"),
    ("get_machine", "404-text"): (404, False, "404 page not found\n"),
    ("get_machine", "lost"): (LOST, False, ""),
    ("get_machine", "old"): (200, False, "instance_id"),
    ("update", "408-after-effect"): (408, True, "timed out talking to the host"),
    ("update", "408"): (408, False, "timed out talking to the host"),
    ("update", "412"): (412, False, "insufficient resources"),
    ("update", "409-concurrent"): (409, False, "aborted: machine is replacing: concurrent update in progress"),
    ("update", "host-disabled"): (503, False, "unavailable: deploys to this host are temporarily disabled"),
    ("update", "stuck"): (200, True, "replacing"),
    ("update", "lost"): (LOST, True, ""),
    ("update", "lost-before"): (LOST, False, ""),
    ("update", "503-after-effect"): (503, True, "unavailable"),
    ("update", "422"): (422, False, "invalid_argument"),
    ("wait", "408"): (408, False, "machine failed to reach desired state, started"),
    ("wait", "503"): (503, False, "unavailable"),
    ("wait", "lost"): (LOST, False, ""),
    ("lease", "503"): (503, False, "unavailable"),
    ("lease", "408-after-effect"): (408, True, "timed out talking to the host"),
    ("lease", "lost"): (LOST, True, ""),
    ("lease", "409"): (409, False, "lease currently held by somebody@example.com, expires at 20"),
    ("release_create", "504"): (504, False, "gateway timeout"),
    ("release_create", "504-after-effect"): (504, True, "gateway timeout"),
    ("release_create", "lost"): (LOST, True, ""),
    ("release_create", "lost-before"): (LOST, False, ""),
    ("release_create", "422"): (422, False, "not valid"),
    ("release_patch", "504"): (504, False, "gateway timeout"),
    ("release_patch", "504-after-effect"): (504, True, "gateway timeout"),
    ("release_patch", "lost"): (LOST, True, ""),
    ("graphql", "503"): (503, False, "unavailable"),
    ("graphql", "errors"): (200, False, "INTERNAL"),
    ("graphql", "null"): (200, False, '{"data":null}'),
    ("graphql", "lost"): (LOST, False, ""),
}


def visible(fly: Fly, machine: Machine) -> tuple[Any, ...]:
    """All that the requests above could change."""
    rows = [(row.version, row.status) for row in fly.world.apps[APP].releases]
    return machine.instance_id, machine.lease is not None, rows


async def outcome(ask: Ask, fly: Fly, machine: Machine) -> tuple[int, str]:
    try:
        answer = await ask(fly, machine)
    except AnswerLost:
        return LOST, ""
    return answer.status, answer.body.decode()


def test_every_fault_of_every_kind_has_its_expectation_here() -> None:
    assert set(EXPECTED) == {(kind, name) for kind, names in TABLE.items() for name in names}


@pytest.mark.parametrize("kind, name", EXPECTED, ids=lambda part: part)
def test_a_fault_says_what_it_says_and_the_request_takes_effect_or_not(kind: str, name: str) -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(2)
        await settled(app)
        machine = first(app)
        status, took_effect, words = EXPECTED[kind, name]
        fly.faults.change({kind: name})
        before = visible(fly, machine)
        assert (await outcome(REQUESTS[kind], fly, machine))[0] == status
        fly.faults.change({kind: None})
        assert (visible(fly, machine) != before) is took_effect
        await settled(app)
        fly.faults.change({kind: name})
        assert words in (await outcome(REQUESTS[kind], fly, machine))[1]
        fly.faults.change({kind: None})
        await settled(app)
        assert (await outcome(REQUESTS[kind], fly, machine))[0] in (200, 201), "all is well once it is lifted"

    live(story)


@pytest.mark.parametrize("kind", ["list_machines", "get_machine"])
def test_a_truncated_answer_is_no_json(kind: str) -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(2)
        fly.faults.change({kind: "truncated"})
        with pytest.raises(json.JSONDecodeError):
            json.loads((await REQUESTS[kind](fly, first(app))).body)

    live(story)


def test_a_list_may_miss_one_machine_or_all_of_them() -> None:
    async def story(fly: Fly) -> None:
        fly.deploy(3)
        fly.faults.change({"list_machines": "one missing"})
        assert len(await fly.get(MACHINES)) == 2
        fly.faults.change({"list_machines": "empty"})
        assert await fly.get(MACHINES) == []

    live(story)


def test_an_old_answer_is_the_machine_as_it_was_before_its_newest_update() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(2)
        await settled(app)
        machine = first(app)
        before = await fly.get(at(machine))
        fly.faults.change({"get_machine": "old"})
        assert await fly.get(at(machine)) == before, "no update yet: what is true"
        await fly.update(machine)
        await settled(app)
        assert await fly.get(at(machine)) == before
        fly.faults.change({"get_machine": None})
        assert (await fly.get(at(machine)))["image_ref"]["digest"] == NEXT.digest

    live(story)


def test_a_stuck_update_replaces_until_the_fault_is_lifted_and_then_goes_on() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(2)
        await settled(app)
        stuck, free = app.machines.values()
        fly.faults.change({"update": "stuck", "times": 1})
        await fly.update(stuck)
        await fly.update(free)
        await asyncio.sleep(700)
        assert (stuck.state, free.state) == ("replacing", "started"), "it met one update, and holds that one"
        assert (await fly.update(stuck)).status == 409
        fly.faults.change({"update": None})
        await settled(app)
        assert (stuck.state, stuck.image) == ("started", NEXT)

    live(story)


def test_a_fault_lifted_while_the_old_version_still_stops_holds_nothing_up() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(1)
        await settled(app)
        machine = first(app)
        fly.faults.change({"update": "stuck"})
        await fly.update(machine)
        fly.faults.change({"update": None})
        await settled(app)
        assert machine.state == "started"

    live(story)


def test_a_machine_destroyed_while_it_is_stuck_stays_destroyed() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(2)
        await settled(app)
        machine = first(app)
        fly.faults.change({"update": "stuck"})
        await fly.update(machine)
        await settled(app)
        assert (await fly.call("DELETE", at(machine) + "?force=true")).status == 200
        fly.faults.change({"update": None})
        await settled(app)
        assert machine.state == "destroyed"

    live(story)


def test_somebody_seems_to_hold_a_machine_to_everybody_who_asks_for_its_lease() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(1)
        machine = first(app)
        fly.faults.change({"lease": "409"})
        assert (await fly.get(at(machine, "/lease")))["data"]["owner"] == "somebody@example.com"
        assert (await fly.call("DELETE", at(machine, "/lease"), fly_machine_lease_nonce="0")).status == 409
        fly.faults.change({"lease": None})
        assert (await fly.call("GET", at(machine, "/lease"))).status == 404

    live(story)


def test_a_lost_answer_tells_tests_whether_the_request_took_effect() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(1)
        await settled(app)
        for name, took_effect in (("lost-before", False), ("lost", True)):
            fly.faults.change({"update": name})
            with pytest.raises(AnswerLost) as lost:
                await fly.update(first(app))
            assert lost.value.took_effect is took_effect

    live(story)


def test_a_refused_request_stays_refused_under_a_fault_that_would_hide_its_effect() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(1)
        await settled(app)
        fly.faults.change({"update": "408-after-effect"})
        assert (await fly.update(first(app), current_version="another")).status == 412

    live(story)


def test_a_fault_of_one_owner_and_one_machine_meets_nobody_else() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(2)
        await settled(app)
        one, other = app.machines.values()
        fly.faults.change({"get_machine": "503", "owner": GUARD, "machine": one.id})
        answers = [
            (await fly.call("GET", at(machine), token=token)).status
            for machine in (one, other)
            for token in ("guard-token", "ci-token")
        ]
        assert answers == [503, 200, 200, 200]

    live(story)


def test_each_fault_counts_for_itself_how_often_it_still_meets_a_request() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(1)
        await settled(app)
        fly.faults.change({"get_machine": "503", "wait": "503", "times": 2})

        async def statuses(kind: str) -> list[int]:
            return [(await REQUESTS[kind](fly, first(app))).status for _ in range(3)]

        assert await statuses("get_machine") == [503, 503, 200]
        assert (fly.faults.get_machine, fly.faults.wait) == (None, "503")
        assert await statuses("wait") == [503, 503, 200]
        fly.faults.change({"get_machine": "503"})
        assert await statuses("get_machine") == [503, 503, 200], "set again, it counts again"
        fly.faults.change({"get_machine": "503", "times": None})
        assert await statuses("get_machine") == [503, 503, 503]

    live(story)


def test_one_failed_pull_of_one_machine() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(2)
        await settled(app)
        one, other = app.machines.values()
        fly.faults.change({"pull": "fails", "machine": one.id, "times": 1})
        await fly.update(one)
        await fly.update(other)
        await settled(app)
        assert (one.image, other.image) == (GOOD, NEXT)
        await fly.update(one)
        await settled(app)
        assert one.image == NEXT

    live(story)


@pytest.mark.parametrize(
    "wanted",
    [
        {"update": "explodes"},
        {"update": ["408"]},
        {"times": 0},
        {"times": True},
        {"metrics_lag_s": -1},
        {"api_delay_s": "long"},
        {"rate_limits": 1},
        {"nothing": None},
    ],
    ids=str,
)
def test_a_change_with_an_unknown_fault_is_refused_as_a_whole(wanted: dict[str, Any]) -> None:
    faults = Faults()
    before = faults.to_json()
    with pytest.raises(Refused) as refused:
        faults.change({"list_machines": "empty", **wanted})
    assert refused.value.status == 422
    assert faults.to_json() == before


def test_every_fault_is_switched_by_the_local_interface_too() -> None:
    async def story(fly: Fly) -> None:
        fly.deploy(1)
        local = LocalApi(fly.world, wall_clock, pulse=Pulse(fly.world), faults=fly.faults)

        async def tell(body: dict[str, Any]) -> Any:
            raw = json.dumps(body).encode()
            answer = await local.handle(ApiRequest.of("POST", "http://local/local/v1/faults", {}, raw))
            assert answer.status == 200, answer.body
            return json.loads(answer.body)

        for kind, names in TABLE.items():
            for name in names:
                assert (await tell({kind: name}))[kind] == name
                assert (await tell({kind: None}))[kind] is None
        assert (await tell({"api_delay_s": 2}))["guard_api_delay_s"] == 2
        shown = json.loads((await local.handle(ApiRequest.of("GET", "http://local/local/v1/faults"))).body)
        assert shown.keys() == ACCEPTED.keys() >= set(KINDS)

    live(story)
