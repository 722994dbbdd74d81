"""Journeys of a policy file: what a step may say, and the core steps that come of it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, WithJsonSchema

from rollguard.config.complaints import Complaints
from rollguard.config.problems import Wrong, did_you_mean, listed, shown
from rollguard.config.scalars import (
    TEXT_CHARS_MAX,
    CapturedName,
    Dotted,
    HeaderName,
    Key,
    StatusCode,
    Text,
    TextOrNothing,
    Url,
)
from rollguard.config.section import Section, doc
from rollguard.config.yamltext import Path
from rollguard.core.patterns import capturing, pattern
from rollguard.core.signals import Capture, Expect, Step, Where

METHODS = ("get", "post", "put", "patch", "delete")
STEPS_MAX = 20
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][\w-]{0,62})\}", re.ASCII)
_OURS = frozenset({"connection", "content-length", "expect", "transfer-encoding", "upgrade", "fly-force-instance-id"})
"""What follows from the request and from whom it is for."""
_ROUTING = ("host", "forwarded", "x-forwarded-", "x-original-", "x-rewrite-", "fly-")
"""Headers by whose value a proxy may choose who answers."""
_HOST = re.compile(r"https?://([^/?#]*)")


def _several(value: object) -> object:
    return value if isinstance(value, list | tuple) else [value]


Statuses = Annotated[
    tuple[StatusCode, ...],
    BeforeValidator(_several),
    Field(min_length=1),
    WithJsonSchema({"anyOf": [{"type": "integer"}, {"type": "array", "items": {"type": "integer"}}]}),
]
Texts = Annotated[
    tuple[Text, ...],
    BeforeValidator(_several),
    WithJsonSchema({"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}),
]


def _scalar(value: object) -> str | float | bool | None:
    if isinstance(value, str) and len(value) <= TEXT_CHARS_MAX:
        return value
    if isinstance(value, bool | int | float):
        return value
    raise Wrong("must be a text, a number, true or false", wanted="a text, a number, true or false")


Scalar = Annotated[
    str | float | bool | None, BeforeValidator(_scalar), WithJsonSchema({"type": ["string", "number", "boolean"]})
]


class Expected(Section):
    """What the answer of a step must be."""

    status: Statuses = doc("Status, or a list of them.", default=(200,))
    header: dict[HeaderName, Text] = doc(
        "Headers, each with a regular expression that its value must have in it.", default={}
    )
    text: Texts = doc("Text, or a list of texts, that must be in the body.", default=())
    json_: dict[Dotted, Scalar] = doc("Values of the JSON body, by dotted path.", default={}, alias="json")


class Captured(Section):
    """A value to take from the answer: exactly one of `json`, `header`, `text`."""

    json_: Dotted | None = doc("Dotted path into the JSON body.", alias="json")
    header: HeaderName | None = doc("Name of a header.")
    text: Text | None = doc("Regular expression with one group, searched in the body.")


class JourneyStep(Section):
    """One request: exactly one of `get`, `post`, `put`, `patch`, `delete`. `{name}` stands for a captured value."""

    name: Key | None = doc("Name of the step; `step-1`, `step-2` … without one.")
    get: Url | None = doc("Address to GET.")
    post: Url | None = doc("Address to POST to.")
    put: Url | None = doc("Address to PUT to.")
    patch: Url | None = doc("Address to PATCH.")
    delete: Url | None = doc("Address to DELETE.")
    headers: dict[HeaderName, Text] = doc("Headers to send.", default={})
    form: dict[Text, TextOrNothing] = doc("Fields of a form to send.", default={})
    body: Any = doc("A value to send as JSON.")
    expect: Expected = doc("What the answer must be.", default=Expected())
    capture: dict[CapturedName, Captured] = doc("Values to take from the answer for later steps, by name.", default={})


def to_steps(written: tuple[JourneyStep, ...], path: Path, complaints: Complaints) -> tuple[Step, ...]:
    """The steps, as far as they are sound; the rest is among the complaints."""
    known: set[str] = set()
    names: set[str] = set()
    steps = []
    for index, one in enumerate(written):
        within = (*path, "steps", index)
        name = one.name or f"step-{index + 1}"
        if name in names:
            complaints.value((*within, "name"), f"two steps are called {shown(name)}")
        names.add(name)
        step = _step(one, name, within, complaints)
        if step is not None:
            _check_placeholders(one, within, known, complaints)
            steps.append(step)
        known.update(one.capture)
    return tuple(steps)


def _step(one: JourneyStep, name: str, path: Path, complaints: Complaints) -> Step | None:
    given = [method for method in METHODS if getattr(one, method) is not None]
    if len(given) != 1:
        say = f"a step has exactly one of {listed(METHODS)}"
        complaints.key((*path, given[1]), say) if given else complaints.value(path, say)
        return None
    url: str = getattr(one, given[0])
    host = _HOST.match(url)
    if host and "{" in host[1]:
        complaints.value((*path, given[0]), "a captured value cannot choose the host: no page decides whom we ask")
    for header, value in one.headers.items():
        if header.lower() in _OURS:
            complaints.key((*path, "headers", header), f"{header} is set by the guard itself")
        elif header.lower().startswith(_ROUTING) and _PLACEHOLDER.search(value):
            say = f"a captured value cannot be sent as {header}: no page decides whom we ask"
            complaints.value((*path, "headers", header), say)
    if one.form and one.body is not None:
        complaints.key((*path, "body"), "a step sends a form or a body, not both")
    return Step(
        name=name,
        url=url,
        method=given[0].upper(),
        headers=one.headers,
        form=one.form,
        body="" if one.body is None else json.dumps(one.body),
        expect=_expect(one.expect, (*path, "expect"), complaints),
        capture=tuple(c for n, w in one.capture.items() if (c := _capture(n, w, (*path, "capture", n), complaints))),
    )


def _expect(one: Expected, path: Path, complaints: Complaints) -> Expect:
    for header, text in one.header.items():
        _compiles(pattern, text, (*path, "header", header), complaints)
    return Expect(
        status=frozenset(one.status),
        headers={name.lower(): text for name, text in one.header.items()},
        texts=one.text,
        json=tuple((tuple(key.split(".")), value) for key, value in one.json_.items()),
    )


def _capture(name: str, one: Captured, path: Path, complaints: Complaints) -> Capture | None:
    forms = ((Where.JSON, one.json_), (Where.HEADER, one.header), (Where.TEXT, one.text))
    given = [(where, what) for where, what in forms if what is not None]
    if len(given) != 1:
        complaints.value(path, "a value is captured from exactly one of json, header or text")
        return None
    where, what = given[0]
    if where is Where.TEXT:
        _compiles(capturing, what, (*path, "text"), complaints)
    return Capture(name=name, where=where, what=what.lower() if where is Where.HEADER else what)


def _compiles(read: Callable[[str], object], text: str, path: Path, complaints: Complaints) -> None:
    try:
        read(text)
    except ValueError as error:
        complaints.value(path, Wrong(str(error), wanted="a regular expression"))


def _check_placeholders(one: JourneyStep, path: Path, known: set[str], complaints: Complaints) -> None:
    """A ``{name}`` must have been captured by an earlier step."""
    method = next(m for m in METHODS if getattr(one, m) is not None)
    places: list[tuple[Path, str]] = [((*path, method), getattr(one, method))]
    places += [((*path, "headers", key), text) for key, text in one.headers.items()]
    places += [((*path, "form", key), text) for key, text in one.form.items()]
    if one.body is not None:
        places.append(((*path, "body"), " ".join(_texts(one.body))))
    for where, text in places:
        for name in _PLACEHOLDER.findall(text):
            if name not in known:
                hint = did_you_mean(name, known)
                complaints.value(where, Wrong(f"nothing before this step captures {shown(name)}{hint}"))


def _texts(body: object) -> list[str]:
    if isinstance(body, dict):
        return [text for key, value in body.items() for text in (key, *_texts(value))]
    if isinstance(body, list):
        return [text for value in body for text in _texts(value)]
    return [body] if isinstance(body, str) else []
