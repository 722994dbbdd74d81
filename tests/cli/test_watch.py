"""``rollguard watch``: the status again and again."""

from __future__ import annotations

import pytest

from rollguard.cli.main import main
from tests.cli.running import Home


def test_it_shows_the_target_and_what_happened_as_often_as_asked(home: Home) -> None:
    with home.guard():
        shown = home.rollguard("watch", "--times", "2", "--every", "200ms")
    assert shown.returncode == 0, shown.stderr
    assert shown.stdout.count("shop  mode enforce") == 2
    assert "\x1b" not in shown.stdout, "no terminal, no control characters"


@pytest.mark.parametrize("words", [["--every", "10ms"], ["--times", "0"], ["--every", "soon"]])
def test_what_it_cannot_do_is_said(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["watch", *words]) == 2
    assert "rollguard watch:" in capsys.readouterr().err
