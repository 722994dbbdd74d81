"""What is said to people: one frozen page per message, the same for every channel."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Severity(StrEnum):
    """How urgent. ``critical`` wakes a person; the rest inform."""

    CRITICAL = "critical"
    ERROR = "error"
    WARNING = "warning"
    INFO = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A message to the people on call.

    ``key`` is the same for every message of one incident (channels deduplicate by it); ``resolve`` closes it.
    ``summary`` is one sentence. ``details`` are (name, text) pairs in reading order: value, limit, machines, what
    held the act, and the command that works by hand. Text from the app is already bounded; channels escape it.
    ``about`` names the reason, so that the same thing is said once an incident; it is not sent.
    """

    key: str
    target: str
    summary: str
    severity: Severity = Severity.CRITICAL
    resolve: bool = False
    at: float = 0.0
    details: tuple[tuple[str, str], ...] = ()
    link: str = ""
    about: str = ""
