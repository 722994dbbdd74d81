"""The guard's mind without hands: it is shown a fleet and readings, and says what a guard would do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from rollguard.config.loader import load_policy
from rollguard.core.decide import Decision, Hold, PageDecision, RollBack
from rollguard.core.finding import RuleState
from rollguard.core.mind import NOBODY, Mind
from rollguard.core.model import Machine, Reading, Release, Snapshot
from rollguard.core.surroundings import FAILURES, Address, Surroundings

BUILT_IN = load_policy(Path(__file__).parents[2] / "daemon/rollguard/config/judge.yaml", {})
POLICY = replace(BUILT_IN, comparing=replace(BUILT_IN.comparing, alone_s=0.0))  # as the benchmark puts it
NOON, DT, HISTORY_S = 1.7e9, 15.0, 7200.0
OLD, NEW = 1, 2
BELOW_S = (0.05, 0.1, 0.25, 0.5, 1.0, float("inf"))
USUAL, SLOW = (60, 180, 270, 295, 300, 300), (0, 10, 60, 180, 270, 300)
CONTROL_DOWN = Address(name="control", failures=FAILURES, down_since=0.0, down_until=0.0)


class Fleet:
    """Machines with their versions since when, seen through a mind every scrape."""

    def __init__(self, machines: int = 1) -> None:
        self.mind = Mind(POLICY, NOON - HISTORY_S - DT)
        self.at = NOON - HISTORY_S
        self.runs = {f"m{n}": (OLD, NOON - 86400.0) for n in range(1, machines + 1)}

    def snapshot(self) -> Snapshot:
        newest = max(version for version, _ in self.runs.values())
        return Snapshot(
            at=self.at,
            machines=tuple(machine(name, *life) for name, life in self.runs.items()),
            releases=(release(newest),),
            leases={},
        )

    def deploy(self, *names: str) -> None:
        """These, or all, run the new version from now on."""
        self.runs |= dict.fromkeys(names or self.runs, (NEW, self.at))
        self.mind.see(self.snapshot())

    def live(
        self, seconds: float, bad: int = 0, below: Sequence[int] = USUAL, sick: Sequence[int] = (OLD, NEW)
    ) -> None:
        """Scrape after scrape 300 requests a machine, of which ``bad`` fail where a version in ``sick`` runs."""
        for _ in range(int(seconds / DT)):
            self.step(bad, below, sick)

    def step(self, bad: int = 0, below: Sequence[int] = USUAL, sick: Sequence[int] = (OLD, NEW)) -> Decision:
        since, self.at = self.at, self.at + DT
        self.mind.see(self.snapshot())
        traffic: list[Reading] = []
        for name, (version, _) in self.runs.items():
            hurt = version in sick
            seen = tuple(zip(BELOW_S, map(float, below if hurt else USUAL), strict=True))
            values = {"requests": 300.0, "errors": float(bad if hurt else 0), "latency": 300.0}
            traffic += [
                Reading(
                    key=f"traffic.{key}",
                    subject=name,
                    at=self.at,
                    value=value,
                    since=since,
                    buckets=seen if key == "latency" else (),
                )
                for key, value in values.items()
            ]
        probes = [Reading(key="probe", subject=name, at=self.at, value=1.0) for name in self.runs]
        self.mind.read("probe", probes)
        self.mind.read("traffic", traffic)
        return self.mind.decide(self.at)

    def decided(
        self, seconds: float, bad: int = 0, below: Sequence[int] = USUAL, sick: Sequence[int] = (NEW,)
    ) -> Decision:
        """The first decision other than to hold within so long; else the last one."""
        decision: Decision = Hold(sentence="")
        for _ in range(int(seconds / DT)):
            decision = self.step(bad, below, sick)
            if not isinstance(decision, Hold):
                return decision
        return decision


def image(version: int) -> str:
    return f"registry/app@sha256:{version:064x}"


def release(version: int) -> Release:
    return Release(id=str(version), version=version, status="complete", image_ref=image(version), created_at=NOON)


def machine(name: str, version: int, since: float) -> Machine:
    return Machine(
        id=name,
        state="started",
        instance_id=f"{name}-{version}",
        digest=f"sha256:{version:064x}",
        image_ref=image(version),
        has_checks=False,
        started_at=since,
        release_version=version,
    )


def released(machines: int = 1) -> Fleet:
    """Two good hours, and a release on every machine just now."""
    fleet = Fleet(machines)
    fleet.live(HISTORY_S)
    fleet.deploy()
    return fleet


def test_who_has_seen_no_machine_holds() -> None:
    assert Mind(POLICY, NOON).decide(NOON) == Hold(sentence=NOBODY)


def test_what_ran_well_for_long_enough_is_proven_and_a_baseline() -> None:
    fleet = released()
    assert [d.proven_at is not None for d in fleet.mind.state.digests] == [True, False]
    assert fleet.mind.evidence(f"sha256:{NEW:064x}", fleet.at).baseline is not None


def test_a_healthy_release_is_held_against_nothing_for_an_hour() -> None:
    assert isinstance(released().decided(3600.0), Hold)


@pytest.mark.parametrize("bad, below", [(150, USUAL), (15, USUAL), (0, SLOW)])
def test_a_bad_release_goes_back_to_what_was_proven(bad: int, below: Sequence[int]) -> None:
    fleet = released()
    decision = fleet.decided(180.0, bad, below)
    assert isinstance(decision, RollBack)
    assert decision.target.digest == f"sha256:{OLD:064x}"
    assert max(f.odds or 0.0 for f in decision.findings) > 1000


def test_the_first_scrape_after_a_release_counts() -> None:
    """Else every verdict comes one scrape late."""
    fleet = released()
    fleet.step(150)
    assert max(f.odds or 0.0 for f in fleet.mind.findings) > 1
    fleet.step(150)
    assert isinstance(fleet.step(150), RollBack)


def test_without_anything_proven_people_are_asked() -> None:
    fleet = Fleet()
    fleet.live(60.0)
    fleet.deploy()
    assert not isinstance(fleet.decided(600.0, 150), RollBack)


def test_what_the_old_machines_have_too_is_no_releases_doing() -> None:
    fleet = Fleet(4)
    fleet.live(HISTORY_S)
    fleet.deploy("m1", "m2")
    assert not isinstance(fleet.decided(300.0, 60, sick=(OLD, NEW)), RollBack)


def test_new_machines_beside_healthy_old_ones_show_it_is_the_release() -> None:
    fleet = Fleet(4)
    fleet.live(HISTORY_S)
    fleet.deploy("m1", "m2")
    fleet.decided(300.0, 60)
    assert any(f.side_by_side for f in fleet.mind.findings)


def test_nothing_counts_while_the_control_is_down() -> None:
    fleet = released()
    fleet.mind.around(Surroundings(control=(CONTROL_DOWN,)))
    assert isinstance(fleet.decided(600.0, 150), Hold)


def test_an_older_snapshot_changes_nothing() -> None:
    fleet = released()
    late = fleet.snapshot()
    fleet.live(60.0)
    before = (fleet.mind.snapshot, dict(fleet.mind.tenures))
    fleet.mind.see(late)
    assert (fleet.mind.snapshot, dict(fleet.mind.tenures)) == before


def test_silence_is_blindness_and_no_evidence() -> None:
    fleet = released()
    fleet.live(60.0)
    fleet.at += 600.0
    fleet.mind.see(fleet.snapshot())
    decision = fleet.mind.decide(fleet.at)
    assert isinstance(decision, PageDecision)
    assert {f.state for f in decision.findings} == {RuleState.BLIND}


def test_equal_lives_end_in_equal_evidence() -> None:
    one, other = released(), released()
    one.live(300.0, 4)
    other.live(300.0, 4)
    assert one.mind.relatives.to_text() == other.mind.relatives.to_text()
