"""All traffic of the Machines API validates against the vendor's description, but for the differences listed here."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterable
from functools import cache
from typing import Any

import pytest

from rollguard.engine.acts import Acts
from rollguard.localfly.deployer import deploy
from rollguard.localfly.fault_table import TABLE
from rollguard.localfly.flyctl_api import ApiError, FlyApi, Json
from rollguard.localfly.messages import AnswerLost, ApiRequest
from rollguard.localfly.rollout import Settings
from tests.contracts.openapi_traffic import DESCRIPTION, Description, Exchange, Recorder, of_the_machines_api
from tests.localfly.requests_by_kind import REQUESTS
from tests.localfly.simulated import APP, GOOD, NEXT, Fly, at, first, live, settled
from tests.simulation.stage import BAD, Stage
from tests.simulation.stage import GOOD as STAGE_GOOD
from tests.virtual_time import run

SINCE = "the description of 2026 has it; this one is of March 2024"
LATER = "flyctl of 2026 reads it, and the official documentation shows it"
GO = "the description has Go's type; on the wire, as in the documentation's examples, it is a text such as 15s"
FAULT = "a fault does that on purpose"
NULL = "flyctl takes anything but null for an attached volume"
SAME_APP = "flyctl reads the same App from a list as from GET /apps/{app_name}"
KNOWN: dict[str, str] = {
    "App.app_role: not described": LATER,
    "App.cname_target: not described": LATER,
    "App.internal_numeric_id: not described": LATER,
    "App.machine_count: not described": LATER,
    "App.network: not described": LATER,
    "App.volume_count: not described": LATER,
    "GET /apps/{app_name}/ip_assignments: not described": SINCE,
    "GET /apps/{app_name}/machines answer: not JSON": FAULT,
    "GET /apps/{app_name}/machines/{machine_id} answer: not JSON": FAULT,
    "GET /apps/{app_name}/machines/{machine_id}/events: query limit is not described": SINCE,
    "GET /apps/{app_name}/machines/{machine_id}/lease answer: wrapped in status and data": LATER,
    "GET /apps/{app_name}/machines/{machine_id}/wait: query from_event_id is not described": SINCE,
    "GET /apps/{app_name}/machines/{machine_id}/wait: query version is not described": SINCE,
    "GET /apps/{app_name}/machines/{machine_id}: query include_leases is not described": SINCE,
    "GET /apps/{app_name}/machines: query include_leases is not described": SINCE,
    "GET /apps/{app_name}/machines: query metadata.fly_process_group is not described": SINCE,
    "GET /apps/{app_name}/machines: query state is not described": SINCE,
    "GET /apps/{app_name}/secrets: not described": SINCE,
    "GET /platform/regions: not described": SINCE,
    "ListApp.app_role: not described": SAME_APP,
    "ListApp.cname_target: not described": SAME_APP,
    "ListApp.internal_numeric_id: not described": SAME_APP,
    'ListApp.network: str is not of type "object"': SAME_APP,
    "ListApp.organization: not described": SAME_APP,
    "ListApp.status: not described": SAME_APP,
    "ListApp.volume_count: not described": SAME_APP,
    "Machine.cordoned: not described": LATER,
    "Machine.host_status: not described": LATER,
    "Machine.incomplete_config: not described": LATER,
    "Machine.lease: not described": "include_leases is documented, but not where the answer has them",
    "Organization.internal_numeric_id: not described": LATER,
    "PATCH /apps/{app_name}/machines/{machine_id}/metadata: not described": SINCE,
    "POST /apps/{app_name}/machines/{machine_id}/lease answer: wrapped in status and data": LATER,
    "POST /apps/{app_name}/machines/{machine_id}/lease: query ttl is not described": LATER,
    "POST /apps/{app_name}/machines/{machine_id}/lease: status 201 is not described": LATER,
    "POST /apps/{app_name}/machines/{machine_id}/metadata/{key} request: a body is not described": LATER,
    "POST /apps/{app_name}/machines/{machine_id}/suspend: not described": SINCE,
    "POST /apps/{app_name}/secrets: not described": SINCE,
    'Volume.attached_alloc_id: NoneType is not of type "string"': NULL,
    'Volume.attached_machine_id: NoneType is not of type "string"': NULL,
    "Volume.host_status: not described": LATER,
    "an error: not JSON": f"{FAULT}: 404-text",
    'fly.Duration: str is not of type "object"': GO,
    'fly.MachineCheck.grace_period: str is not of type "object"': GO,
    'fly.MachineCheck.interval: str is not of type "object"': GO,
    'fly.MachineCheck.timeout: str is not of type "object"': GO,
}
"""The differences that are known, each with its reason."""

NOT_OFFERED = {
    "POST /apps": "apps are made by /local/v1/apps",
    "DELETE /apps/{app_name}": "the platform ends with its process",
    "POST /apps/{app_name}/volumes/{volume_id}": "nothing here is ever backed up",
    "DELETE /apps/{app_name}/volumes/{volume_id}": "nobody destroys data here",
    "PUT /apps/{app_name}/volumes/{volume_id}/extend": "a volume has no content",
    "GET /apps/{app_name}/volumes/{volume_id}/snapshots": "a volume has no content",
    "POST /apps/{app_name}/volumes/{volume_id}/snapshots": "a volume has no content",
}
MACHINES = f"/v1/apps/{APP}/machines"


class Flyctl(FlyApi):
    """The stand-in deployer's calls, straight into the local platform."""

    def __init__(self, fly: Fly) -> None:
        super().__init__("https://fly", "ci-token", APP)
        self._fly = fly

    async def _call(self, method: str, url: str, body: Json | None = None, *, nonce: str | None = None) -> Any:
        headers = dict(self._headers) | ({} if nonce is None else {"fly-machine-lease-nonce": nonce})
        raw = b"" if body is None else json.dumps(body).encode()
        answer = await self._fly.api.handle(ApiRequest.of(method, url, headers, raw))
        if answer.status >= 300:
            raise ApiError(answer.status, answer.body.decode())
        return json.loads(answer.body) if answer.body else {}


