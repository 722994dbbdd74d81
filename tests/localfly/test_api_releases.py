"""Releases over REST and GraphQL."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.localfly.simulated import GOOD, NEXT, Fly, image, live

RELEASES = """query($appName: String!, $limit: Int!) { app(name: $appName) {
  releases: releasesUnprocessed(first: $limit) { nodes {
    id version description reason status imageRef stable user { id email name } createdAt } } } }"""
IMAGE = (
    "query($appName: String!, $imageRef: String!) { app(name: $appName) { id image(ref: $imageRef) { id digest } } }"
)
BODY = {
    "app_name": "hotdash",
    "build_id": 0,
    "definition": {"app": "hotdash"},
    "image": NEXT.ref,
    "strategy": "ROLLING",
}


async def graphql(fly: Fly, query: str, token: str = "guard-token", **variables: Any) -> Any:
    """Data and errors of a query; GraphQL answers 200 always."""
    answer = await fly.call("POST", "/graphql", {"query": query, "variables": variables}, token=token)
    assert answer.status == 200
    return json.loads(answer.body)


def test_a_release_takes_its_version_before_anything_is_touched_and_then_moves_on() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy()
        created = await fly.call("POST", "/api/v1/releases", BODY)
        row = json.loads(created.body)["release"]
        assert (created.status, row["version"], row["status"]) == (201, 2, "pending")
        assert (row["user"], row["in_progress"], row["stable"]) == ("guard@example.com", True, False)
        for status in ("running", "complete"):
            body = {"status": status, "metadata": {"post_deployment_info": {"error": ""}}}
            patched = await fly.call("PATCH", f"/api/v1/releases/{row['id']}", body)
            assert (patched.status, json.loads(patched.body)["status"]) == (200, status)
        assert (await fly.get("/api/v1/apps/hotdash/releases/current"))["version"] == 2
        listed = await fly.get("/api/v1/apps/hotdash/releases?limit=1")
        assert [r["version"] for r in listed["releases"]] == [2]
        assert app.releases[-1].metadata == {"post_deployment_info": {"error": ""}}

    live(story)


@pytest.mark.parametrize("missing", ["definition", "image", "app_name"])
def test_a_release_needs_its_definition_and_its_image(missing: str) -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy()
        body = {key: value for key, value in BODY.items() if key != missing}
        assert (await fly.call("POST", "/api/v1/releases", body)).status == 422
        assert len(app.releases) == 1

    live(story)


def test_a_status_there_is_not_and_a_row_there_is_not_are_refused() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy()
        row = app.releases[0]
        assert (await fly.call("PATCH", f"/api/v1/releases/{row.id}", {"status": "succeeded"})).status == 422
        assert (await fly.call("PATCH", "/api/v1/releases/rel_none", {"status": "complete"})).status == 404
        assert row.status == "complete"

    live(story)


def test_graphql_lists_releases_newest_first_with_the_fields_asked_for() -> None:
    async def story(fly: Fly) -> None:
        fly.deploy()
        await fly.call("POST", "/api/v1/releases", BODY, token="ci-token")
        data = (await graphql(fly, RELEASES, appName="hotdash", limit=25))["data"]
        nodes = data["app"]["releases"]["nodes"]
        assert [(n["version"], n["status"], n["imageRef"]) for n in nodes] == [
            (2, "pending", NEXT.ref),
            (1, "complete", GOOD.ref),
        ]
        assert nodes[0]["user"]["email"] == "ci@example.com"
        assert "configDefinition" not in nodes[0]
        one = (await graphql(fly, RELEASES, appName="hotdash", limit=1))["data"]["app"]["releases"]["nodes"]
        assert [n["version"] for n in one] == [2]

    live(story)


def test_graphql_says_whether_an_image_is_still_there() -> None:
    async def story(fly: Fly) -> None:
        fly.deploy()
        by_digest = f"registry.fly.io/hotdash@{NEXT.digest}"
        for ref in (NEXT.ref, by_digest):
            data = (await graphql(fly, IMAGE, appName="hotdash", imageRef=ref))["data"]
            assert data["app"]["image"]["digest"] == NEXT.digest
        fly.world.images.prune(NEXT.digest)
        gone = await graphql(fly, IMAGE, appName="hotdash", imageRef=NEXT.ref)
        never = await graphql(fly, IMAGE, appName="hotdash", imageRef=image("NEVER").ref)
        assert gone["data"]["app"]["image"] is never["data"]["app"]["image"] is None

    live(story)


def test_graphql_answers_the_small_questions() -> None:
    async def story(fly: Fly) -> None:
        fly.deploy()
        viewer = (await graphql(fly, "query { viewer { id email } }"))["data"]["viewer"]
        assert viewer["email"] == "guard@example.com"
        compact = await graphql(
            fly, "query($appName: String!) { appcompact:app(name: $appName) { id } }", appName="hotdash"
        )
        assert compact["data"]["appcompact"]["organization"]["slug"] == "personal"
        definition = await graphql(
            fly,
            "query FlyctlConfigCurrentRelease($appName: String!) "
            "{ app(name: $appName) { currentReleaseUnprocessed { configDefinition } } }",
            appName="hotdash",
        )
        assert definition["data"]["app"]["currentReleaseUnprocessed"]["configDefinition"]["app"] == "hotdash"

    live(story)


@pytest.mark.parametrize(
    "token, app, code", [("stolen", "hotdash", "UNAUTHORIZED"), ("guard-token", "nobodys", "NOT_FOUND")]
)
def test_graphql_refuses_with_200_and_errors(token: str, app: str, code: str) -> None:
    async def story(fly: Fly) -> None:
        fly.deploy()
        answer = await graphql(fly, RELEASES, token, appName=app, limit=5)
        assert answer["data"] is None
        assert answer["errors"][0]["extensions"]["code"] == code

    live(story)
