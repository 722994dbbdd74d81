"""Users in simulated time: their requests are not made one by one but accounted for, from how the images behave.

Deterministic: the same seed, world and moments of looking give the same counters.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

from rollguard.localfly.counters import ResponseCounter
from rollguard.localfly.history import Sample
from rollguard.localfly.hotdash import LATENCY_SIGMA, HotDash
from rollguard.localfly.images import Behaviour

PAGES = ("/", "/dashboard", "/products")  # what users open, evenly
DRAWS_MAX = 50  # latencies drawn at a time; above, each stands for several requests
MEASURED_MAX = 10  # of them, those that the app's own monitoring is told of
PROXY_S = 0.001
PROXY_ERROR = "503"
HOST = "5e1f"


@dataclass(frozen=True, slots=True)
class Serving:
    """A machine that users are sent to."""

    id: str
    region: str
    behaviour: Behaviour
    app: HotDash


class Crowd:
    """Counts `rps` users' requests a second under the names of Fly's metrics, and single requests beside them."""

    def __init__(self, app: str, region: str, rps: float, now: float, seed: int) -> None:
        self.rps = rps
        self._app, self._region = app, region
        self._at = now
        self._owed = 0.0  # a part of a request
        self._dice = random.Random(f"crowd {seed}")
        self._serving: Sequence[Serving] = ()
        self._machines = ResponseCounter(
            count="fly_app_http_responses_count",
            time="fly_app_http_response_time_seconds",
            labels=("app", "region", "host", "instance", "status"),
        )
        self._edge = ResponseCounter(
            count="fly_edge_http_responses_count",
            time="fly_edge_http_response_time_seconds",
            labels=("app", "region", "host", "status"),
        )

    def advance(self, now: float) -> None:
        """Account for everything up to `now`, sent to the machines that served until then."""
        self._owed += (now - self._at) * self.rps
        self._at = now
        requests = int(self._owed)
        if not requests:
            return
        self._owed -= requests
        if not self._serving:
            self._edge.observe_many(self._edge_labels(PROXY_ERROR), PROXY_S, requests)
            return
        each, rest = divmod(requests, len(self._serving))
        lucky = self._dice.randrange(len(self._serving))
        for number, machine in enumerate(self._serving):
            self._visit(machine, each + ((number - lucky) % len(self._serving) < rest), now)

    def serve(self, serving: Sequence[Serving]) -> None:
        """From now on users are sent to these machines."""
        self._serving = serving

    def answered(self, machine: str, region: str, status: int, duration_s: float) -> None:
        """Count one real request that a machine answered."""
        self._machines.observe((self._app, region, HOST, machine, str(status)), duration_s)

    def seen(self, status: int, duration_s: float) -> None:
        """Count what the sender of one real request saw."""
        self._edge.observe(self._edge_labels(str(status)), duration_s)

    def samples(self, now: float) -> Iterator[Sample]:
        """The counters as they are at `now`."""
        self.advance(now)
        return chain(self._machines.samples(), self._edge.samples())

    def _visit(self, machine: Serving, requests: int, now: float) -> None:
        if not requests:
            return
        behaviour = machine.behaviour
        errors = self._binomial(requests, _failing_share(behaviour))
        for _ in range(errors):
            machine.app.failed(now, f"GET {PAGES[0]}")
        for status, count in (("500", errors), ("200", requests - errors)):
            self._count(machine, status, count, now)

    def _count(self, machine: Serving, status: str, requests: int, now: float) -> None:
        draws = min(requests, DRAWS_MAX)
        labels = (self._app, machine.region, HOST, machine.id, status)
        edge_labels = self._edge_labels(status)
        for number in range(draws):
            times = requests // draws + (number < requests % draws)
            latency_s = self._latency_s(machine.behaviour)
            self._machines.observe_many(labels, latency_s, times)
            self._edge.observe_many(edge_labels, latency_s + PROXY_S, times)
            if number < MEASURED_MAX:
                machine.app.monitor.measured(now, "route", latency_s)

    def _latency_s(self, behaviour: Behaviour) -> float:
        if behaviour.latency_s <= 0:
            return behaviour.added_latency_s
        drawn_s = self._dice.lognormvariate(math.log(behaviour.latency_s), LATENCY_SIGMA)
        return drawn_s + behaviour.added_latency_s

    def _binomial(self, trials: int, share: float) -> int:
        """How many of `trials` come true; by the normal curve where there are many."""
        if share <= 0.0 or share >= 1.0:
            return trials if share >= 1.0 else 0
        if trials <= DRAWS_MAX:
            return sum(self._dice.random() < share for _ in range(trials))
        drawn = self._dice.gauss(trials * share, math.sqrt(trials * share * (1.0 - share)))
        return min(trials, max(0, round(drawn)))

    def _edge_labels(self, status: str) -> tuple[str, ...]:
        return (self._app, self._region, HOST, status)


def _failing_share(behaviour: Behaviour) -> float:
    """The share of users' requests that fail, over all the pages they open."""
    broken = PAGES.count(behaviour.broken_page) / len(PAGES) if behaviour.broken_page else 0.0
    return broken + (1.0 - broken) * behaviour.error_share
