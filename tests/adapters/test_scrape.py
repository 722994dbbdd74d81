"""From metrics pages to increases per machine, and honest gaps where there are none."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import pytest

from rollguard.adapters.http import TooLarge
from rollguard.adapters.signals.scrape import ScrapeSource
from rollguard.core.model import GapKind, Reading
from rollguard.core.signals import Matcher, Selector, Split
from rollguard.errors import GuardError, Unavailable
from rollguard.ports import HttpAnswer
from tests.adapters.scripted_transport import ScriptedTransport, says
from tests.adapters.signals_of import NOON, RESPONSES, SECONDS, HandClock, read, scrape_signal

ENVIRON = {"METRICS_TOKEN": "FlyV1 fm2_read"}


def page(**counts: int) -> bytes:
    """``m1_500=3`` is 3 responses with status 500 of machine m1."""
    lines = [
        f'responses{{app="shop",instance="{name.partition("_")[0]}",status="{name.partition("_")[2]}"}} {count}\n'
        for name, count in counts.items()
    ]
    return b"# TYPE responses counter\n" + "".join(lines).encode()


class Scraping:
    """A source, its clock, and a metrics page that can be changed between rounds."""

    def __init__(self, **but: object) -> None:
        self.answer: HttpAnswer | GuardError = says(b"")
        self.transport = ScriptedTransport(lambda asked: self.answer)
        self.source = ScrapeSource(scrape_signal(**but), self.transport, ENVIRON)
        self.clock = HandClock()

    def read(self, answer: bytes | HttpAnswer | GuardError, *started: str) -> list[Reading]:
        """The next round, 15 s later, finding this."""
        self.clock.at += 15.0
        self.answer = says(answer) if isinstance(answer, bytes) else answer
        return read(self.source, self.clock, *started)


def summary(readings: Sequence[Reading]) -> dict[str, float | GapKind | None]:
    return {f"{r.key.removeprefix('traffic')}@{r.subject}": r.gap or r.value for r in readings}


def test_increases_come_per_machine_and_selector_from_the_second_page_on() -> None:
    scraping = Scraping()
    assert scraping.read(page(m1_200=100, m1_500=3, m2_200=50)) == []
    readings = scraping.read(page(m1_200=160, m1_500=7, m2_200=90, m2_503=2))
    assert summary(readings) == {".errors@m1": 4.0, ".requests@m1": 64.0, ".errors@m2": 2.0, ".requests@m2": 42.0}
    assert {(r.since, r.at) for r in readings} == {(NOON + 15, NOON + 30)}


def test_the_token_is_sent_as_its_kind_asks() -> None:
    scraping = Scraping()
    scraping.read(page(m1_200=1))
    assert scraping.transport.asked[0].headers["Authorization"] == "FlyV1 fm2_read"


def test_the_edge_has_all_series_where_there_is_no_machine_label() -> None:
    scraping = Scraping(machine_label=None)
    scraping.read(page(m1_200=100, m2_200=50))
    assert summary(scraping.read(page(m1_200=110, m2_200=55, m2_500=1))) == {
        ".errors@edge": 1.0,
        ".requests@edge": 16.0,
    }


def test_series_of_others_or_without_the_machine_label_are_ignored() -> None:
    scraping = Scraping()
    strangers = b'responses{app="shop",status="500"} 9\nresponses{app="other",instance="m1",status="500"} 9\n'
    scraping.read(page(m1_200=1))
    assert summary(scraping.read(page(m1_200=2) + strangers)) == {".errors@m1": 0.0, ".requests@m1": 1.0}


def test_a_histogram_gives_bucket_increases() -> None:
    def buckets(*counts: int) -> bytes:
        lines = [
            f'seconds_bucket{{app="shop",instance="m1",le="{le}"}} {n}\n'
            for le, n in zip(("0.5", "1e1", "+Inf"), counts, strict=True)
        ]
        return "".join(lines).encode() + b'seconds_bucket{app="shop",instance="m1"} 7\nseconds_sum 7\n'

    scraping = Scraping(counters={}, histograms={"latency": SECONDS})
    scraping.read(buckets(1, 2, 3))
    readings = scraping.read(buckets(2, 4, 7))
    assert readings[0].buckets == ((0.5, 1.0), (10.0, 2.0), (math.inf, 4.0))
    assert (readings[1].gap, readings[1].detail) == (GapKind.BAD_ANSWER, "1 lines not well formed")


@pytest.mark.parametrize(
    "answer, gap, detail",
    [
        (Unavailable("timeout after 10s: GET prom.test/federate"), GapKind.NO_ANSWER, "timeout after 10s"),
        (says({"error": "x"}, 500), GapKind.NO_ANSWER, "HTTP 500"),
        (says({"error": "x"}, 401), GapKind.NO_ANSWER, "HTTP 401"),
        (says(b"", 302), GapKind.BAD_ANSWER, "HTTP 302"),
        (TooLarge("more than 4194304 bytes: GET", HttpAnswer(200, {}, b"")), GapKind.BAD_ANSWER, "more than 4194304"),
        (says(b""), GapKind.BAD_ANSWER, "an empty page"),
        (says(b"<html>oops</html>\n"), GapKind.BAD_ANSWER, "not a metrics page"),
        (says(page(m1_200=1).replace(b" 1", b" one")), GapKind.BAD_ANSWER, "1 lines not well formed, and no other"),
        (says(page(**{f"m{n}_200": n for n in range(2001)})), GapKind.BAD_ANSWER, "more than 2000 series"),
        (says(page(m1_200=1) * 50_001), GapKind.BAD_ANSWER, "more than 50000 wanted lines"),
    ],
)
def test_a_page_that_cannot_be_used_is_a_gap_of_every_key_and_the_next_increase_spans_it(
    answer: HttpAnswer | GuardError, gap: GapKind, detail: str
) -> None:
    scraping = Scraping()
    scraping.read(page(m1_200=100))
    readings = scraping.read(answer, "m1")
    assert summary(readings) == {"@edge": gap, ".errors@edge": gap, ".requests@edge": gap}
    assert all(reading.detail.startswith(detail) for reading in readings)
    assert scraping.read(page(m1_200=130))[1] == Reading(
        key="traffic.requests", subject="m1", at=NOON + 45, value=30.0, since=NOON + 15
    )


def test_a_missing_token_is_a_gap_that_names_it() -> None:
    source = ScrapeSource(scrape_signal(), ScriptedTransport(lambda asked: says(page(m1_200=1))), {})
    readings = read(source, HandClock())
    assert {reading.gap for reading in readings} == {GapKind.NO_ANSWER}
    assert "METRICS_TOKEN" in readings[0].detail


def test_a_malformed_line_is_counted_and_the_rest_of_the_page_is_used() -> None:
    scraping = Scraping()
    scraping.read(page(m1_200=100))
    broken = b'responses{app="shop",instance="m1",status=500} 3\nresponses{app="shop"} x\n'
    readings = scraping.read(page(m1_200=110) + broken)
    assert summary(readings) == {".errors@m1": 0.0, ".requests@m1": 10.0, "@edge": GapKind.BAD_ANSWER}
    assert readings[-1].detail == "2 lines not well formed"


def test_a_started_machine_that_a_good_page_does_not_mention_has_no_traffic() -> None:
    scraping = Scraping()
    scraping.read(page(m1_200=100), "m1")
    readings = scraping.read(page(m1_200=110), "m1", "m2")
    assert summary(readings)[".requests@m2"] is GapKind.NO_TRAFFIC
    assert summary(readings)[".errors@m2"] is GapKind.NO_TRAFFIC


def test_samples_far_older_than_two_rounds_are_stale() -> None:
    def stamped(count: int, at: float) -> bytes:
        return f'responses{{app="shop",instance="m1",status="200"}} {count} {int(at * 1000)}\n'.encode()

    scraping = Scraping()
    scraping.read(stamped(100, NOON))
    assert summary(scraping.read(stamped(110, NOON + 20)))[".requests@m1"] == 10.0
    scraping.clock.at = NOON + 120
    assert summary(scraping.read(stamped(110, NOON + 20)))[".requests@m1"] is GapKind.STALE


def test_openmetrics_suffixes_are_understood() -> None:
    scraping = Scraping(
        counters={"all": Selector("hits")}, histograms={"latency": Selector("seconds")}, machine_label=None
    )
    text = 'hits_total 1\nseconds_bucket{le="+Inf"} 1\n# EOF\n'
    scraping.read(text.encode())
    assert summary(scraping.read(text.replace(" 1", " 5").encode())) == {".all@edge": 4.0, ".latency@edge": 4.0}


@pytest.mark.parametrize(
    "op, value, statuses",
    [
        ("=", "500", ["500"]),
        ("!=", "500", ["200", "5000"]),
        ("=~", "5..", ["500"]),
        ("=~", "200|500", ["200", "500"]),
        ("!~", "5.*", ["200"]),
    ],
)
def test_matchers_mean_what_they_mean_in_promql(op: str, value: str, statuses: list[str]) -> None:
    selector = Selector(RESPONSES.name, (Matcher("status", op, value),))
    scraping = Scraping(counters={"some": selector})
    weights = {"200": 1, "500": 10, "5000": 100}
    scraping.read(page(m1_200=0, m1_500=0, m1_5000=0, m1_=0))
    (reading,) = scraping.read(page(**{f"m1_{status}": weight for status, weight in weights.items()}))
    assert reading.value == sum(weights[status] for status in statuses)


def routes(**counts: int) -> bytes:
    """``cart_500=3`` is 3 responses with status 500 on the route /cart."""
    lines = page(**{f"m1_{name}": count for name, count in counts.items()}).decode()
    return re.sub(r'status="(\w+)_', r'route="/\1",status="', lines).encode()


def test_counters_are_told_apart_by_the_label_that_the_signal_is_split_by() -> None:
    scraping = Scraping(split=Split("route", 2))
    scraping.read(routes(cart_200=100, home_200=900, help_200=1))
    readings = scraping.read(routes(cart_200=110, cart_500=4, home_200=950, help_200=2, help_500=1))
    parts = {r.key.removeprefix("traffic."): dict(r.parts) for r in readings}
    assert parts["requests"] == {"/cart": 14.0, "/home": 50.0, "": 2.0}
    assert parts["errors"] == {"/cart": 4.0, "": 1.0}


def test_an_unsplit_signal_tells_nothing_apart() -> None:
    scraping = Scraping()
    scraping.read(routes(cart_200=100))
    assert [r.parts for r in scraping.read(routes(cart_200=110))] == [(), ()]
