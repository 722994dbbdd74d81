"""Each rollback leaves files for people: private, whole, inside the data folder, and not for ever."""

from __future__ import annotations

import io
import os
import random
import tarfile
from pathlib import Path

import pytest

from rollguard.adapters.artifacts import FILE_CHARS_MAX, ArtifactFolder, copy_private, find, packed
from rollguard.core.policy import Artifacts
from rollguard.errors import Refused

DAY_S = 86400.0


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactFolder:
    return ArtifactFolder(tmp_path / "data", Artifacts())


def age(path: Path, at: float) -> None:
    os.utime(path, (at, at))


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
    with pytest.raises(Refused, match="33 artifacts for one incident"):
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


def test_a_folder_is_found_wherever_a_policy_keeps_it(artifacts: ArtifactFolder, tmp_path: Path) -> None:
    path = artifacts.write("20260821T120000Z-shop", {"f.txt": "x"})
    assert find(tmp_path / "data", "20260821T120000Z-shop") == path
    assert find(tmp_path / "data", "20260821T120001Z-shop") is None
    assert find(tmp_path / "nowhere", "20260821T120000Z-shop") is None


# -- bundles -----------------------------------------------------------------------------------------------------------


def unpacked(archive: bytes) -> dict[str, str]:
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as tar:
        members = tar.getmembers()
        assert all(m.isfile() and m.mode == 0o600 and m.uid == 0 and m.mtime == 1000 for m in members)
        return {m.name: file.read().decode() for m in members if (file := tar.extractfile(m))}


def test_a_bundle_holds_its_files_and_is_the_same_for_the_same_files(artifacts: ArtifactFolder) -> None:
    files = {"README.txt": "read me\n", "events.jsonl": "{}\n", "odd.txt": "ü\ud800\n"}
    archive = packed("rollguard-shop-i-1", files, 1000.5)
    assert unpacked(archive) == {
        "rollguard-shop-i-1/README.txt": "read me\n",
        "rollguard-shop-i-1/events.jsonl": "{}\n",
        "rollguard-shop-i-1/odd.txt": "ü\\ud800\n",
    }
    assert packed("rollguard-shop-i-1", files, 1000.9) == archive
    path = artifacts.write("a", {"support-bundle.tar.gz": archive})
    assert (path / "support-bundle.tar.gz").read_bytes() == archive
    assert (path / "support-bundle.tar.gz").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("root", ["../../etc", "/etc", "a/b", "i\n", "x" * 500])
def test_no_name_leads_out_of_the_folder_that_a_bundle_is_unpacked_in(root: str) -> None:
    (name,) = unpacked(packed(root, {"f.txt": "x"}, 1000.0))
    folder, slash, file = name.partition("/")
    assert (slash, file) == ("/", "f.txt")
    assert folder not in {"", ".", ".."}
    assert len(folder) <= 80


def test_a_bundle_is_bounded_even_where_nothing_can_be_compressed() -> None:
    chance = random.Random(1)
    noise = "".join(chance.choices([chr(c) for c in range(32, 127)], k=400_000)) + "\n"
    files = {"first.txt": "the most telling\n", "long.txt": noise * 3, "last.txt": "a few words\n"}
    archive = packed("r", files, 1000.0, bytes_max=500_000)
    assert len(archive) <= 500_000
    inside = unpacked(archive)
    assert inside["r/first.txt"] == "the most telling\n"
    assert inside["r/long.txt"].endswith("… cut: the bundle would be too large\n")
    assert inside["r/last.txt"] == "a few words\n", "what is small enough still has its place"


def test_a_copy_is_private_and_writes_over_nothing(tmp_path: Path) -> None:
    source, out = tmp_path / "a", tmp_path / "b"
    source.write_bytes(b"x")
    copy_private(source, out)
    assert out.read_bytes() == b"x"
    assert out.stat().st_mode & 0o777 == 0o600
    with pytest.raises(Refused, match=r"cannot write .*b: File exists; the bundle is .*a"):
        copy_private(source, out)
