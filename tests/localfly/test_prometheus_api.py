"""The metrics store: instant and range queries over what was sampled; lag, gaps and resets; no query language."""

from __future__ import annotations

import asyncio
import itertools
import json
from typing import Any
from urllib.parse import urlencode

import pytest

from rollguard.localfly.faults import Faults
from rollguard.localfly.history import EVERY_S, LOOKBACK_S
from rollguard.localfly.simulated_app import SimulatedApp
from tests.localfly.simulated import APP, Fly, at, first, image, live, settled
from tests.virtual_time import wall_clock

BASE = "https://api.fly.io/prometheus/personal"
COUNT = "fly_app_http_responses_count"


class Store:
    """The metrics of an app that 20 users a second visit."""

    def __init__(self, fly: Fly, *, rps: float = 20.0) -> None:
        self.faults = Faults()
        self._site = SimulatedApp(fly.world, fly.host, APP, wall_clock, rps=rps, faults=self.faults)

    async def raw(self, path: str, method: str = "GET", **parameters: Any) -> tuple[int, bytes]:
        """Status and body; `match` stands for `match[]`."""
        named = {"match[]" if name == "match" else name: value for name, value in parameters.items()}
        form = urlencode(named, doseq=True)
        if method == "POST":
            status, _, body = await self._site.answer("POST", f"{BASE}/{path}", {}, form.encode())
        else:
            status, _, body = await self._site.answer("GET", f"{BASE}/{path}?{form}")
        return status, body

    async def data(self, path: str, method: str = "GET", **parameters: Any) -> Any:
        status, body = await self.raw(f"api/v1/{path}", method, **parameters)
        document = json.loads(body)
        assert (status, document["status"]) == (200, "success"), body
        return document["data"]

    async def values(self, query: str) -> list[float]:
        """An instant query's values."""
        return [float(each["value"][1]) for each in (await self.data("query", query=query))["result"]]

    async def watch(self, for_s: float) -> None:
        """Let somebody look at intervals, as a store's scraper does."""
        for _ in range(int(for_s // EVERY_S)):
            await asyncio.sleep(EVERY_S)
            await self.data("query", query=COUNT)


def test_an_instant_query_selects_series_by_their_labels() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(2)
        await settled(app)
        store, machine = Store(fly), first(app)
        await store.watch(60)
        found = await store.data("query", query=f'{COUNT}{{instance="{machine.id}",status=~"2.."}}')
        assert found["resultType"] == "vector"
        (series,) = found["result"]
        assert series["metric"] == {
            "__name__": COUNT,
            "app": APP,
            "region": "ord",
            "host": "5e1f",
            "instance": machine.id,
            "status": "200",
        }
        assert series["value"][0] == wall_clock()
        assert isinstance(series["value"][1], str)
        assert await store.values(f'{COUNT}{{status="500"}}') == [], "no traffic is an empty result, not 0"
        assert await store.values("fly_instance_up") == [1.0, 1.0]
        posted = await store.data("query", "POST", query=COUNT, timeout="5")
        assert len(posted["result"]) == 2

    live(story)


def test_a_range_selector_gives_the_samples_themselves() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(1)
        await settled(app)
        store = Store(fly)
        await store.watch(120)
        found = await store.data("query", query=f"{COUNT}[1m]")
        (series,) = found["result"]
        times = [when for when, _ in series["values"]]
        counts = [float(value) for _, value in series["values"]]
        assert found["resultType"] == "matrix"
        assert [after - before for before, after in itertools.pairwise(times)] == [EVERY_S] * 3
        assert counts == sorted(counts)
        assert counts[-1] - counts[0] == pytest.approx(20 * 45, abs=1)

    live(story)


def test_a_query_over_a_range_asks_at_every_step() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(1)
        await settled(app)
        store = Store(fly)
        await store.watch(120)
        end = wall_clock()
        found = await store.data("query_range", query=COUNT, start=end - 60, end=end, step="30s")
        assert [when for when, _ in found["result"][0]["values"]] == [end - 60, end - 30, end]
        assert found["resultType"] == "matrix"

    live(story)


def test_series_labels_and_their_values_are_listed() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(2)
        await settled(app)
        store = Store(fly)
        await store.watch(30)
        assert len(await store.data("series", match=[COUNT, "fly_instance_up"])) == 4
        assert "le" in await store.data("labels")
        assert await store.data("label/instance/values", match=COUNT) == sorted(app.machines)
        assert "+Inf" in await store.data("label/le/values")
        assert (await store.raw("api/v1/series"))[0] == 400

    live(story)


@pytest.mark.parametrize(
    "query",
    [
        f"rate({COUNT}[2m])",
        f"sum by (instance)({COUNT})",
        f"{COUNT} / {COUNT}",
        f"{COUNT} offset 5m",
        f"{COUNT}[2m:15s]",
        "1",
        "",
        "{}",
    ],
)
def test_what_is_no_selector_is_refused_in_prometheus_own_shape(query: str) -> None:
    async def story(fly: Fly) -> None:
        fly.deploy(1)
        status, body = await Store(fly).raw("api/v1/query", query=query)
        document = json.loads(body)
        assert (status, document["status"], document["errorType"]) == (400, "error", "bad_data")
        assert "selectors only" in document["error"]

    live(story)


@pytest.mark.parametrize(
    "parameters",
    [
        {"start": 0, "end": 1, "step": 0},
        {"start": 0, "end": 1, "step": "often"},
        {"start": 2, "end": 1, "step": 1},
        {"start": 0, "end": 1e9, "step": 1},
        {"start": "yesterday", "end": 1, "step": 1},
        {"start": "1e999", "end": 1, "step": 1},
    ],
    ids=str,
)
def test_a_range_that_cannot_be_is_bad_data(parameters: dict[str, Any]) -> None:
    async def story(fly: Fly) -> None:
        fly.deploy(1)
        status, body = await Store(fly).raw("api/v1/query_range", query=COUNT, **parameters)
        assert (status, json.loads(body)["errorType"]) == (400, "bad_data")

    live(story)


def test_a_lag_hides_the_newest_samples() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(1)
        await settled(app)
        store = Store(fly)
        await store.watch(120)
        (prompt,) = await store.values(COUNT)
        store.faults.change({"metrics_lag_s": 60})
        (late,) = await store.values(COUNT)
        assert prompt - late == pytest.approx(20 * 60, abs=1)
        assert len((await store.data("query", query=f"{COUNT}[2m]"))["result"][0]["values"]) == 4

    live(story)


def test_a_stale_store_repeats_itself_then_says_nothing_and_keeps_a_gap() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(1)
        await settled(app)
        store = Store(fly)
        await store.watch(60)
        (newest,) = await store.values(COUNT)
        store.faults.change({"metrics": "stale"})
        await asyncio.sleep(120)
        assert await store.values(COUNT) == [newest]
        await asyncio.sleep(LOOKBACK_S)
        assert await store.values(COUNT) == []
        store.faults.change({"metrics": None})
        (after,) = await store.values(COUNT)
        assert after > newest
        times = [when for when, _ in (await store.data("query", query=f"{COUNT}[10m]"))["result"][0]["values"]]
        assert max(b - a for a, b in itertools.pairwise(times)) == 420

    live(story)


def test_a_reset_lets_counters_begin_at_zero_again_once() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(1)
        await settled(app)
        store = Store(fly)
        await store.watch(60)
        (before,) = await store.values(COUNT)
        store.faults.change({"metrics": "reset"})
        await store.watch(30)
        (after,) = await store.values(COUNT)
        assert 0 < after < before
        await store.watch(30)
        assert (await store.values(COUNT))[0] - after == pytest.approx(20 * 30, abs=1), "it counts on from there"
        assert await store.values("fly_instance_up") == [1.0], "a gauge is no counter"

    live(story)


@pytest.mark.parametrize("path", ["api/v1/query", "federate"])
def test_a_store_may_be_out_of_order_or_empty(path: str) -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(1)
        await settled(app)
        store = Store(fly)
        await store.watch(30)
        asked = {"query": COUNT, "match": COUNT}
        store.faults.change({"metrics": "503", "times": 1})
        assert (await store.raw(path, **asked))[0] == 503
        store.faults.change({"metrics": "empty", "times": None})
        status, body = await store.raw(path, **asked)
        assert (status, b"instance" in body) == (200, False)
        store.faults.change({"metrics": None})
        assert b"instance" in (await store.raw(path, **asked))[1]

    live(story)


def test_a_federation_lags_and_goes_stale_like_everything_else() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(1)
        await settled(app)
        store = Store(fly)
        await store.watch(120)

        async def count() -> tuple[float, int]:
            line = (await store.raw("federate", match=COUNT))[1].decode().splitlines()[-1]
            return float(line.split()[-2]), int(line.split()[-1])

        now, at_ms = await count()
        assert at_ms == wall_clock() * 1000
        store.faults.change({"metrics_lag_s": 60})
        late, late_ms = await count()
        assert (now - late, at_ms - late_ms) == (pytest.approx(20 * 60, abs=1), 60_000)

    live(story)


def test_what_the_proxy_itself_answers_is_counted_for_no_machine() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(1)
        await settled(app)
        await fly.call("POST", at(first(app), "/cordon"))
        store = Store(fly)
        await store.watch(30)
        assert await store.values('fly_edge_http_responses_count{status="503"}') == [600.0]
        assert await store.values(f'{COUNT}{{status="503"}}') == []

    live(story)


def test_a_machine_that_is_down_has_no_series_rather_than_zeros() -> None:
    async def story(fly: Fly) -> None:
        crashing = image("CRASHING", crash_after_s=1.0)
        fly.world.images.push(crashing)
        app = fly.deploy(1)
        await settled(app)
        config = {**first(app).config, "restart": {"policy": "no"}, "image": crashing.ref}
        await fly.call("POST", at(first(app)), {"config": config})
        store = Store(fly)
        await store.watch(60)
        assert await store.values("fly_instance_up") == []

    live(story)
