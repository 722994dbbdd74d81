"""A configuration that may be kept and shown: complete, bounded, and without a single secret."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollguard.adapters.fly.capsule import KEYS_MAX, PATH_MAX, REST, VALUE_MAX, capsule_of
from rollguard.errors import Refused
from tests.adapters.fly_answers import M1, MACHINE, Fly, machine
from tests.adapters.scripted_transport import says

SALT, OTHER = b"salt" * 8, b"pepper" * 6
ONE = f"GET /v1/apps/my-app/machines/{M1}"
SECRET = "s3cr3t-V4LU3"


async def test_the_documented_machine_is_told_by_path() -> None:
    capsule = await Fly().platform.capsule(M1)
    shown = {path: value for path, value in capsule.items() if not path.startswith("env.")}
    assert shown == {
        "guest.cpu_kind": "shared",
        "guest.cpus": "1",
        "guest.memory_mb": "256",
        "restart.max_retries": "10",
        "restart.policy": "on-failure",
        "services[0].autostop": "false",
        "services[0].checks[0].interval": "10s",
        "services[0].checks[0].path": "/healthz",
        "services[0].checks[0].type": "http",
        "services[0].internal_port": "8080",
        "services[0].protocol": "tcp",
    }
    assert sorted(capsule) == list(capsule)
    assert set(capsule) - set(shown) == {"env.FLY_PROCESS_GROUP", "env.PRIMARY_REGION"}


@pytest.mark.parametrize(
    "config",
    [
        {"env": {"KEY": SECRET}},
        {"files": [{"guest_path": "/x", "raw_value": SECRET}]},
        {"init": {"cmd": ["serve", SECRET], "exec": [SECRET]}},
        {"processes": [{"env": {"KEY": SECRET}, "cmd": [SECRET]}]},
        {"containers": [{"name": "a", "env": {"KEY": SECRET}, "files": [{"raw_value": SECRET}], "cmd": [SECRET]}]},
        {"services": [{"checks": [{"headers": [{"name": "Authorization", "values": [SECRET]}]}]}]},
        {"checks": {"web": {"headers": [{"values": [SECRET]}]}}},
        {"news": {"token": SECRET}},
        {"news": [SECRET]},
        {"env": {"KEY": [{"deep": SECRET}]}},
        {"guest": json.loads('{"a":' * 30 + f'"{SECRET}"' + "}" * 30)},
    ],
)
def test_what_may_be_a_secret_is_a_hash_and_its_change_is_seen(config: dict[str, Any]) -> None:
    capsule = capsule_of(config, SALT)
    assert capsule
    assert SECRET not in repr(capsule)
    changed = json.loads(json.dumps(config).replace(SECRET, SECRET + "2"))
    assert capsule_of(changed, SALT) != capsule
    assert capsule_of(config, OTHER) != capsule, "nobody finds it by hashing guesses"
    assert capsule_of(json.loads(json.dumps(config)), SALT) == capsule


def test_equal_secrets_have_equal_hashes_wherever_they_are() -> None:
    capsule = capsule_of({"env": {"A": SECRET, "B": SECRET, "C": "other"}}, SALT)
    assert capsule["env.A"] == capsule["env.B"] != capsule["env.C"]
    assert capsule["env.A"].startswith("#")


def test_image_and_metadata_are_left_out_and_so_is_what_is_empty() -> None:
    config: dict[str, Any] = {
        "image": "x",
        "metadata": {"a": "b"},
        "mounts": [],
        "init": {},
        "services": None,
        "env": {"A": ""},
    }
    assert list(capsule_of(config, SALT)) == ["env.A"]


def test_values_of_different_kinds_are_told_apart() -> None:
    said = [capsule_of({"guest": {"a": value}}, SALT)["guest.a"] for value in (True, "true", "7", "#1", "10s")]
    assert said == ["true", '"true"', '"7"', '"#1"', "10s"]


def test_keys_with_dots_or_brackets_are_not_mistaken_for_paths() -> None:
    assert set(capsule_of({"checks": {"a.b": {"port": True}, "a": {"b": {"port": True}}}}, SALT)) == {
        'checks."a.b".port',
        "checks.a.b.port",
    }


async def test_a_hostile_config_is_bounded_printable_and_still_compared_whole() -> None:
    config: dict[str, Any] = {"guest": {f"k{n}": "x\n" * 500 for n in range(2 * KEYS_MAX)}, "y" * 9000: {"\x1b": True}}
    capsule = capsule_of(config, SALT)
    assert len(capsule) == KEYS_MAX + 1
    assert all(len(path) <= PATH_MAX and path.isprintable() for path in capsule)
    assert all(len(value) <= VALUE_MAX and value.isprintable() for value in capsule.values())
    config["guest"][f"k{2 * KEYS_MAX - 1}"] = "changed"
    changed = capsule_of(config, SALT)
    assert {path for path in capsule if capsule[path] != changed.get(path)} <= {REST, f"guest.k{2 * KEYS_MAX - 1}"}
    assert changed != capsule


CONFIGS = st.recursive(
    st.booleans() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(min_size=1, max_size=5), inner, max_size=3),
    max_leaves=12,
)


@settings(deadline=None)
@given(CONFIGS, CONFIGS)
def test_two_configs_are_told_alike_only_if_they_are(one: Any, other: Any) -> None:
    def shown(tree: Any) -> Any:
        """Without what is empty, which Fly takes for absent."""
        if isinstance(tree, dict):
            return {k: inner for k, v in tree.items() if (inner := shown(v)) not in ({}, [])}
        return [inner for v in tree if (inner := shown(v)) not in ({}, [])] if isinstance(tree, list) else tree

    def told(tree: Any) -> dict[str, str]:
        return capsule_of({"guest": tree}, SALT)

    if shown({"guest": one}) == shown({"guest": other}) and one == other:
        assert told(one) == told(other)
    elif shown({"guest": one}) != shown({"guest": other}):
        assert told(one) != told(other)


async def test_a_host_that_does_not_tell_the_configuration_is_said_to_be_so() -> None:
    silent = machine(host_status="unreachable", incomplete_config={"metadata": {}}) | {"config": None}
    for document in (silent, machine() | {"config": None}, machine() | {"config": {}}):
        with pytest.raises(Refused, match="its config is not known"):
            await Fly({ONE: document}).platform.capsule(M1)
    with pytest.raises(Refused, match="machine not found"):
        await Fly({ONE: says({"error": "machine not found"}, 404)}).platform.capsule(M1)


async def test_without_a_kept_salt_hashes_compare_within_this_process() -> None:
    one, other = await Fly().platform.capsule(M1), await Fly({ONE: MACHINE}).platform.capsule(M1)
    assert one == other
