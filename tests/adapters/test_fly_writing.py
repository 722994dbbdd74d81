"""Each write is sent once, under a lease, on the version it was made from, and carries the whole config along."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rollguard import __version__
from rollguard.adapters.fly import opaque
from rollguard.errors import BadAnswer, Conflict, GuardError, Refused, Unavailable
from rollguard.ports import Held
from tests.adapters.fly_answers import LEASE, M1, MACHINE, NEXT_ULID, OLD, ULID, Fly, machine
from tests.adapters.scripted_transport import says

PATH = f"/v1/apps/my-app/machines/{M1}"
UPDATE, TAKE, GIVE_BACK = f"POST {PATH}", f"POST {PATH}/lease", f"DELETE {PATH}/lease"
IMAGE = f"registry.fly.io/my-app@{OLD}"
HELD = Held(M1, "5c35f65c9f95", 1_787_306_413.0, ULID)
MARK = {"rollguard_incident": "i1", "fly_release_version": "43"}


async def update(fly: Fly, **but: Any) -> str:
    usual: dict[str, Any] = {"instance_id": ULID, "image": IMAGE, "metadata": MARK, "skip_launch": False}
    return await fly.platform.update(HELD, **usual | but)


async def test_an_update_changes_the_image_and_the_given_metadata_and_nothing_else() -> None:
    fly = Fly({UPDATE: machine(instance_id=NEXT_ULID)})
    assert await update(fly) == NEXT_ULID
    (sent,) = fly.wrote
    wanted = machine()["config"]
    wanted["image"] = IMAGE
    wanted["metadata"] |= MARK
    assert sent.json == {"config": wanted, "region": "iad", "current_version": ULID}
    assert sent.headers["fly-machine-lease-nonce"] == HELD.nonce


async def test_numbers_keys_and_text_of_a_config_come_back_as_they_were() -> None:
    odd = (
        '{"image":"x","a":1.0,"b":1e3,"c":12345678901234567890123,"d":0.10000000000000000055,"e":-0,'
        '"f":null,"g":[],"h":{"i":[true,1.50]},"j":"é\\u0000\\"\\/"}'
    )
    document = json.dumps(MACHINE | {"config": "HERE"}).replace('"HERE"', odd)
    fly = Fly({f"GET {PATH}": says(document.encode()), UPDATE: machine(instance_id=NEXT_ULID)})
    await update(fly, metadata={"k": "v"})
    sent = fly.wrote[0].body.decode()
    for text in ('"a":1.0', '"b":1e3', '"c":12345678901234567890123', '"d":0.10000000000000000055', '"e":-0'):
        assert text in sent
    assert '"f":null,"g":[],"h":{"i":[true,1.50]}' in sent
    assert json.loads(sent)["config"]["j"] == 'é\x00"/'
    assert json.loads(sent)["config"]["metadata"] == {"k": "v"}


async def test_a_machine_at_rest_is_updated_without_being_started_only_when_asked() -> None:
    fly = Fly({UPDATE: machine(instance_id=NEXT_ULID)})
    await update(fly, skip_launch=True)
    assert fly.wrote[0].json["skip_launch"] is True


@pytest.mark.parametrize(
    "found, kind, sentence",
    [
        (machine(instance_id=NEXT_ULID), Conflict, f"machine {M1} is at {NEXT_ULID}, not {ULID}"),
        (machine(host_status="unreachable"), Refused, f"the host of machine {M1} is unreachable"),
        (machine() | {"config": None}, Refused, f"the host of machine {M1} is ok: its config is not known"),
        (says({"error": "machine not found"}, 404), Refused, "HTTP 404"),
        (says(b'{"id":'), BadAnswer, "not JSON"),
        (says(json.dumps(MACHINE).replace("256", "NaN").encode()), BadAnswer, "not JSON"),
        (says(json.dumps(MACHINE).replace('"init"', '"env"').encode()), BadAnswer, "env: the same key twice"),
    ],
)
async def test_a_machine_that_is_not_what_was_looked_at_is_not_written_to(
    found: Any, kind: type[GuardError], sentence: str
) -> None:
    fly = Fly({f"GET {PATH}": found})
    with pytest.raises(kind) as caught:
        await update(fly)
    assert str(caught.value).startswith(sentence)
    assert not fly.wrote


async def test_an_image_without_a_digest_is_never_put_on_a_machine() -> None:
    fly = Fly()
    with pytest.raises(Refused, match="is not a digest"):
        await update(fly, image="registry.fly.io/my-app:deployment-A")
    assert not fly.asked


@pytest.mark.parametrize(
    "answer, kind",
    [
        (says({"error": "aborted: machine ID x lease currently held by a@b.c, expires at …"}, 409), Conflict),
        (says({"error": "aborted: machine is replacing: concurrent update in progress"}, 400), Conflict),
        (says({"error": "failed_precondition: machine version mismatch"}, 412), Conflict),
        (says({"error": "insufficient resources available", "status": "insufficient_capacity"}, 412), Refused),
        (says({"error": "could not reserve resource for machine"}, 409), Refused),
        (says({"message": "unavailable: deploys to this host are temporarily disabled"}, 409), Refused),
        (says({"error": "image not found"}, 422), Refused),
        (says({"error": "timed out"}, 408), Unavailable),
        (says({}, 429), Unavailable),
        (says({}, 504), Unavailable),
        (says({"error": "could not reserve resource for machine"}, 500), Unavailable),
        (Unavailable("timeout after 15s: POST x"), Unavailable),
        (machine(), BadAnswer),
        (machine(instance_id=""), BadAnswer),
        (says(b"{}"), BadAnswer),
    ],
)
async def test_a_refused_or_doubtful_update_says_what_to_do_and_is_not_repeated(
    answer: Any, kind: type[GuardError]
) -> None:
    fly = Fly({UPDATE: answer})
    with pytest.raises(GuardError) as caught:
        await update(fly)
    assert type(caught.value) is kind
    assert len(fly.wrote) == 1


async def test_errors_carry_the_request_id_and_how_long_to_wait() -> None:
    fly = Fly({UPDATE: says({"error": "slow down"}, 429, fly_request_id="01J-ord", retry_after="2")})
    with pytest.raises(Unavailable) as caught:
        await update(fly)
    assert str(caught.value) == f"HTTP 429: POST {PATH}: slow down (fly-request-id 01J-ord)"
    assert caught.value.retry_after_s == 2.0


@pytest.mark.parametrize("wrapped", [True, False])
async def test_a_lease_is_taken_with_a_description_and_a_short_life(wrapped: bool) -> None:
    fly = Fly({TAKE: says({"status": "success", "data": LEASE} if wrapped else LEASE, 201)})
    assert await fly.platform.acquire_lease(M1, "rollguard i1", 12.5) == HELD
    assert fly.wrote[0].query == {"ttl": "13"}
    assert fly.wrote[0].json == {"description": "rollguard i1", "ttl": 13}
    assert "fly-machine-lease-nonce" not in fly.wrote[0].headers


async def test_a_lease_that_does_not_tell_the_version_is_completed_by_a_look() -> None:
    fly = Fly({TAKE: {key: value for key, value in LEASE.items() if key != "version"}})
    assert (await fly.platform.acquire_lease(M1, "x", 13)).instance_id == ULID


async def test_a_machine_somebody_else_holds_is_a_conflict_that_names_them() -> None:
    said = "aborted: machine ID x lease currently held by ci@example.com, expires at 2026-08-21T10:00:13Z"
    with pytest.raises(Conflict, match=r"held by ci@example\.com"):
        await Fly({TAKE: says({"error": said}, 409)}).platform.acquire_lease(M1, "x", 13)


async def test_a_refresh_keeps_the_nonce_and_another_nonce_means_the_lease_was_lost() -> None:
    fly = Fly({TAKE: {"status": "success", "data": LEASE | {"expires_at": 1_787_306_500}}})
    assert (await fly.platform.refresh_lease(HELD, 13)).expires_at == 1_787_306_500.0
    assert fly.wrote[0].headers["fly-machine-lease-nonce"] == HELD.nonce
    with pytest.raises(Conflict, match="was lost"):
        await Fly({TAKE: {"data": LEASE | {"nonce": "another"}}}).platform.refresh_lease(HELD, 13)


@pytest.mark.parametrize("answer", [{"data": {}}, {"data": {"nonce": ""}}, {"data": {"nonce": "a\r\nb"}}, "text"])
async def test_a_lease_without_a_usable_nonce_is_a_bad_answer(answer: Any) -> None:
    with pytest.raises(BadAnswer):
        await Fly({TAKE: answer}).platform.acquire_lease(M1, "x", 13)


@pytest.mark.parametrize("status", [200, 404, 409])
async def test_a_lease_that_is_gone_is_given_back(status: int) -> None:
    fly = Fly({GIVE_BACK: says({"error": "lease not found"}, status)})
    await fly.platform.release_lease(HELD)
    assert fly.wrote[0].headers["fly-machine-lease-nonce"] == HELD.nonce


@pytest.mark.parametrize(
    "answer, started",
    [
        ({"ok": True}, True),
        ({"ok": True, "event_id": "01J", "state": "started", "version": ULID}, True),
        (says({"error": "deadline_exceeded: …"}, 408), False),
        (says({"error": "machine not found"}, 404), False),
    ],
)
async def test_waiting_is_for_that_very_instance(answer: Any, started: bool) -> None:
    fly = Fly({f"GET {PATH}/wait": answer})
    assert await fly.platform.wait_started(M1, ULID, 42.9) is started
    assert fly.asked[0].query == {"state": "started", "version": ULID, "timeout": "42"}
    assert fly.asked[0].timeout_s == 52.0


@pytest.mark.parametrize(
    "status, kind",
    [(400, Refused), (401, Refused), (403, Refused), (409, Conflict), (429, Unavailable), (503, Unavailable)],
)
async def test_a_wait_that_is_not_allowed_or_goes_wrong_does_not_say_not_started(
    status: int, kind: type[GuardError]
) -> None:
    with pytest.raises(kind, match=f"HTTP {status}: GET {PATH}/wait"):
        await Fly({f"GET {PATH}/wait": says({"error": "no"}, status)}).platform.wait_started(M1, ULID, 60.0)


@pytest.mark.parametrize("timeout_s, sent", [(0.2, "1"), (60.0, "60"), (300.0, "60")])
async def test_the_platform_is_asked_to_wait_from_1_to_60_seconds(timeout_s: float, sent: str) -> None:
    fly = Fly({f"GET {PATH}/wait": {}})
    await fly.platform.wait_started(M1, ULID, timeout_s)
    assert fly.asked[0].query["timeout"] == sent


ROW = {"id": "rel_3", "version": 43, "status": "pending", "user": "x@tokens.fly.io", "image_ref": IMAGE}


@pytest.mark.parametrize(
    "current, definition",
    [
        (
            {"configDefinition": {"app": "my-app", "deploy": {"max_unavailable": 0.250}}},
            '"deploy":{"max_unavailable":0.25',
        ),
        ({"configDefinition": None}, '"definition":{"app":"my-app"}'),
        ({"configDefinition": {}}, '"definition":{"app":"my-app"}'),
        (None, '"definition":{"app":"my-app"}'),
    ],
)
async def test_a_release_row_carries_the_present_definition_and_never_an_empty_one(
    current: Any, definition: str
) -> None:
    answers = {
        "POST /graphql": {"data": {"app": {"currentReleaseUnprocessed": current}}},
        "POST /api/v1/releases": says({"release": ROW | {"created_at": "2026-08-21T10:00:00Z"}}, 201),
    }
    fly = Fly(answers)
    release = await fly.platform.create_release(IMAGE)
    assert (release.id, release.version, release.status, release.image_ref) == ("rel_3", 43, "pending", IMAGE)
    (sent,) = fly.wrote
    assert definition in sent.body.decode()
    assert sent.json | {"definition": 0} == {
        "app_name": "my-app",
        "build_id": 0,
        "definition": 0,
        "image": IMAGE,
        "strategy": "ROLLING",
    }


async def test_a_row_that_cannot_be_made_or_read_is_not_asked_for_again() -> None:
    current = {"data": {"app": {"currentReleaseUnprocessed": None}}}
    for answer, kind in ((says({}, 502), Unavailable), (says([]), BadAnswer), (says({"release": {}}), BadAnswer)):
        fly = Fly({"POST /graphql": current, "POST /api/v1/releases": answer})
        with pytest.raises(kind):
            await fly.platform.create_release(IMAGE)
        assert len(fly.wrote) == 1


async def test_a_row_says_what_became_of_it() -> None:
    fly = Fly({"PATCH /api/v1/releases/rel_3": ROW | {"status": "running"}})
    await fly.platform.mark_release("rel_3", "running", {"incident": "i1"})
    fly.answers["PATCH /api/v1/releases/rel_3"] = ROW | {"status": "failed"}
    await fly.platform.mark_release("rel_3", "failed", {"incident": "i1", "error": "no capacity"})
    running, failed = (asked.json for asked in fly.wrote)
    assert running == {"status": "running", "metadata": None}
    assert failed == {
        "status": "failed",
        "metadata": {
            "rollguard": {"incident": "i1", "error": "no capacity"},
            "post_deployment_info": {"flyctl_version": f"rollguard/{__version__}", "error": "no capacity"},
        },
    }


def test_what_is_nested_too_deep_is_not_sent_on() -> None:
    deep: Any = []
    for _ in range(5000):
        deep = [deep]
    with pytest.raises(BadAnswer):
        opaque.dump(deep)
