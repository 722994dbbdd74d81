"""What the tests of the local platform share."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.localfly.local import Local


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[Local]:
    """A stage to start a platform on; all its processes are gone afterwards."""
    async with AsyncExitStack() as stack:
        yield Local(stack, tmp_path / "users.jsonl")
