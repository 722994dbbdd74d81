"""Recordings of a target as releases of it: what was read stays, but for the harm that is put in."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from bench.decision import replaying
from bench.decision.recorded import Harm, Recorded, rounds_of
from bench.decision.replaying import NEW, releases, replayed
from bench.decision.watching import POLICY, policy
from bench.decision.world import NOON, OLD, SCRAPE_S, World
from rollguard.adapters.recording import RecordingFile, read_recording
from rollguard.core.model import GapKind, Reading
from rollguard.core.recording import Look, Recording, Runs

RELEASE_S, LASTS_S = 2400.0, 3300.0


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `rollguard record` would have saved of a healthy app."""
    path, world = tmp_path_factory.mktemp("recordings") / "app.jsonl", World("recorded", rps=10.0)
    with RecordingFile(path, policy(0.0), NOON) as file:
        file.look(Look(NOON, {name: Runs(OLD, NOON - 86400.0, started=True) for name in world.names}))
        for step in range(1, int(LASTS_S / SCRAPE_S) + 1):
            for reading in (*world.probes(step * SCRAPE_S - 2.0), *world.scrape(step * SCRAPE_S)):
                file.reading(reading)
    return path


@pytest.fixture(scope="module")
def recording(saved: Path) -> Recording:
    return read_recording(saved)


def harmed(recording: Recording, *words: str, machine: str = "m0") -> dict[str, list[Reading]]:
    """What is read of a machine that has run the release for five minutes, by key."""
    fleet = Recorded(recording, policy(0.0), RELEASE_S, NEW, [Harm.parse(w) for w in words], "seed")
    fleet.install("m0", NEW, 0.0)
    found: dict[str, list[Reading]] = {}
    for second in range(20, 300):
        for this in fleet.rounds(float(second)):
            for reading in this.readings:
                if reading.subject == machine:
                    found.setdefault(reading.key, []).append(reading)
    return found


def test_without_harm_every_reading_is_what_it_was(recording: Recording) -> None:
    fleet = Recorded(recording, policy(0.0), 0.0, "", [], "seed")
    at, read = 0.0, []
    while (then := fleet.next_at(at, doubting=True)) > at:
        at = then
        read += [reading for this in fleet.rounds(at) for reading in this.readings]
    assert sorted(read, key=lambda r: (r.at, r.key, r.subject)) == sorted(
        recording.readings, key=lambda r: (r.at, r.key, r.subject)
    )


def test_what_was_read_together_stays_one_round(recording: Recording) -> None:
    rounds = list(rounds_of(recording, policy(0.0)))
    assert len(rounds) == 2 * LASTS_S / SCRAPE_S
    assert {(signal, len(readings)) for _, signal, readings in rounds} == {("probe", 4), ("traffic", 12)}


def test_errors_are_put_into_requests_that_were_well_and_only_on_the_release(recording: Recording) -> None:
    was, now = harmed(recording), harmed(recording, "errors=50%@40m")
    total = sum(r.value or 0.0 for r in was["traffic.requests"])
    assert sum(r.value or 0.0 for r in now["traffic.errors"]) == pytest.approx(total / 2, rel=0.15)
    assert now["traffic.requests"] == was["traffic.requests"]
    assert all(
        (e.value or 0) <= (r.value or 0) for e, r in zip(now["traffic.errors"], was["traffic.requests"], strict=True)
    )
    assert harmed(recording, "errors=50%@40m", machine="m1") == harmed(recording, machine="m1")


def test_slower_requests_are_the_same_ones_in_later_buckets(recording: Recording) -> None:
    was, now = harmed(recording)["traffic.latency"], harmed(recording, "latency=2x@40m")["traffic.latency"]
    for before, after in zip(was, now, strict=True):
        assert after.buckets[-1] == (math.inf, before.value)
        counts = [count for _, count in after.buckets]
        assert counts == sorted(counts)
        assert all(a <= b for (_, a), (_, b) in zip(after.buckets, before.buckets, strict=True))
    assert sum(r.buckets[3][1] for r in now) < 0.9 * sum(r.buckets[3][1] for r in was)


def test_who_is_dead_fails_every_probe_and_is_never_scraped(recording: Recording) -> None:
    now = harmed(recording, "dead@40m")
    assert {(r.value, r.detail) for r in now["probe"]} == {(0.0, "no answer")}
    assert {r.gap for r in now["traffic.requests"]} == {GapKind.NO_ANSWER}


def test_a_healthy_recording_is_left_alone_and_an_injected_regression_is_not(recording: Recording) -> None:
    healthy = replayed(recording, policy(0.0), RELEASE_S, [])
    assert healthy.rolled_back_s is None
    bad = replayed(recording, policy(0.0), RELEASE_S, [Harm.parse("errors=30%@40m")])
    assert bad.side_by_side
    assert bad.rolled_back_s is not None
    assert bad.rolled_back_s < 60.0


def test_harm_that_comes_late_is_found_when_it_has_come(recording: Recording) -> None:
    """By then every machine runs the release, and the first one that goes back is well again."""
    late = replayed(recording, policy(0.0), RELEASE_S, [Harm.parse("errors=30%@45m")])
    assert late.first == "better"
    assert late.rolled_back_s is not None
    assert late.rolled_back_s > 300.0


def test_the_same_release_is_tried_again_up_to_the_end(recording: Recording) -> None:
    assert releases(recording, 2400.0, 300.0) == [2400.0, 2700.0, 3000.0, 3300.0]
    assert releases(recording, 2400.0, None) == [2400.0]
    assert releases(recording, None, None) == [None]


def test_the_command_tells_every_run_and_their_sum(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--policy", str(POLICY), "--release", "40m", "--inject", "errors=30%@40m"]
    assert replaying.main([str(saved), *options]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "rolled back 1 of 1, paged 0"


@pytest.mark.parametrize(
    "words", ["errors", "errors=5%", "errors=5@10m", "latency=0.5x@10m", "dead=1@5m", "rain=5%@5m"]
)
def test_harm_that_cannot_be_is_refused(words: str) -> None:
    with pytest.raises(ValueError, match=r"errors=5%@600s|between 1x|has no unit"):
        Harm.parse(words)
