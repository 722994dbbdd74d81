"""Whose hands roll back: the guard's own, or somebody's who is told to. Settings, as a policy has them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from rollguard.core.signals import SecretRef

TIMEOUT_S = 900.0
PLACEHOLDERS = ("app", "version", "image", "digest", "incident", "reason")
"""What a command's words may hold in braces, and what it finds in ``ROLLGUARD_APP``, ``ROLLGUARD_VERSION`` …"""

_PLACEHOLDER = re.compile(r"\{(\w*)\}")


@dataclass(frozen=True, slots=True)
class Machines:
    """The guard itself, machine by machine."""

    @property
    def name(self) -> str:
        return "machines"


@dataclass(frozen=True, slots=True, kw_only=True)
class Flyctl:
    """The platform's own command line: a deploy of the old image."""

    binary: str = "flyctl"
    timeout_s: float = TIMEOUT_S

    @property
    def name(self) -> str:
        return f"flyctl ({self.binary})" if self.binary != "flyctl" else "flyctl"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """A workflow of a GitHub repository, dispatched on ``ref`` with inputs ``target_version`` and ``reason``."""

    repo: str
    workflow: str
    token: SecretRef
    ref: str = "main"
    url: str = "https://api.github.com"
    timeout_s: float = TIMEOUT_S

    @property
    def name(self) -> str:
        return f"github workflow {self.workflow} of {self.repo}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """The team's own program and its words, without a shell. ``env`` are variables of the guard that it may see."""

    run: tuple[str, ...]
    env: tuple[str, ...] = ()
    timeout_s: float = TIMEOUT_S

    @property
    def name(self) -> str:
        return f"command {self.run[0]}"


Others = Flyctl | Workflow | Command
"""Everybody but the guard itself: they roll back in their own way, and the guard watches."""
Executor = Machines | Others


def placeholders(word: str) -> Iterator[tuple[int, str]]:
    """What stands in braces in a command's word: where, and its name."""
    for found in _PLACEHOLDER.finditer(word):
        yield found.start(), found[1]


def filled(word: str, values: dict[str, str]) -> str:
    """A command's word with its placeholders filled in; what else stands in braces stays as it is."""
    return _PLACEHOLDER.sub(lambda found: values.get(found[1], found[0]), word)
