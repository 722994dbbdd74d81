"""What the world asks of a host. The host answers with `World.prepared`, `booted`, `check_result` and `exited`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rollguard.localfly.images import Image
from rollguard.localfly.times import duration_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One health check of a machine, as its config asks for it. Times in seconds."""

    name: str
    kind: str  # "http" or "tcp"
    path: str
    interval_s: float
    timeout_s: float
    grace_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepare:
    """Pull the image of a new version. Answer once: `prepared` or `pull_failed`."""

    app: str
    machine: str
    image: Image
    stuck: int | None = None  # begin only when a fault was lifted more often than this


@dataclass(frozen=True, slots=True, kw_only=True)
class Boot:
    """Start a virtual machine. Answer at most one `booted`, then exactly one `exited`."""

    app: str
    machine: str
    instance: str
    image: Image
    checks: tuple[Check, ...]
    delay_s: float = 0.0  # wait before the attempt, after a crash
    one_shot: bool = False  # a command, not a server: a release command


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """Send a signal to the running virtual machine; with a timeout, kill it when that has passed."""

    app: str
    machine: str
    signal: str
    timeout_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Behave:
    """What runs inside behaves differently from now on: as its image does, but for `World.mood`."""

    app: str
    machine: str


Effect = Prepare | Boot | Signal | Behave
SIGNALS = frozenset({"SIGHUP", "SIGINT", "SIGQUIT", "SIGKILL", "SIGUSR1", "SIGUSR2", "SIGTERM"})


def checks_of(config: Mapping[str, Any]) -> tuple[Check, ...]:
    """The checks a machine config asks for, named as Fly names them."""
    found = []
    for service in config.get("services") or []:
        port = service.get("internal_port", 0)
        for number, check in enumerate(service.get("checks") or []):
            kind = check.get("type", "tcp")
            found.append(_check(f"servicecheck-{number:02d}-{kind}-{port}", check))
    for name, check in (config.get("checks") or {}).items():
        found.append(_check(name, check))
    return tuple(found)


def _check(name: str, check: Mapping[str, Any]) -> Check:
    return Check(
        name=name,
        kind=str(check.get("type", "tcp")),
        path=str(check.get("path") or "/"),
        interval_s=max(duration_s(check.get("interval"), 15.0), 0.05),
        timeout_s=max(duration_s(check.get("timeout"), 10.0), 0.05),
        grace_s=duration_s(check.get("grace_period"), 0.0),
    )
