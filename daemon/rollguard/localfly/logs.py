"""An app's log: what its machines' processes said, newest last, paged by tokens."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import islice
from typing import Any

from rollguard.localfly.times import rfc3339

LINES_MAX = 5000
PAGE_LINES = 100
MESSAGE_CHARS_MAX = 4000
LEVELS = ("error", "warning", "info", "debug")
START = 0  # the token before every line


@dataclass(frozen=True, slots=True, kw_only=True)
class LogLine:
    """One line of one machine. `token` (nanoseconds since the epoch) is its own: no two lines share one."""

    token: int
    message: str
    level: str
    instance: str
    region: str

    def to_json(self) -> dict[str, Any]:
        """As Fly's log API shows it."""
        attributes = {
            "timestamp": rfc3339(self.token / 1e9),
            "message": self.message,
            "level": self.level,
            "instance": self.instance,
            "region": self.region,
            "meta": {"instance": self.instance, "region": self.region},
        }
        return {"id": str(self.token), "type": "log", "attributes": attributes}


class LogBook:
    """The newest lines; older ones are forgotten."""

    def __init__(self, lines_max: int = LINES_MAX) -> None:
        self._lines: deque[LogLine] = deque(maxlen=lines_max)

    def add(self, message: str, *, instance: str, region: str, now: float) -> None:
        """Take a line. Its level is the word before its first colon, where that is one; else "info"."""
        newest = self._lines[-1].token if self._lines else START
        level = message.partition(":")[0]
        line = LogLine(
            token=max(newest + 1, round(now * 1e9)),
            message=message[:MESSAGE_CHARS_MAX],
            level=level if level in LEVELS else "info",
            instance=instance,
            region=region,
        )
        self._lines.append(line)

    def page(self, after: int | None = None, *, instance: str = "", region: str = "") -> tuple[list[LogLine], int]:
        """At most 100 lines, oldest first, and the token to go on with.

        Without `after` the newest; with a token the first that came behind it. `instance` and `region` select.
        """
        wanted = (
            line for line in reversed(self._lines) if instance in ("", line.instance) and region in ("", line.region)
        )
        newest = self._lines[-1].token if self._lines else START
        if after is None:
            return list(islice(wanted, PAGE_LINES))[::-1], newest
        fresh = []
        for line in wanted:
            if line.token <= after:
                break
            fresh.append(line)
        page = fresh[::-1][:PAGE_LINES]
        return page, page[-1].token if len(fresh) > PAGE_LINES else max(after, newest)
