"""From a step and what was captured before it to the request that is sent.

What an app said is put only where it can change nothing but a value: percent-encoded into path and query (never into
scheme or host: no page decides whom the guard asks), form-encoded into forms, escaped into JSON.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote, urlencode, urlsplit

from rollguard.core.signals import Step

_NAME = re.compile(r"\{(\w+)\}")
_JSON_PART = re.compile(r'(?P<text>"(?:[^"\\]|\\.)*")|\{(?P<name>\w+)\}')
_JSON_SCALAR = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][-+]?\d+)?|true|false|null", re.ASCII)
_FORM = "application/x-www-form-urlencoded"
_JSON = "application/json"


@dataclass(frozen=True, slots=True)
class Request:
    """A step with everything filled in. Header names are lower case."""

    url: str
    headers: Mapping[str, str]
    body: bytes | None


def check_url(url: str) -> None:
    """Raises ``ValueError`` unless scheme and host stand there as they are."""
    try:
        parts = urlsplit(url)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and "{" not in parts.netloc
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("an address needs http(s)://host, with nothing captured in it")


def fill(step: Step, known: Mapping[str, str]) -> Request:
    """The request of this step. ``known`` are captured values by name; other ``{words}`` stay as they are."""
    headers = {name.lower(): _filled(value, known) for name, value in step.headers.items()}
    body = None
    if step.form:
        body = urlencode({name: _filled(value, known) for name, value in step.form.items()}).encode()
        headers.setdefault("content-type", _FORM)
    elif step.body:
        body = _JSON_PART.sub(lambda part: _json_part(part, known), step.body).encode()
        headers.setdefault("content-type", _JSON)
    return Request(_filled(step.url.partition("#")[0], known, lambda value: quote(value, safe="")), headers, body)


def _filled(template: str, known: Mapping[str, str], escape: Callable[[str], str] = str) -> str:
    return _NAME.sub(lambda part: escape(known[part[1]]) if part[1] in known else part[0], template)


def _json_part(part: re.Match[str], known: Mapping[str, str]) -> str:
    """Inside a string the value, escaped; elsewhere a number or boolean as it is, and anything else as a string."""
    if part["text"] is not None:
        return _filled(part["text"], known, lambda value: json.dumps(value)[1:-1])
    if part["name"] not in known:
        return part[0]
    value = known[part["name"]]
    return value if _JSON_SCALAR.fullmatch(value) else json.dumps(value)
