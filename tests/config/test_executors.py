"""Whose hands roll back, as a policy says it: every mistake at its place, and what the rest comes to."""

from __future__ import annotations

import jsonschema
import pytest
import yaml

from rollguard.config.lints import lints
from rollguard.config.schema import json_schema
from rollguard.core.executors import Command, Executor, Flyctl, Machines, Workflow
from rollguard.core.signals import SecretRef
from tests.config.policies import GOOD, complaints, load


def policy(executor: str, more: str = "") -> str:
    return f"{GOOD}rollback:\n  executor: {executor}\n{more}"


SOUND: list[tuple[str, Executor]] = [
    ("machines", Machines()),
    ("flyctl", Flyctl()),
    ("{flyctl: {}}", Flyctl()),
    ("{flyctl: {binary: /opt/flyctl, timeout: 5m}}", Flyctl(binary="/opt/flyctl", timeout_s=300.0)),
    (
        "{github: {repo: acme/shop, workflow: rollback.yml, token_env: GITHUB_TOKEN}}",
        Workflow(repo="acme/shop", workflow="rollback.yml", token=SecretRef(env="GITHUB_TOKEN")),
    ),
    (
        '{github: {repo: a/b, workflow: "123", ref: release/1, token_file: /t, url: https://ghe/api/v3, timeout: 10m}}',
        Workflow(
            repo="a/b",
            workflow="123",
            token=SecretRef(file="/t"),
            ref="release/1",
            url="https://ghe/api/v3",
            timeout_s=600.0,
        ),
    ),
    (
        '{command: {run: [./rollback.sh, "{version}", "--image={image}"], env: [FLY_API_TOKEN], timeout: 2m}}',
        Command(run=("./rollback.sh", "{version}", "--image={image}"), env=("FLY_API_TOKEN",), timeout_s=120.0),
    ),
]


@pytest.mark.parametrize("written, meant", SOUND)
def test_an_executor_is_what_it_says(written: str, meant: Executor) -> None:
    text = policy(written)
    assert complaints(text) == []
    assert load(text).rollback.executor == meant
    jsonschema.validate(yaml.safe_load(text), json_schema())


def test_without_a_word_the_guard_does_it_itself() -> None:
    assert load(GOOD).rollback.executor == Machines()


@pytest.mark.parametrize(
    "written, message, column",
    [
        ("flytcl", "must be machines, flyctl, github or command; did you mean 'flyctl'?", 13),
        ("{}", "is empty; write machines, or one of flyctl, github or command", 13),
        ("[flyctl]", "must be a mapping", 13),
        ("7", "must be a mapping", 13),
        ("{comand: {run: [a]}}", "unknown key 'comand'; did you mean 'command'?", 14),
        ("{flyctl: {}, command: {run: [a]}}", "an executor is only one of machines, flyctl, github or command", 13),
        ("{flyctl: {timeout: 16m}}", "timeout is longer than rollback.deadline", 32),
        ("{flyctl: {timeout: 0s}}", "must be longer than 0s", 32),
        ("{github: {repo: a/b, token_env: T}}", "missing key 'workflow'", 22),
        ("{github: {repo: '', workflow: r.yml, token_env: T}}", "must be a repository such as owner/name", 29),
        (
            "{github: {repo: a/b, workflow: ../r.yml, token_env: T}}",
            "must be the file name of a workflow, such as rollback.yml",
            44,
        ),
        ("{github: {repo: a/b, workflow: r.yml, ref: a b, token_env: T}}", "must be a branch or a tag", 56),
        ("{command: {run: ./rollback.sh}}", "must be a list; write [./rollback.sh]", 29),
        ("{command: {run: []}}", "must not be empty", 29),
        ("{command: {run: [a, '{versoin}']}}", "unknown placeholder '{versoin}'; did you mean 'version'?", 33),
        (
            "{command: {run: ['{nothing}']}}",
            "unknown placeholder '{nothing}'; known are {app}, {version}, {image}, {digest}, {incident} and {reason}",
            30,
        ),
    ],
)
def test_a_mistake_is_shown_at_its_place(written: str, message: str, column: int) -> None:
    [said, *_] = complaints(policy(written))
    line = len(GOOD.splitlines()) + 2
    assert said.startswith(f"p.yaml:{line}:{column}: {message}")
    assert len([one for one in complaints(policy(written)) if one.startswith("p.yaml")]) == 1


def test_a_token_in_the_file_is_refused_and_not_shown() -> None:
    said = "\n".join(complaints(policy("{github: {repo: a/b, workflow: r.yml, token: ghp_abc}}")))
    assert "write token_env: NAME or token_file: PATH" in said
    assert "ghp_abc" not in said


def test_a_token_must_be_named() -> None:
    assert "token" in complaints(policy("{github: {repo: a/b, workflow: r.yml}}"))[0]


def test_check_says_that_no_first_machine_proves_a_rollback_by_other_hands() -> None:
    warned = [warning for warning in lints(load(policy("flyctl"))) if "rollback.executor" in warning]
    assert len(warned) == 1
    assert "rollback.executor is flyctl: no first machine proves the rollback" in warned[0]
    assert not [warning for warning in lints(load(GOOD)) if "rollback.executor" in warning]
