"""From requests to a share of errors: whatever a metrics store does on the way, nothing is invented and nothing hidden.

Requests happen at random; a store shows them late, breaks, is reset, or goes back to a replica that is behind; the
guard's own probes are among them. What the source, its memory and the window make of that is held against a count
of the requests themselves.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from rollguard.adapters.signals.scrape import ScrapeSource
from rollguard.core.model import Reading
from rollguard.core.policy import Policy, Ratio
from rollguard.core.ratios import Measure, ratio_at
from rollguard.core.window import Windows
from rollguard.errors import GuardError, Unavailable
from rollguard.ports import HttpAnswer
from tests import builders
from tests.adapters.scripted_transport import ScriptedTransport, says
from tests.adapters.signals_of import NOON, HandClock, read, scrape_signal

EVERY_S = 15.0
MACHINES = ("m1", "m2", "m3")
SIGNAL = scrape_signal(token=None)
POLICY: Policy = builders.a_policy(signals=(builders.HEALTH, SIGNAL), rules=())
SHARE = Ratio(bad="traffic.errors", total="traffic.requests", over_s=3600.0, limit=0.1, above=True, min_count=0.0)
BROKEN: Sequence[HttpAnswer | GuardError] = (
    Unavailable("timeout after 10s: GET"),
    says(b""),
    says(b"<html>502</html>"),
    says(b"x", status=503),
)


@dataclass(frozen=True, slots=True)
class Visit:
    """One request that a machine answered; ``probe``: it was the guard's own."""

    at: float
    machine: str
    status: int
    probe: bool = False


visits = st.lists(
    st.builds(
        Visit,
        at=st.integers(0, 12 * 15 - 1).map(lambda s: NOON + s + 0.5),
        machine=st.sampled_from(MACHINES),
        status=st.sampled_from([200, 200, 200, 404, 500, 503]),
        probe=st.booleans(),
    ),
    max_size=120,
)


def page(seen: Sequence[Visit], until: float, since: float = -math.inf) -> bytes:
    """The counters of everything later than ``since``, their start, up to ``until``, with its stamp."""
    counts = Counter((v.machine, v.status) for v in seen if since < v.at <= until)
    lines = [
        f'responses{{app="shop",instance="{machine}",status="{status}"}} {count} {until * 1000:.0f}'
        for (machine, status), count in sorted(counts.items())
    ]
    return ("# TYPE responses counter\n" + "\n".join(lines) + "\n").encode()


class Guarded:
    """The source, the window and the clock of one guard that reads page after page."""

    def __init__(self, seen: Sequence[Visit]) -> None:
        self.answer: HttpAnswer | GuardError = says(b"")
        self.source = ScrapeSource(SIGNAL, ScriptedTransport(lambda asked: self.answer), {})
        self.clock = HandClock()
        self.windows = Windows(1e6)
        self.windows.add(_probe(v) for v in sorted(seen, key=lambda v: v.at) if v.probe)

    def read(self, answer: bytes | HttpAnswer | GuardError) -> None:
        self.answer = says(answer) if isinstance(answer, bytes) else answer
        self.windows.add(read(self.source, self.clock, *MACHINES))

    def measure(self, since: float = 0.0) -> Measure:
        cohort = tuple(builders.a_tenure(m, since=since) for m in MACHINES)
        view = builders.a_view(cohort=cohort, whole_since=since)
        return ratio_at(SHARE, POLICY, view, self.windows, self.clock.at)


def _probe(visit: Visit) -> Reading:
    value = 1.0 if visit.status == 200 else 0.0
    detail = f"HTTP {visit.status}"
    return Reading(key="health", subject=visit.machine, at=visit.at, value=value, detail=detail)


def users(seen: Sequence[Visit], first_shown: dict[str, float], last_shown: float) -> tuple[int, int]:
    """By hand: users' requests, and those that failed, after each machine was first shown."""
    counted = [
        v for v in seen if not v.probe and v.machine in first_shown and first_shown[v.machine] < v.at <= last_shown
    ]
    return len(counted), sum(v.status >= 500 for v in counted)


@settings(max_examples=100, deadline=None)
@given(
    seen=visits,
    lag_s=st.sampled_from([0, 3, 20, 45]),
    broken=st.dictionaries(st.integers(0, 12), st.sampled_from(BROKEN), max_size=5),
    behind=st.sets(st.integers(1, 12), max_size=3),
)
def test_every_request_after_the_first_sight_is_counted_once_and_no_probe_is(
    seen: list[Visit], lag_s: float, broken: dict[int, HttpAnswer | GuardError], behind: set[int]
) -> None:
    guarded = Guarded(seen)
    first_shown: dict[str, float] = {}
    last_shown = 0.0
    for round_ in range(13):
        guarded.clock.at = NOON + EVERY_S * round_
        if round_ in broken:
            guarded.read(broken[round_])
            continue
        shown = guarded.clock.at - lag_s - (25.0 if round_ in behind else 0.0)
        guarded.read(page(seen, shown))
        for machine in {v.machine for v in seen if v.at <= shown}:
            first_shown.setdefault(machine, shown)
        last_shown = max(last_shown, shown)
    requests, errors = users(seen, first_shown, last_shown)
    measured = guarded.measure()
    assert measured.count == requests
    assert measured.value == (errors / requests if requests else None)


@settings(max_examples=100, deadline=None)
@given(seen=visits, resets=st.lists(st.integers(1, 11), max_size=4), lag_s=st.sampled_from([0, 20]))
def test_resets_may_hide_what_came_right_before_them_and_invent_nothing(
    seen: list[Visit], resets: list[int], lag_s: float
) -> None:
    seen = [replace(v, probe=False) for v in seen]
    guarded = Guarded(seen)
    for round_ in range(13):
        guarded.clock.at = NOON + EVERY_S * round_
        begun = max((NOON + EVERY_S * r - 7.0 for r in resets if r <= round_), default=-math.inf)
        guarded.read(page(seen, guarded.clock.at - lag_s, begun))
    measured = guarded.measure()
    assert measured.count <= len(seen)
    if measured.value is not None:
        assert round(measured.value * measured.count) <= sum(v.status >= 500 for v in seen)


@settings(max_examples=100, deadline=None)
@given(seen=visits, lag_s=st.sampled_from([0, 20, 45]), born=st.integers(0, 170))
def test_nothing_that_happened_before_the_release_is_held_against_it_however_late_it_is_told(
    seen: list[Visit], lag_s: float, born: int
) -> None:
    """The same machines, the same counters; the release before answered everything up to ``born`` with 500."""
    since = NOON + born
    seen = [replace(v, probe=False, status=500 if v.at <= since else 200) for v in seen]
    guarded = Guarded(seen)
    for round_ in range(16):
        guarded.clock.at = NOON + EVERY_S * round_
        guarded.read(page(seen, guarded.clock.at - lag_s))
    assert guarded.measure(since).value in {None, 0.0}
