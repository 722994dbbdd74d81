"""The schema for editors agrees with the loader, and is the one in the repository."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from rollguard.config.schema import json_schema
from rollguard.config.yamltext import read_document
from tests.config.policies import FULL, GOOD, RULES, edited

CONFIG = Path(__file__).parents[2] / "config"
POLICIES = [*sorted(CONFIG.glob("*.yaml")), *sorted(CONFIG.glob("examples/*.yaml"))]
VALIDATOR = jsonschema.Draft202012Validator(json_schema())


def _properties(schema: Any, path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    if isinstance(schema, dict):
        for key, value in schema.get("properties", {}).items():
            yield f"{path}.{key}", value
        for key, value in schema.items():
            yield from _properties(value, f"{path}.{key}")
    elif isinstance(schema, list):
        for value in schema:
            yield from _properties(value, path)


def test_the_committed_schema_is_the_one_of_the_models() -> None:
    committed = json.loads((CONFIG / "policy.schema.json").read_text(encoding="utf-8"))
    assert committed == json_schema(), "run: python -m rollguard.config > config/policy.schema.json"


def test_every_key_says_what_it_is_for() -> None:
    schema = json_schema()
    found = dict(_properties(schema))
    assert len(found) > 80
    for path, one in found.items():
        named = schema["$defs"].get(one.get("$ref", "").rpartition("/")[2], {})
        assert {**named, **one}.get("description", "").endswith("."), path


def test_no_key_allows_null_which_a_policy_never_means() -> None:
    assert '"null"' not in json.dumps(json_schema())


@pytest.mark.parametrize("path", POLICIES, ids=lambda path: path.name)
def test_editors_find_no_fault_with_the_policies_that_ship(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert list(VALIDATOR.iter_errors(_as_editors_read(text))) == []
    modeline = text.split("\n", 1)[0]
    assert modeline.startswith("# yaml-language-server: $schema=")
    assert (path.parent / modeline.partition("=")[2]).resolve() == CONFIG / "policy.schema.json"


@pytest.mark.parametrize(
    "old, new",
    [
        ("every: 5s", "evry: 5s"),
        ("every: 5s", "every: 5"),
        ("above: 5%", "above: [5%]"),
        ("then: page", "then: pge"),
        ("failing: 3 in a row", "failing: thrice"),
        ("platform: {}", "platform: {a: 1}"),
        ("  health:", "  Health:"),
        ("version: 1", "version: 2"),
    ],
)
def test_what_the_loader_refuses_is_underlined_in_the_editor(old: str, new: str) -> None:
    assert VALIDATOR.is_valid(_as_editors_read(GOOD))
    assert not VALIDATOR.is_valid(_as_editors_read(edited(old, new)))


@pytest.mark.parametrize(
    "old, new",
    [
        ("get: https://shop.example/login", "get: shop.example/login"),
        ("get: https://shop.example/login", "got: https://shop.example/login"),
        ("headers: {X-Csrf:", "headers: {X Csrf:"),
        ("status: [200, 302]", "status: ok"),
        ("lines.0.sku: 1", "lines..sku: 1"),
        ("token: {text:", "csrf-token: {text:"),
        ("factor: 1.5", "factor: 1"),
        ("add: 1pp", "add: 1%"),
        ("days: [fri, sat]", "days: [friday]"),
        ('at: "18:00"', "at: 18"),
        ("otherwise: [page]", "otherwise: page"),
        ("machines: 2, wait: 45s", "machines: two, wait: 45s"),
        ("tell: [slack:", "tell: [skype:"),
        ("repo: acme/shop", "repo: shop"),
    ],
)
def test_so_it_is_with_the_rest_of_the_format(old: str, new: str) -> None:
    assert VALIDATOR.is_valid(_as_editors_read(FULL))
    assert not VALIDATOR.is_valid(_as_editors_read(edited(old, new, FULL)))


@pytest.mark.parametrize(
    "old, new",
    [
        ("objective: 99.9%", "objective: 0.999"),
        ("rate: 14.4", "rate: fast"),
        ("and: 5m", "and: 5"),
        ("by: region", "by: [region]"),
        ("most: 10", "most: many"),
        ("label: route", "label: a b"),
        ("settle: auto", "settle: automatic"),
        ("1 in 5000", "0.02%"),
    ],
)
def test_so_it_is_with_rules_of_every_kind(old: str, new: str) -> None:
    assert VALIDATOR.is_valid(_as_editors_read(RULES))
    assert not VALIDATOR.is_valid(_as_editors_read(edited(old, new, RULES)))


def _as_editors_read(text: str) -> object:
    """As YAML 1.2, before variables are filled in."""
    return read_document(text.replace("$", "$$"), "p.yaml", {}).data
