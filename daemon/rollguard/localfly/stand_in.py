"""What the stand-ins for other people's services share: a file of JSON lines, scripted faults, a start and an end."""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO

from rollguard.localfly.fault_script import FaultScript
from rollguard.localfly.http1 import Headers, Request, Response
from rollguard.localfly.http1_server import Answer, Server
from rollguard.localfly.serving import announce, log_to_stderr, on_stop, watch_stdin

DRAIN_S_MAX = 1.0
JSON = ("content-type", "application/json; charset=utf-8")

Entry = dict[str, Any]


class Notebook:
    """What was taken, in the order in which it came: a JSON line each, with ``at``. Readable at once by others."""

    def __init__(self, file: TextIO, past: Sequence[Entry] = ()) -> None:
        self.past = past
        """What was taken in an earlier life."""
        self._file = file

    def write(self, entry: Mapping[str, Any]) -> Entry:
        """Write an entry down; what was written."""
        kept = {"at": time.time(), **entry}
        self._file.write(json.dumps(kept) + "\n")
        self._file.flush()
        return kept


def said(status: int, body: object, *headers: tuple[str, str]) -> Response:
    """An answer in JSON."""
    named: Headers = [JSON, *headers]
    return Response(status, json.dumps(body).encode(), named)


def bearer(request: Request) -> str:
    """The token that a request brings; empty where it brings none."""
    scheme, _, token = (request.header("authorization") or "").partition(" ")
    return token.strip() if scheme.lower() in ("bearer", "token") else ""


def parser(prog: str, description: str) -> argparse.ArgumentParser:
    """The command line that all stand-ins have."""
    words = argparse.ArgumentParser(prog=prog, description=description)
    words.add_argument("--out", type=Path, required=True, help="the file of JSON lines; overwritten")
    words.add_argument("--append", action="store_true", help="keep the file, and remember what is in it")
    words.add_argument("--host", default="127.0.0.1")
    words.add_argument("--port", type=int, default=0)
    words.add_argument("--watch-stdin", action="store_true", help="exit when stdin ends")
    return words


def play(args: argparse.Namespace, prog: str, make: Callable[[Notebook], Answer]) -> int:
    """Serve what ``make`` gives until told to stop; the exit code. Raises OSError where file or port cannot be had."""
    log_to_stderr(prog)
    past = list(_entries(args.out)) if args.append and args.out.exists() else []
    with open_notebook(args.out, append=args.append) as file:
        asyncio.run(_serve(args, make(Notebook(file, past))))
    return 0


def open_notebook(path: Path, *, append: bool) -> TextIO:
    """The file, to write at its end; a line that was cut off in an earlier life is ended first. Raises OSError."""
    file = path.open("a" if append else "w", encoding="utf-8")
    if path.read_bytes()[-1:] not in (b"", b"\n"):
        file.write("\n")
    return file


def _entries(path: Path) -> Iterator[Entry]:
    """The lines of an earlier life; one that was cut off in the middle is no line."""
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            try:
                yield dict(json.loads(line))
            except (ValueError, TypeError):
                continue


async def _serve(args: argparse.Namespace, answer: Answer) -> None:
    stop = asyncio.Event()
    on_stop(stop.set)
    if args.watch_stdin:
        watch_stdin(stop.set)
    server = Server(FaultScript(answer).answer)
    announce(args.host, await server.start(args.host, args.port))
    await stop.wait()
    await server.drain(DRAIN_S_MAX)
