"""The stand-in for flyctl: its calls, their order, and what it leaves behind when it fails."""

from __future__ import annotations

import asyncio
import json
import re
import sys
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest

from rollguard.localfly import flyctl_api, rollout
from rollguard.localfly.deployer import Deployed, deploy
from rollguard.localfly.flyctl_api import FlyApi
from rollguard.localfly.http1 import Request, Response
from rollguard.localfly.http1_server import Server
from rollguard.localfly.rollout import Settings, crash_loops, pool_size

GOOD = "registry.fly.io/shop:deployment-NEW"
CHECKS = {"health": {"type": "http", "path": "/health"}}


class FakeFly:
    """Just enough of Fly to deploy on: it writes every call down and does as it is told."""

    def __init__(self, *states: str) -> None:
        self.machines = {f"m{number}": self._machine(f"m{number}", state) for number, state in enumerate(states, 1)}
        self.calls: list[str] = []
        self.bodies: dict[str, Any] = {}
        self.leases: dict[str, str] = {}
        self.statuses: list[str] = []
        self.updating: set[str] = set()
        self.most_updating: list[int] = []
        self.faults: dict[str, Callable[[], Response | None]] = {}
        self.failing_checks: set[str] = set()
        self.server = Server(self.answer)
        self.url = ""

    @staticmethod
    def _machine(machine_id: str, state: str) -> dict[str, Any]:
        metadata = {"fly_platform_version": "v2", "fly_process_group": "app", "team": "shop"}
        config = {"image": "old", "metadata": metadata, "checks": CHECKS, "a_key_of_tomorrow": [1]}
        return {"id": machine_id, "state": state, "region": "ord", "config": config, "events": []}

    async def answer(self, request: Request) -> Response:
        call = f"{request.method} {re.sub('/v1/apps/shop/machines', '', request.target)}"
        self.calls.append(call)
        body = json.loads(request.body or b"null")
        self.bodies[call] = body
        for pattern, fault in self.faults.items():
            if re.fullmatch(pattern, call) and (refusal := fault()) is not None:
                return refusal
        nonce = request.header("fly-machine-lease-nonce")
        found = self._handle(request.method, request.path, body, nonce)
        return Response(200, json.dumps(found).encode())

    def _handle(self, method: str, path: str, body: Any, nonce: str | None) -> Any:
        match [method, *path.strip("/").split("/")]:
            case ["POST", "graphql"] if "FlyctlConfigCurrentRelease" in body["query"]:
                return {"data": {"app": {"currentReleaseUnprocessed": {"configDefinition": {"app": "shop"}}}}}
            case ["POST", "graphql"]:
                ref = body["variables"]["imageRef"]
                image = {"ref": ref, "digest": "sha256:1"} if ref == GOOD else None
                return {"data": {"app": {"image": image}}}
            case ["POST", "api", "v1", "releases"]:
                return {"release": {"id": "rel_7", "version": 7}}
            case ["PATCH", *_]:
                self.statuses.append(body["status"])
                return {"id": "rel_7"}
            case ["GET", "v1", "apps", "shop", "machines"]:
                return list(self.machines.values())
            case [_, "v1", "apps", "shop", "machines", machine_id, *rest]:
                return self._machine_call(method, machine_id, rest, body, nonce)
        raise AssertionError(f"nobody calls {method} {path}")

    def _machine_call(self, method: str, machine_id: str, rest: list[str], body: Any, nonce: str | None) -> Any:
        machine = self.machines[machine_id]
        match method, *rest:
            case "POST", "lease":
                assert nonce == self.leases.get(machine_id)
                self.leases[machine_id] = f"nonce-{machine_id}"
                return {"status": "success", "data": {"nonce": self.leases[machine_id]}}
            case "DELETE", "lease":
                assert nonce == self.leases.pop(machine_id)
                return {"ok": True}
            case ("POST",):
                assert nonce == self.leases[machine_id]
                machine["config"] = body["config"]
                self.updating.add(machine_id)
                self.most_updating.append(len(self.updating))
                return machine
            case "GET", "wait":
                return {"ok": True}
            case _:
                passing = machine_id not in self.failing_checks
                self.updating.discard(machine_id)
                checks = [{"name": "health", "status": "passing" if passing else "critical"}]
                return machine | {"checks": checks}

    def touched(self) -> list[str]:
        """The machines that got an update, in order."""
        return [call.removeprefix("POST /") for call in self.calls if re.fullmatch(r"POST /m\d+", call)]


@pytest.fixture(autouse=True)
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "POLL_S", 0.001)
    monkeypatch.setattr(rollout, "LEASE_PAUSE_S", 0.001)
    monkeypatch.setattr(rollout, "LEASE_PATIENCE_S", 0.05)
    monkeypatch.setattr(flyctl_api, "PAUSE_S_MIN", 0.001)


