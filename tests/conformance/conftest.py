"""A local platform with an app on it, and a real flyctl that believes it is Fly. Only under ``make conformance``."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from tests.conformance.fly import Fly, opened

NEEDS_NO_FLYCTL = {"test_obtaining.py"}
collect_ignore = [
    each.name
    for each in Path(__file__).parent.glob("test_*.py")
    if each.name not in NEEDS_NO_FLYCTL and not os.environ.get("ROLLGUARD_CONFORMANCE")
]

Opener = Callable[..., AbstractAsyncContextManager[Fly]]


@pytest.fixture
def open_fly(tmp_path: Path) -> Opener:
    """``open_fly(machines=4, rate_limits=False)``: a fresh platform."""

    @asynccontextmanager
    async def open_one(**wanted: object) -> AsyncIterator[Fly]:
        async with opened(Path(os.environ["FLYCTL"]), tmp_path, **wanted) as fly:  # type: ignore[arg-type]
            yield fly

    return open_one


@pytest.fixture
async def fly(open_fly: Opener) -> AsyncIterator[Fly]:
    """Three machines on GOOD."""
    async with open_fly() as opened_fly:
        yield opened_fly
