"""A support bundle tells everything but secrets."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rollguard.core import events as ev
from rollguard.core.channels import PagerDuty, Slack
from rollguard.core.incident_json import Salt, incident_object
from rollguard.core.model import Reading
from rollguard.core.signals import JourneySignal, LogsSignal, Scope, SecretRef, Step
from rollguard.core.support import (
    LEFT_OUT,
    Hider,
    Known,
    bundle_files,
    log_lines,
    policy_without_secrets,
    request_ids,
    secret_refs,
    typed_in,
    written_secrets,
)
from tests.builders import MACHINES, NOON, TRAFFIC, a_machine, a_policy, a_snapshot, windows
from tests.core.test_incident_record import STORY, of, step

SALT = Salt("grain")
LOGIN = JourneySignal(
    name="login",
    every_s=30.0,
    scopes=frozenset({Scope.EDGE}),
    timeout_s=10.0,
    steps=(
        Step(name="form", url="https://shop.example/login"),
        Step(
            name="enter",
            url="https://shop.example/login",
            method="POST",
            headers={"X-Test": "canary-header"},
            form={"user": "tester@shop.example", "password": "canary-password"},
        ),
        Step(name="buy", url="https://shop.example/buy", method="POST", body='{"card": "canary-card"}'),
    ),
)


def test_every_reference_to_a_secret_in_a_policy_is_found() -> None:
    page = (PagerDuty(routing_key=SecretRef(env="KEY")), Slack(token=SecretRef(file="/slack"), channel="C1"))
    policy = a_policy(page=page, signals=(TRAFFIC, MACHINES))
    assert secret_refs(policy) == [SecretRef(env="FLY_API_TOKEN"), SecretRef(env="KEY"), SecretRef(file="/slack")]


def test_what_a_journey_types_in_counts_as_secret() -> None:
    policy = a_policy(signals=(LOGIN, MACHINES))
    assert typed_in(policy) == [
        "tester@shop.example",
        "canary-password",
        "canary-header",
        '{"card": "canary-card"}',
    ]


def test_a_known_secret_is_taken_out_wherever_it_is_quoted() -> None:
    hide = Hider(["canary-password", "canary", "", "true"])
    found = hide.data({"a": ["x canary-password y", {"canary-password": 1}], "b": None, "c": True, "d": "true"})
    assert found == {
        "a": [f"x {LEFT_OUT} y", {LEFT_OUT: 1}],
        "b": None,
        "c": True,
        "d": "true",
    }
    assert Hider([]).text("x") == "x"
    assert Hider(["a.c(def"]).text("a.c(def abc(def") == f"{LEFT_OUT} abc(def", "a secret is no pattern"


@pytest.mark.parametrize(
    "written, kept",
    [
        ({"target": {"token_env": "FLY_API_TOKEN"}}, {"target": {"token_env": "FLY_API_TOKEN"}}),
        ({"target": {"token": "fm2_canary"}}, {"target": {"token": LEFT_OUT}}),
        ({"mode": "${MODE:-page}"}, {"mode": "${MODE:-page}"}),
        (
            {"signals": {"home": {"http": {"url": "https://ann:pw@shop.example/x?key=canary", "timeout": "4s"}}}},
            {"signals": {"home": {"http": {"url": "https://shop.example/x?…", "timeout": "4s"}}}},
        ),
        ({"url": "${URL:-https://a.example}/federate?match[]={a}"}, {"url": "${URL:-https://a.example}/federate?…"}),
        (
            {"notify": {"page": [{"webhook": {"url": "https://hooks.example/T0/canary", "secret_env": "S"}}]}},
            {"notify": {"page": [{"webhook": {"url": "https://hooks.example/…", "secret_env": "S"}}]}},
        ),
        ({"heartbeat": {"url": "https://hc.example/uuid"}}, {"heartbeat": {"url": "https://hc.example/…"}}),
        (
            {
                "login": {
                    "journey": {
                        "steps": [{"name": "a", "post": "/l?t=canary", "form": {"p": "canary"}, "body": {"p": 7}}]
                    }
                }
            },
            {
                "login": {
                    "journey": {
                        "steps": [{"name": "a", "post": "/l?…", "form": {"p": LEFT_OUT}, "body": {"p": LEFT_OUT}}]
                    }
                }
            },
        ),
        ({"rules": [{"above": 0.01, "name": "is it bad?"}]}, {"rules": [{"above": 0.01, "name": "is it bad?"}]}),
        (None, None),
        (["x", 1, True], ["x", 1, True]),
    ],
)
def test_a_policy_keeps_its_references_and_loses_its_secrets(written: Any, kept: Any) -> None:
    assert policy_without_secrets(written) == kept


def test_secrets_that_stand_in_a_policy_file_are_found_by_their_place() -> None:
    written = {
        "target": {"token_env": "FLY_API_TOKEN", "mode": "page"},
        "notify": [{"slack": {"token_file": "/slack", "token": "xoxb-canary"}}],
        "login": {"journey": {"steps": [{"name": "a", "form": {"p": "canary", "n": 7}}]}},
    }
    values, refs = written_secrets(written)
    assert values == ["xoxb-canary", "canary"]
    assert refs == [SecretRef(env="FLY_API_TOKEN"), SecretRef(file="/slack")]


def test_failed_calls_are_told_by_the_platforms_own_names_for_them() -> None:
    events = [
        step(ev.StepFailed, 47, machine="m2", error="HTTP 500: POST /v1 (fly-request-id 01ABC-ord)"),
        ev.TickFailed(at=NOON, error="HTTP 502 (fly-request-id 02DEF-ams)", failures=1),
        ev.GoalEnded(at=NOON, incident="i", outcome="failed", sentence="refused (fly-request-id 03-fra)"),
        ev.PauseSet(at=NOON, by="ann", reason="fly-request-id 04-no"),
    ]
    assert [call["id"] for call in request_ids(events)] == ["01ABC-ord", "02DEF-ams", "03-fra"]


def test_the_newest_lines_of_the_log_are_there_and_cannot_break_out() -> None:
    logs = LogsSignal(name="errors", every_s=10.0, timeout_s=5.0, match=("error",))
    rows = [
        Reading("errors.lines", "m1", NOON, value=2.0, since=NOON - 5, until=NOON - 4, detail="boom\n\x1b[31mforged"),
        Reading("errors.lines", "m1", NOON, value=0.0, since=NOON - 9, until=NOON),
    ]
    policy = a_policy(signals=(logs, MACHINES))
    assert log_lines(policy, windows(rows), a_snapshot(a_machine("m1"))) == [
        "2026-08-21T11:59:56Z m1 errors x2 boom [31mforged"
    ]
    assert log_lines(policy, windows(rows), None) == []


def test_the_files_of_a_bundle_can_all_be_read_and_hold_no_canary() -> None:
    policy = a_policy(signals=(LOGIN, MACHINES))
    leak = step(ev.StepFailed, 47, machine="m2", error="HTTP 401 for token fm2_canary (fly-request-id 01-ord)")
    evil = ev.TickFailed(at=NOON + 50, error='"}\n{"forged": true}\n../../etc/passwd', failures=1)
    told_of = of(*STORY[:17], leak, evil, *STORY[18:])
    machine = a_machine("m1", labels={"build": "canary-label"}, config_hash="canary-config")
    known = Known(
        entries=told_of.entries,
        incident=incident_object(policy, told_of, SALT, version="0.1.0", before=a_snapshot(machine)),
        status={"sentence": "answered 'canary-password'"},
        explained=["login: canary-password was refused"],
        snapshot=a_snapshot(machine),
        guard={"version": "0.1.0"},
        log_lines=["12:00 m1 login of canary-password"],
        policy_data={"target": {"token": "fm2_canary"}},
        secrets=["fm2_canary", *typed_in(policy)],
    )
    files = bundle_files(policy, known, SALT)
    assert list(files)[:3] == ["README.txt", "incident.json", "events.jsonl"], "what tells most comes first"
    assert not [name for name, text in files.items() if "canary" in text]
    for name, text in files.items():
        if name.endswith(".json"):
            json.loads(text)
    rows = [json.loads(line) for line in files["events.jsonl"].splitlines()]
    assert [row["seq"] for row in rows] == [entry.seq for entry in told_of.entries]
    assert json.loads(files["guard.json"])["failedCalls"][0]["id"] == "01-ord"
    assert all(name in files["README.txt"] for name in files if name != "README.txt")


def test_what_nobody_knows_is_left_out_of_a_bundle() -> None:
    files = bundle_files(a_policy(), Known(), SALT)
    assert set(files) == {"README.txt", "events.jsonl", "guard.json"}
