"""The image of the Dockerfile, built and run without a container engine: debootstrap, buildah, a chroot.

A Debian made by debootstrap stands in for ``python:3.11-slim``. It and the wheels are kept in the user's cache folder;
where nothing is kept they are made anew, which takes a minute.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "requirements.txt"
MIRROR = "http://deb.debian.org/debian"
BASE, IMAGE = "localhost/base:bookworm", "localhost/rollguard:test"
NOT_NEEDED = ("var/cache/apt/archives", "var/lib/apt/lists", "usr/share/doc", "usr/share/man", "usr/share/locale")
MINUTES_10_S = 600.0


class CannotBuild(Exception):
    """This machine cannot build an image; says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """An image's unpacked root file system, its configuration as ``docker inspect`` has it, and what it took."""

    root: Path
    config: Mapping[str, Any]
    size_bytes: int
    build_s: float

    @property
    def user(self) -> tuple[int, int]:
        """The numbers of user and group that it runs as. A name is no number: an orchestrator could not check it."""
        uid, _, gid = self.config["User"].partition(":")
        return int(uid), int(gid)

    def command(self, data: Path, *words: str, environ: Mapping[str, str] | None = None) -> list[str]:
        """A command line that runs ``words`` in the image as a strict engine would: as process 1, as the image's user,
        on a read-only root, with the folder ``data`` in place of /data.
        """
        given = [*self.config["Env"], *(f"{name}={value}" for name, value in (environ or {}).items())]
        into = ("chroot", "--userspec={}:{}".format(*self.user), str(self.root))
        there = ("/usr/bin/env", "-i", "-C", self.config["WorkingDir"], *given, *words)
        apart = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-ec", _READ_ONLY)
        return [*apart, "sh", str(self.root), str(data), *into, *there]

    def run(
        self, data: Path, *words: str, environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """``words`` in the image, to their end."""
        command = self.command(data, *words, environ=environ)
        return subprocess.run(command, capture_output=True, text=True, timeout=60.0, check=False)


_READ_ONLY = """\
root=$1 data=$2; shift 2
mount --make-rprivate /
mount --bind "$root" "$root"
mount --bind "$data" "$root/data"
mount --bind -o remount,ro "$root"
mount -t proc proc "$root/proc"
exec "$@"
"""


@cache
def why_not() -> str | None:
    """Why no image can be built and run on this machine, or None."""
    if sys.platform != "linux" or os.geteuid() != 0:
        return "building and running an image here needs Linux and root"
    if missing := [tool for tool in ("buildah", "debootstrap", "unshare", "chroot") if shutil.which(tool) is None]:
        return f"not installed: {', '.join(missing)}"
    tried = subprocess.run(("unshare", "--mount", "--pid", "--fork", "true"), capture_output=True, check=False)
    return None if tried.returncode == 0 else f"not permitted here: {tried.stderr.decode().strip()}"


@contextlib.contextmanager
def shared_image(folder: Path) -> Iterator[Image]:
    """The image, built once for all test processes that share ``folder``, and removed with the last that uses it."""
    folder.mkdir(exist_ok=True)
    users, facts, store = folder / "users", folder / "image.json", folder / "store"
    with locked(folder / "lock"):
        if not facts.exists():
            shutil.rmtree(store, ignore_errors=True)
            facts.write_text(json.dumps(asdict(build(store)), default=str))
        users.write_text(str(_count(users) + 1))
    known = json.loads(facts.read_text())
    try:
        yield Image(**known | {"root": Path(known["root"])})
    finally:
        with locked(folder / "lock"):
            users.write_text(str(_count(users) - 1))
            if _count(users) == 0:
                facts.unlink()
                shutil.rmtree(store)


def _count(users: Path) -> int:
    return int(users.read_text()) if users.exists() else 0


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody else between here and the end of the block."""
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def build(store: Path) -> Image:
    """Build the Dockerfile as it is, in a store of its own. Raises ``CannotBuild``."""
    kept = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rollguard" / "packaging"
    kept.mkdir(parents=True, exist_ok=True)
    store.mkdir(parents=True)
    with locked(kept / "lock"):
        base, wheels = _base(kept, store), _wheels(kept)
    pip = store / "pip.conf"
    pip.write_text("[global]\nno-index = true\nfind-links = /wheels\n")
    bare = _buildah(store, "from", "scratch")
    _buildah(store, "add", "--quiet", bare, str(base), "/")
    _buildah(store, "commit", "--quiet", "--rm", "--disable-compression", bare, BASE)
    began = time.monotonic()
    mounts = ("--volume", f"{wheels}:/wheels:ro", "--volume", f"{pip}:/etc/pip.conf:ro")
    options = ("--isolation", "chroot", "--pull-never", "--format", "docker", "--layers=false")
    _buildah(store, "bud", *options, *mounts, "--build-arg", f"BASE={BASE}", "--tag", IMAGE, str(ROOT))
    build_s = time.monotonic() - began
    found = json.loads(_buildah(store, "inspect", "--type", "image", IMAGE))
    root = Path(_buildah(store, "mount", _buildah(store, "from", "--pull-never", IMAGE)))
    return Image(root=root, config=found["Docker"]["config"], size_bytes=size_of(root), build_s=build_s)


def size_of(root: Path) -> int:
    """Bytes of all files below."""
    return sum(path.lstat().st_size for path in root.rglob("*") if path.is_file() and not path.is_symlink())


def _buildah(store: Path, *words: str) -> str:
    """Plain copies (vfs) rather than overlays: they work inside containers too, and leave no mount behind."""
    where = ("--root", str(store / "root"), "--runroot", str(store / "run"), "--storage-driver", "vfs")
    return _done(("buildah", *where, *words)).strip()


def _done(command: Sequence[str]) -> str:
    """What a command prints. Raises ``AssertionError`` with the end of what it said when it fails."""
    run = subprocess.run(command, capture_output=True, text=True, timeout=MINUTES_10_S, check=False)
    assert run.returncode == 0, f"{' '.join(command)}\n{run.stdout[-4000:]}\n{run.stderr[-4000:]}"
    return run.stdout


def _base(kept: Path, folder: Path) -> Path:
    """The tar file of a Debian with Python 3.11. Raises ``CannotBuild`` where none can be fetched."""
    made = kept / f"bookworm-{platform.machine()}.tar"
    if made.exists():
        return made
    root, draft = folder / "debian", made.with_suffix(".draft")
    packages = "python3,python3-venv,ca-certificates"
    command = ("debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", str(root), MIRROR)
    try:
        run = subprocess.run(command, capture_output=True, text=True, timeout=MINUTES_10_S, check=False)
        if run.returncode != 0:
            raise CannotBuild(f"debootstrap: {(run.stdout + run.stderr).strip()[-300:]}")
        for place in NOT_NEEDED:
            shutil.rmtree(root / place)
            (root / place).mkdir()
        _done(("tar", "--numeric-owner", "-C", str(root), "-cf", str(draft), "."))
    finally:
        shutil.rmtree(root, ignore_errors=True)
    return draft.replace(made)


def _wheels(kept: Path) -> Path:
    """A folder with the wheels that requirements.txt names, by whatever index this machine's pip is set up for."""
    of = hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()[:16]
    made = kept / f"wheels-{platform.machine()}-{of}"
    if made.exists():
        return made
    draft = kept / "wheels.draft"
    shutil.rmtree(draft, ignore_errors=True)
    what = ("--require-hashes", "--no-deps", "--only-binary", ":all:", "--python-version", "3.11")
    _done((sys.executable, "-m", "pip", "download", "--quiet", *what, "-r", str(REQUIREMENTS), "-d", str(draft)))
    return draft.replace(made)
