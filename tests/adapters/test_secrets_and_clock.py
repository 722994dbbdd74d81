"""Secrets are read when they are used and never shown; time does not jump."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollguard.adapters.clock import SystemClock
from rollguard.adapters.secrets import authorization, read_secret, token_parts
from rollguard.core.signals import SecretRef
from rollguard.errors import Refused


def test_a_secret_comes_from_the_environment_stripped() -> None:
    assert read_secret(SecretRef(env="TOKEN"), {"TOKEN": " fo1_abc\n"}) == "fo1_abc"


def test_a_secret_file_is_read_anew_at_each_use(tmp_path: Path) -> None:
    file = tmp_path / "token"
    ref = SecretRef(file=str(file))
    file.write_text("first\n")
    assert read_secret(ref, {}) == "first"
    file.write_text("second\n")
    assert read_secret(ref, {}) == "second"


@pytest.mark.parametrize("value", ["", "  \n", "two\nlines-s3cret", "naïve-s3cret", "nul\0s3cret"])
def test_an_unusable_secret_is_refused_by_name_and_never_shown(value: str, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(value)
    for ref, name in ((SecretRef(env="TOKEN"), "TOKEN"), (SecretRef(file=str(file)), str(file))):
        with pytest.raises(Refused) as caught:
            read_secret(ref, {"TOKEN": value})
        assert name in str(caught.value)
        assert "s3cret" not in str(caught.value)


def test_a_missing_huge_or_nameless_secret_is_refused(tmp_path: Path) -> None:
    huge = tmp_path / "huge"
    huge.write_bytes(b"x" * 100_000)
    refs = (SecretRef(env="GONE"), SecretRef(file=str(tmp_path / "gone")), SecretRef(file=str(huge)), SecretRef())
    for ref in (*refs, SecretRef(file=str(tmp_path))):
        with pytest.raises(Refused):
            read_secret(ref, {})


@pytest.mark.parametrize(
    "token, header",
    [
        ("fo1_abc", "Bearer fo1_abc"),
        ("Bearer fo1_abc", "Bearer fo1_abc"),
        ("fm2_x", "FlyV1 fm2_x"),
        ("FlyV1 fm2_x,fm2_y", "FlyV1 fm2_x,fm2_y"),
        ("fo1_abc, fm1r_x", "FlyV1 fm1r_x,fo1_abc"),
    ],
)
def test_the_scheme_follows_the_kind_of_token(token: str, header: str) -> None:
    assert authorization(token) == header


def test_macaroons_are_told_from_other_tokens() -> None:
    assert token_parts("FlyV1 fm2_a,fo1_b,fm1a_c") == (["fm2_a", "fm1a_c"], ["fo1_b"])


def test_the_clock_follows_monotonic_time_and_shows_how_far_the_wall_went_away() -> None:
    wall, steady = [1000.0], [5.0]
    clock = SystemClock(lambda: wall[0], lambda: steady[0])
    wall[0], steady[0] = 1003.0, 8.0
    assert (clock.now(), clock.drift_s()) == (1003.0, 0.0)
    wall[0] -= 60.0
    assert (clock.now(), clock.drift_s()) == (1003.0, -60.0)
    clock.reanchor()
    assert (clock.now(), clock.drift_s()) == (943.0, 0.0)
