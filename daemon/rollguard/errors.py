"""Every error the guard raises on purpose, sorted by what the catcher should do.

::

    GuardError
    ├── Unavailable      wait, then look or try again: no answer, 408, 429, 5xx
    │   └── BadAnswer    an answer outside the known shapes, too large or too slow: never guess from it
    ├── Conflict         the world moved since it was looked at: look again before anything else
    ├── Refused          trying again is no use; a person must change something outside the guard
    │   └── Gone         the other side knows no such thing (any more)
    ├── PolicyError      a file that the guard was told to obey cannot be obeyed; nothing was touched
    └── JournalError     stop acting now: what cannot be written down must not be done
"""


class GuardError(Exception):
    """Base of every error the guard raises on purpose."""


class Unavailable(GuardError):
    """No usable answer now. The same request may work later; a write may or may not have taken effect."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class BadAnswer(Unavailable):
    """An answer that is not of the known shape; the message names the field and the request."""


class Conflict(GuardError):
    """Someone else holds or changed what was to be written; nothing was written."""


class Refused(GuardError):
    """The other side will not do this however often it is asked."""


class Gone(Refused):
    """There is no such thing: said by whoever would know, not by somebody on the way there."""


class JournalError(GuardError):
    """The journal cannot be read or written, or another guard holds it."""


class PolicyError(GuardError):
    """The policy cannot be obeyed. ``problems`` are sentences of the form ``file:line:column: message``."""

    def __init__(self, problems: "list[str] | tuple[str, ...]") -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)
