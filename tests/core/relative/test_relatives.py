"""Rules that compare: what they find and how fast, what they leave alone, whom they blame, what survives a restart."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from rollguard.core.baseline import measure_of
from rollguard.core.finding import Blame, RuleState, Trigger
from rollguard.core.model import GapKind
from rollguard.core.policy import Action, Compared, Rule
from rollguard.core.relative.relatives import Relatives, Unreadable
from tests.builders import BAD, GOOD, NOON
from tests.core.relative.released import (
    ERRORS,
    MORE_ERRORS,
    PROBES_FAIL,
    SLOWER,
    SLOWER_PAGE,
    Does,
    Released,
    a_gap,
)

FOUR = ("m1", "m2", "m3", "m4")


def four(does: Does) -> dict[str, Does]:
    return dict.fromkeys(FOUR, does)


# -- what is found -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "does, rule, within_s",
    [
        (Does(errors=0.5, rps=1.0), MORE_ERRORS, 60),
        (Does(errors=0.05), MORE_ERRORS, 90),
        (Does(errors=0.01, rps=100.0), MORE_ERRORS, 90),
        (Does(slow=4.0), SLOWER, 90),
        (Does(slow=2.0, rps=40.0), SLOWER, 150),
        (Does(slow=1.5, rps=40.0), SLOWER_PAGE, 200),
        (Does(probes=1.0), PROBES_FAIL, 60),
    ],
)
def test_a_release_that_is_worse_is_found(does: Does, rule: object, within_s: float) -> None:
    world = Released(new={"m1": does})
    found = world.until_fires(rule, within_s)  # type: ignore[arg-type]
    assert found is not None
    _, finding = found
    assert finding.trigger is Trigger.RELATIVE
    assert finding.blame is Blame.RELEASE
    assert finding.odds is not None
    assert finding.odds > 40
    assert "tolerated" in finding.sentence


def test_what_is_found_says_how_improbable_it_is() -> None:
    found = Released(new={"m1": Does(errors=0.05)}).until_fires(MORE_ERRORS)
    assert found is not None
    _, finding = found
    assert "evidence this strong would turn up in fewer than 1 of" in finding.sentence
    assert "baseline 0.1 %" in finding.sentence
    assert finding.limit is not None
    assert finding.value is not None
    assert finding.value > finding.limit > 0.001


@pytest.mark.parametrize("rule", [MORE_ERRORS, SLOWER, PROBES_FAIL])
def test_a_sentence_that_is_read_later_is_the_one_of_its_time(rule: Rule) -> None:
    world, findings, sentences = Released(new=four(Does())), [], []
    for _ in range(30):
        world.step()
        findings.append(world.finding(rule))
        sentences.append(str(findings[-1].said))
        assert findings[-1] == world.finding(rule)
    assert [finding.sentence for finding in findings] == sentences
    assert len(set(sentences)) >= 5
    assert all("tolerated" in sentence for sentence in sentences[5:])


def test_a_regression_that_starts_late_is_not_buried_under_the_good_time_before() -> None:
    late = Does(errors=lambda after: 0.05 if after > 1200 else 0.001)
    found = Released(new={"m1": late}).until_fires(MORE_ERRORS)
    assert found is not None
    assert 1200 < found[0] <= 1200 + 135


# -- what is left alone ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_a_healthy_release_is_left_alone(seed: int) -> None:
    world = Released(seed=seed)
    while world.now < NOON + 1800:
        world.step()
        assert not any(world.finding(rule).firing for rule in world.rules)


@pytest.mark.parametrize("rule, does", [(MORE_ERRORS, Does(errors=0.3)), (PROBES_FAIL, Does(probes=1.0))])
def test_nothing_is_evidence_while_a_control_fails(rule: object, does: Does) -> None:
    world = Released(new={"m1": does}, frozen=lambda after: True)
    assert world.until_fires(rule, 600.0) is None  # type: ignore[arg-type]


def test_a_blip_of_a_minute_is_no_release() -> None:
    blip = Does(errors=lambda after: 0.3 if 300 <= after < 345 else 0.001)
    assert Released(new={"m1": blip}).until_fires(MORE_ERRORS, 1800.0) is None


def test_without_a_baseline_nothing_is_compared_and_the_sentence_says_so() -> None:
    world = Released(new={"m1": Does(errors=0.5)}, blocks=0)
    world.baseline = None  # type: ignore[assignment]
    assert world.until_fires(MORE_ERRORS, 300.0) is None
    assert "nothing to compare with yet" in world.finding(MORE_ERRORS).sentence


def test_what_a_machine_does_while_it_is_cold_is_left_out_unless_nearly_everything_fails() -> None:
    cold = Does(errors=lambda after: 0.05 if after < 90 else 0.001)
    assert Released(new={"m1": cold}, settle_s=90.0).until_fires(MORE_ERRORS, 1200.0) is None
    assert Released(new={"m1": cold}, settle_s=0.0).until_fires(MORE_ERRORS, 1200.0) is not None
    dead = Released(new={"m1": Does(errors=0.6)}, settle_s=180.0).until_fires(MORE_ERRORS)
    assert dead is not None
    assert dead[0] <= 60


def test_how_long_machines_take_to_settle_is_learnt_from_releases_that_proved_healthy() -> None:
    cold = Does(errors=lambda after: 0.04 if after <= 45 else 0.001)
    world = Released(new={"m1": cold}, settle_s=30.0, settle_auto=True)
    for number in range(5):
        while world.now - NOON < 120:
            world.step()
        world.relatives.proven()
        world.now = world.last_scrape = NOON
        world.relatives.arm(f"{BAD}{number}", world.baseline, world.evidence, world.now)
        world.relatives.arm(BAD, world.baseline, world.evidence, world.now)
    assert 45 <= world.relatives.settle_s <= 60


# -- who is to blame ---------------------------------------------------------------------------------------------------


def test_one_sick_machine_of_four_is_not_the_release() -> None:
    world = Released(new=four(Does()) | {"m3": Does(errors=0.2)})
    found = world.until_fires(MORE_ERRORS, 600.0)
    assert found is not None
    assert found[1].blame is Blame.MACHINE
    assert found[1].machines == ("m3",)
    assert found[1].sentence.startswith("machine m3, not the release")


def test_old_machines_that_are_as_bad_acquit_the_release() -> None:
    bad = Does(errors=0.05)
    world = Released(new={"m1": bad, "m2": bad}, old={"m3": bad, "m4": bad})
    found = world.until_fires(MORE_ERRORS, 900.0)
    assert found is None or found[1].blame is not Blame.RELEASE or found[1].rule.then is Action.PAGE


def test_machines_side_by_side_convict_a_release_sooner_and_need_no_experiment() -> None:
    world = Released(new={"m1": Does(errors=0.05)}, old={m: Does() for m in ("m2", "m3", "m4")})
    found = world.until_fires(MORE_ERRORS, 120.0)
    assert found is not None
    assert found[0] <= 60
    assert found[1].side_by_side
    assert "machines on the old image" in found[1].sentence


def test_matched_probes_convict_a_machine_that_is_down_beside_others_that_are_not() -> None:
    world = Released(new={"m1": Does(probes=1.0)}, old={m: Does() for m in ("m2", "m3", "m4")})
    while not world.finding(PROBES_FAIL).side_by_side:
        world.step()
        assert world.now - NOON <= 60, "asked every second, as after a first failure, it takes 12 s"
    assert world.finding(PROBES_FAIL).rule.then is Action.ROLLBACK


# -- what may follow ---------------------------------------------------------------------------------------------------


def test_evidence_that_is_not_enough_to_act_on_wakes_people_only_after_a_while() -> None:
    found = []
    for seed in range(20):
        world = Released(new={"m1": Does(errors=0.0028)}, seed=seed)
        found += [fired] if (fired := world.until_fires(MORE_ERRORS, 1800.0)) is not None else []
    assert all(seconds > 75 for seconds, _ in found)
    assert any(finding.rule.then is Action.PAGE for _, finding in found)


def test_after_the_watch_the_evidence_begins_anew_and_only_pages() -> None:
    late = Does(errors=lambda after: 0.05 if after > 3700 else 0.001)
    world = Released(new={"m1": late})
    found = world.until_fires(MORE_ERRORS, 4500.0)
    assert found is not None
    assert found[1].rule.then is Action.PAGE


@pytest.mark.parametrize("seed", range(6))
def test_after_the_watch_nobody_is_called_for_a_blip_that_is_over(seed: int) -> None:
    world, suspected = Released(new={"m1": Does(errors=ten_bad_scrapes)}, seed=seed), 0
    while world.now < NOON + 4600:
        world.step()
        assert not world.finding(MORE_ERRORS).firing
        suspected += world.finding(MORE_ERRORS).state is RuleState.PENDING
    assert suspected


def ten_bad_scrapes(after: float) -> float:
    """After the watch."""
    return 0.25 if 4000 < after <= 4150 else 0.001


def test_a_rule_that_wants_many_requests_waits_for_them() -> None:
    of = replace(ERRORS, min_count=50_000.0)
    rule = replace(MORE_ERRORS, condition=Compared(of=of))
    world = Released(rules=(rule,), new={"m1": Does(errors=0.05)})
    assert world.until_fires(rule, 300.0) is None
    assert world.finding(rule).state is RuleState.PENDING
    assert "of 50000 requests" in world.finding(rule).sentence


# -- what is no answer -------------------------------------------------------------------------------------------------


def test_a_silent_source_makes_blind_and_is_no_evidence() -> None:
    world = Released(scraped=lambda after: after < 60)
    while world.now < NOON + 600:
        world.step()
    finding = world.finding(MORE_ERRORS)
    assert finding.state is RuleState.BLIND
    assert "no readings" in finding.sentence


def test_gaps_and_readings_of_another_life_count_for_nothing() -> None:
    world = Released(new={"m1": Does(errors=0.5)})
    world.since["m1"] = NOON + 7.0  # it started in the middle of the first interval
    world.step(), world.step(), world.step()
    world._round("traffic", [a_gap("traffic.requests", "m1", world.now, GapKind.NOT_A_NUMBER)], frozen=False)
    assert "nothing was counted yet" in world.finding(MORE_ERRORS).sentence


# -- what survives -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule, does", [(MORE_ERRORS, Does(errors=0.02)), (SLOWER, Does(slow=2.0))])
def test_restored_at_any_scrape_it_goes_on_to_the_last_bit(rule: object, does: Does) -> None:
    def live(restarts: bool) -> list[tuple[str, float | None, str]]:
        world = Released(new={"m1": does, "m2": Does()}, old={"m3": Does()}, settle_s=20.0)
        said = []
        for _ in range(40):
            world.step()
            if restarts:
                other = Relatives(world.policy)
                other.restore(world.relatives.to_text())
                world.relatives = other
            finding = world.finding(rule)  # type: ignore[arg-type]
            said.append((str(finding.state), finding.odds, finding.sentence))
        return said

    assert live(restarts=True) == live(restarts=False)


@pytest.mark.parametrize("text", ["", "{}", "[]", '{"format": 2}', '{"format": 1, "candidate": 3}', "nonsense"])
def test_what_cannot_be_read_is_refused_whole(text: str) -> None:
    world = Released(new={"m1": Does(errors=0.05)})
    world.until_fires(MORE_ERRORS)
    before = world.relatives.to_text()
    with pytest.raises(Unreadable):
        world.relatives.restore(text)
    assert world.relatives.to_text() == before


def test_evidence_of_a_rule_that_says_something_else_by_now_is_not_taken_up() -> None:
    world = Released(new={"m1": Does(errors=0.05)})
    assert world.until_fires(MORE_ERRORS) is not None
    other = replace(MORE_ERRORS, condition=Compared(of=ERRORS, add=0.5))
    policy = replace(world.policy, rules=(other,))
    relatives = Relatives(policy)
    relatives.restore(world.relatives.to_text())
    evidence = replace(world.evidence, policy=policy, compare=relatives.judge)
    assert not relatives.judge(other, evidence, world.now).firing


def test_what_is_kept_is_small() -> None:
    world = Released(new=four(Does()), old={})
    while world.now < NOON + 1800:
        world.step()
    kept = json.loads(world.relatives.to_text())
    evidence = len(json.dumps(kept["rules"])) / len(world.rules)
    assert evidence < 8000
    assert math.isfinite(evidence)


def test_another_candidate_begins_with_nothing_against_it() -> None:
    world = Released(new={"m1": Does(errors=0.05)})
    assert world.until_fires(MORE_ERRORS) is not None
    world.relatives.arm(GOOD, world.baseline, world.evidence, world.now)
    finding = world.finding(MORE_ERRORS)  # still asked about the old one
    assert not finding.firing


def test_an_outage_of_the_region_that_got_the_release_first_is_not_the_release() -> None:
    """Machines are compared inside a region: there the old one is as bad."""
    bad = Does(errors=0.05)
    world = Released(new={"m1": bad}, old={"m2": bad, "m3": Does(), "m4": Does()})
    world.regions = {"m1": "fra", "m2": "fra", "m3": "iad", "m4": "iad"}
    assert world.until_fires(MORE_ERRORS, 60.0) is None
    while world.now < NOON + 600:
        world.step()
        assert not world.finding(MORE_ERRORS).side_by_side


def test_what_the_same_hour_always_does_is_tolerated_and_said() -> None:
    """A job at noon fails for one in a hundred, every day."""
    world = Released(new={"m1": Does(errors=0.0035)})
    measure = measure_of(ERRORS, world.policy)
    for day in (1, 2, 3):
        for hour in (-2, -1, 0, 1):
            share = 0.003 if hour >= 0 else 0.001
            at = NOON - 86400.0 * day + 3600.0 * hour + 1800.0
            world.relatives.hours.add(measure, at, share * 100_000, 100_000.0)
    world.relatives.arm(GOOD, world.baseline, world.evidence, world.now)
    world.relatives.arm(BAD, world.baseline, world.evidence, world.now)
    world.step(), world.step(), world.step()
    finding = world.finding(MORE_ERRORS)
    assert "at this hour of 3 earlier days" in finding.sentence
    assert finding.limit is not None
    alone = Released()
    alone.step(), alone.step(), alone.step()
    assert finding.limit == pytest.approx(1.5 * (alone.finding(MORE_ERRORS).limit or 0.0))


def test_the_hours_are_filled_as_the_app_is_counted() -> None:
    world = Released()
    while world.now < NOON + 1200:
        world.step()
    rows = world.relatives.hours.hours[measure_of(ERRORS, world.policy)]
    assert sum(hour.total for hour in rows.values()) == pytest.approx(4 * 300 * 20, rel=0.2)


@pytest.mark.parametrize("rps", [1.0, 20.0])
def test_what_a_sick_machine_did_is_not_held_against_the_release_when_it_is_well_again(rps: float) -> None:
    """The bet remembers it for long; nobody may roll back for it."""

    def ailing(after: float) -> float:
        return 0.4 if 60 < after < 240 else 0.001

    world = Released(new=four(Does(rps=rps)) | {"m3": Does(rps=rps, errors=ailing)})
    blamed = set()
    while world.now - NOON < 600:
        world.step()
        finding = world.finding(MORE_ERRORS)
        if finding.firing and finding.rule.then is Action.ROLLBACK:
            blamed.add(finding.blame)
    assert blamed == {Blame.MACHINE}


# -- one machine, which has nobody beside it ---------------------------------------------------------------------------


def a_blip(rps: float, lasts_s: float) -> Does:
    return Does(rps=rps, errors=lambda after: 0.3 if 300 < after < 300 + lasts_s else 0.001)


def test_on_one_machine_what_convicts_a_release_must_go_on_before_anybody_acts() -> None:
    at_once = Released(new={"m1": Does(errors=0.2)}).until_fires(MORE_ERRORS, 600)
    later = Released(new={"m1": Does(errors=0.2)}, alone_s=90.0).until_fires(MORE_ERRORS, 600)
    assert at_once is not None
    assert later is not None
    assert later[0] == at_once[0] + 90.0


@pytest.mark.parametrize(("rps", "lasts_s"), [(1.0, 100.0), (20.0, 120.0)])
def test_on_one_machine_a_blip_is_over_by_then(rps: float, lasts_s: float) -> None:
    assert Released(new={"m1": a_blip(rps, lasts_s)}).until_fires(MORE_ERRORS, 1200) is not None
    world = Released(new={"m1": a_blip(rps, lasts_s)}, alone_s=90.0)
    said = []
    while world.now - NOON < 1200:
        world.step()
        finding = world.finding(MORE_ERRORS)
        assert not (finding.firing and finding.rule.then is Action.ROLLBACK)
        said.append(finding.sentence)
    assert any("must go on" in sentence for sentence in said)
    if rps == 1.0:  # with so few requests the bet remembers it for long
        assert any("not surely beyond tolerance" in sentence for sentence in said)


def test_where_others_could_show_it_nobody_waits_for_that() -> None:
    waited = Released(new=four(Does(errors=0.2)), alone_s=90.0).until_fires(MORE_ERRORS, 600)
    at_once = Released(new=four(Does(errors=0.2)), alone_s=0.0).until_fires(MORE_ERRORS, 600)
    assert waited is not None
    assert at_once is not None
    assert waited[0] == at_once[0]
