"""The alerts about the guard itself: each can fire, each can be quiet, each leads to what to do."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.grafana.expressions import ALERTS, ROOT, RULES, Json, alerts

TESTS = sorted(ALERTS.glob("*.test.yaml"))
PAGE = "https://github.com/rollguard/rollguard/blob/main/docs/operations.md#"

with_promtool = pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")


def promtool(*args: str) -> str:
    done = subprocess.run(["promtool", *args], capture_output=True, text=True, cwd=ALERTS)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def cases(path: Path) -> list[Json]:
    return list(yaml.safe_load(path.read_text(encoding="utf-8"))["tests"])


def anchors() -> set[str]:
    """As GitHub makes them from headings."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    heads = re.findall(r"^#+ (.+)$", re.sub(r"(?ms)^```.*?^```$", "", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@with_promtool
def test_prometheus_takes_the_rules() -> None:
    assert f"{len(alerts())} rules found" in promtool("check", "rules", RULES.name)


@with_promtool
@pytest.mark.parametrize("path", TESTS, ids=lambda path: path.name)
def test_the_rules_fire_and_are_quiet_as_their_tests_say(path: Path) -> None:
    assert "SUCCESS" in promtool("test", "rules", path.name)


def expected(case: Json) -> list[tuple[str, Any]]:
    """Of one case: which alert is asked for, and whether it is expected."""
    by_rule = [(one["alertname"], one["exp_alerts"]) for one in case.get("alert_rule_test", [])]
    by_query = [
        (name, one["exp_samples"])
        for one in case.get("promql_expr_test", [])
        for name in re.findall(r'alertname="(\w+)"', f"{one['expr']} {one['exp_samples']}")
    ]
    return by_rule + by_query


@pytest.mark.parametrize("name", [rule["alert"] for rule in alerts()])
def test_every_alert_has_a_case_in_which_it_fires_and_is_quiet_before(name: str) -> None:
    asked = [[bool(told) for alert, told in expected(case) if alert == name] for path in TESTS for case in cases(path)]
    assert any({True, False} <= set(told) for told in asked)


@pytest.mark.parametrize("rule", alerts(), ids=lambda rule: rule["alert"])
def test_every_alert_says_who_must_look_what_is_wrong_and_where_to_read_on(rule: Json) -> None:
    assert re.fullmatch(r"Rollguard(?:[A-Z][a-z]+)+", rule["alert"])
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert rule["annotations"]["description"].endswith((".", "?"))
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert f"{page}#" == PAGE
    assert anchor in anchors()


def test_the_name_that_the_rules_expect_of_the_job_is_the_one_in_the_readme() -> None:
    assert set(re.findall(r'job="(\w+)"', RULES.read_text(encoding="utf-8"))) == {"rollguard"}
    assert "job_name: rollguard" in (ROOT / "grafana" / "README.md").read_text(encoding="utf-8")
