"""The salt of the hashes lasts, is nobody else's to read, and a broken one is said rather than used."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from rollguard.adapters.salt import BYTES, FILE, known_salt, lasting_salt, mark_of
from rollguard.errors import Refused


def test_it_is_made_once_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    salt = lasting_salt(folder)
    assert len(salt) == BYTES
    assert lasting_salt(folder) == known_salt(folder) == salt
    assert stat.S_IMODE((folder / FILE).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [path.name for path in folder.iterdir()] == [FILE], "no draft is left behind"


def test_two_folders_have_two(tmp_path: Path) -> None:
    assert lasting_salt(tmp_path / "a") != lasting_salt(tmp_path / "b")


def test_whoever_only_looks_makes_none(tmp_path: Path) -> None:
    assert len(known_salt(tmp_path)) == BYTES
    assert known_salt(tmp_path) != known_salt(tmp_path)
    assert not list(tmp_path.iterdir())


def test_one_that_is_cut_off_is_not_used(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"short")
    with pytest.raises(Refused, match=r"config.salt has 5 bytes, not 32: remove it"):
        lasting_salt(tmp_path)
    assert known_salt(tmp_path) != b"short"


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(Refused, match="cannot read or make"):
        lasting_salt(tmp_path)


def test_a_folder_that_is_a_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(Refused, match="cannot read or make"):
        lasting_salt(tmp_path / "data")


def test_its_name_tells_salts_apart_and_nothing_of_them() -> None:
    assert mark_of(b"a") != mark_of(b"b")
    assert mark_of(b"a") == mark_of(b"a")
    assert b"secret".hex() not in mark_of(b"secret")
