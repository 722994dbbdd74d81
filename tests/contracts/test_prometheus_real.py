"""The prometheus source asks a real Prometheus, which scrapes machines whose counters the tests set."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
import pytest_asyncio

from rollguard.adapters.clock import SystemClock
from rollguard.adapters.http import AiohttpTransport
from rollguard.adapters.signals.prometheus import PrometheusSource
from rollguard.core.model import EDGE, GapKind, Reading
from rollguard.core.policy import Quantile
from rollguard.core.ratios import quantile_at
from rollguard.core.signals import Matcher, PrometheusSignal, Query, Selector
from rollguard.core.window import Windows
from rollguard.ports import Fleet
from tests import builders

PROMETHEUS = shutil.which("prometheus")
pytestmark = pytest.mark.skipif(PROMETHEUS is None, reason="no prometheus binary on this machine")

PATIENCE_S = 10.0
MACHINES = ("born", "counted", "dead", "reset", "shaped", "valued")
"""One for each test: they share the store, and nothing else."""

ALL = Selector("responses_total", (Matcher("app", "=", "shop"),))
FAILED = Selector("responses_total", (Matcher("app", "=", "shop"), Matcher("status", "=~", "5..")))


@dataclass
class Exporter:
    """What each machine shows when it is scraped; a machine without a page answers 503."""

    pages: dict[str, str] = field(default_factory=dict)
    scrapes: dict[str, int] = field(default_factory=dict)

    def show(self, machine: str, **series: float) -> None:
        """``s200=7`` is a counter of 7 responses with status 200."""
        lines = [f'responses_total{{app="shop",status="{name[1:]}"}} {value}' for name, value in series.items()]
        self.pages[machine] = "\n".join(["# TYPE responses_total counter", *lines, ""])

    def page(self, machine: str) -> str | None:
        self.scrapes[machine] = self.scrapes.get(machine, 0) + 1
        return self.pages.get(machine)


@pytest.fixture(scope="module")
def exporter() -> Iterator[tuple[Exporter, int]]:
    """The machines' metrics pages, and their port."""
    shown = Exporter()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            page = shown.page(self.path.strip("/"))
            body = (page or "").encode()
            self.send_response(503 if page is None else 200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
            """Nobody wants to read it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield shown, server.server_address[1]
    server.shutdown()
    thread.join()
    server.server_close()


def config(port: int) -> str:
    """Every machine twice a second, under its name as ``instance``."""
    targets = [
        f"  - targets: ['127.0.0.1:{port}']\n    labels: {{instance: {m}, __metrics_path__: /{m}}}\n" for m in MACHINES
    ]
    scrape = "scrape_configs:\n- job_name: shop\n  static_configs:\n"
    return "global: {scrape_interval: 500ms, scrape_timeout: 500ms}\n" + scrape + "".join(targets)


@pytest.fixture(scope="module")
def store(exporter: tuple[Exporter, int], tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prometheus of our own that is ready."""
    folder: Path = tmp_path_factory.mktemp("prometheus")
    (folder / "p.yml").write_text(config(exporter[1]))
    options = [f"--config.file={folder / 'p.yml'}", f"--storage.tsdb.path={folder / 'data'}"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [str(PROMETHEUS), *options, "--web.listen-address=127.0.0.1:0"],
            stdout=log,
            stderr=log,
            env={"PATH": os.environ["PATH"]},
        )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not _ready(url := _address(folder / "log")):
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline, (folder / "log").read_text()
            time.sleep(0.05)
        yield url
    finally:
        process.terminate()
        try:
            process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _address(log: Path) -> str:
    """Where it listens, by its own word; empty before it does."""
    found = re.search(r'msg="Listening on" address=(\S+)', log.read_text())
    return f"http://{found[1]}" if found else ""


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/-/ready", timeout=1.0) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):  # not yet, or no address yet
        return False


class Watching:
    """One machine, its pages, and a source that reads the store; everything read so far."""

    def __init__(self, url: str, exporter: Exporter, transport: AiohttpTransport, machine: str) -> None:
        self.exporter, self.machine = exporter, machine
        self.readings: list[Reading] = []
        self._url, self._transport, self._clock = url, transport, SystemClock()

    def source(self, **but: Any) -> None:
        """Begin to read; each test tells apart what it wants by its machine."""
        usual: dict[str, Any] = {"name": "traffic", "every_s": 1.0, "url": self._url, "timeout_s": 5.0}
        usual |= {"counters": {"errors": self.only(FAILED), "requests": self.only(ALL)}}
        self.signal = PrometheusSignal(**usual | but)
        self._source = PrometheusSource(self.signal, self._transport, {})

    def only(self, selector: Selector) -> Selector:
        return Selector(selector.name, (*selector.matchers, Matcher("instance", "=", self.machine)))

    async def read(self) -> list[Reading]:
        """One round."""
        readings = list(await self._source.read(Fleet((self.machine,)), self._clock))
        self.readings += readings
        return readings

    async def until(self, wanted: Callable[[list[Reading]], bool]) -> list[Reading]:
        """Read until a round is as wanted; return that round."""
        deadline = time.monotonic() + PATIENCE_S
        while not wanted(readings := await self.read()):
            assert time.monotonic() < deadline, f"not within {PATIENCE_S:g} s, last: {readings}"
            await asyncio.sleep(0.1)
        return readings

    async def first_sight(self) -> None:
        """The store knows the machine, and so does the source: from here on increases are told."""
        await self.until(lambda readings: all(r.gap is not GapKind.NO_ANSWER for r in readings))

    async def scraped(self) -> None:
        """What is shown now was taken by the store: the scrape after the next one has begun."""
        before, deadline = self.exporter.scrapes.get(self.machine, 0), time.monotonic() + PATIENCE_S
        while self.exporter.scrapes.get(self.machine, 0) < before + 2:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)

    def total(self, key: str) -> float:
        return sum(r.value or 0.0 for r in self.readings if r.key == f"traffic.{key}")


