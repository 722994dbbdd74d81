"""What we send is what PagerDuty's published description of its Events API asks for."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from rollguard.adapters.notify.pagerduty import change_of, event_of
from rollguard.core.pages import Kind, Page, Severity

DESCRIPTION = Path(__file__).parents[2].parent / "shared/contracts/pagerduty/events-v2.openapi.json"

PAGE = Page(
    key="shop/1a2b",
    target="shop",
    summary="down",
    at=1_787_313_600.0,
    details=(("rule", "server-errors"),),
    link="https://runbook.test/rollback",
)


def described(path: str) -> jsonschema.Draft4Validator:
    """What the description says of the bodies that ``path`` takes."""
    if not DESCRIPTION.is_file():
        pytest.skip("PagerDuty's API description is not here; it is test data that is not shipped")
    description = json.loads(DESCRIPTION.read_text())
    body = description["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    return jsonschema.Draft4Validator({**body, "components": description["components"]})


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft4Validator:
    return described("/enqueue")


def check(validator: jsonschema.Draft4Validator, event: dict[str, Any]) -> None:
    validator.validate(event)
    # The description lets these two pass; the real service does not.
    assert event["dedup_key"]
    assert "payload" in event or event["event_action"] != "trigger"


@pytest.mark.parametrize("severity", Severity)
def test_every_severity_is_one_of_pagerduty_s(validator: jsonschema.Draft4Validator, severity: Severity) -> None:
    check(validator, event_of(replace(PAGE, severity=severity), "key"))


@pytest.mark.parametrize(
    "page",
    [
        replace(PAGE, resolve=True),
        replace(PAGE, kind=Kind.ACKNOWLEDGE),
        replace(PAGE, summary="", details=(), link="", at=0.0),
    ],
    ids=["resolve", "acknowledge", "bare"],
)
def test_every_shape_of_page_is_a_valid_event(validator: jsonschema.Draft4Validator, page: Page) -> None:
    check(validator, event_of(page, "key"))


@pytest.mark.parametrize("page", [PAGE, replace(PAGE, summary="", details=(), link="", at=0.0)], ids=["whole", "bare"])
def test_a_change_is_a_valid_change_event(page: Page) -> None:
    validator = described("/change/enqueue")
    event = change_of(replace(page, kind=Kind.CHANGE), "key")
    validator.validate(event)
    assert event["payload"]["summary"], "the real service wants one, whatever the description says"
    del event["payload"]["summary"]
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(event)


def test_the_description_does_refuse_a_wrong_event(validator: jsonschema.Draft4Validator) -> None:
    event = event_of(PAGE, "key")
    event["payload"]["severity"] = "dreadful"
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(event)
