"""What is wrong with the data is a gap with its reason: never an exception, and never evidence against a release.

The property tests tell hostile stories of metrics pages: an app that is well, and a source that lies about it.
"""

from __future__ import annotations

import json
import math
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollguard.core.counters import CounterBook, Sample, TooMany
from rollguard.core.finding import RuleState
from rollguard.core.judge import judge_all
from rollguard.core.judging import Evidence
from rollguard.core.model import GapKind, Reading
from rollguard.core.policy import Rule, Threshold
from tests.builders import BAD, NOON, NUMBERS, a_rule
from tests.core.relative.released import (
    BOUNDS,
    ERRORS,
    LATENCY,
    MEDIAN_S,
    MORE_ERRORS,
    NORMAL,
    SCRAPE_S,
    SLOWER,
    SLOWER_PAGE,
    Released,
)

INF = math.inf
EDGES = (*BOUNDS, INF)
BLATANT = a_rule(replace(ERRORS, over_s=30.0, limit=0.1, min_count=50.0), name="errors-blatant")
P95 = a_rule(replace(LATENCY, limit=3.0, min_count=100.0), name="p95")
RULES = (MORE_ERRORS, SLOWER, SLOWER_PAGE, BLATANT, P95)

Page = list[Sample]
Lie = Callable[[Page, list[Page]], Page]
"""What a source shows instead of the truth; it knows the pages before."""