class Desk:
    """Where deploys are ordered."""

    def __init__(self) -> None:
        self.served: list[FakeFly] = []

    async def deploy(self, fly: FakeFly, image: str = GOOD, **settings: Any) -> Deployed:
        if fly not in self.served:
            fly.url = f"http://127.0.0.1:{await fly.server.start('127.0.0.1', 0)}"
            self.served.append(fly)
        async with FlyApi(fly.url, "fo1_test", "shop") as api:
            return await deploy(api, Settings(image=image, **{"smoke_s": 0.0, "wait_timeout_s": 0.05} | settings))


@pytest.fixture
async def desk() -> AsyncIterator[Desk]:
    desk = Desk()
    yield desk
    for fly in desk.served:
        await fly.server.drain(0.0)


async def test_a_deploy_makes_flyctls_calls_in_flyctls_order(desk: Desk) -> None:
    fly = FakeFly("started")
    assert await desk.deploy(fly) == Deployed(7)
    assert fly.calls == [
        "POST /graphql",
        "POST /graphql",
        "GET ",
        "POST /api/v1/releases",
        "PATCH /api/v1/releases/rel_7",
        "POST /m1/lease?ttl=13",
        "POST /m1",
        "GET /m1/wait?state=started&timeout=1",
        "GET /m1",
        "DELETE /m1/lease",
        "PATCH /api/v1/releases/rel_7",
    ]
    assert fly.statuses == ["running", "complete"]
    assert fly.bodies["POST /api/v1/releases"] == {
        "app_name": "shop",
        "build_id": 0,
        "definition": {"app": "shop"},
        "image": GOOD,
        "strategy": "ROLLING",
    }


async def test_a_machines_config_is_carried_through_but_for_image_and_release(desk: Desk) -> None:
    fly = FakeFly("started")
    await desk.deploy(fly)
    config = fly.bodies["POST /m1"]["config"]
    assert (config["image"], config["checks"], config["a_key_of_tomorrow"]) == (GOOD, CHECKS, [1])
    metadata = config["metadata"]
    assert (metadata["fly_release_id"], metadata["fly_release_version"], metadata["team"]) == ("rel_7", "7", "shop")


async def test_the_first_machine_goes_alone_and_then_a_pool(desk: Desk) -> None:
    fly = FakeFly(*["started"] * 5)
    assert (await desk.deploy(fly, max_unavailable=0.5)).error is None
    assert fly.touched()[0] == "m1"
    assert sorted(fly.touched()) == ["m1", "m2", "m3", "m4", "m5"]
    assert fly.most_updating[:2] == [1, 1]
    assert max(fly.most_updating) <= 3


@pytest.mark.parametrize(
    ("share", "sizes"),
    [
        (0.25, [1, 1, 1, 1, 2, 2, 2, 3]),
        (0.33, [1, 1, 1, 2, 2, 2, 3, 4]),
        (0.5, [1, 1, 2, 2, 3, 3, 4, 5]),
        (1, [1] * 8),
        (2, [2] * 8),
    ],
)
def test_the_pool_is_as_wide_as_flyctls(share: float, sizes: list[int]) -> None:
    settings = Settings(image=GOOD, max_unavailable=share)
    assert [pool_size(count, settings, warm=True) for count in (1, 2, 3, 4, 5, 6, 8, 10)] == sizes


async def test_a_failing_first_machine_ends_the_deploy_and_nothing_is_reverted(desk: Desk) -> None:
    fly = FakeFly("started", "started", "started")
    fly.failing_checks = {"m1"}
    ended = await desk.deploy(fly)
    assert ended.version == 7
    assert "health checks to pass for machine m1: not passing" in str(ended.error)
    assert fly.touched() == ["m1"]
    assert fly.machines["m1"]["config"]["image"] == GOOD
    assert (fly.statuses, fly.leases) == (["running", "failed"], {})


async def test_an_image_that_does_not_exist_makes_no_release(desk: Desk) -> None:
    fly = FakeFly("started")
    ended = await desk.deploy(fly, image="registry.fly.io/shop:typo")
    assert (ended.version, fly.statuses, fly.touched()) == (None, [], [])
    assert "could not find image" in str(ended.error)


async def test_an_app_without_managed_machines_makes_no_release(desk: Desk) -> None:
    fly = FakeFly("started")
    fly.machines["m1"]["config"]["metadata"]["fly_platform_version"] = "v1"
    assert (await desk.deploy(fly)).version is None


async def test_one_lease_it_cannot_have_gives_all_back_and_touches_nothing(desk: Desk) -> None:
    fly = FakeFly("started", "started")
    held = Response(409, b'{"error": "aborted: machine ID m2 lease currently held by guard"}')
    fly.faults["POST /m2/lease.*"] = lambda: held
    ended = await desk.deploy(fly)
    assert "currently held by guard" in str(ended.error)
    assert (fly.touched(), fly.leases, fly.statuses) == ([], {}, ["running", "failed"])


async def test_a_lease_that_frees_itself_is_waited_for(desk: Desk) -> None:
    fly = FakeFly("started")
    refusals = iter([Response(409, b'{"error": "held"}')] * 3)
    fly.faults["POST /m1/lease.*"] = lambda: next(refusals, None)
    assert (await desk.deploy(fly)).error is None


