"""The story as it happens: one line a happening, in words, with the seconds since the start."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TextIO

LINE_CHARS_MAX = 240
RESET = "\x1b[0m"
COLOURS = {
    "stage": "\x1b[2m",
    "person": "\x1b[1m",
    "deploy": "\x1b[34m",
    "users": "\x1b[36m",
    "guard": "\x1b[33m",
    "fleet": "\x1b[32m",
    "page": "\x1b[35m",
    "wrong": "\x1b[31m",
    "verdict": "\x1b[1m",
}


class Story:
    """Tells on ``stream``. Who tells is one of ``COLOURS``."""

    def __init__(self, stream: TextIO, *, colour: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream, self._colour, self._clock = stream, colour, clock
        self._began = clock()
        self._names: dict[str, str] = {}

    def call(self, thing: str, name: str) -> None:
        """From now on say ``name`` for ``thing``: digests are not for people."""
        self._names[thing] = name

    def tell(self, who: str, what: str) -> None:
        """One line, now."""
        minutes, seconds = divmod(self._clock() - self._began, 60)
        head = f"{int(minutes):02}:{seconds:04.1f}  {who:<8} "
        words = "".join(c if c.isprintable() else " " for c in self.plain(what))
        line = head + shortened(words, LINE_CHARS_MAX)
        print(f"{COLOURS[who]}{line}{RESET}" if self._colour else line, file=self._stream, flush=True)

    def plain(self, text: str) -> str:
        """The text with the names for things."""
        for thing, name in self._names.items():
            text = text.replace(thing, name)
        return text


def wants_colour(stream: TextIO, environ: Mapping[str, str]) -> bool:
    """Only a person at a terminal who has not said no (https://no-color.org)."""
    return stream.isatty() and not environ.get("NO_COLOR") and environ.get("TERM") != "dumb"


def shortened(text: str, chars_max: int) -> str:
    """The text, with an ellipsis for what is too much."""
    return text if len(text) <= chars_max else text[: chars_max - 1] + "…"