def truth(scrape: int, edges: Sequence[float] = EDGES) -> Page:
    """20 requests a second, one of a thousand fails, the median is what it always was."""
    requests, failed = 300.0 * (scrape + 40), float((scrape + 40) // 3)
    shares = [NORMAL.cdf(math.log(edge / MEDIAN_S) / 0.5) if edge < INF else 1.0 for edge in edges]
    return [
        Sample("traffic.errors", "m1", "500", failed),
        Sample("traffic.requests", "m1", "200", requests - failed),
        Sample("traffic.requests", "m1", "500", failed),
        *(Sample("traffic.latency", "m1", "all", round(s * requests), e) for s, e in zip(shares, edges, strict=True)),
    ]


def every(change: Callable[[float], float]) -> Lie:
    return lambda page, before: [replace(sample, value=change(sample.value)) for sample in page]


def one(key: str, change: Callable[[float], float]) -> Lie:
    return lambda page, before: [replace(s, value=change(s.value)) if s.key == key else s for s in page]


def other_edges(page: Page, before: list[Page]) -> Page:
    """The same requests, counted at other bounds."""
    return truth(len(before), (0.03, 0.07, 0.2, 0.35, 0.6, 0.9, 1.5, INF)) if page else page


LIES: dict[str, Lie] = {
    "the truth": lambda page, before: page,
    "no page": lambda page, before: [],
    "negative": every(lambda value: -value - 1.0),
    "no number": every(lambda value: math.nan),
    "infinite": every(lambda value: INF),
    "absurd": every(lambda value: 1e300),
    "absurd errors": one("traffic.errors", lambda value: value + 9e15),
    "negative errors": one("traffic.errors", lambda value: -1.0),
    "errors that are no number": one("traffic.errors", lambda value: math.nan),
    "shrunk a little": every(lambda value: value * 0.9),
    "errors shrunk a little": one("traffic.errors", lambda value: value - 1.0),
    "errors halved": one("traffic.errors", lambda value: value / 2),
    "errors from zero": one("traffic.errors", lambda value: 3.0),
    "everything from zero": every(lambda value: 0.0),
    "an older page": lambda page, before: before[max(-4, -len(before))] if before else page,
    "everything twice": lambda page, before: page + page,
    "errors twice": lambda page, before: page + [replace(s, value=s.value + 99) for s in page if s.series == "500"],
    "other buckets": other_edges,
    "a bucket less": lambda page, before: [s for s in page if s.bound != BOUNDS[3]],
    "no infinite bucket": lambda page, before: [s for s in page if s.key != "traffic.latency" or s.bound < INF],
    "buckets upside down": lambda page, before: [
        replace(s, value=1e6 - s.value) if s.key == "traffic.latency" else s for s in page
    ],
    "dated from yesterday": lambda page, before: [replace(s, at=NOON - 86400.0) for s in page],
    "dated from tomorrow": lambda page, before: [replace(s, at=NOON + 86400.0) for s in page],
    "dated nowhere": lambda page, before: [replace(s, at=math.nan) for s in page],
    "dated for ever": lambda page, before: [replace(s, at=INF) for s in page],
    "thousands of series": lambda page, before: (
        page + [Sample("traffic.errors", "m1", f"s{n}", 9.0) for n in range(3000)]
    ),
}


BACK_AND_FORTH = frozenset({"errors shrunk a little", "errors halved", "errors from zero"})
"""Lies about errors alone: after three of them in a row they are believed, and the truth is then a leap."""
ANY = st.sampled_from(sorted(LIES.keys() - BACK_AND_FORTH))


class Scraped:
    """One machine's release, read through the book of counters and judged by every kind of rule over counts."""

    def __init__(self) -> None:
        self.world = Released(rules=RULES)
        self.book = CounterBook(["traffic.errors", "traffic.requests"], ["traffic.latency"], stale_after_s=60.0)
        self.shown: list[Page] = []
        self.now = NOON
        self.said: list[Reading] = []
        self.fired: set[str] = set()

    @property
    def evidence(self) -> Evidence:
        return self.world.evidence

    def scrape(self, page: Page, after_s: float = SCRAPE_S) -> None:
        self.now += after_s
        try:
            readings = self.book.take(page, self.now)
        except TooMany:
            readings = [Reading("traffic.requests", "m1", self.now, gap=GapKind.BAD_ANSWER, detail="too many")]
        self.said += readings
        self.world.windows.add(readings)
        self.world.relatives.arm(BAD, self.world.baseline, self.evidence, self.now)
        self.world.relatives.take("traffic", readings, self.evidence)
        findings = judge_all(self.evidence, self.now)
        self.fired |= {f.rule.name for f in findings if f.state is RuleState.FIRING}

    def lives(self, story: Sequence[str], after_s: Sequence[float] = ()) -> None:
        pauses = [*after_s, *[SCRAPE_S] * (len(story) - len(after_s))]
        for number, (what, pause_s) in enumerate(zip(story, pauses, strict=False)):
            page = truth(number)
            self.scrape(LIES[what](page, self.shown), pause_s)
            self.shown.append(page)


def sound(reading: Reading) -> bool:
    """A gap with its reason, or a finite increase over a time that went forwards."""
    if reading.gap is not None:
        return reading.value is None and bool(reading.detail)
    heights = [count for _, count in reading.buckets]
    ok = reading.value is not None and 0.0 <= reading.value < INF
    return ok and heights == sorted(heights) and reading.since is not None and reading.since <= reading.to


@pytest.mark.parametrize("what", LIES)
def test_a_source_that_lies_every_third_time_convicts_nobody(what: str) -> None:
    scraped = Scraped()
    scraped.lives(["the truth", "the truth", what] * 40)
    assert not scraped.fired
    assert all(map(sound, scraped.said))


@pytest.mark.parametrize("what", LIES)
def test_a_source_that_lies_from_now_on_convicts_nobody(what: str) -> None:
    scraped = Scraped()
    scraped.lives([*["the truth"] * 4, *[what] * 40])
    assert not scraped.fired
    assert all(map(sound, scraped.said))


@settings(max_examples=40, deadline=None)
@given(
    st.lists(ANY, min_size=1, max_size=30),
    st.lists(st.floats(-100.0, 200.0), max_size=30),
)
def test_no_story_of_lies_and_clocks_raises_or_convicts(story: list[str], pauses: list[float]) -> None:
    scraped = Scraped()
    scraped.lives(story, [abs(p) if p > -1 else 0.0 for p in pauses])
    assert not scraped.fired
    assert all(map(sound, scraped.said))


WILD = st.floats(allow_nan=True, allow_infinity=True)
WILD_SAMPLES = st.builds(
    Sample,
    st.sampled_from(["traffic.errors", "traffic.requests", "traffic.latency", "other"]),
    st.sampled_from(["m1", "m2"]),
    st.sampled_from(["200", "500"]),
    WILD,
    st.one_of(WILD, st.sampled_from(EDGES)),
    st.one_of(st.none(), WILD, st.floats(NOON - 100, NOON + 1000)),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.lists(WILD_SAMPLES, max_size=12), max_size=12))
def test_no_page_whatever_raises_out_of_the_counters_or_the_judge(pages: list[Page]) -> None:
    scraped = Scraped()
    for page in pages:
        scraped.scrape(page)
    assert all(map(sound, scraped.said)), [r for r in scraped.said if not sound(r)]