async def test_leases_are_refreshed_while_the_deploy_goes_on(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rollout, "LEASE_REFRESH_S", 0.005)
    fly = FakeFly("started")
    fly.failing_checks = {"m1"}
    await desk.deploy(fly)
    assert fly.calls.count("POST /m1/lease?ttl=13") > 2  # the fake insists on the nonce


async def test_a_stopped_machine_is_updated_and_left_asleep_unverified(desk: Desk) -> None:
    fly = FakeFly("started", "stopped")
    assert (await desk.deploy(fly)).error is None
    assert fly.bodies["POST /m2"]["skip_launch"] is True
    assert "skip_launch" not in fly.bodies["POST /m1"]
    assert not any(call.startswith("GET /m2") for call in fly.calls)


async def test_immediate_waits_for_nothing(desk: Desk) -> None:
    fly = FakeFly("started", "started")
    fly.failing_checks = {"m1", "m2"}
    assert (await desk.deploy(fly, strategy="immediate")).error is None
    assert not any(call.startswith("GET /m") for call in fly.calls)
    assert fly.bodies["POST /api/v1/releases"]["definition"] == {"app": "shop", "deploy": {"strategy": "immediate"}}


async def test_a_bad_gateway_and_haste_are_retried_whatever_the_method_and_a_refusal_is_not(desk: Desk) -> None:
    fly = FakeFly("started")
    hiccups = iter([Response(502), Response(429), Response(503)])
    fly.faults["POST /m1"] = lambda: next(hiccups, None)
    assert (await desk.deploy(fly)).error is None
    refused = FakeFly("started")
    refused.faults["POST /m1"] = lambda: Response(412, b'{"error": "insufficient resources"}')
    assert (await desk.deploy(refused)).error == "412: insufficient resources"
    assert refused.touched() == ["m1"]


async def test_a_machine_on_an_unreachable_host_fails_the_deploy_without_a_guess_at_its_config(desk: Desk) -> None:
    fly = FakeFly("started")
    known = fly.machines["m1"].pop("config")
    fly.machines["m1"] |= {"incomplete_config": known, "host_status": "unreachable"}
    ended = await desk.deploy(fly)
    assert "unreachable" in str(ended.error)
    assert fly.touched() == []


async def test_a_final_status_that_cannot_be_written_is_only_a_warning(desk: Desk) -> None:
    fly = FakeFly("started")
    answers = iter([None])
    fly.faults["PATCH .*"] = lambda: next(answers, Response(500))
    assert await desk.deploy(fly) == Deployed(7)


async def test_cancelled_it_marks_the_release_interrupted_and_leaves_the_leases_to_expire(desk: Desk) -> None:
    fly = FakeFly("started", "started")
    waiting, go_on = asyncio.Event(), asyncio.Event()
    answer = fly.answer

    async def stuck(request: Request) -> Response:
        if "/wait" in request.target:
            waiting.set()
            await go_on.wait()
        return await answer(request)

    fly.server = Server(stuck)
    deploying = asyncio.create_task(desk.deploy(fly))
    await waiting.wait()
    deploying.cancel()
    ended = await deploying
    go_on.set()
    assert (ended.version, ended.status) == (7, "interrupted")
    assert (fly.statuses, set(fly.leases), fly.touched()) == (["running", "interrupted"], {"m1", "m2"}, ["m1"])


def _exit(**facts: Any) -> dict[str, Any]:
    request = {"restart_count": facts.pop("restart_count", 2)}
    event = {"requested_stop": False, "restarting": True, "exit_code": 1} | facts
    return {"type": "exit", "request": request | {"exit_event": event}}


@pytest.mark.parametrize(
    ("events", "loops"),
    [
        ([], False),
        ([_exit()], True),
        ([{"type": "start"}, _exit()], True),
        ([_exit(requested_stop=True)], False),
        ([_exit(restarting=False)], False),
        ([_exit(restart_count=1)], False),
        ([_exit(exit_code=0)], False),
        ([_exit(exit_code=0), _exit()], False),  # only the newest exit counts
    ],
)
def test_a_crash_loop_is_an_unrequested_failure_with_restarts_behind_it(
    events: list[dict[str, Any]], loops: bool
) -> None:
    assert crash_loops({"events": events}) is loops


async def test_its_process_ends_with_one_json_line_and_the_exit_code_of_the_deploy(desk: Desk) -> None:
    fly = FakeFly("started")
    await desk.deploy(fly)
    for image, code in ((GOOD, 0), ("registry.fly.io/shop:typo", 1)):
        args = ("--platform", fly.url, "--token", "t", "--app", "shop", "--image", image, "--smoke", "0")
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "rollguard.localfly.deployer", *args, stdout=asyncio.subprocess.PIPE
        )
        said = json.loads((await process.communicate())[0])
        assert (process.returncode, said["ok"], said["version"]) == (code, code == 0, None if code else 7)
        assert said["ended_at"] > 1e9
