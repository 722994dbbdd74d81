"""The container image, built from the Dockerfile and run: it holds no tools and needs no rights but its data folder."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.cli.running import Fly, platform, until
from tests.packaging.building import ROOT, Image

pytestmark = pytest.mark.timeout(900)

APP, POLICY = "hotdash-production", "hotdash-production.yaml"
TOOLS = re.compile(
    r"pip[\d.]*|wheel|easy_install.*|uv|gcc.*|g\+\+.*|cc|c\+\+|cpp|cpp-.*|clang.*|make|ld|as|git|curl|wget"
)
LISTEN = "0.0.0.0:9464"
Record = Callable[[str, object], None]


@pytest.fixture
def data(tmp_path: Path, image: Image) -> Path:
    """A fresh volume, which belongs to the image's user as Fly's init sees to it."""
    volume = tmp_path / "volume"
    volume.mkdir(mode=0o755)
    os.chown(volume, *image.user)
    return volume


def test_it_is_small_and_quickly_built(image: Image, record_property: Record) -> None:
    record_property("MB of files in the image on a debootstrap base", image.size_bytes // 1_000_000)
    record_property("s to build it from downloaded wheels", round(image.build_s))
    own = sum(p.lstat().st_size for p in (image.root / "opt" / "rollguard").rglob("*") if p.is_file())
    record_property("MB of these are the guard and what it depends on", own // 1_000_000)
    assert own < 60_000_000
    assert image.size_bytes < 260_000_000


def test_it_runs_as_a_numbered_user_who_owns_nothing_but_the_data_folder(image: Image) -> None:
    uid, gid = image.user
    assert uid > 0
    assert gid > 0
    owned = [p for p in image.root.rglob("*") if p.lstat().st_uid == uid or p.lstat().st_gid == gid]
    assert owned == [image.root / "data"]


def test_nothing_in_it_installs_or_compiles(image: Image, data: Path) -> None:
    folders = [
        image.root / place for place in ("bin", "sbin", "usr/bin", "usr/sbin", "usr/local/bin", "opt/rollguard/bin")
    ]
    names = {path.name for folder in folders for path in folder.iterdir()}
    assert "rollguard" in names
    assert {name for name in names if TOOLS.fullmatch(name)} == set()
    for module in ("pip", "ensurepip", "setuptools", "wheel"):
        for python in ("/opt/rollguard/bin/python", "/usr/bin/python3"):
            tried = image.run(data, python, "-c", f"import {module}")
            assert "ModuleNotFoundError" in tried.stderr, f"{python} has {module}"


def test_nothing_in_it_gains_rights_and_nobody_but_root_can_change_it(image: Image) -> None:
    files = [(path, path.lstat()) for path in image.root.rglob("*")]
    plain = [(path, found.st_mode) for path, found in files if stat.S_ISREG(found.st_mode)]
    assert len(plain) > 1000
    assert [path for path, mode in plain if mode & (stat.S_ISUID | stat.S_ISGID)] == []
    assert [path for path, mode in plain if mode & stat.S_IWOTH] == []
    capable = [path for path, _ in plain if "security.capability" in os.listxattr(path, follow_symlinks=False)]
    assert capable == []


def test_nothing_of_the_checkout_is_in_it_but_the_package_and_one_policy(image: Image) -> None:
    assert [path.name for path in (image.root / "etc" / "rollguard").iterdir()] == [POLICY]
    assert {p.name for p in (image.root / "opt" / "rollguard").iterdir()} >= {"bin", "lib", "LICENSE"}
    strays = {p.name for p in image.root.iterdir()} & {p.name for p in ROOT.iterdir()}
    assert strays == set()


def test_version_and_check_work_in_it(image: Image, data: Path) -> None:
    entrypoint = image.config["Entrypoint"]
    assert re.fullmatch(r"rollguard \d+\.\d+\.\d+\S*\n", image.run(data, *entrypoint, "version").stdout)
    checked = image.run(data, *entrypoint, "check", f"/etc/rollguard/{POLICY}")
    assert checked.returncode in {0, 3}, checked.stderr
    assert "1 policy, nothing wrong in the files" in checked.stdout


def test_its_root_is_read_only_in_these_tests_and_its_data_is_not(image: Image, data: Path) -> None:
    for place in ("/etc", "/tmp", "/opt/rollguard"):
        assert "Read-only file system" in image.run(data, "touch", f"{place}/x").stderr
    assert image.run(data, "touch", "/data/x").returncode == 0
    assert image.run(data, "id", "-u").stdout.strip() == str(image.user[0])


# -- on duty ----------------------------------------------------------------------------------------------------------


@contextmanager
def on_duty(image: Image, data: Path, log: Path, environ: dict[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    """The image as it is started by default, on any free port; the yielded process has the guard's exit code."""
    words = [*image.config["Entrypoint"], *image.config["Cmd"]]
    assert words[-2:] == ["--listen", LISTEN]
    words[-1] = "0.0.0.0:0"
    with log.open("w") as heard:
        command = image.command(data, *words, environ=environ)
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=heard) as process:
            try:
                yield process
            finally:
                process.kill()


