"""A release that breaks one route, a hundredth of the traffic, judged by comparison route by route.

The app tells what it did on each route on a page of its own; nothing else shows it: no limit, no sum, no probe.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace

from rollguard.core import events as ev
from rollguard.core.budgets import ByLabel
from rollguard.core.policy import Action, Compared, Policy, Ratio, Rule
from rollguard.core.signals import Matcher, ScrapeSignal, Selector, Split
from rollguard.localfly.images import Image
from rollguard.localfly.simulated_app import Answer
from tests.simulation.shop import FINE, POLICY, Books, Shop, Town, image, open_shop
from tests.simulation.stage import APP, GOOD, Stage
from tests.virtual_time import wall_clock

CHECKOUT = image("CHECKOUT", latency_s=0.12)
IMAGES = (GOOD, FINE, CHECKOUT)
PAGE = "/internal/routes"
LOAD: Mapping[str, float] = {"/": 90.0, "/cart": 9.0, "/checkout": 1.0}
"""Requests a second and machine."""
BROKEN = 0.25
LEARNS_MINUTES = 6.0

ROUTES = ScrapeSignal(
    name="routes",
    every_s=15.0,
    url=f"https://{APP}.fly.dev{PAGE}",
    timeout_s=4.0,
    counts_probes=False,
    counters={
        "errors": Selector("requests_total", (Matcher("code", "=~", "5.."),)),
        "requests": Selector("requests_total"),
    },
    split=Split("route"),
)
A_ROUTE = Rule(
    name="a-route-got-worse",
    condition=Compared(
        of=Ratio(
            bad="routes.errors",
            total="routes.requests",
            over_s=120.0,
            limit=0.0,
            above=True,
            min_count=0.0,
            by=ByLabel("route"),
        )
    ),
    then=Action.ROLLBACK,
)
BY_ROUTE: Policy = replace(
    POLICY,
    signals=(*POLICY.signals, ROUTES),
    rules=(*POLICY.rules, A_ROUTE),
    comparing=replace(POLICY.comparing, block_s=60.0),
)
"""As shipped, with a rule by route; a block is learnt in a minute."""


class Routes:
    """What each machine has counted so far, on a page as Prometheus reads it."""

    def __init__(self, stage: Stage, town: Town) -> None:
        self._stage, self._at = stage, wall_clock()
        self._counted: Counter[tuple[str, str, str]] = Counter()
        self.outage = False
        """Checkout fails as much on every machine, whatever it runs."""
        town.app_answer = self.answer

    def answer(self, path: str, machine: str | None) -> Answer | None:
        if path != PAGE:
            return None
        span_s, self._at = wall_clock() - self._at, wall_clock()
        for name, machine_ in self._stage.app.machines.items():
            for route, rps in LOAD.items():
                broken = route == "/checkout" and (self.outage or machine_.image.digest == CHECKOUT.digest)
                fails = BROKEN if broken else 0.001
                self._counted[name, route, "500"] += span_s * rps * fails
                self._counted[name, route, "200"] += span_s * rps * (1 - fails)
        lines = [
            f'requests_total{{instance="{name}",route="{route}",code="{code}"}} {count}'
            for (name, route, code), count in sorted(self._counted.items())
        ]
        return 200, {"content-type": "text/plain; version=0.0.4"}, ("\n".join(lines) + "\n").encode()


def released(candidate: Image, minutes: float, *, outage: bool = False) -> Books:
    """The guard has learnt what each route does; then the whole fleet gets this image."""
    told: list[Routes] = []

    async def routes(stage: Stage, town: Town) -> None:
        told.append(Routes(stage, town))

    async def story(shop: Shop) -> None:
        await shop.wait(LEARNS_MINUTES)
        await shop.stage.deploy(candidate)
        told[0].outage = outage
        await shop.wait(minutes)

    return open_shop(story, images=IMAGES, policy=BY_ROUTE, before=routes)


def test_a_release_that_breaks_a_small_route_is_taken_back_and_the_route_is_named() -> None:
    books = released(CHECKOUT, 12)
    books.takes_back(CHECKOUT)
    (decided,) = [e for e in books.of(ev.Decided) if e.decision == "rollback"]
    assert "route /checkout" in decided.sentence
    (proof,) = books.of(ev.FirstJudged)
    assert proof.sentence.startswith("a-route-got-worse: /checkout: 0 of 60 on the old image")


def test_an_outage_of_what_one_route_needs_is_told_from_the_release_by_the_first_machine() -> None:
    books = released(FINE, 12, outage=True)
    assert books.stage.digests == {FINE.digest, GOOD.digest}
    (proof,) = books.of(ev.FirstJudged)
    assert proof.result == "no better"
    assert "not improved by the old image" in books.pages[-1]


def test_a_healthy_release_is_healthy_on_every_route() -> None:
    books = released(FINE, 12)
    books.leaves_alone()
    assert A_ROUTE.name not in books.fired
