"""The scrape source reads the local platform's metrics pages as it would read Fly's."""

from __future__ import annotations

from rollguard.adapters.signals.scrape import ScrapeSource
from rollguard.core.signals import Matcher, Selector
from rollguard.localfly.counters import ResponseCounter, exposition, selector
from tests.adapters.scripted_transport import ScriptedTransport, says
from tests.adapters.signals_of import HandClock, read, scrape_signal

COUNT, TIME = "fly_app_http_responses_count", "fly_app_http_response_time_seconds"
SHOP = Matcher("app", "=", "shop")


def test_what_the_local_platform_counted_is_what_the_guard_reads() -> None:
    counter = ResponseCounter(count=COUNT, time=TIME, labels=("app", "instance", "status"))
    clock = HandClock()
    signal = scrape_signal(
        counters={
            "errors": Selector(COUNT, (SHOP, Matcher("status", "=~", "5.."))),
            "requests": Selector(COUNT, (SHOP,)),
        },
        histograms={"latency": Selector(f"{TIME}_bucket", (SHOP,))},
        token=None,
    )

    def page() -> bytes:
        return exposition(counter.samples(), match=selector('{app="shop"}'), at_ms=int(clock.at * 1000))

    source = ScrapeSource(signal, ScriptedTransport(lambda asked: says(page())), {})
    counter.observe(("shop", "m1", "200"), 0.12)
    counter.observe(("other", "m9", "500"), 0.12)
    assert read(source, clock, "m1") == []
    for status, duration_s in (("200", 0.12), ("200", 0.3), ("500", 4.0)):
        counter.observe(("shop", "m1", status), duration_s)
    clock.at += 15
    errors, requests, latency = read(source, clock, "m1")
    assert (errors.value, requests.value, latency.value) == (1.0, 3.0, 3.0)
    assert dict(latency.buckets)[0.15] == 1.0
    assert dict(latency.buckets)[0.3] == 2.0
    assert dict(latency.buckets)[5.0] == 3.0
