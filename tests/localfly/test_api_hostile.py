"""Whatever a client sends is answered, and the machines live on."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rollguard.localfly.messages import ApiRequest
from tests.localfly.simulated import CHECK, GOOD, NEXT, Fly, at, first, live, settled

VERBS = (
    "",
    "/start",
    "/stop",
    "/restart",
    "/signal",
    "/lease",
    "/cordon",
    "/metadata/key",
    "/metadata",
    "/wait?timeout=1",
)
ODD = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.just([[]]),
    st.just({"a": {}}),
    st.just([1]),
)
CONFIG_KEYS = ("image", "metadata", "restart", "stop_config", "services", "checks", "auto_destroy", "env")
CONFIGS = st.fixed_dictionaries({}, optional=dict.fromkeys(CONFIG_KEYS, ODD)).map(
    lambda odd: {"image": NEXT.ref, "services": [{"checks": [CHECK]}], **odd}
)
BODY_KEYS = (
    "signal",
    "timeout",
    "ttl",
    "description",
    "value",
    "current_version",
    "skip_launch",
    "lease_ttl",
    "name",
    "query",
)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "config": st.one_of(ODD, CONFIGS),
        "metadata": st.one_of(ODD, st.dictionaries(st.text(max_size=3), ODD, max_size=2)),
        "variables": st.fixed_dictionaries({"appName": ODD, "limit": ODD}),
        **dict.fromkeys(BODY_KEYS, ODD),
    },
)
METHODS = st.sampled_from(("GET", "POST", "PATCH", "DELETE"))


@settings(max_examples=150, deadline=None)
@given(requests=st.lists(st.tuples(METHODS, st.sampled_from(VERBS), BODIES), max_size=6))
def test_odd_requests_are_answered_and_the_app_lives_on(requests: list[tuple[str, str, Any]]) -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(machines=2)
        await settled(app)
        odd, sane = app.machines.values()
        for method, verb, body in requests:
            answer = await fly.call(method, at(odd, verb), body)
            assert answer.status in (200, 201, 204, 400, 404, 408, 409, 412, 422)
            await asyncio.sleep(3)
        await settled(app)
        json.loads((await fly.call("GET", "/v1/apps/hotdash/machines?include_deleted=true")).body)
        assert (sane.state, sane.image.digest) == ("started", GOOD.digest)

    live(story)


@settings(max_examples=150, deadline=None)
@given(
    body=BODIES, path=st.sampled_from(("/graphql", "/api/v1/releases", "/v1/apps/hotdash/machines", "/api/v1/builds"))
)
def test_odd_bodies_get_an_answer_from_every_interface(body: Any, path: str) -> None:
    async def story(fly: Fly) -> None:
        fly.deploy(machines=1)
        named = {"query": "viewer {", "app_name": "hotdash"} | body
        assert (await fly.call("POST", path, named)).status in (200, 201, 400, 404, 422)
        await asyncio.sleep(10)

    live(story)


def test_a_body_too_deep_to_read_is_a_400() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(machines=1)
        headers = {"authorization": "Bearer guard-token"}
        answer = await fly.api.handle(ApiRequest.of("POST", at(first(app)), headers, b"[" * 200_000))
        assert answer.status == 400

    live(story)
