"""How the platform says no."""

from __future__ import annotations


class Refused(Exception):
    """A request the platform does not carry out: an HTTP status, a sentence, and Fly's own status word."""

    def __init__(self, status: int, sentence: str, kind: str = "unknown") -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence
        self.kind = kind


def not_found(what: str) -> Refused:
    """404 in Fly's words: "machine not found"."""
    return Refused(404, f"{what} not found")
