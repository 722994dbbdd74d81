"""The demo runs the production policy, faster: every duration divided by one factor and nothing else changed."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from rollguard.config.loader import load_policy
from rollguard.config.quantity import duration_s

CONFIG = Path(__file__).parents[2] / "config"
PRODUCTION = CONFIG / "hotdash-production.yaml"
DEMO = CONFIG / "examples" / "demo.yaml"

EVERYTHING_ON = {
    "HOTDASH_DEPENDENCY": "https://database.test/",
    "SLACK_CHANNEL": "#engineering",
    "GITHUB_ISSUES_REPO": "acme/hot-dash",
    "HEARTBEAT_URL": "https://heartbeat.test/",
}

_ITS_OWN = {"path", "hash", "origin"}
_NOT_IN_THE_FILE = {"lease_ttl_s"}
_DURATION = re.compile(r"(?<![\w.-])\d+(?:\.\d+)?(?:ms|s|m|h|d)(?:\d+(?:\.\d+)?(?:ms|s|m|h|d))*(?!\w)")


def _factor() -> float:
    found = re.search(r"every duration divided by (\d+)", _parts(DEMO)[0])
    assert found
    return float(found[1])


def _parts(path: Path) -> tuple[str, list[str]]:
    """The comment at the head of a policy, and the lines after it."""
    lines = path.read_text(encoding="utf-8").split("\n")
    head = next(index for index, line in enumerate(lines) if not line.startswith("#"))
    return "\n".join(lines[:head]), lines[head:]


def _flat(value: object, path: str, divided_by: float) -> dict[str, object]:
    """Every field of a tree of values by its path, durations divided."""
    if dataclasses.is_dataclass(value):
        fields = [field.name for field in dataclasses.fields(value) if field.name not in _ITS_OWN]
        return {k: v for name in fields for k, v in _flat(getattr(value, name), f"{path}.{name}", divided_by).items()}
    if isinstance(value, tuple):
        return {k: v for index, one in enumerate(value) for k, v in _flat(one, f"{path}[{index}]", divided_by).items()}
    name = path.rpartition(".")[2]
    if name.endswith("_s") and name not in _NOT_IN_THE_FILE:
        assert isinstance(value, float | int)
        return {path: pytest.approx(value / divided_by)}
    return {path: value}


def test_the_demo_policy_is_the_production_policy_with_its_durations_divided() -> None:
    for environ in ({}, EVERYTHING_ON):
        production = _flat(load_policy(PRODUCTION, environ), "policy", _factor())
        demo = _flat(load_policy(DEMO, environ), "policy", 1.0)
        assert demo == production
    assert _factor() == 10
    assert len([path for path in demo if path.endswith("_s")]) > 50
    for duration in ("interlocks.dependencies[0].timeout_s", "interlocks.watch_s", "comparing.settle_s", "approval_s"):
        assert f"policy.{duration}" in demo


def test_only_duration_tokens_differ_line_by_line() -> None:
    production, demo = _parts(PRODUCTION)[1], _parts(DEMO)[1]
    assert len(production) == len(demo)
    for before, after in zip(production, demo, strict=True):
        assert _DURATION.sub("DURATION", before) == _DURATION.sub("DURATION", after)
        divided = 1.0 if re.search(r"\b(above|below|cite):", before) else _factor()
        assert [duration_s(text) for text in _DURATION.findall(after)] == [
            pytest.approx(duration_s(text) / divided) for text in _DURATION.findall(before)
        ]
