"""Our signatures are those of the Standard Webhooks specification, by its own published example."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rollguard.adapters.notify.webhook import signing_keys
from rollguard.core.signing import sign

VECTOR = Path(__file__).parents[2].parent / "shared/contracts/standard-webhooks/vector.json"


def test_the_published_example_is_signed_as_published() -> None:
    if not VECTOR.is_file():
        pytest.skip("the published example is not here; it is test data that is not shipped")
    vector = json.loads(VECTOR.read_text())
    [key] = signing_keys(vector["secret"])
    assert sign(key, vector["id"], vector["timestamp"], vector["body"].encode()) == vector["signature"]
