"""fly.toml: always on, one guard, out of its app's region, reachable for checks and scrapes and for nothing else."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from rollguard.app.options import DEFAULT_LISTEN
from rollguard.cli.run import EXIT_S
from rollguard.config.loader import load_policy
from rollguard.web.server import Views, build

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT.parent / "shared/contracts/schemastore/fly.json"
FLY: dict[str, Any] = tomllib.loads((ROOT / "fly.toml").read_text(encoding="utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text(encoding="utf-8")
APPS_OWN_REGION = "ord"

KNOWN = {
    "": {
        "app",
        "primary_region",
        "kill_signal",
        "kill_timeout",
        "build",
        "deploy",
        "mounts",
        "restart",
        "vm",
        "metrics",
    }
    | {"checks", "env", "processes", "swap_size_mb", "console_command"},
    "build": {"dockerfile", "ignorefile", "build-target", "args", "image"},
    "deploy": {"strategy", "wait_timeout", "max_unavailable"},
    "mounts": {"source", "destination", "initial_size", "snapshot_retention", "scheduled_snapshots", "processes"},
    "restart": {"policy", "retries", "processes"},
    "vm": {"size", "memory", "cpus", "cpu_kind", "processes"},
    "metrics": {"port", "path", "processes"},
    "checks": {
        "type",
        "port",
        "interval",
        "timeout",
        "grace_period",
        "path",
        "method",
        "protocol",
        "headers",
        "processes",
    },
}
"""What Fly reads. A key that it does not know it skips without a word, as does its published schema."""


def seconds(text: str) -> float:
    found = re.fullmatch(r"(\d+)(s|m)", text)
    assert found, text
    return float(found[1]) * {"s": 1, "m": 60}[found[2]]


def command() -> list[str]:
    """What the image does by default, which this app runs as it is."""
    found = re.search(r"^CMD (\[.*\])$", DOCKERFILE, re.MULTILINE)
    assert found
    words: list[str] = json.loads(found[1])
    return words


def test_fly_knows_every_key() -> None:
    assert set(FLY) <= KNOWN[""]
    for name, known in KNOWN.items():
        tables = FLY.get(name, []) if name else []
        if name == "checks":
            tables = list(FLY["checks"].values())
        for table in tables if isinstance(tables, list) else [tables]:
            assert set(table) <= known, name


def test_it_keeps_to_the_published_schema() -> None:
    if not SCHEMA.is_file():
        pytest.skip("the schema of fly.toml is not here; it is test data that is not shipped")
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    jsonschema.Draft7Validator(schema).validate(FLY)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft7Validator(schema).validate(FLY | {"kill_signal": "SIGNOPE"})


def test_nothing_is_routed_to_it_so_that_nothing_can_put_it_to_sleep() -> None:
    """Auto-stop belongs to services; public and private addresses lead to services. There is none."""
    assert {"http_service", "services"} & set(FLY) == set()
    assert [one["policy"] for one in FLY["restart"]] == ["always"]


def test_it_does_not_go_down_with_the_region_of_the_app() -> None:
    assert re.fullmatch(r"[a-z]{3}", FLY["primary_region"])
    assert FLY["primary_region"] != APPS_OWN_REGION


def test_there_is_one_volume_and_the_data_folder_is_in_it() -> None:
    """Fly makes one machine for a group with a mount, whatever ``--ha`` says; SQLite takes one guard."""
    (mount,) = FLY["mounts"]
    found = re.search(r"ROLLGUARD_DATA=(\S+)", DOCKERFILE)
    assert found
    assert Path(found[1]).parent == Path(mount["destination"])
    assert 1 <= mount["snapshot_retention"] <= 60
    assert "processes" not in FLY, "a second group would be a second guard"


def test_a_deploy_stops_the_machine_and_starts_it_again_because_a_volume_cannot_be_in_two_places() -> None:
    assert FLY["deploy"]["strategy"] in {"rolling", "immediate"}


def test_the_guard_has_the_time_it_takes_to_end() -> None:
    assert FLY["kill_signal"] == "SIGTERM"
    assert 2 * EXIT_S < seconds(FLY["kill_timeout"]) <= 300


def test_checks_and_metrics_ask_what_the_guard_serves_where_it_listens() -> None:
    views = Views(metrics=lambda accept: (b"", "text/plain"), unhealthy=lambda: None, unready=lambda: None)
    served = {str(resource.canonical) for resource in build(views).router.resources()}
    checks = FLY["checks"].values()
    assert {check["path"] for check in checks} == {"/-/healthy", "/-/ready"}
    assert {check["path"] for check in checks} | {FLY["metrics"]["path"]} <= served
    host, _, port = command()[command().index("--listen") + 1].rpartition(":")
    assert {check["port"] for check in checks} | {FLY["metrics"]["port"]} == {int(port)}
    assert port == DEFAULT_LISTEN.rpartition(":")[2]
    for check in checks:
        assert check["type"] == "http"
        assert seconds(check["interval"]) >= 2
        assert seconds(check["timeout"]) < seconds(check["interval"])
        assert seconds(check["grace_period"]) <= 60
    assert host == "0.0.0.0", "IPv4 only: Fly asks there; the organization's private network is IPv6"


def policy() -> Path:
    """The one that goes into the image by default."""
    found = re.search(r"^ARG POLICY=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert found
    assert "args" not in FLY["build"]
    return ROOT / "config" / found[1]


def test_the_policy_it_obeys_is_that_of_the_app_it_is_named_after() -> None:
    assert command()[command().index("--config") + 1] == "/etc/rollguard"
    assert load_policy(policy(), {}).target.app == "hotdash-production"


def test_it_ships_so_that_it_pages_and_touches_nothing() -> None:
    read = set(re.findall(r"\$\{(\w+)", policy().read_text(encoding="utf-8")))
    assert set(FLY["env"]) <= read, "a variable that no policy reads"
    assert FLY["env"]["HOTDASH_MODE"] == "page"
    assert not [name for name in FLY["env"] if name.startswith("FLY_")], "Fly keeps these names to itself"
