"""What of a recording can serve as a baseline."""

from __future__ import annotations

from rollguard.core.baseline import Share
from rollguard.core.model import Reading
from rollguard.core.recording import DIGESTS_MAX, Look, Recording, Runs, blocks_of, recorded
from tests.builders import BAD, GOOD, MINUTE, NOON, OLDER, counted
from tests.core.test_baseline import POLICY, SHARE

START = NOON - 4 * MINUTE


def look(at: float, *digests: str, since: float = START - MINUTE, started: bool = True) -> Look:
    return Look(at, {f"m{n}": Runs(digest, since, started) for n, digest in enumerate(digests, start=1)})


def a_recording(*looks: Look, readings: list[Reading] | None = None) -> Recording:
    """Four minutes up to noon, of 100 requests and one error every 15 s."""
    rows = readings or [*counted("traffic.requests", [100] * 16), *counted("traffic.errors", [1] * 16)]
    return Recording(target="shop", policy="", at=START, looks=looks, readings=tuple(rows))


def test_every_block_of_the_time_in_which_the_digest_ran_alone_is_taken() -> None:
    blocks = blocks_of(a_recording(look(START, GOOD)), GOOD, POLICY)
    assert [(b.start, b.end) for b in blocks] == [(START + n * MINUTE, START + (n + 1) * MINUTE) for n in range(4)]
    assert [b.shares[SHARE] for b in blocks] == [Share(4.0, 400.0)] * 4


def test_a_mix_of_digests_and_another_digest_are_left_out() -> None:
    saved = a_recording(
        look(START, GOOD, GOOD),
        look(START + MINUTE, GOOD, BAD),
        look(START + 2 * MINUTE, BAD, BAD),
        look(START + 3 * MINUTE, GOOD, GOOD),
    )
    assert [b.start - START for b in blocks_of(saved, GOOD, POLICY)] == [0.0, 3 * MINUTE]
    assert [b.start - START for b in blocks_of(saved, BAD, POLICY)] == [2 * MINUTE]


def test_the_first_increase_of_a_life_is_not_its_own() -> None:
    """The machine started at 11:56:20; the increase read at 11:56:30 began before."""
    saved = a_recording(look(START, GOOD, since=START + 20))
    assert blocks_of(saved, GOOD, POLICY)[0].shares[SHARE] == Share(2.0, 200.0)


def test_the_digest_itself_is_preferred_to_what_ran_last() -> None:
    known = recorded(a_recording(look(START, GOOD), look(START + MINUTE, BAD)), POLICY)
    assert {block.digest for block in known.of(GOOD)} == {GOOD}
    assert {block.digest for block in known.of(OLDER)} == {BAD}
    back = recorded(a_recording(look(START, GOOD), look(START + MINUTE, BAD), look(START + 2 * MINUTE, GOOD)), POLICY)
    assert {block.digest for block in back.of(OLDER)} == {GOOD}


def test_where_nothing_ran_alone_and_served_nothing_is_known() -> None:
    assert recorded(a_recording(look(START, GOOD, BAD)), POLICY).of(GOOD) == ()
    assert recorded(a_recording(look(START, GOOD, started=False)), POLICY).of(GOOD) == ()
    assert recorded(a_recording(), POLICY).of(GOOD) == ()


def test_a_recording_without_a_compared_request_has_no_block() -> None:
    idle = [*counted("traffic.requests", [0] * 16), *counted("traffic.errors", [0] * 16)]
    assert blocks_of(a_recording(look(START, GOOD), readings=idle), GOOD, POLICY) == []


def test_a_pause_of_years_between_two_readings_costs_nothing() -> None:
    late = a_recording(
        look(0.0, GOOD, since=0.0),
        readings=[*counted("traffic.requests", [100] * 16), *counted("traffic.errors", [1] * 16)],
    )
    blocks = blocks_of(late, GOOD, POLICY)
    assert sum(b.shares[SHARE].total for b in blocks) == 1600


def test_of_many_digests_the_last_ones_are_known() -> None:
    many = [look(START + n, f"sha256:{n}") for n in range(50)]
    assert len(recorded(a_recording(*many), POLICY).blocks) == DIGESTS_MAX