def scripted() -> list[Exchange]:
    """Every route of the Machines API once or more, well and badly asked, and every fault."""

    async def story(fly: Fly) -> list[Exchange]:
        recorder = Recorder(fly.api)
        app = fly.deploy(3)
        await settled(app)
        await every_route(fly)
        await every_refusal(fly)
        await every_fault(fly)
        assert (await deploy(Flyctl(fly), Settings(image=NEXT.ref, smoke_s=0))).error is None
        assert all(machine.image == NEXT for machine in app.present())
        return recorder.heard

    return live(story)


async def every_route(fly: Fly) -> None:
    app = fly.world.apps[APP]
    machine = first(app)
    for path in ("/v1/apps?org_slug=personal", f"/v1/apps/{APP}", MACHINES, f"{MACHINES}?include_deleted=true"):
        await fly.call("GET", path)
    await fly.call("GET", f"{MACHINES}?region=ord&state=started&metadata.fly_process_group=app&include_leases=true")
    for rest in ("", "/versions", "/events", "/events?limit=5", "/ps", "/metadata", "/wait", "/wait?state=settled"):
        await fly.call("GET", at(machine, rest))
    held = json.loads((await fly.call("POST", at(machine, "/lease"), {"ttl": 60, "description": "me"})).body)
    nonce = held["data"]["nonce"]
    await fly.call("GET", at(machine, "/lease"))
    await fly.call("GET", at(machine) + "?include_leases=true")
    for verb, body in (
        ("/cordon", None),
        ("/uncordon", None),
        ("/signal", {"signal": "SIGUSR1"}),
        ("/restart?timeout=5s", None),
        ("/stop", {"signal": "SIGTERM", "timeout": "5s"}),
        ("/start", None),
        ("/suspend", None),
        ("/start", None),
    ):
        assert (await fly.call("POST", at(machine, verb), body, fly_machine_lease_nonce=nonce)).status == 200, verb
        await asyncio.sleep(20)
        await fly.call("POST", at(machine, "/lease?ttl=60"), None, fly_machine_lease_nonce=nonce)
    assert (await fly.update(machine, nonce=nonce, current_version=machine.instance_id, region="ord")).status == 200
    await fly.call("GET", at(machine, f"/wait?version={machine.instance_id}&state=started&timeout=60"))
    await fly.call("GET", at(machine, f"/wait?instance_id={machine.instance_id}&timeout=60&from_event_id=0"))
    await fly.call("DELETE", at(machine, "/lease"), fly_machine_lease_nonce=nonce)
    await fly.call("POST", at(machine, "/metadata/colour"), {"value": "blue"})
    await fly.call("DELETE", at(machine, "/metadata/colour"))
    await fly.call("PATCH", at(machine, "/metadata"), {"metadata": {"colour": "red"}})
    await resources(fly)


