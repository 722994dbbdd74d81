"""What we send is what Slack's published description of its Web API asks for, and what it answers is understood.

The description is of forms; the same arguments go into JSON, where ``blocks`` need no second coat of it.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from rollguard.adapters.notify.slack import SlackNotifier
from rollguard.core.pages import Kind, Page
from rollguard.errors import Unavailable
from rollguard.ports import HttpAnswer
from tests.stand_ins import ENVIRON, SLACK, Town

DESCRIPTION = Path(__file__).parents[2].parent / "shared/contracts/slack/slack-web-subset.swagger2.json"
TYPES = {"string": str, "boolean": bool}
PAGE = Page(
    key="k", target="shop", summary="down", at=1_787_313_600.0, details=(("a", "b"),), link="https://runbook.test/x"
)


@pytest.fixture(scope="module")
def description() -> Any:
    if not DESCRIPTION.is_file():
        pytest.skip("Slack's API description is not here; it is test data that is not shipped")
    return json.loads(DESCRIPTION.read_text())


def check(description: Any, url: str, headers: dict[str, str], sent: dict[str, Any]) -> None:
    operation = description["paths"][url.removeprefix(SLACK.url)]["post"]
    fields = {p["name"]: p for p in operation["parameters"] if p["in"] == "formData"}
    assert headers["authorization"] == f"Bearer {ENVIRON['SLACK']}"
    assert {name for name, p in fields.items() if p.get("required")} <= set(sent) <= set(fields)
    for name, value in sent.items():
        as_a_form_has_it = json.dumps(value) if name == "blocks" else value
        assert isinstance(as_a_form_has_it, TYPES[fields[name]["type"]]), name


@pytest.mark.parametrize("kind", [Kind.ALERT, Kind.ACKNOWLEDGE, Kind.FOLLOW_UP])
async def test_every_argument_is_one_that_the_method_has_and_of_its_type(description: Any, kind: Kind) -> None:
    town = Town()
    slack = SlackNotifier("slack", SLACK, town, ENVIRON)
    thread = await slack.send(PAGE)
    await slack.send(replace(PAGE, kind=kind), thread)
    await slack.send(replace(PAGE, kind=kind, resolve=True, details=(), link=""), thread)
    assert len(town.asked) == 5
    for _, url, headers, sent in town.asked:
        check(description, url, headers, sent)


async def test_the_published_answers_are_understood(description: Any) -> None:
    responses = description["paths"]["/chat.postMessage"]["post"]["responses"]
    yes = responses["200"]["examples"]["application/json"]
    errors = responses["default"]["schema"]["properties"]["error"]["enum"]

    def town(body: Any) -> Town:
        async def meet(method: str, url: str, real: HttpAnswer | None) -> HttpAnswer | None:
            return HttpAnswer(200, {}, json.dumps(body).encode())

        return Town(meet)

    thread = await SlackNotifier("slack", SLACK, town(yes), ENVIRON).send(PAGE)
    assert thread.startswith("C1H9RESGL:1503435956.000247:")
    assert len(errors) > 10
    for word in set(errors) - {"msg_too_long", "no_text"}:
        with pytest.raises(Unavailable, match=word):
            await SlackNotifier("slack", SLACK, town({"ok": False, "error": word}), ENVIRON).send(PAGE)


def test_the_description_does_refuse_a_wrong_answer(description: Any) -> None:
    schema = description["paths"]["/chat.postMessage"]["post"]["responses"]["200"]["schema"]
    whole = jsonschema.Draft4Validator({**schema, "definitions": description["definitions"]})
    with pytest.raises(jsonschema.ValidationError):
        whole.validate({"ok": True})
