"""What people get: each page says what, on which numbers, what held the act, and what works by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.core import events as ev
from rollguard.core.case import Refusal
from rollguard.core.decide import PageDecision, decide
from rollguard.core.finding import Finding, RuleState
from rollguard.core.judge import judge
from rollguard.core.lifecycle import DigestRecord
from rollguard.core.messages import DETAILS_MAX, FIELD_MAX, by_digest, by_hand, gap_notice, mix, page
from rollguard.core.model import EDGE, Mode, Reading
from rollguard.core.pages import Page, Severity
from rollguard.core.policy import Compared, Condition, Crashed, Failing, Quantile, Ratio, Threshold
from tests.builders import (
    BAD,
    GOOD,
    NOON,
    a_case,
    a_crash,
    a_finding,
    a_machine,
    a_policy,
    a_record,
    a_rule,
    a_snapshot,
    a_state,
    a_tenure,
    a_view,
    bucketed,
    counted,
    evidence,
    machines,
    readings,
)

BY_HAND = f"flyctl deploy --app shop --image registry.example/shop@{GOOD} --skip-release-command"


def a_page(summary: str = "it is bad", **but: object) -> Page:
    return page(a_policy(), "i-1", summary, NOON, **{"about": "rule not-responding"} | but)  # type: ignore[arg-type]


def detail(of: Page, name: str) -> str:
    return dict(of.details).get(name, "")


def test_a_page_of_a_held_rollback_says_everything_a_person_needs_at_night() -> None:
    paused = a_state(pause=ev.PauseSet(at=NOON - 60, by="ann", reason="fire drill"))
    case = a_case(state=paused, findings=(a_finding(a_rule(cite="Immediate: not responding", origin="shop.yaml:14")),))
    decision = decide(case, Mode.ENFORCE, NOON)
    assert isinstance(decision, PageDecision)
    sent = a_page(
        decision.sentence,
        findings=decision.findings,
        refusals=decision.refusals,
        warnings=(Refusal("hold", "ann holds it"),),
        target=decision.target,
        snapshot=case.snapshot,
    )
    assert sent.summary.startswith("shop-production: v42 (bad0bad0bad0) is bad and was not rolled back: paused by ann")
    assert sent.details == (
        (
            "not-responding",
            f"{decision.findings[0].sentence} [Immediate: not responding] (shop.yaml:14)",
        ),
        ("value", "3 in a row"),
        ("limit", "3 in a row"),
        ("since", "11:59:50Z"),
        ("failing machines", "m1, m2, m3 and m4"),
        ("held by pause", "paused by ann since 11:59:00Z: fire drill"),
        ("note: hold", "ann holds it"),
        ("machines", "4 on bad0bad0bad0"),
        ("by hand", BY_HAND),
        ("runbook", "https://example.com/runbook"),
    )
    assert sent.link.endswith("/docs/operations.md#held-by-pause")
    assert (sent.severity, sent.at, sent.target) == (Severity.CRITICAL, NOON, "shop-production")


IN_ITS_UNIT: list[tuple[Condition, tuple[float, float, float], tuple[str, str, str]]] = [
    (
        Ratio(bad="e", total="r", over_s=60, limit=0.1, above=True, min_count=1),
        (0.366, 0.1, 0.0004),
        ("36.6 %", "10 %", "under 0.1 %"),
    ),
    (
        Compared(of=Quantile(key="l", q=0.95, over_s=60, limit=0, above=True, min_count=1), factor=1.5),
        (1.8, 1.5, 1.0),
        ("1.8 s", "1.5 s", "1 s"),
    ),
    (Threshold(key="numbers.errors", limit=5, above=True, for_s=60), (7, 5, 0), ("7", "5", "0")),
]


@pytest.mark.parametrize("condition, numbers, shown", IN_ITS_UNIT)
def test_value_limit_baseline_and_since_have_a_line_each_in_the_unit_of_the_rule(
    condition: Condition, numbers: tuple[float, float, float], shown: tuple[str, str, str]
) -> None:
    value, limit, baseline = numbers
    found = replace(a_finding(a_rule(condition)), value=value, limit=limit, baseline=baseline, since=NOON)
    sent = a_page(findings=(found,))
    names = ("value", "limit", "baseline", "since")
    assert tuple(detail(sent, name) for name in names) == (*shown, "12:00:00Z")


def test_a_page_has_fewer_than_twenty_lines_and_what_a_person_must_have_is_never_cut() -> None:
    many = tuple(a_finding(a_rule(name=f"rule-{n}"), machines=("m1",)) for n in range(30))
    held = tuple(Refusal(f"lock-{n}", "held") for n in range(30))
    sent = a_page(findings=many, refusals=held, warnings=held, snapshot=a_snapshot(), more=[("approve", "so")])
    assert len(sent.details) == DETAILS_MAX < 20
    names = [name for name, _ in sent.details]
    assert names[0] == "rule-0"
    assert "rule-12" in detail(sent, "also")
    assert "lock-12" in detail(sent, "held by also")
    assert names[-4:] == ["approve", "machines", "by hand", "runbook"]


EVERY_KIND: list[tuple[Condition, list[Reading], str, str]] = [
    (Failing(signal="health", k=3), [*readings("fail " * 4), *readings("ok", subject=EDGE)], "failed 4", "limit 3"),
    (Threshold(key="numbers.p95", limit=3.0, above=True, for_s=0), readings("7", key="numbers.p95"), "7", "above 3"),
    (
        Ratio(bad="traffic.errors", total="traffic.requests", over_s=60, limit=0.1, above=True, min_count=1),
        [*counted("traffic.errors", [30] * 4), *counted("traffic.requests", [100] * 4)],
        "%",
        "above 10 %",
    ),
    (
        Quantile(key="traffic.latency", q=0.95, over_s=60, limit=0.3, above=True, min_count=1),
        [bucketed({0.5: 100, 1.0: 0})],
        "475 ms",
        "above 300 ms",
    ),
    (Crashed(signal="machines", k=2, within_s=300), [], "crashed 2 times", "limit 2"),
]


@pytest.mark.parametrize("condition, rows, value, limit", EVERY_KIND)
def test_every_kind_of_rule_says_its_value_its_limit_and_since_when(
    condition: Condition, rows: list[Reading], value: str, limit: str
) -> None:
    crashing = a_tenure("m1", exits=(a_crash(NOON - 5), a_crash(NOON - 9)))
    found = judge(a_rule(condition), evidence(rows, view=a_view(cohort=(crashing,))), NOON)
    assert found.firing
    for words in (value, limit, "since 1"):
        assert words in found.sentence
    assert (found.value is None, found.limit is None and not isinstance(condition, Failing)) == (False, False)
    assert found.since is not None


def test_every_page_but_a_closing_one_ends_in_what_works_by_hand() -> None:
    assert detail(a_page(target=a_record(GOOD)), "by hand") == BY_HAND
    assert detail(a_page(), "by hand") == "flyctl releases --image --app shop"
    assert detail(a_page(resolve=True), "by hand") == ""


def test_all_pages_of_an_incident_share_its_key_and_the_last_one_closes_it() -> None:
    opened, closed = a_page(), a_page(about="recovered", resolve=True)
    assert opened.key == closed.key == "rollguard/shop-production/i-1"
    assert (opened.resolve, closed.resolve) == (False, True)


def test_a_blind_rule_leads_to_its_own_help() -> None:
    blind = a_finding(state=RuleState.BLIND)
    assert a_page(findings=(blind,)).link.endswith("#blind")
    assert a_page(findings=(blind, a_finding())).link.endswith("#a-rule-is-firing")


# -- by hand -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "ref, named",
    [
        ("registry.fly.io/shop:deployment-01", "registry.fly.io/shop"),
        ("registry.fly.io/shop:tag@sha256:0123", "registry.fly.io/shop"),
        ("registry.fly.io/shop@sha256:0123", "registry.fly.io/shop"),
        ("localhost:5000/shop:tag", "localhost:5000/shop"),
        ("localhost:5000/shop", "localhost:5000/shop"),
        ("shop:tag", "shop"),
        ("shop", "shop"),
    ],
)
def test_an_image_is_named_by_its_digest_and_never_by_a_tag_that_can_be_moved(ref: str, named: str) -> None:
    assert by_digest(ref, GOOD) == f"{named}@{GOOD}"


def test_the_command_by_hand_skips_the_release_command_of_today() -> None:
    assert by_hand(a_policy(), a_record(GOOD)) == BY_HAND


# -- the fleet in words ------------------------------------------------------------------------------------------------


def test_the_mix_counts_managed_machines_by_image() -> None:
    fleet = (*machines(GOOD, BAD, BAD), a_machine("m4", ""), a_machine("m5", GOOD, managed=False))
    assert mix(a_snapshot(*fleet)) == "1 on an unknown image, 1 on 900d900d900d, 2 on bad0bad0bad0"


def test_the_gap_of_a_group_of_one_is_said_beforehand() -> None:
    lonely = a_snapshot(*machines(BAD, BAD), a_machine("w1", group="worker"))
    assert gap_notice(lonely) == "group worker has one machine: it is down while it changes"
    assert gap_notice(a_snapshot()) == ""
    asleep = a_snapshot(a_machine(), a_machine("m2", state="stopped"))
    assert gap_notice(asleep) == "group app has one machine: it is down while it changes"


# -- hostile text ------------------------------------------------------------------------------------------------------


@given(st.text(max_size=50).map(lambda t: t * 400), st.integers(0, 30))
def test_no_text_from_outside_makes_a_page_grow_without_bounds(hostile: str, machines_count: int) -> None:
    finding: Finding = a_finding(said=hostile, machines=tuple(f"m{i}{hostile[:64]}" for i in range(machines_count)))
    record = DigestRecord(digest=GOOD, image_ref=hostile, version=None, first_seen_at=NOON)
    sent = a_page(hostile, findings=(finding,), refusals=(Refusal("pause", hostile),), target=record)
    assert len(sent.summary) <= 1000
    assert all(len(value) <= FIELD_MAX for _, value in sent.details)
    assert len(sent.details) < 20
