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


class Kind(StrEnum):
    """What a message is. Channels take the kinds that they have a form for.

    ``alert`` opens, continues or resolves what is wrong; ``acknowledge``: a person is at it; ``change``: something was
    deployed or rolled back, which wakes nobody; ``follow-up``: work that is due afterwards, such as a post-mortem.
    """

    ALERT = "alert"
    ACKNOWLEDGE = "acknowledge"
    CHANGE = "change"
    FOLLOW_UP = "follow-up"


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A message to the people on call.

    ``key`` is the same for every message of one incident (channels deduplicate by it); ``resolve`` closes it.
    ``summary`` is one sentence. ``details`` are (name, text) pairs in reading order: value, limit, machines, what
    held the act, and the command that works by hand. Text from the app is already bounded; channels escape it.
    ``about`` names the reason, so that the same thing is said once an incident; it is not sent. ``text`` is Markdown
    for channels that keep documents; ``due_at`` (epoch seconds) is when a follow-up must be done.
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
    kind: Kind = Kind.ALERT
    text: str = ""
    due_at: float | None = None
