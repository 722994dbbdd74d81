"""Users: ``python -m rollguard.localfly.traffic --edge URL --rate 40 --seed 1 --out FILE.jsonl``.

Requests arrive as a Poisson process that does not wait for answers, so that a slow or dead app meets as many users as a
fast one. Each is written down as its user saw it, one JSON line each, in the order in which they ended; a summary
follows on stdout.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import sys
import time
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlsplit

from rollguard.localfly.http1 import BadMessageError, Request, Response, Streams, connect, exchange
from rollguard.localfly.serving import log_to_stderr, on_stop, watch_stdin

MIX = {"/": 50, "/products": 25, "/api/products": 15, "/login": 10}
IN_FLIGHT_MAX = 500
FLUSH_S = 0.2
IDLE_S_MAX = 30.0  # below the edge's own, so that we never write to a connection it is about to close
LATENCIES_KEPT = 100_000
RATE_MAX = 1000.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request as its user saw it.

    ``status`` is None where no answer came. ``error`` is None where a machine answered, be it with a 500; else
    ``connection``, ``timeout``, ``proxy:<why>`` (the edge answered by itself) or ``shed`` (never sent).
    """

    at: float
    path: str
    status: int | None
    latency_s: float
    machine: str | None
    image: str | None
    error: str | None

    @property
    def ok(self) -> bool:
        """Whether the user got what was asked for."""
        return self.error is None and self.status is not None and self.status < 500


