"""A stand-in for PagerDuty: ``python -m rollguard.localfly.pager --out FILE.jsonl --port 0``.

It takes events as PagerDuty's Events API v2 does (202, or 400 with what is wrong) and writes each down as a JSON line
with ``at``, but without its routing key: that is a secret. ``GET /heartbeat`` is answered 200, so that a dead man's
switch has somewhere to call.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from rollguard.localfly.http1 import Request, Response
from rollguard.localfly.http1_server import Server
from rollguard.localfly.serving import announce, log_to_stderr, on_stop, watch_stdin

ENQUEUE = "/v2/enqueue"
ACTIONS = ("trigger", "acknowledge", "resolve")
DRAIN_S_MAX = 1.0
JSON = ("content-type", "application/json")


class Pager:
    """Takes events and writes them down in the order in which they came."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._unnamed = 0

    async def answer(self, request: Request) -> Response:
        """What PagerDuty would answer. Never fails."""
        match request.method, request.path:
            case "POST", path if path == ENQUEUE:
                return self._enqueue(request.body)
            case "GET", "/heartbeat":
                return Response(200, b"")
        return Response(404, b"")

    def _enqueue(self, body: bytes) -> Response:
        try:
            event = json.loads(body)
        except (ValueError, RecursionError):
            return _refusal(["the body is not JSON"])
        if not isinstance(event, dict):
            return _refusal(["the body is not an object"])
        if wrong := mistakes(event):
            return _refusal(wrong)
        self._unnamed += "dedup_key" not in event
        key = event.get("dedup_key") or f"unnamed-{self._unnamed}"
        kept = {name: value for name, value in event.items() if name != "routing_key"}
        self._file.write(json.dumps({"at": time.time(), **kept, "dedup_key": key}) + "\n")
        self._file.flush()
        return _said(202, {"status": "success", "message": "Event processed", "dedup_key": key})


def mistakes(event: Mapping[str, Any]) -> list[str]:
    """What is wrong with an event by the rules of the API; empty when nothing is."""
    wrong = []
    if not isinstance(event.get("routing_key"), str) or not event["routing_key"]:
        wrong.append("'routing_key' is missing or blank")
    action = event.get("event_action")
    if action not in ACTIONS:
        wrong.append("'event_action' is missing or invalid")
    if action != "trigger":
        return wrong if event.get("dedup_key") else [*wrong, "'dedup_key' is missing or blank"]
    payload = event.get("payload")
    if not isinstance(payload, dict):
        return [*wrong, "'payload' is missing"]
    wrong += [f"'payload.{name}' is missing or blank" for name in ("summary", "source") if not payload.get(name)]
    if payload.get("severity") not in ("critical", "error", "warning", "info"):
        wrong.append("'payload.severity' is invalid")
    return wrong


def _refusal(errors: list[str]) -> Response:
    return _said(400, {"status": "invalid event", "message": "Event object is invalid", "errors": errors})


def _said(status: int, body: dict[str, Any]) -> Response:
    return Response(status, json.dumps(body).encode(), [JSON])


async def run(args: argparse.Namespace, file: TextIO) -> None:
    """Serve until told to stop. Raises OSError where the port cannot be had."""
    stop = asyncio.Event()
    on_stop(stop.set)
    if args.watch_stdin:
        watch_stdin(stop.set)
    server = Server(Pager(file).answer)
    announce(args.host, await server.start(args.host, args.port))
    await stop.wait()
    await server.drain(DRAIN_S_MAX)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="pager", description="Receives pages and writes them down.")
    parser.add_argument("--out", type=Path, required=True, help="the file of JSON lines; overwritten")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--watch-stdin", action="store_true", help="exit when stdin ends")
    args = parser.parse_args(argv)
    log_to_stderr("pager")
    with args.out.open("w", encoding="utf-8") as file:
        asyncio.run(run(args, file))
    return 0


if __name__ == "__main__":
    sys.exit(main())
