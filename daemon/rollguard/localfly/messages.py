"""Requests and answers of the platform's interfaces, free of sockets."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit

from rollguard.localfly.refusal import Refused

JSON = "application/json; charset=utf-8"
TEXT = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiRequest:
    """One request. Header names are lower case; a query parameter may be given more than once."""

    method: str
    path: str
    query: Mapping[str, Sequence[str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    @classmethod
    def of(cls, method: str, url: str, headers: Mapping[str, str] | None = None, body: bytes = b"") -> Self:
        """The request for a URL, as any HTTP client would send it."""
        parts = urlsplit(url)
        return cls(
            method=method,
            path=unquote(parts.path),
            query=parse_qs(parts.query, keep_blank_values=True),
            headers={name.lower(): value for name, value in (headers or {}).items()},
            body=body,
        )

    def first(self, name: str, default: str = "") -> str:
        """A query parameter's first value."""
        values = self.query.get(name)
        return values[0] if values else default

    def number(self, name: str, default: float) -> float:
        """A query parameter as a number; 400 when it is none."""
        text = self.first(name)
        try:
            number = float(text) if text else default
        except ValueError:
            number = math.nan
        if not math.isfinite(number):
            raise Refused(400, f"invalid_argument: {name} must be a number")
        return number

    def json(self) -> dict[str, Any]:
        """The body as a JSON object, {} when there is none; 400 when it is something else."""
        if not self.body.strip():
            return {}
        try:
            document = json.loads(self.body)
        except (ValueError, RecursionError):
            raise Refused(400, "invalid_argument: malformed JSON body") from None
        if not isinstance(document, dict):
            raise Refused(400, "invalid_argument: the body must be a JSON object")
        return document


class AnswerLost(Exception):
    """The connection was cut before an answer came; `took_effect` is what the sender cannot know."""

    def __init__(self, took_effect: bool) -> None:
        super().__init__("connection lost")
        self.took_effect = took_effect


@dataclass(frozen=True, slots=True)
class ApiResponse:
    """One answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def as_json(document: Any, status: int = 200) -> ApiResponse:
    """`document`, serialised."""
    return raw_json(json.dumps(document, separators=(",", ":")).encode(), status)


def raw_json(body: bytes, status: int = 200) -> ApiResponse:
    """A body that is JSON already."""
    return ApiResponse(status, {"content-type": JSON}, body)


def no_content() -> ApiResponse:
    """204."""
    return ApiResponse(204, {}, b"")


def page_not_found() -> ApiResponse:
    """What an unrouted path gets, in plain text and before anybody asks for a token."""
    return ApiResponse(404, {"content-type": TEXT}, b"404 page not found\n")


def refusal(refused: Refused) -> ApiResponse:
    """An error in Fly's shape."""
    return as_json({"error": refused.sentence, "status": refused.kind}, refused.status)
