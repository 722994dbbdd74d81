"""Every answer outside the known shapes is an error that names the field and Fly's request ID, never a guess."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from rollguard.adapters.fly.driver import FlyPlatform
from rollguard.errors import BadAnswer, Unavailable
from rollguard.ports import Held
from tests.adapters.fly_answers import LEASE, M1, MACHINE, NEXT_ULID, OLD, RELEASES, ULID, Fly, machine, releases
from tests.adapters.scripted_transport import says
from tests.virtual_time import run

APP = "/v1/apps/my-app"
LIST, ONE = f"GET {APP}/machines", f"GET {APP}/machines/{M1}"
UPDATE, RESTART, WAIT = f"POST {APP}/machines/{M1}", f"POST {APP}/machines/{M1}/restart", f"{ONE}/wait"
LEASE_OF, TAKE = f"{ONE}/lease", f"{UPDATE}/lease"
GRAPHQL, ROW, MADE = "POST /graphql", "PATCH /api/v1/releases/rel_3", "POST /api/v1/releases"
IMAGE = f"registry.fly.io/my-app@{OLD}"
HELD = Held(M1, "5c35f65c9f95", 1_787_306_413.0, ULID)
NO_ROW = {"data": {"app": {"currentReleaseUnprocessed": None}}}

Act = Callable[[FlyPlatform], Awaitable[object]]
ACTS: dict[str, Act] = {
    LIST: lambda fly: fly.snapshot(),
    ONE: lambda fly: fly.machine(M1),
    UPDATE: lambda fly: fly.update(HELD, instance_id=ULID, image=IMAGE, metadata={}, skip_launch=False),
    RESTART: lambda fly: fly.restart(HELD),
    WAIT: lambda fly: fly.wait_started(M1, ULID, 30.0),
    LEASE_OF: lambda fly: fly.leases([M1]),
    TAKE: lambda fly: fly.acquire_lease(M1, "rollguard i1", 13.0),
    GRAPHQL: lambda fly: fly.snapshot(),
    ROW: lambda fly: fly.mark_release("rel_3", "running", {}),
    MADE: lambda fly: fly.create_release(IMAGE),
    f"GET {APP}": lambda fly: fly.whoami(),
}
DEEP = b"[" * 100_000


def usual(where: str) -> dict[str, Any]:
    """What else must answer so that only ``where`` is strange."""
    return {GRAPHQL: NO_ROW} if where == MADE else {}


def with_event(**event: Any) -> list[dict[str, Any]]:
    return [machine(events=[{"type": "start", "timestamp": 1} | event])]


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"<html>It works!</html>", id="html"),
        pytest.param(b'{"id":', id="cut short"),
        pytest.param(b'"text"', id="text"),
        pytest.param(b"17", id="a number"),
        pytest.param(b"null", id="null"),
        pytest.param(b"true", id="true"),
        pytest.param(b"\xff\xfe\x00", id="bytes"),
        pytest.param(DEEP, id="deep"),
        pytest.param(b"[[]]", id="lists"),
    ],
)
@pytest.mark.parametrize("where", ACTS)
async def test_a_200_with_another_body_is_never_taken_for_an_answer(where: str, body: bytes) -> None:
    fly = Fly(usual(where) | {where: says(body, fly_request_id="01J-ord")})
    with pytest.raises(BadAnswer) as caught:
        await ACTS[where](fly.platform)
    said = str(caught.value)
    assert "(fly-request-id 01J-ord)" in said
    assert where.split()[1] in said
    assert len(said) < 500
    assert said.isprintable()


@pytest.mark.parametrize("where", [where for where in ACTS if where != GRAPHQL])
async def test_a_404_that_is_not_in_flys_words_does_not_say_that_anything_is_absent(where: str) -> None:
    for body in (b"404 page not found\n", b"", b"<html>", b"[]", b"{}", b'{"error":""}'):
        fly = Fly(usual(where) | {where: says(body, 404, fly_request_id="01J-ord")})
        with pytest.raises(
            Exception, match=r"HTTP 404, but not as Fly says it: .*\(fly-request-id 01J-ord\)"
        ) as caught:
            await ACTS[where](fly.platform)
        assert isinstance(caught.value, BadAnswer) or where == f"GET {APP}"


@pytest.mark.parametrize(
    "where, answer, field",
    [
        (LIST, [machine(state="hibernating")], "0.state: hibernating is no state we know"),
        (LIST, [machine(state="")], "0.state: an empty text is no state we know"),
        (LIST, [machine(state=None)], "0.state: "),
        (LIST, [machine(state="Started")], "0.state: Started is no state we know"),
        (LIST, [machine(state="started\n")], "0.state: started is no state we know"),
        (LIST, [machine(), machine()], f"id: {M1} is told twice"),
        (LIST, [machine(cordoned="perhaps")], "0.cordoned: "),
        (LIST, [machine(config=None) | {"config": []}], "0.config: "),
        (LIST, [machine(checks={"web": {}})], "0.checks: "),
        (LIST, [machine(instance_id="a/b")], "0.instance_id: "),
        (LIST, with_event(timestamp=-1), "0.events.0.timestamp: "),
        (LIST, with_event(timestamp=1e300), "0.events.0.timestamp: "),
        (LIST, with_event(timestamp=1_787_306_410_000_000_000), "0.events.0.timestamp: "),
        (LIST, says(json.dumps(with_event(timestamp=float("nan"))).encode()), "0.events.0.timestamp: "),
        (LIST, says(json.dumps(with_event(timestamp=float("inf"))).encode()), "0.events.0.timestamp: "),
        (LIST, with_event(request=[]), "0.events.0.request: "),
        (ONE, machine(id="e0000000000000"), "id: e0000000000000 was not asked for"),
        (ONE, [MACHINE], "the answer: "),
        (UPDATE, machine(id="e0000000000000", instance_id=NEXT_ULID), "id: e0000000000000 was not asked for"),
        (UPDATE, machine(), "instance_id: it did not change"),
        (UPDATE, {"ok": True}, "id: Field required"),
        (RESTART, {"ok": False}, "ok: false"),
        (WAIT, {"ok": False}, "ok: false"),
        (WAIT, {"ok": True, "state": "stopped"}, "state: 'stopped' in place of 'started'"),
        (WAIT, {"ok": True, "version": NEXT_ULID}, f"version: '{NEXT_ULID}' in place of '{ULID}'"),
        (WAIT, {"ok": "perhaps"}, "ok: "),
        (LEASE_OF, {"status": "success", "data": {"ok": True}}, "expires_at: Field required"),
        (LEASE_OF, {"status": "error"}, "expires_at: Field required"),
        (LEASE_OF, {"data": LEASE | {"expires_at": -1}}, "expires_at: "),
        (LEASE_OF, {"data": LEASE | {"expires_at": 1_787_306_413_000}}, "expires_at: "),
        (LEASE_OF, {"data": LEASE | {"owner": 7}}, "owner: "),
        (TAKE, {"data": LEASE | {"nonce": ""}}, "nonce: there is none"),
        (TAKE, {"data": LEASE | {"nonce": "a\r\nb"}}, "nonce: "),
        (TAKE, {"data": LEASE | {"version": "../.."}}, "version: "),
        (GRAPHQL, {"data": {}}, "data.app: Field required"),
        (GRAPHQL, {"data": {"app": {"releases": {"nodes": {}}}}}, "data.app.releases.nodes: "),
        (GRAPHQL, releases(RELEASES[0] | {"version": -1}), "data.app.releases.nodes.0.version: "),
        (GRAPHQL, releases(RELEASES[0] | {"version": 10**30}), "data.app.releases.nodes.0.version: "),
        (GRAPHQL, releases(RELEASES[0] | {"id": "a/../b"}), "data.app.releases.nodes.0.id: "),
        (GRAPHQL, releases(RELEASES[0] | {"createdAt": "yesterday"}), "data.app.releases.nodes.0.createdAt: "),
        (GRAPHQL, releases(RELEASES[0] | {"createdAt": "9999-12-31T23:59:59Z"}), "data.app.releases.nodes.0.createdAt"),
        (ROW, RELEASES[0] | {"status": "running"}, "id: 'rel_1' in place of 'rel_3'"),
        (ROW, RELEASES[0] | {"id": "rel_3"}, "status: 'complete' in place of 'running'"),
        (MADE, {"release": None}, "release: "),
        (MADE, RELEASES[0], "release: Field required"),
        (f"GET {APP}", {"name": "another-app"}, "name: another-app was not asked for"),
    ],
)
async def test_a_known_shape_with_an_impossible_value_names_the_field(where: str, answer: Any, field: str) -> None:
    answered = answer if hasattr(answer, "status") else says(answer)
    answered.headers["fly-request-id"] = "01J-ord"  # type: ignore[index]
    fly = Fly(usual(where) | {where: answered})
    with pytest.raises(BadAnswer) as caught:
        await ACTS[where](fly.platform)
    assert field in str(caught.value)
    assert "(fly-request-id 01J-ord)" in str(caught.value)


@pytest.mark.parametrize(
    "definition",
    [{}, {"data": None}, {"data": {"app": None}}, {"data": []}, [], says(b'{"data":{"app":{"x":1,"x":2}}}')],
)
async def test_a_row_is_not_made_from_a_definition_that_cannot_be_read(definition: Any) -> None:
    fly = Fly({GRAPHQL: definition, MADE: {"release": RELEASES[0]}})
    with pytest.raises(BadAnswer):
        await fly.platform.create_release(IMAGE)
    assert not fly.wrote


async def test_an_answer_with_errors_and_data_is_an_error() -> None:
    document = releases(*RELEASES) | {"errors": [{"message": "partial", "extensions": {"code": "SERVER_ERROR"}}]}
    with pytest.raises(Unavailable, match="partial"):
        await Fly({GRAPHQL: document}).platform.snapshot()
    snapshot = await Fly({GRAPHQL: releases(*RELEASES) | {"errors": []}}).platform.snapshot()
    assert len(snapshot.releases) == 2


async def test_what_the_platform_does_not_say_is_not_made_up() -> None:
    """No time, no config, no description: absent, not zero and not yesterday."""
    events = [{"type": "start"}, {"type": "exit", "request": {"exit_event": {"exit_code": 1}}}]
    silent = machine(events=events) | {"config": None}
    zero = RELEASES[0] | {"createdAt": "0001-01-01T00:00:00Z"}
    snapshot = await Fly({LIST: [silent], GRAPHQL: releases(zero)}).platform.snapshot()
    (found,), (row,) = snapshot.machines, snapshot.releases
    assert (found.started_at, found.exits, found.host_ok, found.managed) == (None, (), False, True)
    assert row.created_at == 0.0


def test_an_answer_once_read_is_not_kept_in_place_of_a_strange_one() -> None:
    async def story() -> None:
        fly = Fly()
        first = await fly.platform.snapshot()
        for strange in (says(b""), says(b"[]"), says(b"<html>")):
            fly.answers[LIST] = strange
            with pytest.raises(BadAnswer):
                await fly.platform.snapshot()
        fly.answers[LIST] = [MACHINE]
        assert (await fly.platform.snapshot()).machines == first.machines

    run(story())
