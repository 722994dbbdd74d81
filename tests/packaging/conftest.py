"""The image, built once."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.packaging.building import CannotBuild, Image, shared_image, why_not


@pytest.fixture(scope="session")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """The image of the Dockerfile; skips, with the reason, where this machine cannot build one."""
    if why := why_not():
        pytest.skip(why)
    mine = tmp_path_factory.getbasetemp()
    everybody_s = mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine
    try:
        with shared_image(everybody_s / "image") as built:
            yield built
    except CannotBuild as error:
        pytest.skip(str(error))