@pytest_asyncio.fixture
async def watching(
    store: str, exporter: tuple[Exporter, int], request: pytest.FixtureRequest
) -> AsyncIterator[Watching]:
    """Of the machine that the test names."""
    transport = AiohttpTransport()
    yield Watching(store, exporter[0], transport, request.param)
    await transport.close()


def of(machine: str) -> pytest.MarkDecorator:
    """The test's own machine."""
    return pytest.mark.parametrize("watching", [machine], indirect=True)


@of("counted")
async def test_what_was_counted_is_what_is_read_dated_by_the_stores_samples(watching: Watching) -> None:
    watching.exporter.show("counted", s200=100)
    watching.source()
    await watching.first_sight()
    watching.exporter.show("counted", s200=130)
    await watching.until(lambda _: watching.total("requests") == 30.0)
    assert watching.total("errors") == 0.0
    assert [r for r in watching.readings if r.key == "traffic.errors" and r.gap is None]  # no series: 0, and no gap
    counted = [r for r in watching.readings if r.value == 30.0]
    assert all(r.since is not None and r.until is not None and r.since < r.until < r.at for r in counted)


@of("born")
async def test_a_series_born_at_37_is_an_increase_of_37(watching: Watching) -> None:
    watching.exporter.show("born", s200=100)
    watching.source()
    await watching.first_sight()
    watching.exporter.show("born", s200=113, s503=37)
    await watching.until(lambda _: watching.total("errors") == 37.0)
    assert watching.total("requests") == 50.0


@of("reset")
async def test_a_process_that_started_over_between_two_rounds_is_counted_before_and_after(watching: Watching) -> None:
    watching.exporter.show("reset", s200=100)
    watching.source(max_age_s=20.0)
    await watching.first_sight()
    watching.exporter.show("reset", s200=150)
    await watching.scraped()
    watching.exporter.show("reset", s200=8)
    await watching.scraped()
    watching.exporter.show("reset", s200=160)  # more than before: only the samples in between tell
    await watching.until(lambda _: watching.total("requests") == 50.0 + 160.0)
    assert [r for r in watching.readings if r.gap not in {None, GapKind.NO_ANSWER}] == []


@of("dead")
async def test_a_target_that_is_down_is_stale_with_its_age_and_does_not_turn_into_no_traffic(
    watching: Watching,
) -> None:
    watching.exporter.show("dead", s200=5)
    watching.source(max_age_s=1.5, every_s=1.0)
    await watching.first_sight()
    del watching.exporter.pages["dead"]
    stale = await watching.until(lambda readings: bool(readings) and readings[0].gap is GapKind.STALE)
    assert stale[0].detail.startswith("the newest sample is ")
    gone = await watching.until(lambda readings: readings[0].detail.startswith("no sample for "))
    assert {r.gap for r in gone} == {GapKind.STALE}


