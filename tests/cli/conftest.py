"""One platform with one app for all of these tests; those that deploy have an app of their own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from tests.cli.running import Fly, Home, platform

_numbers = count(1)


@pytest.fixture(scope="session")
def fly() -> Iterator[Fly]:
    with platform() as running:
        running.app("shop")
        yield running


@pytest.fixture
def home(fly: Fly, tmp_path: Path) -> Home:
    """A policy for the app that everyone looks at and nobody changes: one machine on release v1."""
    return Home(tmp_path, fly, "shop")


@pytest.fixture
def own(fly: Fly, tmp_path: Path) -> Home:
    """A policy for an app of its own: one machine on release v1."""
    app = f"shop-{next(_numbers)}"
    fly.app(app)
    return Home(tmp_path, fly, app)
