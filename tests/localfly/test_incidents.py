"""The status page of the local platform: empty unless somebody sets it, and open to everybody."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rollguard.localfly.local_api import LocalApi
from rollguard.localfly.messages import ApiRequest, ApiResponse
from rollguard.localfly.pulse import Pulse
from tests.localfly.simulated import Fly, live
from tests.virtual_time import wall_clock


async def told(fly: Fly, body: Any) -> ApiResponse:
    api = LocalApi(fly.world, wall_clock, pulse=Pulse(fly.world), faults=fly.faults)
    return await api.handle(ApiRequest.of("POST", "/local/v1/incidents", {}, json.dumps(body).encode()))


async def listed(fly: Fly) -> Any:
    answer = await fly.api.handle(ApiRequest.of("GET", "https://incidents.flyio.net/v1/incidents"))
    assert answer.status == 200
    return json.loads(answer.body)["incidents"]


def test_there_is_no_incident_until_one_is_set_and_none_after_it_is_lifted() -> None:
    async def story(fly: Fly) -> None:
        assert await listed(fly) == []
        await told(
            fly, {"incidents": [{"name": "Networking issues in ORD", "components": [{"name": "ORD - Chicago"}]}]}
        )
        (incident,) = await listed(fly)
        began = "2026-08-21T10:00:00.000Z"
        assert incident | {"id": ""} == {
            "id": "",
            "name": "Networking issues in ORD",
            "status": "investigating",
            "created_at": began,
            "started_at": began,
            "updated_at": began,
            "resolved_at": None,
            "components": [{"id": "component-ORD - Chicago", "name": "ORD - Chicago"}],
        }
        await told(fly, {"incidents": []})
        assert await listed(fly) == []

    live(story)


@pytest.mark.parametrize(
    "body", [{}, {"incidents": 1}, {"incidents": [{}]}, {"incidents": [{"name": "x", "status": "odd"}]}]
)
def test_an_incident_that_makes_no_sense_is_refused(body: Any) -> None:
    async def story(fly: Fly) -> None:
        assert (await told(fly, body)).status == 422
        assert await listed(fly) == []

    live(story)
