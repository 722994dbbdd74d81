"""What we send is what GitHub's published description of its REST interface asks for."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import jsonschema
import pytest

from rollguard.adapters.notify.github import GitHubNotifier
from rollguard.core.pages import Kind, Page
from tests.stand_ins import ENVIRON, GITHUB, LABELS, REPO, Town

DESCRIPTION = Path(__file__).parents[2].parent / "shared/contracts/github/github-rest-subset.openapi.json"
PAGE = Page(
    key="k", target="shop", summary="down", at=1_787_313_600.0, details=(("a", "b"),), link="https://runbook.test/x"
)
WAYS = (  # of our requests, to the description's paths
    (rf"/repos/{REPO}/issues", "/repos/{owner}/{repo}/issues"),
    (rf"/repos/{REPO}/issues/\d+", "/repos/{owner}/{repo}/issues/{issue_number}"),
    (rf"/repos/{REPO}/issues/\d+/comments", "/repos/{owner}/{repo}/issues/{issue_number}/comments"),
)


@pytest.fixture(scope="module")
def description() -> Any:
    if not DESCRIPTION.is_file():
        pytest.skip("GitHub's API description is not here; it is test data that is not shipped")
    return json.loads(DESCRIPTION.read_text())


def operation(description: Any, method: str, url: str) -> Any:
    path = urlsplit(url).path
    [way] = [way for pattern, way in WAYS if re.fullmatch(pattern, path)]
    return description["paths"][way][method.lower()]


def check(description: Any, method: str, url: str, sent: Any) -> None:
    asked = operation(description, method, url)
    components = description["components"]
    known = {}
    for parameter in asked.get("parameters", ()):
        ref = parameter.get("$ref")
        whole = components["parameters"][ref.rpartition("/")[2]] if ref else parameter
        known[whole["name"]] = whole
    for name, value in parse_qsl(urlsplit(url).query):
        schema = known[name]["schema"]
        jsonschema.validate(int(value) if schema["type"] == "integer" else value, schema)
    if sent is None:
        assert "requestBody" not in asked
        return
    body = asked["requestBody"]["content"]["application/json"]["schema"]
    jsonschema.Draft4Validator({**body, "components": components}).validate(sent)
    assert set(sent) <= set(body["properties"])
    assert method == "PATCH" or sent.get("title") or sent.get("body"), "the description forgets that these are needed"


async def test_every_request_of_an_incident_s_whole_life_is_as_described(description: Any) -> None:
    town = Town()
    theirs = {"title": "Production is down", "labels": list(LABELS)}
    headers = {"Authorization": f"Bearer {ENVIRON['GITHUB']}"}
    await town.request("POST", f"{GITHUB.url}/repos/{REPO}/issues", headers=headers, body=json.dumps(theirs).encode())
    town.asked.clear()
    github = GitHubNotifier("github", GITHUB, town, ENVIRON)
    adopted = await github.send(PAGE)
    await github.send(replace(PAGE, kind=Kind.ACKNOWLEDGE, at=PAGE.at + 1), adopted)
    await github.send(replace(PAGE, resolve=True), adopted)
    await github.send(replace(PAGE, key="k2"))
    await github.send(replace(PAGE, key="k/pm", kind=Kind.FOLLOW_UP, text="# Post-mortem", due_at=PAGE.at))
    for method, url, _, sent in town.asked:
        check(description, method, url, sent)
    assert {method for method, *_ in town.asked} == {"GET", "POST", "PATCH"}
    assert len(town.asked) >= 12


async def test_the_description_does_refuse_a_wrong_request(description: Any) -> None:
    with pytest.raises(jsonschema.ValidationError):
        check(description, "PATCH", f"{GITHUB.url}/repos/{REPO}/issues/1", {"state": "shut"})