class Record:
    """The visits of one run: a file that is never more than a moment behind, and a summary."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._statuses: Counter[str] = Counter()
        self._errors: Counter[str] = Counter()
        self._failed = 0
        self._latencies_s: deque[float] = deque(maxlen=LATENCIES_KEPT)

    def add(self, visit: Visit) -> None:
        """Write the visit down; `flush` makes it visible."""
        self._file.write(json.dumps(asdict(visit)) + "\n")
        self._failed += not visit.ok
        if visit.status is not None:
            self._statuses[str(visit.status)] += 1
            self._latencies_s.append(visit.latency_s)
        if visit.error is not None:
            self._errors[visit.error] += 1

    def flush(self) -> None:
        """Make every visit so far readable by others."""
        self._file.flush()

    def summary(self) -> dict[str, Any]:
        """How many requests ended how; percentiles are over the newest 100,000 answers, in seconds."""
        answered = sum(self._statuses.values())
        unanswered = sum(self._errors.values()) - sum(
            n for error, n in self._errors.items() if error.startswith("proxy:")
        )
        ordered = sorted(self._latencies_s)
        return {
            "requests": answered + unanswered,
            "failed": self._failed,
            "by_status": dict(sorted(self._statuses.items())),
            "errors": dict(sorted(self._errors.items())),
            "latency_p50_s": _percentile(ordered, 0.5),
            "latency_p95_s": _percentile(ordered, 0.95),
        }


def _percentile(ordered: Sequence[float], share: float) -> float | None:
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else None


class Users:
    """Visit pages of one edge and record how that went. Connections are kept and reused, as browsers do."""

    def __init__(self, edge_url: str, *, timeout_s: float, record: Record) -> None:
        edge = urlsplit(edge_url)
        self._host, self._port = edge.hostname or "127.0.0.1", edge.port or 80
        self._headers = [("host", edge.netloc), ("user-agent", "rollguard-traffic")]
        self._timeout_s, self._record = timeout_s, record
        self._idle: list[tuple[float, Streams]] = []  # since when, which; the newest last

    async def visit(self, path: str) -> None:
        """One request. Never fails: what went wrong is what is recorded."""
        request = Request("GET", path, self._headers, keep_alive=True)
        at, began = time.time(), time.monotonic()
        answer: Response | None = None
        error: str | None = None
        try:
            async with asyncio.timeout(self._timeout_s):
                answer = await self._ask(request)
        except TimeoutError:
            error = "timeout"
        except (OSError, BadMessageError):
            error = "connection"
        latency_s = time.monotonic() - began
        if answer is not None and (why := answer.header("x-edge-error")) is not None:
            error = f"proxy:{why}"
        self._add(at, path, latency_s, answer, error)

    async def _ask(self, request: Request) -> Response:
        streams = await self._connection()
        answer: Response | None = None
        try:
            answer = await exchange(streams, request)
        finally:
            if answer is not None and answer.header("connection") == "keep-alive":
                self._idle.append((time.monotonic(), streams))
            else:
                streams[1].close()
        return answer

    async def _connection(self) -> Streams:
        """The newest idle connection that is still good, or a new one."""
        while self._idle:
            since, streams = self._idle.pop()
            if time.monotonic() - since < IDLE_S_MAX and not streams[0].at_eof():
                return streams
            streams[1].close()
        return await connect(self._host, self._port)

    def leave(self) -> None:
        """Close the connections that are kept."""
        for _, streams in self._idle:
            streams[1].close()
        self._idle.clear()

    def turned_away(self, path: str) -> None:
        """A user we could not play, for want of room: recorded, so that no number hides it."""
        self._add(time.time(), path, 0.0, None, "shed")

    def _add(self, at: float, path: str, latency_s: float, answer: Response | None, error: str | None) -> None:
        visit = Visit(
            at=round(at, 4),
            path=path,
            status=answer.status if answer else None,
            latency_s=round(latency_s, 4),
            machine=answer.header("x-machine") if answer else None,
            image=answer.header("x-image") if answer else None,
            error=error,
        )
        self._record.add(visit)


def arrivals(rate: float, dice: random.Random) -> Iterator[tuple[float, str]]:
    """For ever: seconds since the start at which the next user comes, and the page wanted."""
    at_s = 0.0
    paths, weights = list(MIX), list(MIX.values())
    while True:
        at_s += dice.expovariate(rate)
        yield at_s, dice.choices(paths, weights)[0]


async def play(users: Users, *, rate: float, dice: random.Random, stop: asyncio.Event) -> None:
    """Let users arrive until ``stop``; return once those in flight have got their answer or given up."""
    began = time.monotonic()
    in_flight: set[asyncio.Task[None]] = set()
    for at_s, path in arrivals(rate, dice):
        if await _happens(stop, within_s=began + at_s - time.monotonic()):
            break
        if len(in_flight) >= IN_FLIGHT_MAX:
            users.turned_away(path)
            continue
        task = asyncio.create_task(users.visit(path))
        in_flight.add(task)
        task.add_done_callback(in_flight.discard)
    if in_flight:
        await asyncio.wait(in_flight)


async def _happens(event: asyncio.Event, *, within_s: float) -> bool:
    """Whether the event is set within that time; a time already over still lets others run."""
    try:
        async with asyncio.timeout(max(0.0, within_s)):
            return await event.wait()
    except TimeoutError:
        return False


async def _flush_for_ever(record: Record) -> None:
    while True:
        await asyncio.sleep(FLUSH_S / 2)
        record.flush()


async def run(args: argparse.Namespace, file: TextIO) -> dict[str, Any]:
    """Play until told to stop, or for ``--duration``; return the summary."""
    stop = asyncio.Event()
    on_stop(stop.set)
    if args.watch_stdin:
        watch_stdin(stop.set)
    if args.duration is not None:
        asyncio.get_running_loop().call_later(args.duration, stop.set)
    record = Record(file)
    users = Users(args.edge, timeout_s=args.timeout, record=record)
    flushing = asyncio.create_task(_flush_for_ever(record))
    await play(users, rate=args.rate, dice=random.Random(args.seed), stop=stop)
    users.leave()
    flushing.cancel()
    record.flush()
    return record.summary()


def _rate(text: str) -> float:
    rate = float(text)
    if not 0 < rate <= RATE_MAX:
        raise argparse.ArgumentTypeError(f"between 0 and {RATE_MAX:g} requests per second")
    return rate


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="traffic", description="Users of one app.")
    parser.add_argument("--edge", required=True, help="the edge's URL, http only")
    parser.add_argument("--rate", type=_rate, default=40.0, help="requests per second, on average")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--out", type=Path, required=True, help="the file of JSON lines; overwritten")
    parser.add_argument("--timeout", type=float, default=10.0, help="seconds after which a user gives up")
    parser.add_argument("--duration", type=float, help="seconds; without it, until SIGTERM")
    parser.add_argument("--watch-stdin", action="store_true", help="stop when stdin ends")
    args = parser.parse_args(argv)
    log_to_stderr("traffic")
    with args.out.open("w", encoding="utf-8") as file:
        summary = asyncio.run(run(args, file))
    print(json.dumps(summary), flush=True)  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
