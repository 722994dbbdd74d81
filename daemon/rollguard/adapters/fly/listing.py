"""A JSON list that is read every few seconds and hardly ever changes: only the items that did are read again."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from rollguard.errors import BadAnswer

T = TypeVar("T")

_SPACE = re.compile(r"[ \t\n\r]*")
_DECODER = json.JSONDecoder()


class Listing(Generic[T]):
    """What the items of the last list meant, by their very text."""

    def __init__(self, translate: Callable[[Any, int, str], T]) -> None:
        """``translate`` an item, its place, and the request it answers; it may raise ``BadAnswer``."""
        self._translate = translate
        self._known: list[tuple[str, T]] = []

    def read(self, body: bytes, request: str) -> list[T]:
        """All items in order. Raises ``BadAnswer``; then the last list stays known."""
        try:
            self._known = self._items(body.decode().strip(" \t\n\r"), request)
        except (ValueError, RecursionError):
            raise BadAnswer(f"the answer: not a JSON list: {request}") from None
        return [item for _, item in self._known]

    def _items(self, text: str, request: str) -> list[tuple[str, T]]:
        found: list[tuple[str, T]] = []
        end = _past("[", text, 0)
        more = not text.startswith("]", end)
        while more:
            item = self._item(text, end, len(found), request)
            found.append(item)
            end = _past("", text, end + len(item[0]))
            if more := text.startswith(",", end):
                end = _past(",", text, end)
        if _past("]", text, end) != len(text):
            raise ValueError
        return found

    def _item(self, text: str, begin: int, place: int, request: str) -> tuple[str, T]:
        if place < len(self._known) and text.startswith(self._known[place][0], begin):
            return self._known[place]
        document, end = _DECODER.raw_decode(text, begin)
        if not isinstance(document, dict):
            raise BadAnswer(f"{place}: not an object: {request}")  # only an object shows by itself where it ends
        return text[begin:end], self._translate(document, place, request)


def _past(sign: str, text: str, begin: int) -> int:
    """The place behind the sign and the space after it. ``ValueError`` where there is another sign."""
    if not text.startswith(sign, begin):
        raise ValueError
    return _SPACE.match(text, begin + len(sign)).end()  # type: ignore[union-attr]  # it always matches
