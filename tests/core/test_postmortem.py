"""The draft of a post-mortem: it has the numbers, and nobody's words can break out of their place."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollguard.core import events as ev
from rollguard.core.incident_record import chronicle
from rollguard.core.lifecycle import Incident
from rollguard.core.pages import Kind
from rollguard.core.policy import Compared, Quantile, Ratio
from rollguard.core.postmortem import CHARS_MAX, draft_of, follow_ups, quoted
from tests.builders import BAD, GOOD, NOON, a_goal, a_policy, a_rule, an_incident, recorded
from tests.core.test_incident_record import SHOP, STORY, a_decision, a_rule_that_fires, of

EVIL = (
    "x`|y",
    "a\n# Forged\n",
    "[click](https://evil.example) ![](https://evil.example/x.png)",
    "@everyone @ann #12 owner/repo#3",
    "</td></table><script>alert(1)</script><!-- ",
    "``` \n--- \n* [x] done",
    "http://evil.example www.evil.example",
    "\\` \\| \u202eesrever\u2028line \x1b[31m",
    "`" * 400,
    "|" * 400,
)


def with_words(events: Sequence[ev.Event], words: str) -> list[ev.Event]:
    """Every text that an app, a platform or a person could have written is ``words``."""
    foreign = {
        "sentence",
        "reason",
        "by",
        "error",
        "instance_id",
        "result",
        "outcome",
        "summary",
        "decision",
        "trigger",
    }
    lists = {"findings", "refusals", "warnings"}

    def told(event: ev.Event) -> ev.Event:
        names = {f.name for f in fields(event)}
        changes: dict[str, Any] = {name: words for name in foreign & names if getattr(event, name)}
        changes |= dict.fromkeys(lists & names, (f"not-responding: {words}", words))
        if isinstance(event, ev.GoalSet):
            changes["target_ref"] = words
        return replace(event, **changes)

    return [told(event) for event in events]


def skeleton(draft: str) -> list[str]:
    """What a reader of Markdown sees as such: the draft without what is in code spans."""
    return [re.sub(r"`[^`\n]*`|–", "…", line) for line in draft.split("\n")]


@pytest.mark.parametrize("words", EVIL)
def test_no_words_break_out_of_their_place(words: str) -> None:
    benign = draft_of(a_policy(), of(*with_words(STORY, "fine")))
    hostile = draft_of(a_policy(), of(*with_words(STORY, words)))
    assert skeleton(hostile) == skeleton(benign)


@settings(max_examples=200, deadline=None)
@given(st.text(max_size=80))
def test_any_text_is_one_code_span_on_one_line(words: str) -> None:
    found = quoted(words)
    assert found == "–" or re.fullmatch(r"`[^`|\n\r]+`", found)
    assert found.isprintable()


def test_words_are_cut_where_they_would_be_too_many() -> None:
    assert len(quoted("x" * 5000)) == 302
    assert quoted("") == "–"


def test_the_draft_has_the_summary_the_numbers_and_the_way_by_hand() -> None:
    draft = draft_of(a_policy(), of(*STORY), version="0.1.0")
    assert "All machines were rolled back from v42 `bad0bad0bad0` to v41 `900d900d900d`, verified `restored`" in draft
    assert "| all machines restored | 2026-08-21T12:01:10Z | 1 m 20 s |" in draft
    assert "| `not-responding` | 3 in a row | 3 in a row | – | 2026-08-21T11:59:50Z |" in draft
    assert "* noted: `others in trouble: one more target`" in draft
    assert "| `m2` | `m2-1` | – | failed | `HTTP 500 (fly-request-id 01ABC-ord)` |" in draft
    assert f"`flyctl deploy --app shop --image registry.example/shop@{GOOD} --skip-release-command`" in draft
    assert "**Due 2026-08-22T12:06:10Z.**" in draft
    assert "<https://example.com/runbook>" in draft
    for heading in ("Root cause", "Prevention", "Runbook and policy"):
        assert f"### {heading}\n" in draft


@pytest.mark.parametrize(
    "condition, value, limit, baseline, cells",
    [
        (
            Ratio(bad="traffic.errors", total="traffic.requests", over_s=60, limit=0.01, above=True, min_count=1),
            0.072,
            0.01,
            None,
            "7.2 % | 1 % | –",
        ),
        (
            Compared(of=Quantile(key="traffic.latency", q=0.95, over_s=60, limit=0, above=True, min_count=1)),
            0.9,
            0.75,
            0.5,
            "900 ms | 750 ms | 500 ms",
        ),
    ],
)
def test_numbers_are_written_as_people_read_them(
    condition: Any, value: float, limit: float, baseline: float | None, cells: str
) -> None:
    policy = a_policy(a_rule(condition, name="slow"))
    changed = a_rule_that_fires(rule="slow", value=value, limit=limit, baseline=baseline)
    told_of = of(changed, *STORY[6:7], a_decision(findings=("slow: so it is",)))
    assert f"| `slow` | {cells} |" in draft_of(policy, told_of)


def test_a_handed_over_rollback_says_how_it_stopped() -> None:
    ended = ev.GoalEnded(at=NOON + 70, incident="i-1", outcome="yielded", sentence="ci deploys")
    draft = draft_of(a_policy(), of(*STORY[:19], ended))
    assert "stopped (`yielded`) and was handed over: `ci deploys`" in draft
    assert "| all machines restored | – | – |" in draft


# -- the follow-up page ------------------------------------------------------------------------------------------------

ENDING = (ev.GoalEnded(at=NOON + 70, incident="i-1", outcome="failed", sentence="m2 is not healthy"),)


def due(incident: Incident, events: Sequence[ev.Event] = STORY[:19]) -> list[Any]:
    return follow_ups(a_policy(), incident, recorded(*events), ENDING, NOON + 70)


def test_the_follow_up_is_a_problem_of_its_own_due_within_a_day() -> None:
    (page,) = due(an_incident(goal=a_goal()))
    assert page.kind is Kind.FOLLOW_UP
    assert page.key == f"rollguard/{SHOP}/i-1/post-mortem"
    assert page.due_at == NOON + 70 + 86400
    assert page.summary == "shop-production: post-mortem of incident i-1, due 2026-08-22T12:01:10Z"
    assert not page.resolve
    assert "`m2 is not healthy`" in page.text, "the events that end it are told as well"
    assert page.text.startswith("# Post-mortem: ")


def test_an_incident_has_one_follow_up_and_only_where_something_was_rolled_back() -> None:
    assert due(an_incident()) == []
    assert due(an_incident(goal=a_goal(), said=frozenset({"post-mortem", "rolling back"}))) == []


def test_a_follow_up_is_bounded_whatever_happened() -> None:
    storm = [replace(a_rule_that_fires(), sentence="\U0001f600" * 900, at=NOON + 20) for _ in range(3000)]
    decisions = [a_decision(sentence="y" * 3000, findings=("z" * 3000,) * 50, refusals=("r" * 3000,) * 50)] * 20
    (page,) = due(an_incident(goal=a_goal()), [*STORY[:9], *decisions, *storm])
    assert len(page.text) <= CHARS_MAX + 100
    last = page.text.rstrip().split("\n")
    assert all(line.count("`") % 2 == 0 for line in last), "no code span is cut in half"


def test_a_guard_that_remembers_nothing_still_says_that_it_is_due() -> None:
    (page,) = follow_ups(a_policy(), an_incident(goal=a_goal(candidate=BAD)), [], ENDING, NOON + 70)
    assert page.due_at == NOON + 70 + 86400
    assert chronicle([], SHOP, "i-1").due_at is None
