"""What an app has besides machines, and waits in all their forms."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.localfly.simulated import APP, Fly, at, first, live, settled


def test_secrets_are_listed_by_digest_and_an_update_can_insist_on_a_version_of_them() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(1)
        await settled(app)
        assert await fly.get(f"/v1/apps/{APP}/secrets") == {"secrets": [], "version": 0}
        body = {"values": {"DATABASE_URL": "postgres://…", "OLD": "x"}}
        await fly.call("POST", f"/v1/apps/{APP}/secrets", body)
        answer = await fly.call("POST", f"/v1/apps/{APP}/secrets", {"values": {"OLD": None}})
        shown = json.loads(answer.body)
        assert ([each["name"] for each in shown["secrets"]], shown["version"]) == (["DATABASE_URL"], 2)
        assert b"postgres" not in answer.body
        assert (await fly.update(first(app), min_secrets_version=3)).status == 412
        assert (await fly.update(first(app), min_secrets_version=2)).status == 200
        assert (await fly.call("POST", f"/v1/apps/{APP}/secrets", {"values": {"A": 1}})).status == 422

    live(story)


def test_addresses_and_regions_have_flys_shape() -> None:
    async def story(fly: Fly) -> None:
        fly.deploy(1)
        addresses = (await fly.get(f"/v1/apps/{APP}/ip_assignments"))["ips"]
        assert [each["shared"] for each in addresses] == [False, True]
        regions = await fly.get("/v1/platform/regions")
        assert regions["Nearest"] in {each["code"] for each in regions["Regions"]}

    live(story)


def test_commands_are_honestly_not_run() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(1)
        answer = await fly.call("POST", at(first(app), "/exec"), {"command": ["ls"], "timeout": 5})
        assert (answer.status, b"runs no commands" in answer.body) == (501, True)

    live(story)


@pytest.mark.parametrize("query", ["state=stopped&state=started", "state=stopped,started", ""])
def test_a_wait_may_be_for_any_of_several_states(query: str) -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(1)
        machine = first(app)
        answer = await fly.get(at(machine, f"/wait?timeout=60&{query}"))
        assert (answer["state"], answer["version"]) == ("started", machine.instance_id)
        assert answer["event_id"] == machine.events[0]["id"]

    live(story)


def test_a_wait_from_an_event_on_wants_something_to_have_happened_since() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(1)
        await settled(app)
        machine = first(app)
        seen = (await fly.get(at(machine, "/wait?state=started")))["event_id"]
        assert (await fly.call("GET", at(machine, f"/wait?timeout=5&from_event_id={seen}"))).status == 408
        waiting = asyncio.create_task(fly.get(at(machine, f"/wait?timeout=60&from_event_id={seen}")))
        await asyncio.sleep(1)
        await fly.call("POST", at(machine, "/restart"))
        assert (await waiting)["event_id"] != seen

    live(story)


def test_the_releases_of_old_flyctls_are_made_and_marked_over_graphql() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(1)
        make = "mutation($input: CreateReleaseInput!) { createRelease(input: $input) { release { id version } } }"
        mark = "mutation($input: UpdateReleaseInput!) { updateRelease(input: $input) { release { id } } }"
        given = {"appId": APP, "image": "registry.fly.io/hotdash:deployment-NEXT", "strategy": "rolling"}
        made = json.loads((await fly.call("POST", "/graphql", {"query": make, "variables": {"input": given}})).body)
        row = made["data"]["createRelease"]["release"]
        marked = {"releaseId": row["id"], "status": "complete", "metadata": {}}
        await fly.call("POST", "/graphql", {"query": mark, "variables": {"input": marked}})
        assert [(r.version, r.status, r.strategy) for r in app.releases][1:] == [(2, "complete", "ROLLING")]

    live(story)


def test_a_tunnel_into_the_network_is_not_offered() -> None:
    async def story(fly: Fly) -> None:
        fly.deploy(1)
        query = "mutation($input: Input!) { validateWireGuardPeers(input: $input) { invalidPeerIps } }"
        answer = json.loads((await fly.call("POST", "/graphql", {"query": query})).body)
        assert answer["data"] is None
        assert answer["errors"]

    live(story)
