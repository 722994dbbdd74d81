"""The one line of JSON with which every run ends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from rollguard.demo.checks import floor_violations
from rollguard.demo.figures import Figures
from rollguard.demo.referee import Ruling
from rollguard.demo.scenario import Scenario
from rollguard.demo.seen import Seen, failed, on_bad_image


def summary(
    scenario: Scenario, seen: Seen, ruling: Ruling, *, journal_events: int, artifacts: Sequence[str]
) -> dict[str, Any]:
    """What a run showed."""
    wrong = failed(seen.visits)
    on_bad = sum(on_bad_image(visit, seen.bad) for visit in wrong)
    return {
        "scenario": scenario.name,
        "outcome": ruling.outcome,
        "expected": scenario.expected,
        "ok": ruling.ok,
        "seconds": asdict(ruling.figures),
        "requests": {"total": len(seen.visits), "failed_on_bad_image": on_bad, "failed_otherwise": len(wrong) - on_bad},
        "writes": dict(sorted(seen.writes.items())),
        "floor_violations": len(floor_violations(seen)),
        "journal_events": journal_events,
        "artifacts": list(artifacts),
    }


def not_played(scenario: Scenario) -> dict[str, Any]:
    """The summary of a run that this machine was not up to."""
    return {
        "scenario": scenario.name,
        "outcome": "could not be played",
        "expected": scenario.expected,
        "ok": False,
        "seconds": asdict(Figures()),
        "requests": {"total": 0, "failed_on_bad_image": 0, "failed_otherwise": 0},
        "writes": {},
        "floor_violations": 0,
        "journal_events": 0,
        "artifacts": [],
    }
