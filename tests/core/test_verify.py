"""How the restored release does: restored, not better, or cannot tell, and nothing is taken on trust."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from rollguard.core.finding import Blame, Finding, RuleState
from rollguard.core.fleet import View
from rollguard.core.model import EDGE, Reading
from rollguard.core.policy import Action, Ratio, Threshold, Verify
from rollguard.core.verify import Verdict, verify
from tests.builders import (
    MINUTE,
    NOON,
    a_finding,
    a_policy,
    a_rule,
    a_tenure,
    a_view,
    counted,
    evidence,
    readings,
)

SETTLE = 5 * MINUTE
SINCE = NOON - SETTLE
"""When the rollback was complete: to the second long enough ago."""

ERRORS = Ratio(
    bad="traffic.errors", total="traffic.requests", over_s=SETTLE, limit=0.01, above=True, min_count=1.0, for_s=0.0
)
SLOW = Threshold(key="numbers.p95", limit=3.0, above=True, for_s=0.0)
RUNBOOK = Verify(settle_s=SETTLE, require=("health",), limits=(ERRORS, SLOW))

WELL = [
    *readings("ok ok ok"),
    *readings("ok ok ok", subject=EDGE),
    *counted("traffic.requests", [100, 100, 100]),
    *counted("traffic.errors", [0, 1, 0]),
    *readings("1 1 1", key="numbers.p95", every=15.0),
]


def verdict(
    rows: Iterable[Reading] = WELL,
    *findings: Finding,
    asked: Verify = RUNBOOK,
    since: float = SINCE,
    view: View | None = None,
) -> Verdict | None:
    return verify(evidence(rows, policy=a_policy(verify=asked), view=view), findings, since, NOON)


def but(*rows: Reading) -> list[Reading]:
    """All is well, but these keys of these subjects answered so."""
    replaced = {(r.key, r.subject) for r in rows}
    return [*(r for r in WELL if (r.key, r.subject) not in replaced), *rows]


def without(key: str, subject: str = "m1") -> list[Reading]:
    return [r for r in WELL if (r.key, r.subject) != (key, subject)]


def test_all_well_for_the_whole_settle_time_is_restored() -> None:
    found = verdict(WELL, a_finding(state=RuleState.CLEAR))
    assert found == Verdict("restored", "clean for 5 m: rules, required signals and limits")


def test_nothing_is_said_while_it_settles() -> None:
    assert verdict(since=SINCE + 0.1) is None
    assert verdict(but(*readings("fail fail")), since=NOON - 60) is None, "requirements have until the end"
    assert verdict(WELL, a_finding(state=RuleState.PENDING), since=NOON - 60) is None


# -- not better --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("blame", [Blame.RELEASE, Blame.EVERYONE])
def test_a_rule_that_would_roll_it_back_ends_the_wait_at_once(blame: Blame) -> None:
    found = verdict(WELL, a_finding(blame=blame), since=NOON - 1)
    assert found is not None
    assert found.result == "not better"
    assert found.sentence.startswith("not-responding: health failed 3 in a row")


def test_one_sick_machine_or_a_rule_that_only_pages_does_not_end_it() -> None:
    pages = a_finding(a_rule(then=Action.PAGE))
    found = verdict(WELL, a_finding(blame=Blame.MACHINE), pages)
    assert found is not None
    assert found.result == "restored"


@pytest.mark.parametrize(
    "rows, sentence",
    [
        (but(*readings("ok ok fail")), "health fails on m1 (HTTP 503)"),
        (but(*readings("ok ok fail", subject=EDGE)), "health fails on edge (HTTP 503)"),
        (but(*counted("traffic.errors", [0, 9, 0])), "traffic.errors / traffic.requests is 3.1 %, limit 1 %"),
        (but(*readings("1 1 3.5", key="numbers.p95", every=15.0)), "numbers.p95 is 3.5 on m1, limit 3"),
    ],
)
def test_a_broken_requirement_or_limit_is_not_better(rows: list[Reading], sentence: str) -> None:
    assert verdict(rows) == Verdict("not better", sentence)


def test_a_limit_needs_no_hold_at_the_end() -> None:
    slow = Threshold(key="numbers.p95", limit=3.0, above=True, for_s=600.0)
    found = verdict(but(*readings("1 4", key="numbers.p95", every=15.0)), asked=Verify(limits=(slow,)))
    assert found is not None
    assert found.result == "not better"


def test_what_is_broken_outweighs_what_cannot_be_read() -> None:
    rows = [r for r in but(*readings("ok fail")) if not r.key.startswith("traffic")]
    found = verdict(rows)
    assert found is not None
    assert (found.result, found.sentence) == ("not better", "health fails on m1 (HTTP 503)")


# -- cannot tell -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "rows, sentence",
    [
        (without("health"), "health has no answer from m1"),
        (without("health", EDGE), "health has no answer from edge"),
        (but(*readings("ok - - - - -")), "health has no answer from m1"),
        (without("numbers.p95"), "numbers.p95 cannot be read on m1: no answer"),
        (but(*readings("1 quiet", key="numbers.p95", every=15.0)), "numbers.p95 cannot be read on m1: no traffic"),
        (without("traffic.requests"), "traffic.errors / traffic.requests cannot be read: only 0 requests"),
        (
            but(*counted("traffic.errors", ["nan"] * 3)),
            "traffic.errors / traffic.requests cannot be read: not a number",
        ),
    ],
)
def test_what_cannot_be_read_is_no_proof(rows: list[Reading], sentence: str) -> None:
    found = verdict(rows)
    assert found is not None
    assert found.result == "cannot tell"
    assert sentence in found.sentence


def test_a_source_that_fell_silent_on_the_way_is_no_proof() -> None:
    """Clean for the first two of five minutes, then nothing: that is not clean for five."""
    silent = NOON - 3 * MINUTE
    rows = but(*counted("traffic.requests", [100] * 8, until=silent), *counted("traffic.errors", [0] * 8, until=silent))
    found = verdict(rows)
    assert found is not None
    assert found.result == "cannot tell"


def test_answers_of_the_machines_life_before_are_no_proof() -> None:
    restarted = a_view(cohort=(a_tenure("m1", since=NOON - 1),), whole_since=NOON - 1)
    found = verdict([r for r in WELL if r.at < NOON - 1], view=restarted)
    assert found is not None
    assert found.result == "cannot tell"
    assert "numbers.p95 cannot be read on m1: nothing read yet" in found.sentence


def test_an_app_that_is_all_asleep_cannot_be_verified() -> None:
    asleep = a_view(cohort=(a_tenure("m1", started=False),))
    asked = Verify(require=("numbers",), limits=(SLOW,))
    found = verdict(WELL, view=asleep, asked=asked)
    assert found == Verdict("cannot tell", "numbers has nobody to ask; numbers.p95 has nobody to ask")


def test_a_blind_rule_that_could_roll_back_is_no_proof() -> None:
    blind = a_finding(state=RuleState.BLIND, said="no readings of health: no answer")
    found = verdict(WELL, blind)
    assert found == Verdict("cannot tell", "not-responding: no readings of health: no answer")
    pages = a_finding(a_rule(then=Action.PAGE), state=RuleState.BLIND)
    found = verdict(WELL, pages)
    assert found is not None
    assert found.result == "restored"


def test_without_requirements_the_rules_alone_decide() -> None:
    found = verdict([], a_finding(state=RuleState.CLEAR), asked=Verify(settle_s=SETTLE))
    assert found is not None
    assert found.result == "restored"
