"""What an unwelcome answer of Fly means, in the guard's own errors."""

from __future__ import annotations

import json
from typing import Any

from rollguard.adapters.http import excerpt, status_error, traced
from rollguard.errors import BadAnswer, Conflict, Gone, GuardError, Refused, Unavailable
from rollguard.ports import HttpAnswer

_REFUSED_CODES = frozenset(
    {"UNAUTHORIZED", "FORBIDDEN", "NOT_FOUND", "UNPROCESSABLE", "BAD_REQUEST", "UNAUTHENTICATED"}
)
"""Of GraphQL errors. Any other code may be the server's own trouble: wait and ask again."""

_TEXTS: tuple[tuple[str, type[GuardError]], ...] = (  # what it really means, where the status does not tell
    ("concurrent update in progress", Conflict),
    ("lease currently held by", Conflict),
    ("could not reserve resource", Refused),
    ("insufficient resources", Refused),
    ("insufficient_capacity", Refused),
    ("deploys to this host are temporarily disabled", Refused),
)


def error_of(answer: HttpAnswer, request: str) -> GuardError:
    """The error for a status that was not asked for."""
    said = _said(answer.body)
    if answer.status == 404 and not is_flys(answer.body):
        return stranger(answer, request)
    error = status_error(answer, request, said)
    meant = next((kind for text, kind in _TEXTS if text in said), None)
    plain_no = 400 <= answer.status < 500 and not isinstance(error, Unavailable)
    if meant is not None and (plain_no or (meant is Refused and answer.status == 503)):
        return meant(str(error))
    return Gone(str(error)) if answer.status == 404 else error


def stranger(answer: HttpAnswer, request: str) -> BadAnswer:
    """A 404 that is not in Fly's words comes from somebody in between: it does not say that anything is absent."""
    said = excerpt(answer.body[:2000].decode(errors="replace"))
    return BadAnswer(f"HTTP {answer.status}, but not as Fly says it: {traced(request, answer.headers)}: {said}")


def is_flys(body: bytes) -> bool:
    """Whether an error's body is an object with an error text, as all of Fly's are."""
    return bool(_text_of(_document(body)))


def check_graphql(document: Any, request: str) -> None:
    """Raises what the errors inside a 200 mean."""
    if isinstance(document, dict) and (errors := document.get("errors")):
        raise _graphql_error(errors, request)


def _graphql_error(errors: Any, request: str) -> GuardError:
    first = errors[0] if isinstance(errors, list) and isinstance(errors[0], dict) else {}
    extensions = first.get("extensions")
    code = str(extensions.get("code", "")) if isinstance(extensions, dict) else ""
    message = f"{excerpt(str(first.get('message', 'an error without a message')))} ({excerpt(code, 40)}): {request}"
    return Refused(message) if code in _REFUSED_CODES else Unavailable(message)


def _said(body: bytes) -> str:
    """The error text of an answer in any of Fly's shapes, bounded."""
    document = _document(body)
    if not isinstance(document, dict):
        return excerpt(body[:2000].decode(errors="replace"))
    words = [_text_of(document), document.get("status")]
    return excerpt(", ".join(str(word) for word in words if word and word != "unknown"))


def _text_of(document: Any) -> Any:
    return document.get("message") or document.get("error") if isinstance(document, dict) else None


def _document(body: bytes) -> Any:
    try:
        return json.loads(body[:65536])
    except (ValueError, RecursionError):
        return None
