"""``platform`` and ``demo``: what needs nobody's cloud."""

from __future__ import annotations

import json
import socket
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
    assert lines[4] == "# shop runs on 1 machine"
    url = f"{told['FLY_FLAPS_BASE_URL']}/local/v1/images"

    def gone() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=1.0) as answer:
                json.load(answer)
        except (urllib.error.URLError, ConnectionError):
            return True
        return False

    until(gone, "nothing is left of the platform")


@pytest.mark.parametrize("words", [("--port", "99999"), ("--port", "-1"), ("--machines", "0")])
def test_a_platform_that_cannot_be_is_a_mistake_of_usage(
    words: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["platform", *words]) == 2
    assert words[0] in capsys.readouterr().err


def test_a_port_in_use_ends_the_platform_with_a_sentence() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        command = (sys.executable, str(DAEMON), "platform", "--port", port)
        ran = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=20.0, check=False)
    assert ran.returncode == 2
    assert f"cannot listen on 127.0.0.1:{port}: " in ran.stderr
    assert "Traceback" not in ran.stderr


def test_an_unknown_scenario_names_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo", "nope"]) == 2
    assert "no scenario 'nope'; there are " in capsys.readouterr().err
