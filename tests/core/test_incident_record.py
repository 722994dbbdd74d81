"""An incident picked from the journal: which events are its own, when it turned, and its JSON document."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from rollguard.core import events as ev
from rollguard.core.event_json import from_json
from rollguard.core.incident_json import Salt, incident_json, incident_object
from rollguard.core.incident_record import Chronicle, artifact_path, bundle_path, chronicle, folder_name
from rollguard.core.policy import Artifacts
from tests.builders import BAD, GOOD, NOON, a_machine, a_policy, a_snapshot, machines, recorded

SALT = Salt("grain")
SHOP = "shop-production"


def a_goal_set(**but: Any) -> ev.GoalSet:
    settings: dict[str, Any] = {
        "at": NOON + 10,
        "incident": "i-1",
        "candidate": BAD,
        "target": GOOD,
        "target_ref": f"registry.example/shop@{GOOD}",
        "target_version": 41,
        "after_version": 42,
        "trigger": "absolute rule",
        "by": "rollguard",
        "reason": "policy",
        "deadline_at": NOON + 910,
        "instances": {"m1": "m1-1", "m2": "m2-1", "m3": "m3-1"},
        "rules": ("not-responding",),
    }
    return ev.GoalSet(**settings | but)


def a_rule_that_fires(**but: Any) -> ev.RuleChanged:
    settings: dict[str, Any] = {
        "at": NOON,
        "rule": "not-responding",
        "before": "pending",
        "after": "firing",
        "sentence": "health failed 3 in a row",
        "value": 3.0,
        "since": NOON - 10,
        "machines": ("m1", "m2"),
    }
    return ev.RuleChanged(**settings | but)


def a_decision(**but: Any) -> ev.Decided:
    settings: dict[str, Any] = {
        "at": NOON + 10,
        "incident": "i-1",
        "decision": "rollback",
        "trigger": "absolute rule",
        "sentence": "rolling back v42 to v41",
        "candidate": BAD,
        "target": GOOD,
        "findings": ("not-responding: health failed 4 in a row",),
        "warnings": ("others in trouble: one more target",),
    }
    return ev.Decided(**settings | but)


def step(what: type[ev.Event], at: float, **but: Any) -> ev.Event:
    return what(**{"at": NOON + at, "incident": "i-1", "kind": "update", "machine": "m1"} | but)


STORY: tuple[ev.Event, ...] = (
    ev.GuardStarted(at=NOON - 5000, life="x", version="0.1.0", mode="enforce"),
    ev.DigestSeen(at=NOON - 1200, digest=BAD, image_ref="shop:v42", version=42, labels={"build": "canary-label"}),
    ev.FullyDeployed(at=NOON - 60, digest=BAD, version=42),
    ev.IncidentOpened(at=NOON - 50, incident="i-0", candidate=BAD, sentence="another one"),
    ev.IncidentClosed(at=NOON - 40, incident="i-0", outcome="recovered"),
    a_rule_that_fires(),
    ev.IncidentOpened(at=NOON + 10, incident="i-1", candidate=BAD, sentence="health failed 4 in a row"),
    a_decision(),
    a_goal_set(),
    ev.PageQueued(at=NOON + 10, key=f"rollguard/{SHOP}/i-1", summary="rolling back", severity="critical"),
    step(ev.StepIntended, 11, kind="release_create", machine=""),
    step(ev.StepDone, 12, kind="release_create", machine="", result="r43", version=43),
    step(ev.StepIntended, 13, instance_id="m1-1"),
    step(ev.StepDone, 20, result="m1-2", phase="accepted"),
    step(ev.StepDone, 40, result="m1-2", phase="healthy"),
    ev.FirstJudged(at=NOON + 45, incident="i-1", result="better", sentence="0 of 3 fail", machines=("m1",)),
    step(ev.StepIntended, 46, machine="m2", instance_id="m2-1"),
    step(ev.StepFailed, 47, machine="m2", error="HTTP 500 (fly-request-id 01ABC-ord)"),
    ev.PauseSet(at=NOON + 48, by="ann", reason="look"),
    ev.GoalEnded(at=NOON + 70, incident="i-1", outcome="restored", sentence="all on v41"),
    ev.PageSent(at=NOON + 71, key=f"rollguard/{SHOP}/i-1", channel="pager", attempts=1),
    ev.PageSent(at=NOON + 72, key=f"rollguard/{SHOP}/i-11", channel="pager", attempts=1),
    ev.Verified(at=NOON + 370, incident="i-1", result="restored", sentence="clean for 5 m"),
    ev.IncidentClosed(at=NOON + 370, incident="i-1", outcome="restored", sentence="clean"),
    ev.PageSent(at=NOON + 371, key=f"rollguard/{SHOP}/i-1/post-mortem", channel="issue", attempts=1),
    ev.DigestSeen(at=NOON + 400, digest=GOOD, image_ref="shop:v43", version=43, labels={}),
)


def of(*events: ev.Event, incident: str = "i-1") -> Chronicle:
    return chronicle(recorded(*events), SHOP, incident)


def documented(told_of: Chronicle, **but: Any) -> dict[str, Any]:
    return incident_object(a_policy(), told_of, SALT, version="0.1.0", **but)


def test_an_incident_has_its_own_events_and_what_happened_to_the_target_around_it() -> None:
    told = [e.event for e in of(*STORY).entries]
    assert told == [e for place, e in enumerate(STORY) if place not in {0, 1, 3, 4, 21, 25}]


def test_an_incident_that_nobody_knows_has_no_events() -> None:
    assert of(*STORY, incident="i-9").entries == ()
    assert of(*STORY, incident="i-9").opened is None


def test_the_figures_are_the_seconds_between_the_turning_points() -> None:
    figures = of(*STORY).figures()
    assert figures.first_sign_at == NOON - 10, "the first bad reading, not the moment the rule fired"
    assert figures.spans() == {
        "firstSignToDecision": 20.0,
        "decisionToFirstWrite": 1.0,
        "firstWriteToWhole": 59.0,
        "wholeToVerified": 300.0,
        "firstSignToWhole": 80.0,
    }


def test_what_did_not_come_to_pass_has_no_figure() -> None:
    handed = replace(STORY[19], outcome="failed")
    spans = of(*STORY[:19], handed).figures().spans()
    assert spans["firstWriteToWhole"] is None
    assert spans["wholeToVerified"] is None
    assert spans["decisionToFirstWrite"] == 1.0


def test_every_machine_of_the_goal_is_told_with_before_and_after() -> None:
    one, two, three = of(*STORY).machines()
    assert (one.before, one.after, one.state) == ("m1-1", "m1-2", "healthy")
    assert (two.before, two.after, two.state) == ("m2-1", "", "failed")
    assert two.error == "HTTP 500 (fly-request-id 01ABC-ord)"
    assert (three.before, three.state) == ("m3-1", "untouched")


def test_a_second_rollback_in_the_same_incident_is_the_one_whose_figures_count() -> None:
    ended = ev.GoalEnded(at=NOON + 30, incident="i-1", outcome="unclear", sentence="?")
    again = (a_decision(at=NOON + 100, trigger="approved"), a_goal_set(at=NOON + 100, by="ann"))
    told_of = of(*STORY[:12], ended, *again)
    assert told_of.goal is not None
    assert told_of.goal.by == "ann"
    assert told_of.ended is None, "the newest goal is still under way"
    assert told_of.due_at == NOON + 30 + 86400, "the clock runs from the first end on"


def test_the_document_says_what_was_decided_on_which_numbers() -> None:
    document = documented(of(*STORY))
    assert (document["apiVersion"], document["kind"]) == ("rollguard/v1", "Incident")
    assert document["candidate"] == {"version": 42, "digest": BAD}
    (decision,) = document["decisions"]
    assert decision["findings"] == [
        {
            "rule": "not-responding",
            "sentence": "health failed 4 in a row",
            "value": 3.0,
            "limit": 3.0,
            "baseline": None,
            "since": "2026-08-21T11:59:50Z",
            "machines": ["m1", "m2"],
            "cite": "",
        }
    ]
    assert decision["warnings"] == [{"name": "others in trouble", "sentence": "one more target"}]
    assert document["goal"]["ended"]["outcome"] == "restored"
    assert document["firstMachine"]["result"] == "better"
    assert document["verified"]["result"] == "restored"
    assert document["closed"]["outcome"] == "restored"
    assert document["postMortemDue"] == "2026-08-22T12:06:10Z"
    assert document["figures"]["seconds"]["firstSignToWhole"] == 80.0


def test_the_timeline_of_a_document_can_be_read_back_as_the_events_it_was_made_of() -> None:
    told_of = of(*STORY)
    rows = json.loads(incident_json(documented(told_of)))["timeline"]
    assert [from_json(row) for row in rows] == [entry.event for entry in told_of.entries]
    assert [row["seq"] for row in rows] == [entry.seq for entry in told_of.entries]


def test_a_document_shows_the_machines_before_and_after_but_no_label_and_no_config_hash() -> None:
    secretive = a_machine("m1", labels={"build": "canary-label", "rollguard.migration": "none"}, config_hash="c" * 64)
    same = a_machine("m2", config_hash="c" * 64)
    text = incident_json(documented(of(*STORY), before=a_snapshot(secretive, same), after=a_snapshot(*machines(GOOD))))
    assert "canary-label" not in text
    assert "c" * 64 not in text
    one, two = json.loads(text)["machines"]["before"]
    assert one["labels"]["rollguard.migration"] == "none", "what the policy itself names is no secret"
    assert one["labels"]["build"].startswith("#")
    assert one["config"] == two["config"], "equal ones can be told"
    assert json.loads(text)["machines"]["after"][0]["digest"] == GOOD


def test_the_labels_of_a_release_are_left_out_of_the_timeline() -> None:
    text = incident_json(documented(of(replace(STORY[1], at=NOON), *STORY[5:])))
    assert '"event": "DigestSeen"' in text
    assert "canary-label" not in text


def test_a_document_is_bounded_and_stays_json() -> None:
    many = [replace(a_rule_that_fires(), sentence="x" * 500, at=NOON + n / 100) for n in range(3000)]
    told_of = of(*STORY[:9], *many, *STORY[9:])
    text = incident_json(documented(told_of), chars_max=200_000)
    assert len(text) <= 200_000
    document = json.loads(text)
    assert document["timelineOmitted"] + len(document["timeline"]) == len(told_of.entries)
    assert document["timeline"][0]["event"] == "FullyDeployed", "the beginning stays"
    fleet = a_snapshot(*(a_machine(f"m{n}") for n in range(3000)))
    assert len(json.loads(incident_json(documented(told_of, after=fleet), chars_max=200_000))["decisions"]) == 1


def test_hostile_words_stay_inside_their_json_string() -> None:
    evil = 'x"}],"closed":{"outcome":"restored"}\n\x00\ud800</script>'
    text = incident_json(documented(of(*STORY[:6], replace(STORY[6], sentence=evil), *STORY[7:])))
    assert json.loads(text)["sentence"] == evil
    text.encode("ascii")


def test_the_folder_sorts_by_time_and_belongs_to_one_target() -> None:
    assert folder_name(NOON + 0.9, SHOP) == "20260821T120000Z-shop-production"
    assert artifact_path(Artifacts(), SHOP, NOON) == "artifacts/rollback/20260821T120000Z-shop-production"
    assert artifact_path(Artifacts(dir="a/"), SHOP, NOON, "f.txt") == "a/20260821T120000Z-shop-production/f.txt"
    assert bundle_path(a_policy(), NOON).endswith("20260821T120000Z-shop-production/support-bundle.tar.gz")
