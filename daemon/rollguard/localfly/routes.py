"""Follows the platform's route table by long poll, so that the edge learns of a change in milliseconds."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable
from typing import Never
from urllib.parse import quote, urlsplit

from rollguard.localfly.http1 import BadMessageError, Request, Response, fetch
from rollguard.localfly.routing import MACHINES_MAX, Machine

POLL_S = 25.0
ANSWER_S_MAX = POLL_S + 10.0
WAKE_S_MAX = 10.0
PAUSE_S_MIN, PAUSE_S_MAX = 0.1, 2.0

log = logging.getLogger(__name__)


class Platform:
    """The two calls the edge makes to the platform's internal API."""

    def __init__(self, url: str, app: str) -> None:
        parts = urlsplit(url)
        if parts.scheme != "http" or parts.hostname is None or parts.port is None:
            raise ValueError("the platform's URL must look like http://127.0.0.1:4000")
        self._host, self._port = parts.hostname, parts.port
        self._prefix = f"/local/v1/apps/{quote(app, safe='')}"

    async def routes(self, after: int) -> tuple[int, tuple[Machine, ...]]:
        """The table once it is newer than ``after``, or the current one after the poll's time.

        Raises OSError, TimeoutError, BadMessageError, ValueError.
        """
        answer = await self._ask("GET", f"/routes?after={after}&timeout={POLL_S:g}", ANSWER_S_MAX)
        try:
            data = json.loads(answer.body)
            return int(data["version"]), tuple(map(Machine.from_json, data["machines"][:MACHINES_MAX]))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError("a malformed route table") from error

    async def wake(self, machine_id: str) -> None:
        """Start a sleeping machine. Raises OSError, TimeoutError, BadMessageError, ValueError."""
        await self._ask("POST", f"/machines/{quote(machine_id, safe='')}/wake", WAKE_S_MAX)

    async def _ask(self, method: str, path: str, timeout_s: float) -> Response:
        host = ("host", f"{self._host}:{self._port}")
        answer = await fetch(self._host, self._port, Request(method, self._prefix + path, [host]), timeout_s)
        if answer.status != 200:
            raise ValueError(f"the platform answered {answer.status} to {path.partition('?')[0]}")
        return answer


class RouteFollower:
    """The newest route table. While the platform is silent the old one stands."""

    def __init__(self, platform: Platform) -> None:
        self._platform = platform
        self._version = 0
        self._changed = asyncio.Event()
        self._heard = asyncio.Event()
        self.machines: tuple[Machine, ...] = ()

    async def run(self, on_change: Callable[[], None]) -> Never:
        """Follow for ever; ``on_change`` is called after each new table."""
        pause_s = PAUSE_S_MIN
        after = -1  # the first poll must not wait
        while True:
            began = time.monotonic()
            try:
                version, machines = await self._platform.routes(after)
            except (OSError, TimeoutError, BadMessageError, ValueError) as error:
                log.warning("no route table: %s", error or type(error).__name__)
                await asyncio.sleep(pause_s)
                pause_s = min(2 * pause_s, PAUSE_S_MAX)
                continue
            if version == after and time.monotonic() - began < PAUSE_S_MIN:
                await asyncio.sleep(PAUSE_S_MIN)  # a platform that does not long-poll must not be hammered
            pause_s, after = PAUSE_S_MIN, version
            if machines != self.machines:
                self.machines = machines
                on_change()
            self._heard.set()
            self._changed.set()
            self._changed = asyncio.Event()

    async def heard(self, within_s: float) -> bool:
        """Whether a first table has come, waiting for it."""
        try:
            async with asyncio.timeout(within_s):
                return await self._heard.wait()
        except TimeoutError:
            return False

    async def until(self, ready: Callable[[Machine], bool], machine_id: str, within_s: float) -> bool:
        """Whether the machine has become ``ready``, waiting for it."""
        try:
            async with asyncio.timeout(within_s):
                while not any(ready(machine) for machine in self.machines if machine.id == machine_id):
                    await self._changed.wait()
                return True
        except TimeoutError:
            return False
