"""A stand-in for PagerDuty: ``python -m rollguard.localfly.pager --out FILE.jsonl --port 0``.

It takes events as PagerDuty's Events API v2 does (202, or 400 with what is wrong) and writes each down as a JSON line
with ``at``, but without its routing key: that is a secret. Change events wake nobody and go to a file of their own,
FILE.changes.jsonl. ``GET /heartbeat`` is answered 200, so that a dead man's switch has somewhere to call. Faults are
scripted as ``fault_script`` says.
"""

from __future__ import annotations

import json
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rollguard.localfly import stand_in
from rollguard.localfly.http1 import Request, Response
from rollguard.localfly.stand_in import Notebook, said

ENQUEUE, CHANGE = "/v2/enqueue", "/v2/change/enqueue"
ACTIONS = ("trigger", "acknowledge", "resolve")
SEVERITIES = ("critical", "error", "warning", "info")
SUMMARY_CHARS_MAX, KEY_CHARS_MAX = 1024, 255

Event = dict[str, Any]


class EventError(Exception):
    """An event that the API would refuse; what is wrong with it."""

    def __init__(self, *wrong: str) -> None:
        super().__init__("; ".join(wrong))
        self.wrong = wrong


class Pager:
    """Takes events and writes them down in the order in which they came."""

    def __init__(self, pages: Notebook, changes: Notebook) -> None:
        self._pages, self._changes = pages, changes

    async def answer(self, request: Request) -> Response:
        """What PagerDuty would answer. Never fails."""
        try:
            match request.method, request.path:
                case "POST", path if path == ENQUEUE:
                    return self._enqueue(_event(request.body, mistakes))
                case "POST", path if path == CHANGE:
                    return self._change(_event(request.body, _change_mistakes))
                case "GET", "/heartbeat":
                    return Response(200, b"")
        except EventError as error:
            body = {"status": "invalid event", "message": "Event object is invalid", "errors": error.wrong}
            return said(400, body)
        return Response(404, b"")

    def _enqueue(self, event: Event) -> Response:
        key = event.get("dedup_key") or uuid.uuid4().hex
        self._pages.write({**_public(event), "dedup_key": key})
        return said(202, {"status": "success", "message": "Event processed", "dedup_key": key})

    def _change(self, event: Event) -> Response:
        self._changes.write(_public(event))
        return said(202, {"status": "success", "message": "Change event processed"})


def _event(body: bytes, mistakes_of: Callable[[Event], list[str]]) -> Event:
    """The event in a body. Raises EventError."""
    try:
        event = json.loads(body)
    except (ValueError, RecursionError):
        raise EventError("the body is not JSON") from None
    if not isinstance(event, dict):
        raise EventError("the body is not an object")
    if wrong := mistakes_of(event):
        raise EventError(*wrong)
    return event


def mistakes(event: Mapping[str, Any]) -> list[str]:
    """What is wrong with an event by the rules of the API; empty when nothing is."""
    wrong = _key_mistakes(event)
    action, key = event.get("event_action"), event.get("dedup_key")
    if action not in ACTIONS:
        wrong.append("'event_action' is missing or invalid")
    if key is not None and (not isinstance(key, str) or len(key) > KEY_CHARS_MAX):
        wrong.append("'dedup_key' is invalid")
    if action != "trigger":
        return wrong if key else [*wrong, "'dedup_key' is missing or blank"]
    wrong += _summary_mistakes(event)
    payload = event.get("payload")
    if isinstance(payload, dict):
        wrong += [] if payload.get("source") else ["'payload.source' is missing or blank"]
        wrong += [] if payload.get("severity") in SEVERITIES else ["'payload.severity' is invalid"]
    return wrong


def _change_mistakes(event: Event) -> list[str]:
    return [*_key_mistakes(event), *_summary_mistakes(event)]


def _key_mistakes(event: Mapping[str, Any]) -> list[str]:
    key = event.get("routing_key")
    return [] if isinstance(key, str) and key else ["'routing_key' is missing or blank"]


def _summary_mistakes(event: Mapping[str, Any]) -> list[str]:
    payload = event.get("payload")
    if not isinstance(payload, dict):
        return ["'payload' is missing"]
    summary = payload.get("summary")
    if not isinstance(summary, str) or not summary:
        return ["'payload.summary' is missing or blank"]
    return [] if len(summary) <= SUMMARY_CHARS_MAX else ["'payload.summary' is too long"]


def _public(event: Event) -> Event:
    return {name: value for name, value in event.items() if name != "routing_key"}


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    args = stand_in.parser("pager", "Receives pages and writes them down.").parse_args(argv)
    with stand_in.open_notebook(args.out.with_suffix(".changes.jsonl"), append=args.append) as changes:
        return stand_in.play(args, "pager", lambda pages: Pager(pages, Notebook(changes)).answer)


if __name__ == "__main__":
    sys.exit(main())
