"""Leases: who may write to a machine, until when."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from rollguard.localfly.machines import Machine
from tests.localfly.simulated import Fly, at, first, live, settled
from tests.virtual_time import EPOCH


async def lease(fly: Fly, machine: Machine, ttl_s: int = 13, token: str = "guard-token", **headers: str) -> Any:
    """Take or refresh a lease that must be had; its inner object."""
    answer = await fly.call("POST", at(machine, f"/lease?ttl={ttl_s}"), {}, token=token, **headers)
    assert answer.status == 201, answer.body
    document = json.loads(answer.body)
    assert document["status"] == "success"
    return document["data"]


def test_a_held_machine_refuses_every_write_without_the_nonce_and_says_who_holds_it() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy()
        await settled(app)
        machine = first(app)
        held = await lease(fly, machine, token="ci-token")
        assert held["owner"] == "ci@example.com"
        assert held["version"] == machine.instance_id
        writes = [
            ("POST", ""),
            ("DELETE", ""),
            *(("POST", f"/{verb}") for verb in ("start", "stop", "restart", "cordon")),
        ]
        for method, rest in writes:
            answer = await fly.call(method, at(machine, rest), {"config": machine.config})
            assert answer.status == 409, rest
        sentence = json.loads(answer.body)["error"]
        assert sentence == (
            f"aborted: machine ID {machine.id} lease currently held by ci@example.com, "
            "expires at 2026-08-21T10:00:43.000Z"
        )
        assert (await fly.update(machine, nonce=held["nonce"])).status == 200

    live(story)


def test_a_lease_expires_by_itself() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy()
        await settled(app)
        machine = first(app)
        held = await lease(fly, machine, ttl_s=13)
        assert held["expires_at"] == EPOCH + 30 + 13
        await asyncio.sleep(12.9)
        assert (await fly.update(machine)).status == 409
        await asyncio.sleep(0.2)
        assert (await fly.call("GET", at(machine, "/lease"))).status == 404
        assert (await fly.update(machine)).status == 200

    live(story)


def test_a_refresh_keeps_the_nonce_and_moves_the_end() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy()
        machine = first(app)
        held = await lease(fly, machine)
        await asyncio.sleep(4)
        again = await lease(fly, machine, fly_machine_lease_nonce=held["nonce"])
        assert again["nonce"] == held["nonce"]
        assert again["expires_at"] == held["expires_at"] + 4
        shown = await fly.get(at(machine, "/lease"), token="ci-token")
        assert shown["data"] == again, "leases are cooperative: everybody can see the nonce"

    live(story)


def test_nobody_gets_a_held_lease_not_even_its_owner_without_the_nonce() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy()
        machine = first(app)
        held = await lease(fly, machine)
        for token in ("guard-token", "ci-token"):
            assert (await fly.call("POST", at(machine, "/lease"), {"ttl": 5}, token=token)).status == 409
        assert (await fly.call("DELETE", at(machine, "/lease"))).status == 409
        released = await fly.call("DELETE", at(machine, "/lease"), fly_machine_lease_nonce=held["nonce"])
        assert json.loads(released.body) == {"status": "success", "data": {"ok": True}}
        assert (await fly.call("POST", at(machine, "/lease"), {"ttl": 5}, token="ci-token")).status == 201

    live(story)


def test_a_lost_lease_cannot_be_refreshed() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy()
        machine = first(app)
        held = await lease(fly, machine)
        await fly.call("DELETE", at(machine, "/lease"), token="ci-token", fly_machine_lease_nonce=held["nonce"])
        lost = await fly.call("POST", at(machine, "/lease?ttl=13"), {}, fly_machine_lease_nonce=held["nonce"])
        assert (lost.status, json.loads(lost.body)["error"]) == (404, "lease not found")

    live(story)


def test_the_list_shows_leases_when_asked() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy()
        machine = first(app)
        held = await lease(fly, machine, token="ci-token")
        listed = await fly.get("/v1/apps/hotdash/machines?include_leases=true")
        assert [m.get("lease") for m in listed] == [held, None, None, None]
        assert all("lease" not in m for m in await fly.get("/v1/apps/hotdash/machines"))

    live(story)


def test_metadata_writes_ask_for_no_lease() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy()
        machine = first(app)
        await lease(fly, machine, token="ci-token")
        answer = await fly.call("POST", at(machine, "/metadata/rollguard_incident"), {"value": "inc-1"})
        assert answer.status == 204
        assert (await fly.get(at(machine, "/metadata")))["rollguard_incident"] == "inc-1"
        assert (await fly.call("DELETE", at(machine, "/metadata/rollguard_incident"))).status == 204
        assert "rollguard_incident" not in await fly.get(at(machine, "/metadata"))
        stale = {"metadata": {"a": "b"}, "machine_version": "01OLD"}
        assert (await fly.call("PATCH", at(machine, "/metadata"), stale)).status == 412

    live(story)
