"""The store of readings: in order, bounded in time and in number."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rollguard.core.model import GapKind, Reading
from rollguard.core.window import READINGS_MAX, SUBJECTS_MAX, Windows
from tests.builders import HOUR, NOON, readings, windows


def at(*offsets: float, subject: str = "m1") -> list[Reading]:
    return [Reading(key="health", subject=subject, at=NOON + offset, value=1.0) for offset in offsets]


def times(store: Windows, since: float = float("-inf")) -> list[float]:
    return [r.at - NOON for r in store.since("health", "m1", since)]


def test_a_window_begins_after_its_start_and_keeps_the_order_of_time() -> None:
    store = windows(at(0, 1, 2, 3))
    assert times(store, NOON + 1) == [2, 3]
    assert [r.at - NOON for r in store.newest_first("health", "m1")] == [3, 2, 1, 0]


def test_an_answer_that_comes_late_is_put_in_its_place() -> None:
    assert times(windows(at(0, 10, 20), at(5), at(-5))) == [-5, 0, 5, 10, 20]


def test_of_two_readings_of_one_instant_the_later_comer_is_the_newer_one() -> None:
    first, second = readings("fail")[0], readings("ok")[0]
    assert windows([first], [second]).since("health", "m1", 0) == [first, second]


def test_subjects_and_keys_do_not_mix() -> None:
    store = windows(at(1), at(2, subject="m2"))
    assert times(store) == [1]
    assert store.since("other", "m1", 0) == []
    assert list(store.newest_first("health", "edge")) == []


def test_what_is_beyond_the_horizon_is_forgotten_and_nothing_else() -> None:
    store = Windows(horizon_s=10.0)
    store.add([*at(0, 5, 6, 12), *at(1, subject="m2")])
    store.forget(NOON + 15)
    assert times(store) == [6, 12]
    assert store.since("health", "m2", 0) == []


def test_a_subject_cannot_fill_the_memory() -> None:
    store = Windows(horizon_s=HOUR)
    store.add(at(*range(READINGS_MAX + 50)))
    assert len(times(store)) == READINGS_MAX
    assert times(store)[-1] == READINGS_MAX + 49, "the newest ones are kept"


def test_an_app_cannot_invent_subjects_without_end_and_known_ones_are_still_heard() -> None:
    store = Windows(horizon_s=HOUR)
    store.add(at(0))
    store.add(Reading(key="health", subject=f"x{i}", at=NOON, value=1.0) for i in range(SUBJECTS_MAX + 50))
    store.add(at(7))
    assert times(store) == [0, 7]
    assert store.since("health", f"x{SUBJECTS_MAX + 49}", 0) == []


def test_a_source_that_invents_subjects_takes_no_place_from_other_sources() -> None:
    store = Windows(horizon_s=HOUR)
    store.add(Reading(key="traffic.errors", subject=f"x{i}", at=NOON, value=1.0) for i in range(SUBJECTS_MAX + 50))
    store.add(at(7))
    assert times(store) == [7]


def test_a_new_policy_keeps_what_was_read_and_owns_it() -> None:
    old, new = windows(at(1)), Windows(horizon_s=5.0)
    new.take_over(old)
    old.add(at(2))
    assert times(new) == [1]
    new.clear()
    assert times(new) == []
    assert times(old) == [1, 2]


@given(st.lists(st.integers(0, 30), max_size=40), st.integers(-5, 35))
def test_whatever_the_order_of_arrival_a_window_is_the_sorted_readings_after_its_start(
    arrivals: list[int], start: int
) -> None:
    store = Windows(horizon_s=HOUR)
    for offset in arrivals:
        store.add(at(offset))
    assert times(store, NOON + start) == sorted(offset for offset in arrivals if offset > start)


def test_what_a_guard_that_was_cut_off_could_not_reach_says_nothing() -> None:
    """Only probes without any answer, and only since it last heard from the platform."""
    lost = [Reading(key="health", subject="m1", at=NOON + at, value=0.0, detail="timeout after 4s") for at in (0, 10)]
    answered = Reading(key="health", subject="m1", at=NOON + 15, value=0.0, detail="HTTP 503")
    number = Reading(key="health.alerts", subject="m1", at=NOON + 15, value=0.0)
    store = windows([*lost, answered, number])
    store.doubt(NOON + 5)
    assert [(r.value, r.gap) for r in store.since("health", "m1", 0)] == [
        (0.0, None),
        (None, GapKind.NO_ANSWER),
        (0.0, None),
    ]
    assert store.since("health.alerts", "m1", 0) == [number]


@given(
    st.lists(st.tuples(st.integers(0, 20), st.sampled_from(["ok", "fail", "-", "503"])), max_size=30),
    st.integers(-1, 21),
    st.integers(-1, 21),
    st.booleans(),
)
def test_answers_are_counted_as_if_each_reading_was_looked_at(
    arrivals: list[tuple[int, str]], start: int, end: int, cut_off: bool
) -> None:
    words: dict[str, tuple[float | None, GapKind | None, str]] = {
        "ok": (1.0, None, "HTTP 200"),
        "fail": (0.0, None, "timeout after 4s"),
        "-": (None, GapKind.NO_ANSWER, "HTTP 5 is no answer here"),
        "503": (0.0, None, "HTTP 503"),
    }
    store = Windows(horizon_s=15.0)
    for offset, word in arrivals:
        value, gap, detail = words[word]
        store.add([Reading(key="health", subject="m1", at=NOON + offset, value=value, gap=gap, detail=detail)])
    if cut_off:
        store.doubt(NOON + 10)
        store.forget(NOON + 20)
    seen = [r for r in store.since("health", "m1", NOON + start) if r.at <= NOON + end and r.gap is None]
    failed = [r for r in seen if r.detail.startswith("HTTP 5")]
    assert store.answers("health", "m1", NOON + start, NOON + end) == (len(seen), len(failed))


@given(st.lists(st.lists(st.integers(0, 30), min_size=1, max_size=4), max_size=12), st.integers(0, 30), st.data())
def test_equal_stamps_mean_equal_readings(lots: list[list[int]], end: int, data: st.DataObject) -> None:
    """Up to the instant that the stamp was asked for, whatever was read, doubted or forgotten."""
    store = Windows(horizon_s=20.0)
    seen: dict[object, list[Reading]] = {}
    for lot in lots:
        match data.draw(st.sampled_from(["add", "add", "add", "doubt", "forget", "clear"])):
            case "doubt":
                store.doubt(NOON + lot[0])
            case "forget":
                store.forget(NOON + 20 + lot[0])
            case "clear":
                store.clear()
            case _:
                store.add(
                    Reading(key="health", subject=f"m{n % 2}", at=NOON + at, value=0.0, detail="timeout after 4s")
                    for n, at in enumerate(lot)
                )
        now = [r for subject in ("m0", "m1") for r in store.since("health", subject, 0) if r.at <= NOON + end]
        assert seen.setdefault(store.stamp("health", NOON + end), now) == now


def test_what_comes_after_an_instant_does_not_change_the_stamp_up_to_it() -> None:
    store = windows(at(0, 1))
    before = store.stamp("health", NOON + 1), store.stamp("health")
    store.add(at(5, 3))
    assert store.stamp("health", NOON + 1) == before[0]
    assert store.stamp("health") != before[1]


def test_rows_are_swept_now_and_then_not_at_every_tick() -> None:
    store = Windows(horizon_s=80.0)
    store.add(at(0, 5))
    store.forget(NOON + 81)
    store.forget(NOON + 86)
    assert times(store) == [5], "too soon"
    store.forget(NOON + 91)
    assert times(store) == []
