"""Staging rehearses production's runbook: the same rules, limits and probes, and only a few known differences."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest

from rollguard.config.loader import lints, load_policy
from rollguard.core.model import Mode
from rollguard.core.policy import Policy

CONFIG = Path(__file__).parents[2] / "config"
SHIPPED = ("hotdash-production.yaml", "hotdash-staging.yaml")
STAGING = CONFIG / "hotdash-staging.yaml"
COMMON = {
    *("FLY_PROMETHEUS_URL", "FLY_METRICS_TOKEN", "FLY_STATUSPAGE_UNRESOLVED_INCIDENTS_URL"),
    *("CONTROL_URL", "CONTROL_URL_2", "PAGERDUTY_URL", "PAGERDUTY_CHANGE_URL", "SLACK_URL", "SLACK_BOT_TOKEN"),
    *("GITHUB_API_URL", "GITHUB_TOKEN", "GITHUB_ISSUES_REPO"),
}
"""Variables of the organization rather than of one app: both policies read them."""
EVERYTHING_ON = {
    "HOTDASH_DEPENDENCY": "https://database.test/",
    "SLACK_CHANNEL": "#engineering",
    "GITHUB_ISSUES_REPO": "acme/hot-dash",
    "HEARTBEAT_URL": "https://heartbeat.test/",
}

_ITS_OWN = {"path", "hash", "origin"}
DIFFERS = {
    "mode",
    "interlocks.proven_after_s",
    "interlocks.furthest_releases",
    "interlocks.cooldown_s",
    "interlocks.per_day",
    "record[0].labels",
}
"""Everything but names; each has its reason in the file."""


def flat(value: object, path: str = "") -> dict[str, object]:
    """Every field of a tree of values by its path."""
    if dataclasses.is_dataclass(value):
        names = [field.name for field in dataclasses.fields(value) if field.name not in _ITS_OWN]
        return {k: v for name in names for k, v in flat(getattr(value, name), f"{path}.{name}".lstrip(".")).items()}
    if isinstance(value, tuple) and not all(isinstance(one, str) for one in value):
        return {k: v for index, one in enumerate(value) for k, v in flat(one, f"{path}[{index}]").items()}
    return {path: value}


@pytest.fixture(scope="module")
def policies(tmp_path_factory: pytest.TempPathFactory) -> tuple[Policy, Policy]:
    """Production's, and staging's with production's names in it."""
    text = STAGING.read_text(encoding="utf-8")
    renamed = tmp_path_factory.mktemp("staging") / "renamed.yaml"
    text = text.replace("hotdash-staging", "hotdash-production").replace("_STAGING_", "_")
    renamed.write_text(text, encoding="utf-8")
    return load_policy(CONFIG / "hotdash-production.yaml", EVERYTHING_ON), load_policy(renamed, EVERYTHING_ON)


def test_staging_differs_from_production_where_it_says_so_and_nowhere_else(policies: tuple[Policy, Policy]) -> None:
    production, staging = (flat(policy) for policy in policies)
    assert {path for path in production | staging if production.get(path) != staging.get(path)} == DIFFERS


def test_staging_may_act_and_its_environment_can_forbid_it() -> None:
    assert load_policy(STAGING, {}).mode is Mode.ENFORCE
    assert load_policy(STAGING, {"HOTDASH_STAGING_MODE": "page"}).mode is Mode.PAGE
    assert load_policy(STAGING, {"HOTDASH_MODE": "observe"}).mode is Mode.ENFORCE, "production's switch is another"


def test_every_name_in_staging_is_staging_s(policies: tuple[Policy, Policy]) -> None:
    staging = load_policy(STAGING, {})
    assert staging.target.name == staging.target.app == "hotdash-staging"
    named = [str(value) for value in flat(staging).values() if "hotdash-" in str(value)]
    assert named
    assert not [value for value in named if "hotdash-production" in value]


def test_nothing_that_is_set_for_production_makes_staging_act_or_page() -> None:
    texts = [re.sub(r"(?m)^#.*", "", (CONFIG / name).read_text(encoding="utf-8")) for name in SHIPPED]
    production, staging = ({a or b for a, b in re.findall(r"\$\{(\w+)|_env: (\w+)", text)} for text in texts)
    assert production & staging <= COMMON
    assert {name.replace("STAGING_", "") for name in staging} == production


def test_staging_is_warned_of_nothing_that_production_is_not(policies: tuple[Policy, Policy]) -> None:
    def kinds(policy: Policy) -> set[str]:
        return {warning.partition(": ")[2] for warning in lints(policy)}

    production, staging = policies
    assert kinds(staging) <= kinds(production)
