"""Reports over HTTP to a guard's process, by the commands that the document shows."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml

from rollguard.core.events import Reported
from tests.cli.running import Guard, Home

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "docs" / "reports.md").read_text(encoding="utf-8")
SCHEMA = ROOT.parent / "shared/contracts/schemastore/prometheus-alertmanager.json"
TOKEN = "0123456789abcdef0123456789abcdef"


def block(kind: str, having: str) -> str:
    """The document's fenced block of that kind."""
    blocks = re.findall(rf"^```{kind}\n(.*?)^```$", DOCUMENT, re.MULTILINE | re.DOTALL)
    (found,) = [text for text in blocks if having in text]
    return str(found)


@pytest.fixture
def reporting(home: Home) -> Home:
    """A home whose policy takes reports, as the document says."""
    section, _, _ = block("yaml", "token_env").partition("#")
    home.write_policy(home.policy.read_text() + section + "\n")
    home.environ = {**home.environ, "REPORT_TOKEN": TOKEN}
    return home


def shell(home: Home, guard: Guard, script: str, token: str = TOKEN) -> tuple[int, dict[str, object]]:
    """Exit code and answer of the document's lines, as a reader would paste them."""
    named = {**home.environ, "GUARD": str(guard.address), "TARGET": home.app, "REPORT_TOKEN": token}
    done = subprocess.run(("sh", "-eu", "-c", script), env=named, capture_output=True, text=True, timeout=60)
    assert done.stdout, done.stderr
    return done.returncode, json.loads(done.stdout)


@pytest.mark.skipif(not (shutil.which("openssl") and shutil.which("curl")), reason="openssl and curl are not here")
def test_the_commands_of_the_document_report_and_a_replay_is_refused_also_by_the_next_guard(reporting: Home) -> None:
    script = block("sh", "webhook-signature")
    same = script.replace('id="msg_$(openssl rand -hex 12)"', 'id="msg_twice"')
    assert same != script
    with reporting.guard() as guard:
        code, answer = shell(reporting, guard, same)
        assert (code, str(answer["say"])[:20]) == (0, "recorded against v1 ")
        assert shell(reporting, guard, script)[0] == 0
        assert shell(reporting, guard, same)[1]["status"] == 409
        assert shell(reporting, guard, script, token=TOKEN[::-1])[1]["status"] == 401
        guard.stop()
    with reporting.guard() as guard:
        assert shell(reporting, guard, same)[1]["detail"] == "a report of this ID was taken before"
    told = [event for event in reporting.events() if isinstance(event, Reported)]
    assert [event.by for event in told] == ["order checker"] * 2
    assert told[0].id == "msg_twice"
    assert TOKEN not in reporting.log.read_text()


def test_a_policy_whose_report_token_is_missing_or_short_does_not_start(reporting: Home) -> None:
    for token, why in (("", "is missing or empty"), ("short", "holds a key of less than 16 bytes")):
        done = reporting.rollguard(*reporting.run_args(), environ={**reporting.environ, "REPORT_TOKEN": token})
        assert done.returncode == 2
        assert "reports: " in done.stderr
        assert why in done.stderr


def test_alertmanager_understands_the_receiver_of_the_document() -> None:
    config = yaml.safe_load(block("yaml", "webhook_configs"))
    routed = {config["route"]["receiver"], *(route["receiver"] for route in config["route"]["routes"])}
    assert routed == {receiver["name"] for receiver in config["receivers"]}
    if not SCHEMA.is_file():
        pytest.skip("the published schema is not here; it is test data that is not shipped")
    schema = json.loads(SCHEMA.read_text())
    jsonschema.validate(config, schema)
    config["receivers"][1]["webhook_configs"][0]["sendresolved"] = False
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(config, schema)