def _everything_here(fly: Fly) -> dict[str, str]:
    """The environment that leads every address of the policy to this machine."""
    known = {name: value for name, value in fly.environ.items() if name.startswith("FLY_")}
    addresses = re.findall(r"\$\{(\w+):-https://", (ROOT / "config" / POLICY).read_text())
    pages = {"PAGERDUTY_KEY": "key", "PAGERDUTY_URL": fly.pager}
    return dict.fromkeys(addresses, fly.url) | known | pages | {"FLY_METRICS_TOKEN": "none"}


def pid_of_the_guard(process: subprocess.Popen[bytes]) -> int:
    """The guard is process 1 in there; out here it is the only child."""
    (pid,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    return int(pid)


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_as_shipped_it_goes_on_duty_and_ends_with_zero_in_time(
    image: Image, data: Path, tmp_path: Path, record_property: Record
) -> None:
    log = tmp_path / "guard.log"
    with platform() as fly:
        fly.app(APP, machines=2)
        with on_duty(image, data, log, _everything_here(fly)) as process:

            def address() -> str | None:
                assert process.poll() is None, log.read_text()
                found = re.search(r"http://0\.0\.0\.0:(\d+) serves", log.read_text())
                return f"http://127.0.0.1:{found[1]}" if found else None

            until(lambda: address() is not None, "the guard serves", within_s=60)
            url = address()
            assert status_of(f"{url}/-/healthy") == 200
            until(lambda: status_of(f"{url}/-/ready") == 200, "the guard sees the platform", within_s=60)
            assert status_of(f"{url}/metrics") == 200
            _healthcheck_agrees(image, data, str(url))
            guard = pid_of_the_guard(process)
            memory = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{guard}/status").read_text())
            assert memory
            record_property("MB of memory at most", int(memory[1]) // 1000)
            _writes_only_for_itself(image, data)
            began = time.monotonic()
            os.kill(guard, signal.SIGTERM)
            code = process.wait(60)
            took_s = time.monotonic() - began
    assert code == 0, log.read_text()
    assert took_s < float(tomllib.loads((ROOT / "fly.toml").read_text())["kill_timeout"].removesuffix("s")) / 2
    assert {json.loads(line)["level"] for line in log.read_text().splitlines()} >= {"info"}, "a container logs JSON"


def _healthcheck_agrees(image: Image, data: Path, url: str) -> None:
    """Docker's own check, on the port that the test's guard has, and on one that nobody has."""
    kind, *words = image.config["Healthcheck"]["Test"]
    assert kind == "CMD"
    port = url.rpartition(":")[2]
    for asked, code in ((port, 0), ("1", 1)):
        run = image.run(data, *(word.replace("9464", asked) for word in words))
        assert run.returncode == code, run.stderr


def _writes_only_for_itself(image: Image, data: Path) -> None:
    own = data / "rollguard"
    assert [path.name for path in data.iterdir()] == ["rollguard"]
    assert stat.S_IMODE(own.stat().st_mode) == 0o700
    assert (own / f"{APP}.db").exists()
    for path in own.iterdir():
        assert (path.stat().st_uid, path.stat().st_gid) == image.user
        assert stat.S_IMODE(path.stat().st_mode) in {0o600, 0o700}, path


def test_without_its_secrets_it_does_not_start_and_says_which(image: Image, data: Path) -> None:
    run = image.run(data, *image.config["Entrypoint"], *image.config["Cmd"])
    assert run.returncode == 2
    for name in ("FLY_API_TOKEN", "FLY_METRICS_TOKEN", "PAGERDUTY_KEY"):
        assert name in run.stderr
