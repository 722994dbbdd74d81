"""What Fly says becomes machines, releases and leases, or an error that says what was wrong with it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rollguard.core.model import Check, Exit, Lease, Machine
from rollguard.errors import BadAnswer, GuardError, Refused, Unavailable
from tests.adapters.fly_answers import LEASE, M1, MACHINE, NEW, OLD, RELEASES, ULID, Fly, machine, releases
from tests.adapters.scripted_transport import says

APP = "/v1/apps/my-app"
LIST = f"GET {APP}/machines"
LEASE_OF = f"GET {APP}/machines/{M1}/lease"


async def only(document: dict[str, Any]) -> Machine:
    """The machine that the snapshot makes of this document."""
    (found,) = (await Fly({LIST: [document]}).platform.snapshot()).machines
    return found


async def test_the_documented_machine_is_understood_whole() -> None:
    found = await only(MACHINE)
    assert found == Machine(
        id=M1,
        state="started",
        instance_id=ULID,
        digest=NEW,
        image_ref="registry.fly.io/my-app:deployment-01J9Z",
        group="app",
        region="iad",
        checks=(Check("servicecheck-00-http-8080", "passing"),),
        started_at=1_787_306_410.0,
        exits=(Exit(at=1_787_306_409.5, code=1, requested=False, oom=True),),
        release_version=42,
        labels={"rollguard.migration": "none"},
        config_hash=found.config_hash,
    )
    assert found.healthy_routable


async def test_a_snapshot_has_machines_by_id_releases_newest_first_and_the_time_of_asking() -> None:
    fly = Fly({LIST: [machine(id="b"), machine(id="a")]})
    snapshot = await fly.platform.snapshot()
    assert [m.id for m in snapshot.machines] == ["a", "b"]
    assert [(r.version, r.status, r.image_ref, r.user) for r in snapshot.releases] == [
        (42, "running", "", ""),
        (41, "complete", "registry.fly.io/my-app:deployment-A", "dev@example.com"),
    ]
    assert snapshot.releases[0].created_at == 1_787_306_400.0
    assert (snapshot.at, snapshot.leases) == (fly.clock.at, None)
    assert not fly.wrote


@pytest.mark.parametrize(
    "but, managed",
    [
        ({}, True),
        ({"config": {"metadata": {"fly_process_group": "app"}}}, False),
        ({"config": {"metadata": None}}, False),
        ({"state": "destroyed"}, False),
        ({"state": "destroying"}, False),
        ({"state": "replaced"}, False),
        ({"state": "migrated"}, False),
        ({"state": "stopped"}, True),
        ({"state": "suspended"}, True),
        ({"cordoned": True}, True),
        ({"config": {"standbys": ["e0000000000000"]}}, True),
        ({"config": {"metadata": {"fly_platform_version": "v1"}}}, False),
        (
            {
                "config": {
                    "metadata": {"fly_platform_version": "v2", "fly_process_group": "fly_app_test_machine_command"}
                }
            },
            False,
        ),
        ({"config": {"metadata": {"fly_platform_version": "v2", "fly_process_group": "fly_app_console"}}}, False),
        ({"config": {"metadata": {"fly_platform_version": "v2", "process_group": "fly_app_release_command"}}}, False),
        ({"config": {"metadata": {"fly_platform_version": "v2", "process_group": "worker"}}}, True),
    ],
)
async def test_managed_are_the_machines_that_a_deploy_would_touch(but: dict[str, Any], managed: bool) -> None:
    assert (await only(machine(**but))).managed is managed


@pytest.mark.parametrize("incomplete", [None, {"metadata": {"fly_platform_version": "v2"}, "services": [{}]}])
async def test_a_machine_on_a_silent_host_stays_visible(incomplete: Any) -> None:
    document = machine(host_status="unreachable", incomplete_config=incomplete)
    del document["config"]
    found = await only(document)
    assert (found.host_ok, found.managed, found.healthy_routable, found.config_hash) == (False, True, False, "")


@pytest.mark.parametrize("host_status", ["unknown", "unreachable", "haunted", ""])
async def test_a_host_in_any_state_but_ok_is_not_believed(host_status: str) -> None:
    found = await only(machine(host_status=host_status))
    assert (found.host_ok, found.healthy_routable, found.managed) == (False, False, True)


async def test_a_host_that_is_well_and_tells_no_config_is_not_believed_either() -> None:
    for config in (None, {}):
        found = await only(machine() | {"config": config})
        assert (found.host_ok, found.healthy_routable, found.managed) == (False, False, True)


async def test_what_a_silent_host_told_before_it_fell_silent_is_kept() -> None:
    config = MACHINE["config"] | {"mounts": [{"volume": "vol_1", "path": "/data"}], "standbys": ["m2"]}
    document = machine(host_status="unreachable", incomplete_config=config)
    del document["config"]
    found = await only(document)
    assert (found.group, found.has_services, found.has_volume, found.standby) == ("app", True, True, True)
    unmanaged = machine(host_status="unreachable", incomplete_config={"metadata": {"fly_process_group": "app"}})
    del unmanaged["config"]
    assert not (await only(unmanaged)).managed, "a host that told whose it is not"


@pytest.mark.parametrize("autostop", [False, True, "off", "stop", "suspend", None, 7])
async def test_however_autostop_is_written_the_machine_is_the_same(autostop: Any) -> None:
    services = [{"internal_port": 8080, "autostop": autostop, "checks": [{"type": "http"}]}]
    found = await only(machine(config={"services": services}, state="stopped", events=[]))
    assert (found.has_services, found.has_checks, found.crashed, found.managed) == (True, True, False, True)


async def test_checks_may_be_service_checks_or_top_level_ones() -> None:
    assert (await only(MACHINE)).has_checks
    assert (await only(machine(config={"services": [], "checks": {"web": {"type": "http"}}}))).has_checks
    without = await only(machine(config={"services": [{"internal_port": 1}]}))
    assert (without.has_checks, without.has_services) == (False, True)
    assert not (await only(machine(config={"services": None}))).has_services


async def test_standby_cordon_and_the_guards_own_mark_are_read() -> None:
    metadata = MACHINE["config"]["metadata"] | {"rollguard_incident": "2026-08-21/1", "fly_release_version": "v?"}
    found = await only(machine(config={"standbys": ["m2"], "metadata": metadata}, cordoned=True))
    assert (found.standby, found.cordoned, found.incident, found.release_version) == (True, True, "2026-08-21/1", None)


async def test_an_exit_may_be_told_by_the_monitor_and_one_without_a_story_is_no_evidence() -> None:
    monitored = {
        "type": "exit",
        "timestamp": 1000,
        "request": {"MonitorEvent": {"exit_event": {"requested_stop": True}}},
    }
    silent = {"type": "exit", "timestamp": 2000}
    found = await only(machine(events=[silent, monitored]))
    assert found.exits == (Exit(at=1.0, code=0, requested=True),)
    assert found.started_at is None


async def test_the_newest_start_counts_and_exits_are_bounded() -> None:
    starts = [{"type": "start", "timestamp": at} for at in (5000, 9000, 7000)]
    exit_ = {"type": "exit", "timestamp": 1, "request": {"exit_event": {"exit_code": 1}}}
    found = await only(machine(events=starts + [exit_] * 500))
    assert found.started_at == 9.0
    assert len(found.exits) == 47


async def test_the_config_hash_changes_with_the_config_and_not_with_image_or_metadata() -> None:
    usual = (await only(MACHINE)).config_hash
    assert (await only(machine(config={"image": "other", "metadata": {}}))).config_hash == usual
    assert (await only(machine(config={"env": {"A": "2"}}))).config_hash != usual


async def test_nulls_for_lists_and_unknown_keys_are_fine() -> None:
    found = await only(machine(checks=None, events=None, image_ref=None, cordoned=None, news={"deep": [1]}))
    assert (found.checks, found.exits, found.digest, found.labels) == ((), (), "", {})


async def test_foreign_text_is_bounded_and_without_control_characters() -> None:
    image = MACHINE["image_ref"] | {"labels": {"x\n" * 200: "\x1b[31m" * 500} | {str(n): n for n in range(500)}}
    found = await only(machine(image_ref=image, region="r\x00" * 9000))
    assert (found.region[:4], len(found.region), len(found.labels)) == ("r r ", 300, 100)
    assert all(len(key) <= 120 and value.isprintable() and len(value) <= 300 for key, value in found.labels.items())


@pytest.mark.parametrize(
    "answer, sentence",
    [
        ([], "no machine at all, which is not believed: GET /v1/apps/my-app/machines"),
        ([MACHINE, MACHINE], f"id: {M1} is told twice: GET /v1/apps/my-app/machines"),
        ({"machines": []}, "the answer: not a JSON list"),
        ([{"state": "started"}], "0.id: Field required"),
        ([machine(id="../../other")], "0.id: String should match pattern"),
        ([machine(image_ref={"digest": "sha256:short"})], "0.image_ref.digest: String should match"),
        ([machine(events=[{"type": "start", "timestamp": "soon"}])], "0.events.0.timestamp"),
        (says(json.dumps([MACHINE]).encode()[:-40]), "the answer: not a JSON list"),
        (says(b""), "the answer: not a JSON list"),
        (says(b"[" * 100_000), "the answer: not a JSON list"),
        (says(b"<html>", 302), "HTTP 302"),
    ],
)
async def test_a_list_outside_the_known_shapes_is_never_guessed_from(answer: Any, sentence: str) -> None:
    with pytest.raises(BadAnswer) as caught:
        await Fly({LIST: answer}).platform.snapshot()
    assert str(caught.value).startswith(sentence)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize(
    "answer, kind, sentence",
    [
        ({"data": None, "errors": [{"message": "no", "extensions": {"code": "NOT_FOUND"}}]}, Refused, "no (NOT_FOUND)"),
        ({"errors": [{"message": "no", "extensions": {"code": "UNAUTHORIZED"}}]}, Refused, "no (UNAUTHORIZED)"),
        ({"errors": [{"message": "oops", "extensions": {"code": "SERVER_ERROR"}}]}, Unavailable, "oops (SERVER_ERROR)"),
        ({"errors": ["strange"]}, Unavailable, "an error without a message ()"),
        ({"errors": "strange"}, Unavailable, "an error without a message ()"),
        ({"data": None}, BadAnswer, "data: Input should be an object"),
        ({"data": {"app": None}}, BadAnswer, "data.app: Input should be an object"),
        ({"data": {"app": {"releases": None}}}, BadAnswer, "data.app.releases: Input should be an object"),
        (releases({"id": "rel_1", "version": "many"}), BadAnswer, "data.app.releases.nodes.0.version: Input"),
        (releases(RELEASES[0], RELEASES[0]), BadAnswer, "data.app.releases.nodes.id: the same one twice"),
        (
            releases(RELEASES[0], RELEASES[0] | {"id": "rel_9"}),
            BadAnswer,
            "data.app.releases.nodes.version: the same one twice",
        ),
        ([], BadAnswer, "the answer: Input should be an object"),
        (says(b"{"), BadAnswer, "the answer: Invalid JSON"),
        (says({}, 502), Unavailable, "HTTP 502: POST /graphql"),
        (says({}, 401), Refused, "HTTP 401: POST /graphql"),
    ],
)
async def test_graphql_errors_inside_a_200_are_errors(answer: Any, kind: type[GuardError], sentence: str) -> None:
    with pytest.raises(kind) as caught:
        await Fly({"POST /graphql": answer}).platform.snapshot()
    assert str(caught.value).startswith(sentence)


async def test_both_reads_of_a_snapshot_end_before_it_fails() -> None:
    fly = Fly({LIST: Unavailable("timeout"), "POST /graphql": Unavailable("timeout too")})
    with pytest.raises(Unavailable, match=r"^timeout$"):
        await fly.platform.snapshot()
    assert len(fly.asked) == 2


@pytest.mark.parametrize("wrapped", [True, False])
async def test_leases_are_read_with_and_without_the_wrapper(wrapped: bool) -> None:
    fly = Fly({LEASE_OF: {"status": "success", "data": LEASE} if wrapped else LEASE})
    fly.answers[f"GET {APP}/machines/m2/lease"] = says({"error": "lease not found"}, 404)
    assert await fly.platform.leases([M1, "m2"]) == {M1: Lease("a@b.c", "deploy", 1_787_306_413.0)}


async def test_a_lease_that_cannot_be_read_is_not_taken_for_none() -> None:
    with pytest.raises(Unavailable):
        await Fly({LEASE_OF: says({}, 500)}).platform.leases([M1])


async def test_one_machine_is_read_afresh() -> None:
    assert (await Fly().platform.machine(M1)).instance_id == ULID
    with pytest.raises(Refused, match="machine not found"):
        await Fly({f"GET {APP}/machines/{M1}": says({"error": "machine not found"}, 404)}).platform.machine(M1)


@pytest.mark.parametrize(
    "image, digest", [({"id": "img_1", "digest": OLD, "ref": "r"}, OLD), (None, None), ({"digest": None}, None)]
)
async def test_an_image_is_a_digest_or_gone(image: Any, digest: str | None) -> None:
    fly = Fly({"POST /graphql": {"data": {"app": {"id": "my-app", "image": image}}}})
    assert await fly.platform.resolve("registry.fly.io/my-app:deployment-A") == digest
    assert fly.asked[0].json["variables"] == {"appName": "my-app", "imageRef": "registry.fly.io/my-app:deployment-A"}


@pytest.mark.parametrize(
    "answer, kind, sentence",
    [
        (says({"error": "x"}, 401), Refused, "Fly does not accept this token for my-app"),
        (says({"error": "x"}, 403), Refused, "no app my-app for this token"),
        (says({"error": "x"}, 404), Refused, "no app my-app for this token"),
        (Unavailable("connection refused: GET x"), Unavailable, "the Machines API at https://api.machines.dev cannot"),
        (says({}, 503), Unavailable, "the Machines API at https://api.machines.dev cannot"),
    ],
)
async def test_at_the_start_the_token_and_the_app_are_proven(
    answer: Any, kind: type[GuardError], sentence: str
) -> None:
    with pytest.raises(kind) as caught:
        await Fly({f"GET {APP}": answer}).platform.whoami()
    assert str(caught.value).startswith(sentence)


async def test_who_we_are_is_the_app_and_its_organization() -> None:
    app = {"id": "x", "name": "my-app", "status": "deployed", "organization": {"name": "P", "slug": "personal"}}
    assert await Fly({f"GET {APP}": app}).platform.whoami() == "my-app of personal"


MIXED = "FlyV1 fm2_a,fo1_b,fm1r_c"


@pytest.mark.parametrize(
    "token, machines, graphql, rest",
    [
        ("fo1_test", "Bearer fo1_test", "Bearer fo1_test", "Bearer fo1_test"),
        ("fm2_x", "FlyV1 fm2_x", "FlyV1 fm2_x", "Bearer fm2_x"),
        (MIXED, "FlyV1 fm2_a,fm1r_c", "FlyV1 fm2_a,fm1r_c,fo1_b", "Bearer fm2_a,fm1r_c,fo1_b"),
    ],
)
async def test_each_interface_gets_the_token_in_its_own_form(
    token: str, machines: str, graphql: str, rest: str
) -> None:
    fly = Fly({"PATCH /api/v1/releases/rel_1": RELEASES[0] | {"status": "running"}}, token=token)
    await fly.platform.snapshot()
    await fly.platform.mark_release("rel_1", "running", {})
    sent = {asked.path: asked.headers["Authorization"] for asked in fly.asked}
    assert sent == {f"{APP}/machines": machines, "/graphql": graphql, "/api/v1/releases/rel_1": rest}


async def test_addresses_come_from_the_environment_as_for_flyctl() -> None:
    places = {
        "FLY_FLAPS_BASE_URL": "http://127.0.0.1:1/",
        "FLY_API_BASE_URL": "http://127.0.0.1:2",
        "FLY_UIEX_BASE_URL": "http://127.0.0.1:3",
    }
    fly = Fly({"PATCH /api/v1/releases/rel_1": RELEASES[0] | {"status": "running"}}, **places)
    await fly.platform.snapshot()
    await fly.platform.mark_release("rel_1", "running", {})
    assert [asked.url for asked in fly.asked] == [
        "http://127.0.0.1:1/v1/apps/my-app/machines",
        "http://127.0.0.1:2/graphql",
        "http://127.0.0.1:3/api/v1/releases/rel_1",
    ]


async def test_a_missing_token_is_refused_by_name() -> None:
    with pytest.raises(Refused, match="FLY_API_TOKEN is missing"):
        await Fly(token="").platform.snapshot()
