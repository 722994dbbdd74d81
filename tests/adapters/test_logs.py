"""Error lines of the log, counted per machine and dated, so that each can be laid at the door of a digest."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest

from rollguard.adapters.http import Saturated
from rollguard.adapters.signals.logs import PAGES_MAX, LogsSource
from rollguard.adapters.signals.logs_page import parse
from rollguard.adapters.signals.registry import build_sources
from rollguard.core.fleet import Tenure, View
from rollguard.core.loglines import by_digest
from rollguard.core.model import EDGE, GapKind, Reading
from rollguard.core.policy import Policy, Target
from rollguard.core.signals import JourneySignal, LogsSignal, Scope, SecretRef, Step
from rollguard.core.window import Windows
from rollguard.errors import GuardError, Unavailable
from rollguard.ports import Fleet, HttpAnswer
from tests.adapters.scripted_transport import Asked, Script, ScriptedTransport, says
from tests.adapters.signals_of import NOON, HandClock, read
from tests.builders import a_policy
from tests.loop_clock import LoopClock
from tests.virtual_time import run

TARGET = Target(name="shop", app="shop/..", token=SecretRef(env="FLY_API_TOKEN"))
ENVIRON = {"FLY_API_TOKEN": "FlyV1 fm2_abc,fo1_def", "FLY_API_BASE_URL": "https://fly.test/"}


def signal(*match: str, **but: Any) -> LogsSignal:
    usual: dict[str, Any] = {"name": "errors", "every_s": 15.0, "timeout_s": 5.0}
    return LogsSignal(match=match or ("error",), **usual | but)


def line(at: float, message: str = "error: boom", machine: str = "m1", **but: Any) -> dict[str, Any]:
    stamp = datetime.fromtimestamp(NOON + at, UTC).isoformat(timespec="microseconds").replace("+00:00", "000Z")
    attributes = {"timestamp": stamp, "message": message, "level": "info", "instance": machine, "region": "ord"}
    return {"id": f"{machine} {at} {message}"[:90], "attributes": attributes} | but


def page(token: Any, *lines: Any) -> HttpAnswer:
    return says({"data": list(lines), "meta": {"next_token": token}})


class Log:
    """A log as Fly tells it: lines behind the token, a page at a time."""

    def __init__(self, *lines: dict[str, Any], page_lines: int = 100) -> None:
        self.lines = list(lines)
        self.page_lines = page_lines

    def __call__(self, asked: Asked) -> HttpAnswer:
        after = asked.query.get("next_token")
        start = int(after) if after else max(0, len(self.lines) - self.page_lines)
        shown = self.lines[start : start + self.page_lines]
        return page(str(start + len(shown)), *shown)


class Reader:
    """A source that is read round by round."""

    def __init__(self, script: Script, *match: str, **but: Any) -> None:
        self.transport = ScriptedTransport(script)
        self.clock = HandClock()
        self.source = LogsSource(signal(*match, **but), TARGET, self.transport, ENVIRON)

    def read(self, *started: str, after_s: float = 15.0) -> list[Reading]:
        self.clock.at += after_s
        return list(asyncio.run(self._read(started)))

    async def _read(self, started: tuple[str, ...]) -> Any:
        return await self.source.read(Fleet(started), self.clock)


def counts(readings: list[Reading]) -> dict[str, float]:
    """Lines by machine."""
    found: dict[str, float] = {}
    for reading in readings:
        if reading.value is not None:
            assert reading.key == "errors.lines"
            found[reading.subject] = found.get(reading.subject, 0.0) + reading.value
    return found


def gaps(readings: list[Reading]) -> list[tuple[str, str, GapKind, str]]:
    return [(r.key, r.subject, r.gap, r.detail) for r in readings if r.gap is not None]


def test_the_first_round_finds_the_end_and_later_ones_count_what_is_new_per_machine() -> None:
    log = Log(line(-1), line(-2, machine="m2"))
    reader = Reader(log)
    assert reader.read("m1", "m2", "m3") == []
    log.lines += [line(16), line(16.2, "error: again"), line(17, "all is well"), line(17, machine="m2")]
    readings = reader.read("m1", "m2", "m3")
    assert counts(readings) == {"m1": 2.0, "m2": 1.0, "m3": 0.0}
    (some,) = [r for r in readings if r.subject == "m1" and r.value]
    assert (some.at, some.since, some.until) == pytest.approx((NOON + 30, NOON + 16, NOON + 16.2), abs=1e-3)
    assert some.detail == "error: again"
    assert counts(reader.read("m1", "m2", "m3")) == {"m1": 0.0, "m2": 0.0, "m3": 0.0}


@pytest.mark.parametrize("machine", [["m1"] * 50_000, "m" * 500_000, {"a": "b" * 500_000}, 7, None])
def test_a_line_without_a_name_is_remembered_by_little(machine: Any) -> None:
    (some,) = parse(page("1", line(1, machine=machine, id=None)).body).lines
    assert some.machine == ""
    assert len(some.id) < 100


@pytest.mark.parametrize("stamp", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59", "0000-01-01T00:00:00Z"])
def test_an_instant_that_no_calendar_has_is_no_instant(stamp: str) -> None:
    beyond = line(1)
    beyond["attributes"]["timestamp"] = stamp
    assert parse(page("1", beyond, line(2)).body).malformed == 1


def test_a_line_from_the_future_was_written_now() -> None:
    log = Log()
    reader = Reader(log)
    reader.read("m1")
    log.lines += [line(10**8)]
    (some,) = [r for r in reader.read("m1") if r.value]
    assert (some.at, some.since, some.until) == (NOON + 30, NOON + 30, NOON + 30)


def test_what_the_guard_types_into_the_app_is_not_quoted_from_its_log() -> None:
    policy = journeys_of(form={"password": "robots-secret"})
    log = Log()
    transport = ScriptedTransport(lambda asked: log(asked) if "/logs" in asked.url else says(b""))
    (source,) = [s for s in build_sources(policy, transport, ENVIRON) if s.name == "errors"]
    clock = HandClock()
    read(source, clock, "m1")
    clock.at += 15
    log.lines += [line(16, "error: no user with the password robots-secret")]
    assert [r.detail for r in read(source, clock, "m1") if r.value] == ["error: no user with the password [left out]"]


def journeys_of(**step: Any) -> Policy:
    """A policy of the log and of one journey with one step."""
    steps = (Step(name="login", url="https://shop.test/login", method="POST", **step),)
    journey = JourneySignal(name="paths", every_s=30.0, scopes=frozenset({Scope.EDGE}), timeout_s=5.0, steps=steps)
    return a_policy(signals=(signal(), journey), rules=(), target=TARGET)


def test_every_request_carries_the_apps_name_its_token_and_where_to_go_on() -> None:
    reader = Reader(Log(line(-1)))
    reader.read()
    reader.read()
    first, second = reader.transport.asked
    assert first.url == "https://fly.test/api/v1/apps/shop%2F../logs"
    assert second.url == "https://fly.test/api/v1/apps/shop%2F../logs?next_token=1"
    assert first.headers["Authorization"] == "FlyV1 fm2_abc,fo1_def"
    assert first.headers["User-Agent"].startswith("rollguard/")


def test_a_reading_of_nothing_says_how_far_a_started_machines_log_was_read() -> None:
    reader = Reader(Log())
    reader.read("m1")
    (nothing,) = reader.read("m1")
    assert (nothing.value, nothing.since, nothing.until) == (0.0, NOON + 15, NOON + 30)


def test_lines_of_a_machine_that_has_crashed_count_as_well() -> None:
    log = Log()
    reader = Reader(log)
    reader.read("m1")
    log.lines.append(line(20, "error: out of memory", "m2"))
    assert counts(reader.read("m1")) == {"m1": 0.0, "m2": 1.0}


def test_an_empty_log_is_an_end_too() -> None:
    answers = iter([says({"data": [], "meta": {}}), page("7", line(16)), page("7")])
    reader = Reader(lambda asked: next(answers))
    reader.read("m1")
    assert counts(reader.read("m1")) == {"m1": 1.0}


def test_a_line_told_twice_counts_once_and_order_does_not_matter() -> None:
    log = Log()
    reader = Reader(log)
    reader.read("m1")
    log.lines += [line(18, "error: b"), line(16, "error: a"), line(18, "error: b"), line(17.5, "error: c")]
    readings = reader.read("m1")
    assert counts(readings) == {"m1": 3.0}
    assert [r.detail for r in readings if r.value] == ["error: a", "error: b"]
    log.lines += [line(18, "error: b"), line(16.5, "error: late")]
    assert counts(reader.read("m1")) == {"m1": 1.0}


def test_lines_without_an_id_are_told_apart_by_time_machine_and_words() -> None:
    log = Log()
    reader = Reader(log)
    reader.read("m1")
    log.lines += [line(18, id=None), line(18, id=None), line(18, id=""), line(18, "error: b", id=5), line(19, id=None)]
    assert counts(reader.read("m1")) == {"m1": 3.0}


def test_more_than_a_page_is_read_at_once_and_the_flood_behind_it_in_later_rounds() -> None:
    log = Log(page_lines=10)
    reader = Reader(log)
    reader.read("m1")
    log.lines += [line(16 + n / 1000) for n in range(10 * PAGES_MAX + 5)]
    flooded = reader.read("m1")
    assert counts(flooded) == {"m1": 10.0 * PAGES_MAX}
    assert gaps(flooded) == [("errors", EDGE, GapKind.BAD_ANSWER, f"the log is longer than {PAGES_MAX} pages a round")]
    rest = reader.read("m1")
    assert counts(rest) == {"m1": 5.0}
    (reached,) = [r for r in rest if r.value == 0.0]
    assert (reached.since, reached.until) == (NOON + 15, NOON + 45)


@pytest.mark.parametrize(
    "nth",
    [
        lambda n: page("same", line(16)),
        lambda n: page(n, line(16)),
        lambda n: page(None, line(n)),
        lambda n: page(f"t{n}", line(n)),
        lambda n: page("t" * 10_000, line(n)),
    ],
)
def test_a_server_whose_log_never_ends_is_not_asked_for_ever(nth: Callable[[int], HttpAnswer]) -> None:
    numbers = count(1)
    reader = Reader(lambda asked: nth(next(numbers)))
    reader.read("m1")
    reader.read("m1")
    assert len(reader.transport.asked) <= 1 + PAGES_MAX


def test_a_line_of_a_machine_before_its_update_belongs_to_the_old_digest() -> None:
    log = Log()
    reader = Reader(log)
    reader.read("m1")
    log.lines += [line(20, "error: as the old one went down"), line(21.2, "error: as the new one came up"), line(29)]
    windows = Windows(3600.0)
    windows.add(reader.read("m1"))
    updated = Tenure(
        machine="m1",
        instance_id="i2",
        digest="sha256:new",
        since=NOON + 20.9,
        digest_since=NOON + 20.9,
        started=True,
        started_at=NOON + 20.9,
    )
    new, before = by_digest(windows, View(candidate="sha256:new", cohort=(updated,)), "errors", NOON + 30, 60.0)
    assert (new.lines, before.lines) == (2, 1)


def test_readings_are_few_however_many_the_lines_and_however_long_the_round() -> None:
    log = Log(page_lines=500)
    reader = Reader(log)
    reader.read("m1")
    log.lines += [line(16 + n, f"error {n}") for n in range(3000)]
    readings = reader.read("m1", after_s=3600.0)
    assert counts(readings) == {"m1": 3000.0}
    assert len(readings) <= 25


@pytest.mark.parametrize(
    "match, message, counted",
    [
        (("error",), "Error", 0.0),
        (("error", "Error"), "Error", 1.0),
        (("(?i)error",), "ERROR", 1.0),
        (("error", "boom"), "error: boom", 1.0),
        ((r"^error:",), "\x1b[31;1merror\x1b[0m: boom", 1.0),
        ((r"HTTP 5\d\d",), "GET / HTTP 503", 1.0),
        (("needle",), "x" * 1990 + "needle", 1.0),
        (("needle",), "x" * 2000 + "needle", 0.0),
        (("",), "", 1.0),
    ],
)
def test_a_line_counts_once_when_one_of_the_patterns_is_found_near_its_beginning(
    match: tuple[str, ...], message: str, counted: float
) -> None:
    log = Log()
    reader = Reader(log, *match)
    reader.read("m1")
    log.lines.append(line(16, message))
    assert counts(reader.read("m1")) == {"m1": counted}


def test_the_newest_line_is_quoted_on_one_short_line() -> None:
    log = Log()
    reader = Reader(log)
    reader.read("m1")
    log.lines.append(line(16, "error: \x1b[2J\x1b]0;owned\x07\r\n\u202e" + "y" * 5000))
    (some,) = [r for r in reader.read("m1") if r.value]
    assert some.detail.startswith("error: ]0;owned yyy")
    assert some.detail.isprintable()
    assert len(some.detail) == 200


@pytest.mark.parametrize(
    "answer, gap, detail",
    [
        (says({"error": "x"}, 401), GapKind.NO_ANSWER, "HTTP 401"),
        (says({"error": "x"}, 404), GapKind.NO_ANSWER, "HTTP 404"),
        (says(b"oops", 503), GapKind.NO_ANSWER, "HTTP 503"),
        (says(b"", 302), GapKind.BAD_ANSWER, "HTTP 302: GET of the log"),
        (says(b"<html>"), GapKind.BAD_ANSWER, "not JSON, or nested too deep"),
        (says(b"[" * 10**5), GapKind.BAD_ANSWER, "not JSON, or nested too deep"),
        (says([]), GapKind.BAD_ANSWER, "no list of lines in the answer"),
        (says({"data": {}}), GapKind.BAD_ANSWER, "no list of lines in the answer"),
        (says({"data": [None] * 1001}), GapKind.BAD_ANSWER, "more than 1000 lines at once"),
        (Unavailable("timeout after 5s: GET fly.test"), GapKind.NO_ANSWER, "timeout after 5s"),
        (Saturated("the guard had no free connection: GET"), GapKind.NO_ANSWER, "the guard had no free connection"),
    ],
)
def test_a_log_that_cannot_be_read_is_a_gap_and_is_caught_up_with(
    answer: HttpAnswer | GuardError, gap: GapKind, detail: str
) -> None:
    log, down = Log(), [True]
    reader = Reader(lambda asked: answer if down[0] else log(asked))
    expected = [("errors", EDGE, gap, detail), ("errors.lines", EDGE, gap, detail)]
    assert gaps(reader.read("m1")) == expected  # the very first round
    down[0] = False
    reader.read("m1")
    log.lines.append(line(31))
    down[0] = True
    assert gaps(reader.read("m1")) == expected
    down[0] = False
    readings = reader.read("m1")
    assert counts(readings) == {"m1": 1.0}
    assert [(r.since, r.until) for r in readings if r.value == 0.0] == [(NOON + 30, NOON + 60)]


def test_what_was_counted_before_a_page_failed_is_not_lost() -> None:
    answers = iter([page("0"), page("1", line(16)), says(b"", 503), page("1"), page("1")])
    reader = Reader(lambda asked: next(answers))
    reader.read("m1")
    half = reader.read("m1")
    assert (counts(half), len(gaps(half))) == ({"m1": 1.0}, 2)
    assert counts(reader.read("m1")) == {"m1": 0.0}


def test_a_token_that_is_refused_is_given_up_and_nothing_is_counted_twice() -> None:
    answers = iter([page("1", line(-1)), says({}, 400), page("9", line(-1), line(20)), page("9")])
    reader = Reader(lambda asked: next(answers))
    reader.read("m1")
    assert len(gaps(reader.read("m1"))) == 2
    assert counts(reader.read("m1")) == {"m1": 1.0}
    assert ["next_token" in asked.query for asked in reader.transport.asked] == [False, True, False, True]


MALFORMED: list[Any] = [
    None,
    "error",
    {},
    {"attributes": []},
    line(16) | {"attributes": {"message": "error"}},
    line(16) | {"attributes": {"message": 5, "timestamp": "2026-08-21T12:00:00Z"}},
    line(16) | {"attributes": {"message": "error", "timestamp": "yesterday"}},
    line(16) | {"attributes": {"message": "error", "timestamp": "9" * 100}},
]


def test_lines_that_are_not_well_formed_are_counted_in_a_gap_beside_the_others() -> None:
    log = Log()
    reader = Reader(log)
    reader.read("m1")
    log.lines += [*MALFORMED, line(16)]
    readings = reader.read("m1")
    assert counts(readings) == {"m1": 1.0}
    assert gaps(readings) == [("errors", EDGE, GapKind.BAD_ANSWER, f"{len(MALFORMED)} lines not well formed")]


def test_lines_of_no_machine_are_nobodys_and_hostile_names_are_no_machines() -> None:
    log = Log()
    reader = Reader(log)
    reader.read("m1")
    log.lines += [line(16, machine=name) for name in ("", "../m1", "m1\n", "x" * 65)]
    log.lines += [line(16, machine=f"x{n}") for n in range(250)]
    assert len(counts(reader.read("m1"))) == 201


def test_a_missing_token_is_a_gap_that_names_its_place_only() -> None:
    transport = ScriptedTransport(lambda asked: page("1"))
    source = LogsSource(signal(), TARGET, transport, {})
    readings = list(asyncio.run(read_once(source)))
    assert [r.detail for r in readings] == ["the secret in environment variable FLY_API_TOKEN is missing or empty"] * 2
    assert transport.asked == []


async def read_once(source: LogsSource) -> Any:
    return await source.read(Fleet(("m1",)), HandClock())


def test_a_pattern_that_could_take_for_ever_is_a_gap() -> None:
    reader = Reader(lambda asked: page("1"), "ok", "(a+)+b")
    readings = reader.read("m1")
    assert all(detail.startswith("match cannot be used: a group") for _, _, _, detail in gaps(readings))
    assert len(readings) == 2
    assert reader.transport.asked == []


class Dripping:
    """``ports.Transport`` whose every page takes a second."""

    def __init__(self, script: Callable[[int], HttpAnswer]) -> None:
        self._script = script
        self.asked = 0

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout_s: float = 10.0,
        max_bytes: int = 1 << 20,
    ) -> HttpAnswer:
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.sleep(1.0)
        except TimeoutError:
            raise Unavailable(f"timeout after {timeout_s:g}s: {method}") from None
        self.asked += 1
        return self._script(self.asked)


def test_a_round_takes_no_longer_than_the_timeout_however_many_pages_there_are() -> None:
    transport = Dripping(lambda n: page(n, line(n)))
    source = LogsSource(signal(timeout_s=2.5), TARGET, transport, ENVIRON)

    async def scene() -> tuple[list[Reading], float]:
        await source.read(Fleet(("m1",)), LoopClock())
        began = asyncio.get_running_loop().time()
        readings = await source.read(Fleet(("m1",)), LoopClock())
        return list(readings), asyncio.get_running_loop().time() - began

    readings, took_s = run(scene())
    assert took_s == pytest.approx(2.5)
    assert counts(readings) == {"m1": 2.0}
    assert len(gaps(readings)) == 2
