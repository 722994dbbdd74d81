"""Where a real flyctl comes from: ``$FLYCTL``, the PATH, a cache outside the repository, or its public Go module."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

MODULE, VERSION = "github.com/superfly/flyctl", "v0.4.87"
BUILD_S_MAX = 3600
REFUSALS = ("403 Forbidden", "404 Not Found", "410 Gone", "not found: module", "This module version is not available")
"""What a module proxy says of a module that it does not serve: no fault of this machine, nor of the suite."""


@dataclass(frozen=True, slots=True)
class Obtained:
    """A binary, or why there is none. ``excused``: nobody here could have got one."""

    binary: Path | None
    why_not: str = ""
    excused: bool = False


def obtain(environ: Mapping[str, str]) -> Obtained:
    """A flyctl that can be started. Builds one, which takes minutes, where only Go is there."""
    if named := environ.get("FLYCTL"):
        found = Path(named)
        return Obtained(found) if os.access(found, os.X_OK) else Obtained(None, f"$FLYCTL is no program: {found}")
    if on_path := shutil.which("flyctl", path=environ.get("PATH")) or shutil.which("fly", path=environ.get("PATH")):
        return Obtained(Path(on_path))
    cache = Path(environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rollguard" / f"flyctl-{VERSION}"
    if os.access(cache / "flyctl", os.X_OK):
        return Obtained(cache / "flyctl")
    if shutil.which("go", path=environ.get("PATH")) is None:
        return Obtained(None, "no Go", excused="CI" not in environ)
    return _built(cache, environ)


def _built(cache: Path, environ: Mapping[str, str]) -> Obtained:
    cache.mkdir(parents=True, exist_ok=True)
    command = ["go", "install", f"{MODULE}@{VERSION}"]
    try:
        done = subprocess.run(
            command,
            env={**environ, "GOBIN": str(cache)},
            capture_output=True,
            text=True,
            timeout=BUILD_S_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Obtained(None, f"{' '.join(command)} took longer than {BUILD_S_MAX} s")
    if done.returncode == 0:
        return Obtained(cache / "flyctl")
    said = f"{' '.join(command)} ended with {done.returncode}:\n{done.stderr[-2000:]}"
    return Obtained(None, said, excused=any(refusal in done.stderr for refusal in REFUSALS))
