"""The record of a rollback as files."""

from __future__ import annotations

import json

from rollguard.core import events as ev
from rollguard.core.report import columns, releases_json, said, status_text, story, summary_text
from tests.builders import BAD, GOOD, NOON, a_goal, a_policy, a_snapshot, a_state, machines, recorded

HISTORY = recorded(
    ev.IncidentOpened(at=NOON, incident="i-1", candidate=BAD, sentence="it is bad"),
    ev.GoalSet(
        at=NOON,
        incident="i-1",
        candidate=BAD,
        target=GOOD,
        target_ref=f"registry.example/shop@{GOOD}",
        target_version=41,
        after_version=42,
        trigger="absolute rule",
        by="rollguard",
        reason="policy",
        deadline_at=NOON + 900.0,
    ),
    ev.StepIntended(at=NOON + 1, incident="i-1", kind="update", machine="m1", instance_id="a"),
    ev.StepDone(at=NOON + 5, incident="i-1", kind="update", machine="m1", result="b", phase="healthy"),
    ev.Reported(at=NOON + 6, kind="bug", digest=BAD, version=42, by="eve", reason="not of this incident"),
    ev.GoalEnded(at=NOON + 8, incident="i-1", outcome="restored", sentence="every managed machine runs the target"),
    ev.Verified(at=NOON + 308, incident="i-1", result="restored", sentence="clean for 5 m"),
)


def test_the_status_lists_every_machine_and_the_mix() -> None:
    text = status_text(a_policy(), a_snapshot(*machines(BAD, BAD, GOOD)), a_state())
    assert text.startswith("app shop at 2026-08-21T12:00:00Z\nimages: 1 on 900d900d900d, 2 on bad0bad0bad0\n")
    assert "m3 app started v41 900d900d900d http passing" in [" ".join(line.split()) for line in text.splitlines()]
    assert "  v41 (900d900d900d) proven" in text


def test_the_releases_are_json_newest_first() -> None:
    rows = json.loads(releases_json(a_snapshot()))
    assert [row["version"] for row in rows] == [42, 41]
    assert rows[0]["createdAt"] == "2026-08-21T11:00:00Z"


def test_the_summary_tells_what_was_done_why_and_how_it_ended() -> None:
    text = summary_text(a_policy(), a_goal(), HISTORY)
    assert "ended:       2026-08-21T12:00:08Z after 8 s" in text
    assert "outcome:     restored: every managed machine runs the target" in text
    assert "verified:    restored: clean for 5 m" in text
    assert "reason:      policy" in text
    assert "2026-08-21T12:00:05Z  machine m1 is healthy on the target" in text
    assert "not of this incident" not in text


def test_the_summary_names_the_rule_and_its_numbers() -> None:
    decided = ev.Decided(
        at=NOON,
        incident="i-1",
        decision="rollback",
        trigger="absolute rule",
        sentence="s",
        findings=("err: 7 % of 99",),
    )
    text = summary_text(a_policy(), a_goal(), [*recorded(decided), *HISTORY])
    assert "because:     err: 7 % of 99\n" in text
    assert "trigger:     absolute rule\n" in text


def test_the_story_says_no_sentence_twice_in_a_row() -> None:
    opened = ev.IncidentOpened(at=NOON, incident="i-1", candidate=BAD, sentence="it is bad")
    decided = ev.Decided(
        at=NOON, incident="i-1", decision="page", trigger="report", sentence="it is bad", refusals=("pause: by ada",)
    )
    assert story([opened, decided]) == [
        "  2026-08-21T12:00:00Z  incident: it is bad",
        "  2026-08-21T12:00:00Z  decided to page (report, held by pause)",
    ]


def test_a_rollback_that_is_not_over_says_so() -> None:
    text = summary_text(a_policy(), a_goal(), HISTORY[:3])
    assert "outcome:     not yet" in text
    assert "verified:    not yet" in text


def test_columns_align() -> None:
    assert columns([("a", "bb"), ("ccc", "d")]) == ["a    bb", "ccc  d"]
    assert columns([]) == []


def test_what_only_machines_need_is_not_told() -> None:
    assert said(ev.StepDone(at=NOON, incident="i", kind="release_running")) == ""
    assert (
        said(ev.StepFailed(at=NOON, incident="i", kind="release_create", error="gone")) == "release_create failed: gone"
    )
