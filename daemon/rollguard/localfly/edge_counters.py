"""What an edge counts, under the names of Fly's metrics."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from itertools import chain

from rollguard.localfly.counters import ResponseCounter
from rollguard.localfly.history import Sample
from rollguard.localfly.routing import Machine

UP = "fly_instance_up"


class Counters:
    """The responses of one edge under the names of Fly's metrics: per machine, and as users saw them."""

    def __init__(self, app: str, region: str) -> None:
        self._app, self._region = app, region
        self._host = _host_of(app)
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

    def answered(self, machine: Machine, status: int, duration_s: float) -> None:
        """Count what a machine answered to the proxy."""
        region, host = machine.region or self._region, _host_of(machine.id)
        self._machines.observe((self._app, region, host, machine.id, str(status)), duration_s)

    def seen(self, status: int, duration_s: float) -> None:
        """Count what a user saw, the proxy's own errors included."""
        self._edge.observe((self._app, self._region, self._host, str(status)), duration_s)

    def keep(self, machines: Sequence[Machine]) -> None:
        """Forget the series of machines that no longer exist."""
        self._machines.forget_all_but("instance", frozenset(machine.id for machine in machines))

    def up(self, machines: Sequence[Machine]) -> Iterator[Sample]:
        """The machines that report: a gauge of 1 each, and nothing for one that is down."""
        for machine in machines:
            if machine.state == "started":
                region, host = machine.region or self._region, _host_of(machine.id)
                labels = {"__name__": UP, "app": self._app, "region": region, "host": host, "instance": machine.id}
                yield UP, "gauge", labels, 1

    def samples(self) -> Iterator[Sample]:
        """All that is counted."""
        return chain(self._machines.samples(), self._edge.samples())


def _host_of(name: str) -> str:
    """Four hex digits, as Fly names its hosts."""
    return hashlib.sha256(name.encode()).hexdigest()[:4]
