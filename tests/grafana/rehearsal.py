"""A real Prometheus that looks on while a real guard rolls a release back on a local platform."""

from __future__ import annotations

import asyncio
import io
import json
import re
import socket
import subprocess
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rollguard.demo.processes import Processes
from rollguard.demo.scenario import Scenario
from rollguard.demo.show import Show
from rollguard.demo.stage import MACHINES, set_up
from rollguard.demo.story import Story

READY_S_MAX = 40.0
LAST_LOOK_S = 2.5
SCRAPE_S = 1
CONFIG = """\
global: {{scrape_interval: {every}s, evaluation_interval: {every}s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: rollguard
    static_configs: [{{targets: ["{guard}"]}}]
"""


@dataclass(frozen=True, slots=True)
class Prometheus:
    """A server of its own: where it answers, and since when it has looked on (epoch seconds)."""

    url: str
    began: float

    async def range(self, expr: str, start: float, end: float, step_s: float = 1.0) -> list[dict[str, Any]]:
        """The series of an expression over time, as Prometheus gives them."""
        return await self._ask("query_range", query=expr, start=str(start), end=str(end), step=str(step_s))

    async def now(self, expr: str, at: float) -> list[dict[str, Any]]:
        """The series of an expression at one instant, with their one value as ``values``."""
        found = await self._ask("query", query=expr, time=str(at))
        return [{**series, "values": [series["value"]]} for series in found]

    async def _ask(self, what: str, **query: str) -> list[dict[str, Any]]:
        def ask() -> Any:
            try:
                with urllib.request.urlopen(f"{self.url}/api/v1/{what}?{urllib.parse.urlencode(query)}") as answer:
                    return json.load(answer)
            except urllib.error.HTTPError as error:
                with error:
                    return json.load(error)

        answer = await asyncio.to_thread(ask)
        assert answer["status"] == "success", f"{query['query']}: {answer}"
        assert not answer.get("warnings"), f"{query['query']}: {answer}"
        return list(answer["data"]["result"])


@asynccontextmanager
async def rehearsed(scenario: Scenario, folder: Path, rules: Path) -> AsyncIterator[Prometheus]:
    """Play a scenario with a Prometheus that looks on from before the deploy; it answers until the end."""
    with ExitStack() as started:
        found: list[Prometheus] = []

        async def look_on(show: Show) -> None:
            """From here on Prometheus scrapes the guard: nothing of the deploy may be missed."""
            guard = await _until(lambda: _address(folder / "guard.log"), "the guard's address")
            url = f"http://{started.enter_context(_Server(folder, guard, rules)).address}"
            first = f"{url}/api/v1/query?query=rollguard_machines"
            await _until(lambda: _found(first), "a Prometheus that looks at the guard")
            found.append(Prometheus(url, time.time()))

        async def seen_as_it_was(show: Show) -> None:
            """The app before the deploy has been scraped."""
            proven = quote(f'sum(rollguard_machines{{image="proven"}}) == {MACHINES}')
            query = f"{found[0].url}/api/v1/query?query={proven}"
            await _until(lambda: _found(query), "a scrape of the app as it was")

        adopt, *rest = scenario.acts
        watched = replace(scenario, acts=(look_on, adopt, seen_as_it_was, *rest))
        async with Processes(folder) as processes:
            show = Show(watched, await set_up(watched, processes), Story(io.StringIO(), colour=False))
            async with asyncio.timeout(scenario.ends_in_s):
                await show.play()
            assert show.lookout.late == []
            await asyncio.sleep(LAST_LOOK_S)  # one more scrape, by the clock of a process that nobody can ask
            yield found[0]


def _address(log: Path) -> str:
    """Where the guard says that it serves ``/metrics``; empty before it does."""
    said = re.search(r"http://(\S+) serves /metrics", log.read_text(encoding="utf-8") if log.exists() else "")
    return said[1] if said else ""


async def _until(look: Callable[[], str], what: str) -> str:
    """What ``look`` finds, as soon as it finds anything."""
    deadline = time.monotonic() + READY_S_MAX
    while not (found := await asyncio.to_thread(look)):
        assert time.monotonic() < deadline, f"not within {READY_S_MAX:g} s: {what}"
        await asyncio.sleep(0.1)
    return found


def _found(url: str) -> str:
    """What a query found; empty while there is nothing, or nobody who answers."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return str(json.load(answer)["data"]["result"] or "")
    except (OSError, ValueError):
        return ""


class _Server:
    """A Prometheus on a free port, with its data in the folder."""

    def __init__(self, folder: Path, guard: str, rules: Path) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.address = f"127.0.0.1:{free.getsockname()[1]}"
        config = folder / "prometheus.yaml"
        config.write_text(CONFIG.format(every=SCRAPE_S, guard=guard, rules=rules), encoding="utf-8")
        self._command = (
            "prometheus",
            f"--config.file={config}",
            f"--storage.tsdb.path={folder / 'prometheus'}",
            f"--web.listen-address={self.address}",
            "--log.level=warn",
        )
        self._log = folder / "prometheus.log"

    def __enter__(self) -> _Server:
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=subprocess.STDOUT)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