@settings(max_examples=40, deadline=None)
@given(st.lists(ANY, min_size=2, max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_samples_of_one_instant_changes_nothing(story: list[str], dice: random.Random) -> None:
    """On a page, and among the readings that are made of it."""
    one_way, another = Scraped(), Scraped()
    for number, what in enumerate(story):
        page = LIES[what](truth(number), one_way.shown)
        mixed = list(page)
        dice.shuffle(mixed)
        one_way.scrape(page)
        another.scrape(mixed)
        one_way.shown.append(truth(number))
    assert sorted(one_way.said, key=place) == sorted(another.said, key=place)
    assert one_way.world.relatives.to_text() == another.world.relatives.to_text()


def place(reading: Reading) -> tuple[float, str, str]:
    return reading.at, reading.key, reading.subject


@pytest.mark.parametrize("what", sorted(BACK_AND_FORTH))
@pytest.mark.parametrize("in_a_row", [1, 2])
def test_errors_that_shrink_alone_and_come_back_were_never_new_errors(what: str, in_a_row: int) -> None:
    scraped = Scraped()
    scraped.lives(["the truth", *[what] * in_a_row] * 30)
    assert not scraped.fired
    gaps = {r.detail for r in scraped.said if r.gap is not None}
    assert gaps == {"a count that shrank while the others of its source went on"}


def test_readings_of_one_round_count_the_same_in_any_order() -> None:
    one_way, another = Scraped(), Scraped()
    for scraped in (one_way, another):
        scraped.lives(["the truth"] * 3)
    round_ = one_way.book.take(truth(20), NOON + 60.0)
    one_way.world.relatives.take("traffic", round_, one_way.evidence)
    another.world.relatives.take("traffic", list(reversed(round_)), another.evidence)
    assert one_way.world.relatives.to_text() == another.world.relatives.to_text()


def test_the_same_round_again_is_no_more_evidence() -> None:
    world = Released(rules=(MORE_ERRORS,))
    made = [
        Reading(f"traffic.{key}", "m1", NOON + 15.0, value=value, since=NOON)
        for key, value in (("requests", 300.0), ("errors", 60.0))
    ]
    world.relatives.take("traffic", made, world.evidence)
    once = evidence_of(world)
    for _ in range(50):
        world.relatives.take("traffic", made, world.evidence)
    assert evidence_of(world) == once


def evidence_of(world: Released) -> object:
    return json.loads(world.relatives.to_text())["rules"]


IMPOSSIBLE = (-1.0, math.nan, INF, -INF)


@pytest.mark.parametrize("value", IMPOSSIBLE)
@pytest.mark.parametrize("key", ["requests", "errors"])
def test_an_increase_that_cannot_be_counts_for_nothing(key: str, value: float) -> None:
    world = Released(rules=(MORE_ERRORS,))
    made = {"requests": 300.0, "errors": 300.0} | {key: value}
    before = evidence_of(world)
    for n in range(20):
        round_ = [
            Reading(f"traffic.{k}", "m1", NOON + 15.0 * (n + 1), value=v, since=NOON + 15.0 * n)
            for k, v in made.items()
        ]
        world.relatives.take("traffic", round_, world.evidence)
    assert evidence_of(world) == before


@pytest.mark.parametrize("since, until", [(15.0, 15.0), (30.0, 15.0), (-60.0, 15.0), (math.nan, 15.0), (0.0, INF)])
def test_an_increase_over_a_time_that_cannot_be_or_of_another_life_counts_for_nothing(
    since: float, until: float
) -> None:
    world = Released(rules=(MORE_ERRORS,))
    before = evidence_of(world)
    round_ = [
        Reading(f"traffic.{k}", "m1", NOON + until, value=300.0, since=NOON + since) for k in ("requests", "errors")
    ]
    world.relatives.take("traffic", round_, world.evidence)
    assert evidence_of(world) == before


def test_a_counter_that_starts_over_is_not_bridged() -> None:
    """Of a process that counted 60,000 and starts anew, only what the new one counted is an increase."""
    book = CounterBook(["traffic.requests"])
    book.take([Sample("traffic.requests", "m1", "200", 60_000.0)], NOON)
    (reading,) = book.take([Sample("traffic.requests", "m1", "200", 12.0)], NOON + 15)
    assert reading.value == 12.0


def test_two_copies_of_a_source_that_answer_in_turn_never_make_a_burst() -> None:
    book = CounterBook(["traffic.requests"])
    told = []
    for n, (one_copy, other_copy) in enumerate(zip(accumulate([300.0] * 20), accumulate([290.0] * 20), strict=True)):
        value = 60_000.0 + one_copy if n % 2 else 59_000.0 + other_copy
        told += book.take([Sample("traffic.requests", "m1", "200", value)], NOON + 15.0 * n)
    counted = [r.value for r in told if r.value is not None]
    assert all(value < 2000.0 for value in counted), counted
    assert {r.gap for r in told if r.gap} == {GapKind.BAD_ANSWER}


def test_no_traffic_is_an_answer_and_neither_blindness_nor_a_failure() -> None:
    world = Released(rules=(MORE_ERRORS, BLATANT))
    for n in range(40):
        at = NOON + 15.0 * (n + 1)
        round_ = [Reading(f"traffic.{k}", "m1", at, value=0.0, since=at - 15.0) for k in ("requests", "errors")]
        world.windows.add(round_)
        world.relatives.take("traffic", round_, world.evidence)
    more, blatant = judge_all(world.evidence, NOON + 600.0)
    assert (more.state, blatant.state) == (RuleState.CLEAR, RuleState.CLEAR)
    assert "no traffic" in more.sentence
    assert "too little traffic to judge, 0 of 50" in blatant.sentence


@pytest.mark.parametrize("rule", [MORE_ERRORS, BLATANT, P95])
@pytest.mark.parametrize("gap", [g for g in GapKind if g is not GapKind.NO_TRAFFIC])
def test_a_source_that_says_nothing_makes_rules_blind_after_a_stated_time_and_says_why(
    rule: Rule, gap: GapKind
) -> None:
    """Three rounds and a timeout: 50 s at one every 15 s."""
    world = Released(rules=(rule,))
    keys = [f"traffic.{k}" for k in ("requests", "errors", "latency")]
    states: dict[float, RuleState] = {}
    counts, buckets = dict(zip(keys, (300.0, 0.0, 300.0), strict=True)), ((0.1, 150.0), (INF, 300.0))
    last = [Reading(k, "m1", NOON + 15.0, value=n, since=NOON, buckets=buckets) for k, n in counts.items()]
    world.windows.add(last)
    for n in range(2, 10):
        at = NOON + 15.0 * n
        world.windows.add(Reading(key, "m1", at, gap=gap, detail="?") for key in keys)
        (finding,) = judge_all(world.evidence, at)
        states[at - NOON - 15.0] = finding.state
    assert RuleState.FIRING not in states.values()
    assert states[45.0] is not RuleState.BLIND
    assert states[60.0] is RuleState.BLIND
    assert str(gap) in finding.sentence


def test_a_threshold_over_gaps_is_blind_and_never_beyond_its_limit() -> None:
    rule = a_rule(Threshold(key="numbers.p95", limit=3.0, above=True, for_s=60.0), name="slow")
    world = Released(rules=(MORE_ERRORS,))
    policy = replace(world.policy, rules=(rule,), signals=(*world.policy.signals, NUMBERS))
    world.windows.add([Reading("numbers.p95", "m1", NOON + 15.0, value=9.0)])
    world.windows.add(Reading("numbers.p95", "m1", NOON + 15.0 * n, gap=GapKind.LATE) for n in range(2, 9))
    (finding,) = judge_all(replace(world.evidence, policy=policy), NOON + 120.0)
    assert finding.state is RuleState.BLIND


# -- the table ---------------------------------------------------------------------------------------------------------

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs/not-the-release.md").read_text(encoding="utf-8")
NAMED = sorted(set(re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TABLE)))


@pytest.mark.parametrize("path, name", NAMED, ids=[name for _, name in NAMED])
def test_every_test_that_the_table_of_causes_names_is_one(path: str, name: str) -> None:
    assert re.search(rf"^(?:async )?def {name}\(", (ROOT / path).read_text(encoding="utf-8"), re.MULTILINE)


def test_every_cause_of_the_table_has_a_verdict_and_a_test() -> None:
    rows = [line for line in TABLE.splitlines() if line.startswith("| ") and not line.startswith("| cause")]
    assert len(rows) >= 25
    for row in rows:
        cause, how, verdict, tests = (cell.strip() for cell in row.strip("|").split("|"))
        assert all((cause, how, verdict)), row
        assert "::test_" in tests, cause