def buckets(**counts: int) -> str:
    """``le`` in milliseconds; the last one is infinite."""
    bounds = [(f"{int(name[2:]) / 1000:g}" if name != "inf" else "+Inf", n) for name, n in counts.items()]
    lines = [f'seconds_bucket{{app="shop",le="{bound}"}} {n}\n' for bound, n in bounds]
    total = counts["inf"]
    return "# TYPE seconds histogram\n" + "".join(lines) + f'seconds_sum{{app="shop"}} 1\nseconds_count {total}\n'


@of("shaped")
async def test_a_histogram_gives_the_quantile_that_prometheus_itself_computes(watching: Watching) -> None:
    watching.exporter.pages["shaped"] = buckets(le100=900, le500=950, le2000=1000, inf=1000)
    theirs = 'histogram_quantile({}, sum by (le) (increase(seconds_bucket{{instance="shaped"}}[1m])))'
    watching.source(
        counters={},
        histograms={"latency": watching.only(Selector("seconds"))},
        values={f"q{int(100 * q)}": Query(theirs.format(q)) for q in QUANTILES},
    )
    await watching.first_sight()
    watching.exporter.pages["shaped"] = buckets(le100=910, le500=1010, le2000=1080, inf=1100)
    last = await watching.until(
        lambda readings: watching.total("latency") == 100.0 and all(r.gap is None for r in readings)
    )
    windows = Windows(3600.0)
    windows.add(watching.readings)
    policy = builders.a_policy(rules=(), signals=(builders.HEALTH, watching.signal))
    view = builders.a_view(cohort=(builders.a_tenure("shaped", since=0.0),))
    for q, expected in QUANTILES.items():
        condition = Quantile(key="traffic.latency", q=q, over_s=600.0, limit=1.0, above=True, min_count=1.0)
        ours = quantile_at(condition, policy, view, windows, last[0].at).value
        assert ours == pytest.approx(expected)
        assert ours == pytest.approx(next(r.value for r in last if r.key == f"traffic.q{int(100 * q)}"))


QUANTILES = {0.05: 0.05, 0.5: 0.1 + 0.4 * 40 / 50, 0.7: 0.5 + 1.5 * 10 / 20, 0.99: 2.0}
"""Of 100 requests: 10 took up to 0.1 s, 50 up to 0.5 s, 20 up to 2 s, and 20 longer."""


@of("valued")
async def test_values_are_of_machines_or_the_edge_and_what_is_wrong_names_the_query(watching: Watching) -> None:
    mine = 'responses_total{instance="valued"}'
    watching.exporter.show("valued", s200=30, s500=10)
    watching.source(
        values={
            "share": Query(f'sum by (instance) ({mine} and {mine[:-1]},status="500"}}) / sum by (instance) ({mine})'),
            "sum": Query(f"sum({mine})", scale=0.001),
            "raw": Query(f"sum by (instance) ({mine}) and on (instance) up", scale=2.0),
            "scalar": Query("scalar(vector(7))"),
            "nan": Query(f"sum({mine}) * 0 / 0"),
            "none": Query("sum(no_such_series)"),
            "many": Query(f"sum by (status) ({mine})"),
            "broken": Query("sum("),
            "clash": Query(f"{mine} / on (instance) {mine}"),
        }
    )
    await watching.until(lambda readings: all(r.gap is None for r in readings if r.key == "traffic.share"))
    readings = {(r.key.partition(".")[2], r.subject): r for r in await watching.read()}
    values = {
        place: r.value for place, r in readings.items() if r.gap is None and place[0] not in {"errors", "requests"}
    }
    assert values == {("share", "valued"): 0.25, ("sum", EDGE): 0.04, ("raw", "valued"): 80.0, ("scalar", EDGE): 7.0}
    gaps = {place[0]: (r.gap, r.detail) for place, r in readings.items() if r.gap is not None and place[1] == EDGE}
    assert gaps["nan"] == (GapKind.NOT_A_NUMBER, f"nan (query sum({mine}) * 0 / 0)")
    assert gaps["none"] == (GapKind.NO_TRAFFIC, "an empty result (query sum(no_such_series))")
    assert gaps["many"][0] is GapKind.BAD_ANSWER
    assert gaps["many"][1].startswith("2 series without the label instance (query sum by (status)")
    assert gaps["broken"][0] is GapKind.NO_ANSWER
    assert gaps["broken"][1].startswith("HTTP 400: bad_data: ")
    assert "parse error: " in gaps["broken"][1]
    assert gaps["broken"][1].endswith("(query sum()")
    assert gaps["clash"][1].startswith("HTTP 422: execution: found duplicate series")
