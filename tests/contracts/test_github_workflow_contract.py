"""What is sent to dispatch a workflow is what GitHub's description asks for, and the stand-in answers so too."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tests.adapters.test_executor_github import Hub, Watch, delegate, now_order

DESCRIPTION = Path(__file__).parents[2].parent / "shared/contracts/github/github-rest-subset.openapi.json"
DISPATCHES = "/repos/{owner}/{repo}/actions/workflows/{workflow_id}/dispatches"


@pytest.fixture(scope="module")
def described() -> Any:
    if not DESCRIPTION.is_file():
        pytest.skip("GitHub's API description is not here; it is test data that is not shipped")
    return json.loads(DESCRIPTION.read_text())


def check(described: Any, schema: Any, value: Any) -> None:
    jsonschema.Draft4Validator({**schema, "components": described["components"]}).validate(value)


async def test_a_dispatch_is_as_described_and_so_is_what_the_stand_in_answers(described: Any) -> None:
    hub = Hub()
    await delegate(hub).begin(now_order(Watch()))
    operation = described["paths"][DISPATCHES]["post"]
    [(method, url, sent)] = hub.asked
    assert method == "POST"
    assert url.endswith("/repos/acme/shop/actions/workflows/rollback.yml/dispatches")
    schema = operation["requestBody"]["content"]["application/json"]["schema"]
    check(described, schema, sent)
    assert set(sent) <= set(schema["properties"])
    headers = {"authorization": "Bearer ghp_local", "user-agent": "test"}
    answer = await hub.request(method, url, headers=headers, body=json.dumps(sent).encode())
    assert str(answer.status) in operation["responses"]
    check(described, operation["responses"]["200"]["content"]["application/json"]["schema"], json.loads(answer.body))


async def test_an_older_server_answers_without_a_body_as_described(described: Any) -> None:
    hub = Hub(modern=False)
    await delegate(hub).begin(now_order(Watch()))
    refused, taken = (sent for method, _, sent in hub.asked if method == "POST")
    assert set(refused) - set(taken) == {"return_run_details"}
    assert "204" in described["paths"][DISPATCHES]["post"]["responses"]


async def test_the_description_does_refuse_a_wrong_request(described: Any) -> None:
    schema = described["paths"][DISPATCHES]["post"]["requestBody"]["content"]["application/json"]["schema"]
    with pytest.raises(jsonschema.ValidationError):
        check(described, schema, {"inputs": {"target_version": "41"}})
