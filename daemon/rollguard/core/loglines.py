"""Matching log lines by what the machines ran when they wrote them: evidence that people see, and no rule."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rollguard.core import text
from rollguard.core.fleet import View
from rollguard.core.model import Reading
from rollguard.core.window import Windows

BEFORE = ""
"""Stands for whatever a machine ran before its present digest."""

OVER_S = 300.0
"""How far back people are told of."""
QUOTE_CHARS_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class DigestLines:
    """The matching lines of one digest. ``machines`` are those that run it, or that ran something else (``BEFORE``).

    ``newest`` is the newest line, at ``newest_at``; ``per_machine_minute`` is None where no log was read.
    """

    digest: str
    machines: int
    lines: int
    newest: str = ""
    newest_at: float = 0.0
    per_machine_minute: float | None = None


@dataclass(slots=True)
class _Tally:
    machines: int = 0
    lines: float = 0.0
    read_s: float = 0.0
    newest: Reading | None = None

    def add(self, rows: Iterable[Reading], since: float, until: float) -> bool:
        """Take one machine's readings from ``since`` to ``until``; whether there was anything."""
        some = False
        for row in rows:
            if row.value is None or row.since is None:
                continue
            if row.value == 0:
                read_s = min(row.to, until) - max(row.since, since)
                self.read_s += max(0.0, read_s)
                some = some or read_s > 0
            elif since <= row.since < until:
                some = True
                self.lines += row.value
                if self.newest is None or row.to >= self.newest.to:
                    self.newest = row
        return some

    def of(self, digest: str) -> DigestLines:
        return DigestLines(
            digest=digest,
            machines=self.machines,
            lines=round(self.lines),
            newest=text.one_line(self.newest.detail, QUOTE_CHARS_MAX) if self.newest else "",
            newest_at=self.newest.to if self.newest else 0.0,
            per_machine_minute=self.lines / (self.read_s / 60) if self.read_s > 0 else None,
        )


def by_digest(windows: Windows, view: View, signal: str, now: float, over_s: float) -> tuple[DigestLines, ...]:
    """The lines of a ``LogsSignal`` within ``over_s`` before ``now``: the candidate first, ``BEFORE`` last.

    A line belongs to the digest that its machine ran when it was written, by the platform's times. Digests that run
    now are there also without lines, and ``BEFORE`` only where something was read.
    """
    start = now - over_s
    tallies: dict[str, _Tally] = {view.candidate: _Tally()}
    before = _Tally()
    for tenure in (*view.cohort, *view.others):
        rows = windows.since(f"{signal}.lines", tenure.machine, start)
        began = max(start, min(tenure.digest_since, now))
        tally = tallies.setdefault(tenure.digest, _Tally())
        tally.machines += 1
        tally.add(rows, began, float("inf"))
        before.machines += before.add(rows, start, began)
    now_running = tuple(tally.of(digest) for digest, tally in tallies.items())
    return (*now_running, before.of(BEFORE)) if before.machines else now_running


def sentence(lines: Sequence[DigestLines], view: View, signal: str, over_s: float) -> str:
    """``errors lines in 5 m: 42 on the new image (3 machines), 1 on the old one (1 machine); newest: '…'``.

    The newest line is one of the new image where it wrote any. Empty where no log was read.
    """
    if not any(some.lines or some.per_machine_minute is not None for some in lines):
        return ""
    parts = [_part(some, view) for some in lines if some.machines]
    new = [some for some in lines if some.lines and some.digest == view.candidate]
    newest = max(new or [some for some in lines if some.lines], key=lambda some: some.newest_at, default=None)
    quote = f"; newest: '{newest.newest}'" if newest else ""
    return f"{signal} lines in {text.seconds(over_s)}: {', '.join(parts)}{quote}"


def _part(some: DigestLines, view: View) -> str:
    if some.digest == BEFORE:
        return f"{some.lines} before the machines' updates"
    if some.digest == view.candidate:
        which = "the new image" if view.others else "the image"
    else:
        which = "the old one" if len({t.digest for t in view.others}) == 1 else text.short(some.digest)
    machines = f"{some.machines} machine{'s' if some.machines != 1 else ''}"
    rate = f", {_rate(some.per_machine_minute)} a minute each" if some.lines and some.per_machine_minute else ""
    return f"{some.lines} on {which} ({machines}{rate})"


def _rate(rate: float) -> str:
    if rate < 0.1:
        return "under 0.1"
    return f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}"
