"""A config goes out as it came in, byte for byte, but for the image and the metadata that are to change."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from rollguard.adapters.fly import opaque
from tests.adapters.fly_answers import LEASE, M1, MACHINE, NEXT_ULID, OLD, ULID, Fly, machine
from tests.adapters.scripted_transport import says
from tests.virtual_time import run

PATH = f"/v1/apps/my-app/machines/{M1}"
IMAGE = f"registry.fly.io/my-app@{OLD}"
MARKS = {"rollguard_incident": "i1", "fly_release_version": "43"}

NUMBERS = st.from_regex(r"-?(0|[1-9][0-9]{0,30})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,4})?", fullmatch=True)
"""Numbers as they may be written: 1.0, 1e3, -0, thirty digits, more than any machine can hold."""
TEXTS = st.text(st.characters(), max_size=12) | st.sampled_from(["é", "\ud800", '"\\', "\u2028", "\x00", "image"])
KEYS = st.sampled_from(["env", "guest", "services", "x", "1e3"]) | TEXTS
TREES = st.recursive(
    st.none() | st.booleans() | NUMBERS.map(opaque.Number) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=20,
)
CONFIGS = st.dictionaries(KEYS.filter(lambda key: key not in {"image", "metadata"}), TREES, max_size=6)
METADATA = st.none() | st.dictionaries(st.text(max_size=8), st.text(max_size=8), max_size=4)


def written(value: Any) -> str:
    """Compact JSON with every number as it is written; made apart from the code under test."""
    match value:
        case opaque.Number():
            return str(value)
        case dict():
            return "{" + ",".join(f"{json.dumps(k)}:{written(v)}" for k, v in value.items()) + "}"
        case list():
            return "[" + ",".join(map(written, value)) + "]"
        case _:
            return json.dumps(value)


def sent_for(config: dict[str, Any]) -> str:
    """What the driver sends for a machine with that config."""
    document = written(MACHINE | {"config": "HERE"}).replace('"HERE"', written(config))
    fly = Fly({f"GET {PATH}": says(document.encode()), f"POST {PATH}": machine(instance_id=NEXT_ULID)})

    async def update() -> None:
        lease = {f"POST {PATH}/lease": {"data": LEASE}}
        fly.answers |= lease
        held = await fly.platform.acquire_lease(M1, "rollguard i1", 13.0)
        await fly.platform.update(held, instance_id=ULID, image=IMAGE, metadata=MARKS, skip_launch=False)

    run(update())
    update_ = fly.wrote[-1]
    assert update_.headers["fly-machine-lease-nonce"] == LEASE["nonce"], "under the lease"
    assert update_.json["current_version"] == ULID, "on the very version that was looked at"
    return update_.body.decode()


@settings(deadline=None, max_examples=50)
@given(CONFIGS, CONFIGS, METADATA)
def test_any_config_comes_out_with_the_same_bytes_in_the_same_order(
    before: dict[str, Any], after: dict[str, Any], metadata: dict[str, str] | None
) -> None:
    after = {name: value for name, value in after.items() if name not in before}
    config = before | {"image": "registry.fly.io/my-app:old", "metadata": metadata} | after
    wanted = before | {"image": IMAGE, "metadata": (metadata or {}) | MARKS} | after
    assert sent_for(config) == f'{{"config":{written(wanted)},"region":"iad","current_version":"{ULID}"}}'


@settings(deadline=None, max_examples=50)
@given(TREES)
def test_what_is_loaded_and_dumped_is_what_it_was(tree: Any) -> None:
    text = written(tree).encode()
    assert opaque.dump(opaque.load(text, "GET x")) == text