async def resources(fly: Fly) -> None:
    for path in ("/volumes", "/ip_assignments", "/secrets"):
        await fly.call("GET", f"/v1/apps/{APP}{path}")
    await fly.call("GET", "/v1/platform/regions")
    await fly.call("POST", f"/v1/apps/{APP}/secrets", {"values": {"KEY": "value"}})
    volume = json.loads((await fly.call("POST", f"/v1/apps/{APP}/volumes", {"name": "data", "size_gb": 1})).body)
    await fly.call("GET", f"/v1/apps/{APP}/volumes/{volume['id']}")
    config = {"image": GOOD.ref, "mounts": [{"volume": volume["id"], "path": "/data"}], "auto_destroy": True}
    body = {"config": config, "region": "ord", "name": "extra", "lease_ttl": 30, "skip_launch": True}
    made = json.loads((await fly.call("POST", MACHINES, body)).body)
    await fly.call("GET", f"/v1/apps/{APP}/volumes")
    await fly.call("POST", f"{MACHINES}/{made['id']}/exec", {"command": ["true"], "timeout": 1})
    await fly.call("DELETE", f"{MACHINES}/{made['id']}?force=true", fly_machine_lease_nonce=made["nonce"])
    crashed = list(fly.world.apps[APP].machines.values())[1]
    fly.world.set_host_status(APP, crashed.id, "unreachable", 0.0)
    await fly.call("GET", MACHINES)
    fly.world.set_host_status(APP, crashed.id, "ok", 0.0)


async def every_refusal(fly: Fly) -> None:
    machine = first(fly.world.apps[APP])
    await fly.call("GET", MACHINES, token="stolen")
    await fly.call("GET", f"{MACHINES}/0000000000000a")
    await fly.call("GET", at(machine, "/wait?timeout=99"))
    await fly.call("GET", at(machine, "/wait?state=stopped&timeout=1"))
    await fly.call("POST", MACHINES, {"config": {"image": "registry.fly.io/nothing:here"}})
    await fly.call("POST", at(machine), {"config": dict(machine.config), "current_version": "another"})


async def every_fault(fly: Fly) -> None:
    machine = first(fly.world.apps[APP])
    for kind, names in TABLE.items():
        for name in names:
            fly.faults.change({kind: name})
            with contextlib.suppress(AnswerLost):
                await REQUESTS[kind](fly, machine)
            fly.faults.change({kind: None})
            machine.lease = None
            await asyncio.sleep(60)


def rolled_back() -> list[Exchange]:
    """What a guard asks of the platform while it watches, and takes a bad release back."""

    async def scene() -> list[Exchange]:
        stage = Stage(machines=3)
        recorder = Recorder(stage.api)
        async with stage.host:
            await asyncio.sleep(30)
            _life, guard, start = stage.born()
            task = start()
            await asyncio.sleep(15)
            await Acts(guard, guard.platform, guard.clock).adopt("alice", "runs since May", None)
            await stage.deploy(BAD)
            await asyncio.sleep(300)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        assert stage.digests == {STAGE_GOOD.digest}
        return recorder.heard

    return run(scene())


@cache
def traffic() -> tuple[Exchange, ...]:
    return tuple(filter(of_the_machines_api, [*scripted(), *rolled_back()]))


@cache
def described() -> Description:
    if not DESCRIPTION.is_file():
        pytest.skip("Fly's API description is not here; it is test data that is not shipped")
    return Description()


@cache
def found() -> frozenset[str]:
    """Every difference in the traffic."""
    return frozenset(difference for exchange in traffic() for difference in described().differences(exchange))


def listed(differences: Iterable[str]) -> str:
    return "\n".join(sorted(differences))


def test_the_traffic_differs_from_the_description_in_nothing_that_is_not_known() -> None:
    assert listed(found() - KNOWN.keys()) == ""


def test_no_known_difference_has_ceased_to_be_one() -> None:
    assert listed(KNOWN.keys() - found()) == ""


def test_everything_that_is_described_was_asked_for_but_for_what_is_not_offered() -> None:
    asked = {described().asked(exchange) for exchange in traffic()}
    assert described().operations - asked == NOT_OFFERED.keys()


def test_the_guard_and_the_deployer_were_heard_too() -> None:
    agents = {exchange.request.headers.get("user-agent", "")[:6] for exchange in traffic()}
    assert "flyctl" in agents
    updates = [e for e in traffic() if e.request.method == "POST" and "current_version" in e.request.body.decode()]
    assert any("rollguard_incident" in e.request.body.decode() for e in updates)


def test_a_wrong_answer_would_be_seen() -> None:
    description = described()
    right = next(each for each in traffic() if each.request.path == MACHINES and each.response)
    assert right.response is not None
    wrong = json.loads(right.response.body)
    wrong[0] |= {"state": 7, "colour": "blue"}
    spoilt = Exchange(right.request, type(right.response)(200, {}, json.dumps(wrong).encode()))
    seen = set(description.differences(spoilt)) - KNOWN.keys()
    assert seen == {'Machine.state: int is not of type "string"', "Machine.colour: not described"}
