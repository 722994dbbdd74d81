"""``platform`` and ``demo``: what needs nobody's cloud."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.error
import urllib.request

import pytest

from rollguard.cli.main import main
from tests.cli.running import DAEMON, environment, until


def test_the_platform_says_how_to_use_it_and_goes_with_its_parent() -> None:
    command = (sys.executable, str(DAEMON), "platform", "--app", "shop", "--machines", "1")
    environ = environment() | {"PYTHONPATH": ""}  # from a bare checkout
    with subprocess.Popen(
        command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(5)]
        told = dict(line.removeprefix("export ").split("=", 1) for line in lines[:4])
        process.terminate()
    assert set(told) == {"FLY_API_BASE_URL", "FLY_FLAPS_BASE_URL", "FLY_UIEX_BASE_URL", "FLY_API_TOKEN"}
    assert lines[4] == "# shop runs on 1 machines"
    url = f"{told['FLY_FLAPS_BASE_URL']}/local/v1/images"

    def gone() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=1.0) as answer:
                json.load(answer)
        except (urllib.error.URLError, ConnectionError):
            return True
        return False

    until(gone, "nothing is left of the platform")


def test_an_unknown_scenario_names_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "nope"]) == 2
    assert "no scenario 'nope'; there are " in capsys.readouterr().err
