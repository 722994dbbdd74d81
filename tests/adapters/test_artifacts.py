"""Each rollback leaves files for people: private, whole, inside the data folder, and not for ever."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from rollguard.adapters.artifacts import FILE_CHARS_MAX, ArtifactFolder, folder_name
from rollguard.core.policy import Artifacts
from rollguard.errors import Refused

DAY_S = 86400.0


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactFolder:
    return ArtifactFolder(tmp_path / "data", Artifacts())


def age(path: Path, at: float) -> None:
    os.utime(path, (at, at))


def test_a_folder_is_named_by_its_time() -> None:
    assert folder_name(1_787_313_600.9) == "20260821T120000Z"


def test_files_are_whole_private_and_where_the_runbook_says(artifacts: ArtifactFolder, tmp_path: Path) -> None:
    old = os.umask(0)
    try:
        path = artifacts.write("20260821T120000Z", {"pre-rollback-status.txt": "v42 ü\ud800\n"})
        artifacts.write("20260821T120000Z", {"rollback-summary.txt": "done\n"})
    finally:
        os.umask(old)
    assert path == tmp_path / "data/artifacts/rollback/20260821T120000Z"
    assert {f.name: f.read_text() for f in path.iterdir()} == {
        "pre-rollback-status.txt": "v42 ü\\ud800\n",
        "rollback-summary.txt": "done\n",
    }
    assert all(f.stat().st_mode & 0o777 == 0o600 for f in path.iterdir())
    folders = [path, path.parent, path.parent.parent, tmp_path / "data"]
    assert [folder.stat().st_mode & 0o777 for folder in folders] == [0o700] * 4


def test_writing_again_replaces(artifacts: ArtifactFolder) -> None:
    for text in ("first", "second"):
        path = artifacts.write("a", {"f.txt": text})
    assert (path / "f.txt").read_text() == "second"


@pytest.mark.parametrize(
    "folder, file", [("..", "f"), ("a/b", "f"), ("", "f"), (".a", "f"), ("a", "../f"), ("a", "f\n")]
)
def test_a_name_that_leads_elsewhere_is_refused(artifacts: ArtifactFolder, folder: str, file: str) -> None:
    with pytest.raises(Refused, match="cannot be the name"):
        artifacts.write(folder, {file: "x"})


@pytest.mark.parametrize("setting", ["..", ".", "/etc/rollguard", "a/../../b"])
def test_a_policy_cannot_send_artifacts_out_of_the_data_folder(tmp_path: Path, setting: str) -> None:
    with pytest.raises(Refused, match="must be a folder inside the data folder"):
        ArtifactFolder(tmp_path, Artifacts(dir=setting))


def test_too_much_is_cut_and_says_so_and_too_many_are_refused(artifacts: ArtifactFolder) -> None:
    path = artifacts.write("a", {"f.txt": "x" * (FILE_CHARS_MAX + 5)})
    text = (path / "f.txt").read_text()
    assert len(text) < FILE_CHARS_MAX + 100
    assert "cut after" in text
    with pytest.raises(Refused, match="33 artifacts"):
        artifacts.write("a", {f"{n}.txt": "" for n in range(33)})


def test_a_disk_that_will_not_is_named(tmp_path: Path) -> None:
    (tmp_path / "artifacts").write_text("in the way")
    with pytest.raises(Refused, match=r"cannot write artifacts to .*rollback/a: "):
        ArtifactFolder(tmp_path, Artifacts()).write("a", {"f.txt": "x"})


def test_what_is_older_than_to_be_kept_is_deleted_and_nothing_else(artifacts: ArtifactFolder) -> None:
    old, young = artifacts.write("old", {"f.txt": "x"}), artifacts.write("young", {"f.txt": "x"})
    foreign, link = old.parent / ".git", old.parent / "link"
    foreign.mkdir()
    link.symlink_to(young)
    now = 1_787_313_600.0
    age(old, now - 31 * DAY_S)
    age(foreign, now - 31 * DAY_S)
    age(young, now - 29 * DAY_S)
    assert artifacts.prune(now) == 1
    assert sorted(p.name for p in old.parent.iterdir()) == [".git", "link", "young"]
    assert artifacts.prune(now) == 0


def test_there_is_nothing_to_prune_before_the_first_rollback(artifacts: ArtifactFolder) -> None:
    assert artifacts.prune(0.0) == 0


def test_no_more_than_a_thousand_are_kept(artifacts: ArtifactFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rollguard.adapters.artifacts.FOLDERS_MAX", 2)
    for n in range(4):
        age(artifacts.write(f"r{n}", {"f.txt": "x"}), 1000.0 + n)
    assert artifacts.prune(1010.0) == 2
    assert sorted(p.name for p in artifacts.write("r9", {}).parent.iterdir()) == ["r2", "r3", "r9"]
