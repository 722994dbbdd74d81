"""The lookout: gathers what the platform, the users, the pager and the guard's log show, and tells it at once."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from rollguard.demo.processes import StageError
from rollguard.demo.seen import text_of
from rollguard.demo.story import Story
from rollguard.demo.tellers import FleetTeller, Line, UsersTeller, of_guard, of_page
from rollguard.localfly.http1 import BadMessageError, Request, fetch
from rollguard.localfly.traffic import Visit

LOOK_EVERY_S = 0.2
ANSWER_S_MAX = 10.0

Json = Mapping[str, Any]


class GivenUp(Exception):
    """What was waited for did not come; that has been told already."""


async def call(url: str, method: str = "GET", body: Json | None = None) -> dict[str, Any]:
    """One call of the local platform's own interface. Raises ``StageError`` for anything but success."""
    parts = urlsplit(url)
    sent = json.dumps(dict(body)).encode() if body is not None else b""
    request = Request(method, f"{parts.path}?{parts.query}".rstrip("?"), [("host", parts.netloc)], sent)
    try:
        answer = await fetch(parts.hostname or "", parts.port or 80, request, ANSWER_S_MAX)
    except (OSError, TimeoutError, BadMessageError) as error:
        raise StageError(f"{method} {url}: {type(error).__name__}: {error}") from error
    if answer.status not in (200, 201):
        raise StageError(f"{method} {url}: {answer.status} {answer.body[:200].decode(errors='replace')}")
    return dict(json.loads(answer.body))


class Tail:
    """The JSON lines of a file that somebody else is writing, each once. What is no JSON is skipped."""

    def __init__(self, path: Path) -> None:
        self._path, self._offset = path, 0

    def read(self) -> Iterator[dict[str, Any]]:
        """The lines that came since the last time; an unfinished one waits."""
        with suppress(FileNotFoundError), self._path.open("rb") as file:
            file.seek(self._offset)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._offset += len(line)
                with suppress(ValueError):
                    entry = json.loads(line)
                    if isinstance(entry, dict):
                        yield entry


class Lookout:
    """What was seen so far. ``check`` is called at each look: it raises when the stage falls apart."""

    def __init__(
        self,
        watch_url: str,
        story: Story,
        tellers: tuple[FleetTeller, UsersTeller],
        *,
        folder: Path,
        good: str,
        check: Callable[[], None],
    ) -> None:
        self._watch_url, self._story, self._check, self._good = watch_url, story, check, good
        self._fleet, self._users = tellers
        self._tails = [Tail(folder / name) for name in ("users.jsonl", "guard.log", "pages.jsonl")]
        self.view: Json = {}
        self.events: list[Json] = []
        self.visits: list[Visit] = []
        self.pages: list[Json] = []
        self.log: list[Json] = []
        self.late: list[str] = []
        self.whole_at: float | None = None
        """Since when, without a break, the platform has shown every machine routable on the good image."""

    async def look(self) -> None:
        """Look everywhere once. Raises ``StageError``."""
        self._check()
        visits, log, pages = (list(tail.read()) for tail in self._tails)
        self.view = await call(self._watch_url)
        self._remember(self.view["events"])
        whole = all(m["routable"] and m["digest"] == self._good for m in self.view["machines"])
        self.whole_at = (self.whole_at or float(self.view["now"])) if whole else None
        fresh = [Visit(**visit) for visit in visits]
        self.visits += fresh
        self.log += log
        self.pages += pages
        self._tell(filter(None, map(of_guard, log)))
        self._tell(map(of_page, pages))
        self._tell(self._fleet.tell(self.view))
        self._tell(self._users.tell(fresh, time.monotonic()))

    async def until(self, done: Callable[[], bool], within_s: float, what: str) -> None:
        """Look until ``done``. Raises ``GivenUp`` when that takes too long; it is told, and kept in ``late``."""
        deadline = time.monotonic() + within_s
        await self.look()
        while not done():
            if time.monotonic() >= deadline:
                self.give_up(f"{what}: not within {within_s:g} s")
                raise GivenUp
            await asyncio.sleep(LOOK_EVERY_S)
            await self.look()

    async def watch(self, for_s: float) -> None:
        """Go on looking for so long: what must not happen has time to happen."""
        deadline = time.monotonic() + for_s
        while time.monotonic() < deadline:
            await self.look()
            await asyncio.sleep(LOOK_EVERY_S)

    def give_up(self, why: str) -> None:
        """Something that should have happened did not."""
        self.late.append(why)
        self._story.tell("wrong", why)

    def guard_said(self, event: str, **fields: Any) -> Json | None:
        """The guard's first log line of this event with these fields."""
        return next((e for e in self.log if e.get("event") == event and fields.items() <= e.items()), None)

    def decided_at(self) -> float | None:
        """When the guard's journal has the decision to roll back, or else to page, in epoch seconds."""
        entry = self.guard_said("Decided", decision="rollback") or self.guard_said("Decided", decision="page")
        return datetime.fromisoformat(str(entry["ts"])).timestamp() if entry else None

    def journal_events(self) -> int:
        """How many events the guard's journal has: the last number its log named."""
        return max((int(entry.get("seq", 0)) for entry in self.log), default=0)

    def all_serve(self) -> bool:
        """Whether every machine serves, whatever it runs."""
        return all(machine["routable"] for machine in self.view["machines"])

    def writes(self, owner: str, kind: str) -> int:
        """How many writes of that kind the platform has carried out for an owner."""
        return int(self.view["writes"].get(owner, {}).get(kind, 0))

    def rows(self, owner: str) -> list[Json]:
        """The release rows an owner made."""
        return [row for row in self.view["releases"] if row["user"] == owner]

    def paged(self, words: str) -> bool:
        """Whether a page has these words."""
        return any(words in text_of(page) for page in self.pages)

    def _remember(self, newest_first: list[Json]) -> None:
        """The ledger shows its newest 200 lines; join them to those we have."""
        known = self.events[-len(newest_first) :] if newest_first else []
        self.events += [event for event in reversed(newest_first) if event not in known]

    def _tell(self, lines: Iterator[Line]) -> None:
        for who, what in lines:
            self._story.tell(who, what)
