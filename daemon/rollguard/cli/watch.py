"""``watch``: the status again and again, and what happens in between."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from rollguard.cli import asking
from rollguard.cli import show as screen
from rollguard.cli.acts import seconds
from rollguard.cli.look import NOISE
from rollguard.cli.parser import DONE, Parser, Usage, with_data
from rollguard.core import text

CLEAR = "\x1b[H\x1b[2J"
EVENTS_SHOWN = 12
EVERY_S_MIN = 0.2


def watch(argv: Sequence[str], about: str) -> int:
    """Look until interrupted, or ``--times`` times. On a terminal each look takes the place of the one before."""
    parser = Parser("watch", about, "Ctrl-C ends it. Without a terminal the looks follow one upon the other.")
    parser.add_argument("target", nargs="?", metavar="TARGET")
    parser.add_argument("--every", default="2s", metavar="TIME", help="how often, such as 2s (default) or 500ms")
    parser.add_argument("--times", type=int, metavar="N", help="look so often, then end (default: until Ctrl-C)")
    with_data(parser)
    args = parser.read(argv)
    every_s = seconds("watch", "--every", args.every)
    if every_s < EVERY_S_MIN or (args.times is not None and args.times < 1):
        raise Usage("rollguard watch: --every needs at least 200ms, and --times a number above 0")
    for place in _count(args.times):
        if place:
            time.sleep(every_s)
        if sys.stdout.isatty():
            screen.line(CLEAR)
        _look(args.data, args.target)
        sys.stdout.flush()
    return DONE


def _count(times: int | None) -> Iterator[int]:
    place = 0
    while times is None or place < times:
        yield place
        place += 1


def _look(data: Path, target: str | None) -> None:
    """Every target as it is, and the newest that happened to each."""
    from rollguard.telemetry.sentences import said

    for item in asking.objects(data, target):
        screen.target(item)
        recorded = asking.journal(data, item["metadata"]["name"])
        for entry in [e for e in recorded if type(e.event).__name__ not in NOISE][-EVENTS_SHOWN:]:
            screen.line(f"  {text.stamp(entry.event.at)}  {said(entry.event)[1]}")
