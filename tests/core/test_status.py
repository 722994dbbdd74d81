"""A target as an object, with a guard and from the journal alone."""

from __future__ import annotations

import json

from rollguard.core import events as ev
from rollguard.core.conditions import conditions
from rollguard.core.finding import RuleState
from rollguard.core.interlocks import PRECONDITIONS, TABLE
from rollguard.core.policy import Threshold
from rollguard.core.status import generation, interlock_objects, journal_object, rule_object, target_object
from tests.builders import BAD, GOOD, NOON, a_case, a_finding, a_rollback, a_rule, a_state, recorded
from tests.core.test_conditions import a_situation

LOADED = ev.PolicyLoaded(at=NOON, hash="one", path="p.yaml", mode="page")


def test_it_is_json_and_carries_spec_status_and_conditions() -> None:
    seen = a_situation()
    item = target_object(seen, conditions(seen, (), NOON), NOON)
    assert json.loads(json.dumps(item)) == item
    assert (item["kind"], item["metadata"]) == ("Target", {"name": "shop-production", "generation": 3})
    assert item["spec"]["app"] == "shop"
    assert item["status"]["observedGeneration"] == 3
    assert item["status"]["conditions"][0] == {
        "type": "Observed",
        "status": "True",
        "reason": "Watching",
        "message": "4 machines seen, every signal answers",
        "lastTransitionTime": "2026-08-21T12:00:00Z",
    }


def test_a_file_that_is_not_obeyed_is_a_generation_ahead_of_the_observed_one() -> None:
    item = target_object(a_situation(rejected="p.yaml:3: no"), (), NOON)
    assert (item["metadata"]["generation"], item["status"]["observedGeneration"]) == (4, 3)
    assert item["status"]["policyError"] == "p.yaml:3: no"


def test_releases_are_newest_first_and_say_what_each_of_them_is() -> None:
    state = a_state(rollbacks=(a_rollback(),))
    item = target_object(a_situation(case=a_case(state=state)), (), NOON)
    assert [(r["version"], r["marks"]) for r in item["status"]["releases"]] == [
        (42, ["candidate", "running", "rolled back"]),
        (41, ["target", "proven"]),
        (40, ["proven"]),
    ]
    assert [r["digest"] for r in item["status"]["releases"]][:2] == [BAD, GOOD]


def test_every_interlock_is_listed_standing_or_clear() -> None:
    pause = ev.PauseSet(at=NOON - 60.0, by="ada", reason="we look first")
    rows = interlock_objects(a_case(state=a_state(pause=pause)), NOON)
    assert [row["name"] for row in rows] == [name for name, _ in PRECONDITIONS] + [lock.name for lock in TABLE]
    (standing,) = [row for row in rows if row["standing"]]
    assert standing["sentence"].endswith("we look first")
    assert standing["effects"]["manual"] == "H*"


def test_a_rule_shows_value_limit_and_what_it_blames() -> None:
    firing = rule_object(a_finding())
    assert (firing["value"], firing["limit"], firing["blames"]) == (3.0, 3.0, "release")
    slow = a_rule(Threshold(key="numbers.p95", limit=3.0, above=True, for_s=0.0))
    clear = rule_object(a_finding(slow, RuleState.CLEAR, value=1.0, limit=3.0))
    assert (clear["value"], clear["limit"], clear["blames"]) == (1.0, 3.0, None)


def test_the_same_policy_loaded_again_is_the_same_generation() -> None:
    again = ev.PolicyLoaded(at=NOON + 1, hash="one", path="p.yaml", mode="page")
    other = ev.PolicyLoaded(at=NOON + 2, hash="two", path="p.yaml", mode="page")
    assert generation(recorded(LOADED, again)) == 1
    assert generation(recorded(LOADED, other, LOADED)) == 3


def test_the_journal_alone_knows_nothing_about_now_and_says_so() -> None:
    pause = ev.PauseSet(at=NOON, by="ada", reason="night")
    item = journal_object("shop", recorded(LOADED, pause), NOON + 90.0)
    shown = {c["type"]: c["status"] for c in item["status"]["conditions"]}
    assert shown == {
        "Observed": "Unknown",
        "Healthy": "Unknown",
        "RollbackReady": "Unknown",
        "Acting": "False",
        "Held": "True",
    }
    assert item["status"]["source"] == "journal"
    assert "1 m 30 s old" in item["status"]["sentence"]
    assert json.loads(json.dumps(item)) == item


def test_the_journal_alone_still_knows_what_is_proven() -> None:
    seen = ev.DigestSeen(at=NOON, digest=GOOD, image_ref="shop:1", version=41, labels={}, first_sight=True)
    proven = ev.Proven(at=NOON, digest=GOOD, image_ref="shop:1", version=41, how="adopted")
    (release,) = journal_object("shop", recorded(LOADED, seen, proven), NOON)["status"]["releases"]
    assert release["marks"] == ["proven"]


def test_a_rollback_that_nobody_ended_is_shown_from_the_journal() -> None:
    opened = ev.IncidentOpened(at=NOON, incident="i-1", candidate=BAD, sentence="it is bad")
    goal = ev.GoalSet(
        at=NOON,
        incident="i-1",
        candidate=BAD,
        target=GOOD,
        target_ref="r",
        target_version=41,
        after_version=42,
        trigger="manual",
        by="ada",
        reason="slow",
        deadline_at=NOON + 900.0,
    )
    item = journal_object("shop", recorded(opened, goal), NOON + 5.0)
    acting = next(c for c in item["status"]["conditions"] if c["type"] == "Acting")
    assert (acting["status"], acting["reason"]) == ("True", "Interrupted")
    assert item["status"]["incident"]["phase"] == "acting"
