"""Whether a rollback could happen: every check says ok, not or unknown, and time decides what people are told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from rollguard.core import readiness
from rollguard.core.case import Case
from rollguard.core.conditions import FALSE, TRUE, Situation, conditions
from rollguard.core.drift import Config
from rollguard.core.model import Lease, Mode
from rollguard.core.readiness import NAMES, TOLD_ONLY, Check, Readiness, State
from rollguard.core.ready_checks import Asked, Found, assess, in_turn
from rollguard.core.status import readiness_object
from tests.builders import (
    BAD,
    DAY,
    GOOD,
    HOUR,
    MINUTE,
    NOON,
    a_case,
    a_machine,
    a_policy,
    a_record,
    a_release,
    a_rollback,
    a_snapshot,
    a_state,
)

OK, NOT, UNKNOWN = State.OK, State.NOT, State.UNKNOWN
THEIRS = Lease("ann@example.com", "v1 deploy", NOON + MINUTE)
OURS = Lease("guard@example.com", "rollguard asks whether it may hold this machine", NOON + 5.0)
KNOWN = Config(digest=GOOD, version=41, at=NOON - DAY, proven=True)
ALLOWED = {"app": "", "machines": "", "releases": "", "images": "", "lease": ""}


def asked(**but: Any) -> Asked:
    """Every answer is good."""
    settings: dict[str, Any] = {
        "image": Found(GOOD),
        "tag": Found(GOOD),
        "config": KNOWN,
        "rights": ALLOWED,
        "leases": {},
        "executor": "",
    }
    return Asked(**settings | but)


def said(name: str, case: Case, answers: Asked) -> Check:
    return assess(case, answers, NOON).of(name)


NEVER = a_state(a_record(GOOD, proven_at=None), a_record())
LEFT = a_state(a_record(GOOD), a_record(), rollbacks=(a_rollback(GOOD),))
NOWHERE = a_case(target=None, no_target="none within 1 release back")


@pytest.mark.parametrize(
    "name, case, answers, state, words",
    [
        ("target", a_case(), asked(), OK, "would go back to v41"),
        ("target", NOWHERE, asked(), NOT, "rollguard adopt shop-production VERSION"),
        ("target", replace(NOWHERE, state=NEVER), asked(), UNKNOWN, "learning"),
        ("target", replace(NOWHERE, state=a_state(a_record())), asked(), UNKNOWN, "learning"),
        ("target", replace(NOWHERE, state=LEFT), asked(), UNKNOWN, "learning"),  # the one that was proven was bad
        (
            "target",
            replace(NOWHERE, candidate=a_record(full_at=NOON - 2 * DAY)),
            asked(),
            UNKNOWN,
            "not gone back from",
        ),
        ("image", a_case(), asked(), OK, "is in the registry"),
        ("image", a_case(), asked(image=Found(None)), NOT, "is gone from the registry. Build that commit again"),
        ("image", a_case(), asked(image=Found(BAD)), NOT, "means another image by now"),
        ("image", a_case(), asked(image=Found(None, "HTTP 401")), NOT, "could not be looked up: HTTP 401"),
        ("image", a_case(), asked(image=None), UNKNOWN, "nobody could say"),
        ("image", NOWHERE, asked(), UNKNOWN, "no release to go back to"),
        ("tag", a_case(), asked(), OK, "registry.example/shop:tag is the image that it was"),
        ("tag", a_case(), asked(tag=Found(BAD)), NOT, "was moved to another image; the guard goes by the digest"),
        ("tag", a_case(), asked(tag=Found(None)), NOT, "is gone; the guard goes by the digest"),
        ("tag", a_case(), asked(tag=None), UNKNOWN, "nobody could say"),
        ("tag", NOWHERE, asked(), UNKNOWN, "no release to go back to"),
        ("config", a_case(), asked(), OK, "what it was proven with is known"),
        ("config", a_case(), asked(config=replace(KNOWN, mixed=("app",))), OK, "machines of group app differed"),
        ("config", a_case(), asked(config=None), NOT, "v41 (900d900d900d) was configured with"),
        ("config", NOWHERE, asked(), UNKNOWN, "no release to go back to"),
        ("rights", a_case(), asked(), OK, "app, machines, releases, images and lease"),
        ("rights", a_case(), asked(rights={"app": ""}), OK, "holding a machine was not tried"),
        (
            "rights",
            a_case(),
            asked(rights={"app": "", "lease": "the token may not hold a machine"}),
            NOT,
            "may not hold",
        ),
        ("rights", a_case(), asked(rights=None), UNKNOWN, "nobody could say what the token may do"),
        ("hosts", a_case(), asked(), OK, "the hosts of all 4 machines"),
        ("leases", a_case(), asked(), OK, "nobody else holds a machine"),
        ("leases", a_case(), asked(leases={"m1": OURS}), OK, "nobody else holds a machine"),
        (
            "leases",
            a_case(),
            asked(leases={"m1": THEIRS}),
            NOT,
            "ann@example.com holds machine m1, and does not deploy",
        ),
        ("leases", a_case(), asked(leases=None), UNKNOWN, "nobody could say who holds"),
        ("executor", a_case(), asked(), OK, "machines would take an order"),
        ("executor", a_case(), asked(executor="no program"), NOT, "machines: no program"),
        ("executor", a_case(), asked(executor=None), UNKNOWN, "nobody could say whether machines"),
    ],
)
def test_a_check_says(name: str, case: Case, answers: Asked, state: State, words: str) -> None:
    found = said(name, case, answers)
    assert (found.state, words in found.sentence) == (state, True), found.sentence


UNWELL = {"well": False}


@pytest.mark.parametrize(
    "name, fleet, state, words",
    [
        ("hosts", [{"host_ok": False}, {}], NOT, "the host of machine m1 cannot be reached"),
        ("hosts", [{"host_ok": False, "managed": False}, {}], OK, "1 machines"),
        ("capacity", [{}, {}, {}, {}], OK, "one after the other"),
        ("capacity", [{}], OK, "group app has one machine: it is down while it changes"),
        ("capacity", [{}, UNWELL], OK, "one after the other"),  # the unhealthy one goes first
        ("capacity", [UNWELL, UNWELL], OK, "one after the other"),
        ("capacity", [{"state": "stopped"}, {"state": "stopped"}], OK, "one after the other"),
        ("capacity", [{}, {"group": "web"}], OK, "group app and web has one machine"),
    ],
)
def test_the_fleet_lets_a_rollback_happen_or_not(
    name: str, fleet: list[Mapping[str, Any]], state: State, words: str
) -> None:
    machines = [a_machine(f"m{n}", **but) for n, but in enumerate(fleet, start=1)]
    found = said(name, a_case(snapshot=a_snapshot(*machines)), asked())
    assert (found.state, words in found.sentence) == (state, True), found.sentence


def test_what_was_not_seen_lately_is_not_known() -> None:
    old = a_case(snapshot=a_snapshot(at=NOON - HOUR))
    assert {said(name, old, asked()).state for name in ("hosts", "capacity")} == {UNKNOWN}


def test_every_reason_is_there_and_its_words_are_bounded_and_harmless() -> None:
    found = assess(a_case(), asked(executor="\x1b[31m" + "x" * 1000), NOON)
    assert tuple(check.name for check in found.checks) == NAMES
    assert tuple(check.name for check in Readiness(at=NOON).checks) == NAMES
    assert all(len(check.sentence) <= readiness.WORDS_MAX and check.sentence.isprintable() for check in found.checks)


# -- all of them together ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "answers, state",
    [
        (asked(), OK),
        (asked(tag=Found(BAD), config=None), OK),  # only told
        (asked(tag=None), OK),
        (asked(image=None), UNKNOWN),
        (asked(image=None, executor="no program"), NOT),
    ],
)
def test_what_a_rollback_needs_together(answers: Asked, state: State) -> None:
    found = assess(a_case(), answers, NOON)
    assert found.state is state
    assert not {check.name for check in found.failing} & TOLD_ONLY
    assert readiness_object(found)["ready"] == state


@pytest.mark.parametrize(
    "deploy, leases, status, deploying",
    [
        (None, {}, "complete", False),
        ("ann (a lease on machine m1)", {"m1": THEIRS}, "running", True),
        ("ann (a lease on machine m1)", {"m1": THEIRS}, "complete", False),  # holds a machine, and does not deploy
        ("ann (release v43 is pending)", {}, "pending", True),
        ("somebody (a release command is running)", {}, "complete", True),
    ],
)
def test_a_deploy_is_told_from_somebody_who_only_holds_a_machine(
    deploy: str | None, leases: Mapping[str, Lease], status: str, deploying: bool
) -> None:
    case = a_case(deploy=deploy, snapshot=a_snapshot(releases=(a_release(43, status), a_release(42))))
    found = assess(case, asked(leases=leases), NOON)
    assert found.deploying is deploying
    assert found.of("leases").state is ((UNKNOWN if deploying else NOT) if leases else OK)


# -- since when --------------------------------------------------------------------------------------------------------


def seen(*, deploying: bool = False, **states: State) -> Readiness:
    checks = tuple(Check(name=n, state=states.get(n, OK), sentence=f"{n} it is") for n in NAMES)
    return Readiness(at=NOON, checks=checks, deploying=deploying)


@pytest.mark.parametrize(
    "before, found, after",
    [
        ({}, seen(), {}),
        ({}, seen(image=NOT), {"image": NOON}),
        ({"image": 1.0}, seen(image=NOT), {"image": 1.0}),
        ({"image": 1.0}, seen(), {}),
        ({"image": 1.0}, seen(image=UNKNOWN), {"image": 1.0}),
        ({}, seen(image=UNKNOWN), {}),
        ({"image": 1.0}, seen(image=NOT, deploying=True), {"image": NOON}),
        ({}, seen(tag=NOT, config=NOT), {}),
        ({"hosts": 1.0}, seen(image=NOT, hosts=NOT), {"image": NOON, "hosts": 1.0}),
    ],
)
def test_since_when_a_check_has_said_no(before: dict[str, float], found: Readiness, after: dict[str, float]) -> None:
    assert readiness.follow(before, found, NOON) == after


def test_only_what_lasts_is_overdue() -> None:
    since = {"image": NOON - 300.0, "hosts": NOON - 299.0}
    assert readiness.overdue(since, 300.0, NOON) == ("image",)


def test_the_first_reason_that_stands_is_told_in_full() -> None:
    assert readiness.sentence(seen(image=NOT), ["image"]) == "no rollback could happen now: image it is"
    words = readiness.sentence(seen(image=UNKNOWN, hosts=NOT), ["image", "hosts"])
    assert words == "no rollback could happen now: hosts it is (also: image)"


def test_a_large_fleet_is_asked_in_turns() -> None:
    fleet = a_snapshot(*(a_machine(f"m{n}") for n in range(5)), a_machine("gone", host_ok=False))
    assert in_turn(fleet, 9, 3) == ("m0", "m1", "m2", "m3", "m4")
    assert [in_turn(fleet, 2, place) for place in (0, 2, 4, 6)] == [
        ("m0", "m1"),
        ("m2", "m3"),
        ("m4", "m0"),
        ("m1", "m2"),
    ]


# -- where it is shown -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "found, status, reason",
    [
        (None, TRUE, "TargetProven"),
        (seen(), TRUE, "TargetProven"),
        (seen(image=UNKNOWN, tag=NOT), TRUE, "TargetProven"),
        (seen(image=NOT), FALSE, "NotImage"),
    ],
)
def test_the_condition_of_a_target_knows_of_it(found: Readiness | None, status: str, reason: str) -> None:
    case = a_case()
    situation = Situation(
        policy=a_policy(), generation=1, mode=Mode.ENFORCE, state=case.state, case=case, readiness=found
    )
    (ready,) = [c for c in conditions(situation, (), NOON) if c.type == "RollbackReady"]
    assert (ready.status, ready.reason) == (status, reason)
