"""What another executor is told, whose signs end the goal all the same, and when its work is believed to be done."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rollguard.core.events import Delegated, Event
from rollguard.core.executors import PLACEHOLDERS, Command, Flyctl, Machines, Workflow, filled, placeholders
from rollguard.core.lifecycle import Goal
from rollguard.core.model import Check, Exit, Machine, Release, Snapshot
from rollguard.core.order import (
    REASON_CHARS_MAX,
    changed_by_others,
    order_of,
    said,
    signs_of_others,
    standing,
    unknown_images,
)
from rollguard.core.signals import SecretRef
from tests.builders import BAD, GOOD, NOON, OLDER

REF = f"registry.fly.io/shop@{GOOD}"
GOAL = Goal(
    incident="20260821T120000Z-1",
    candidate=BAD,
    target=GOOD,
    target_ref=REF,
    target_version=41,
    after_version=42,
    trigger="absolute",
    by="rollguard",
    set_at=NOON,
    deadline_at=NOON + 900,
    instances={"m1": "i1", "m2": "i2"},
    rules=("pages-fail",),
    executor="flyctl",
    delegate="x",
)


def a_machine(name: str = "m1", digest: str = GOOD, **but: object) -> Machine:
    well = Machine(
        id=name,
        state="started",
        instance_id=f"new-{name}",
        digest=digest,
        image_ref="registry.fly.io/shop:v",
        checks=(Check("health", "passing"),),
    )
    return replace(well, **but)  # type: ignore[arg-type]


def a_row(version: int, image: str) -> Release:
    return Release(id=f"r{version}", version=version, status="running", image_ref=image, created_at=NOON, user="ci")


def seen(*machines: Machine, rows: tuple[Release, ...] = ()) -> Snapshot:
    return Snapshot(at=NOON, machines=machines, releases=rows, leases={})


# -- the order ---------------------------------------------------------------------------------------------------------


def test_an_order_names_what_to_go_back_to_by_its_digest_and_why() -> None:
    order = order_of("shop", GOAL)
    assert order.values() == {
        "app": "shop",
        "version": "41",
        "image": REF,
        "digest": GOOD,
        "incident": GOAL.incident,
        "reason": f"rollguard {GOAL.incident}.{NOON:.0f}: pages-fail, by rollguard",
    }
    assert tuple(order.values()) == PLACEHOLDERS


def test_two_goals_of_one_incident_are_two_orders() -> None:
    assert order_of("shop", GOAL).id != order_of("shop", replace(GOAL, set_at=NOON + 60)).id


def test_a_reason_holds_nothing_that_a_shell_would_obey_and_is_not_endless() -> None:
    hostile = "x\"; rm -rf / #`$(id)` ${{ secrets.A }} | & > < \\ \n \x1b * ? ~ ! ' () {} []" + "y" * 500
    reason = order_of("shop", replace(GOAL, by=hostile, rules=())).reason
    assert not set(reason) & set("\"';`$(){}[]|&<>\\\n\x1b*?~!#")
    assert len(reason) == REASON_CHARS_MAX


@pytest.mark.parametrize(
    "ref", ["registry.fly.io/shop:v41", f"-o{REF}", f"registry.fly.io/shop;id@{GOOD}", "", f"{REF}0", f"a b@{GOOD}"]
)
def test_an_image_that_is_not_named_by_its_digest_alone_is_no_order(ref: str) -> None:
    with pytest.raises(ValueError, match="is not an image by its digest"):
        order_of("shop", replace(GOAL, target_ref=ref))


def test_placeholders_are_filled_in_and_other_braces_are_left_alone() -> None:
    assert filled("{version}-{app}{nothing}{", {"version": "41", "app": "shop"}) == "41-shop{nothing}{"
    assert filled("{app}", {"app": "{version}", "version": "41"}) == "{version}", "what is filled in is not read again"
    assert list(placeholders("a {version} {x}")) == [(2, "version"), (12, "x")]


def test_every_executor_has_a_name_that_tells_it_from_the_others() -> None:
    token = SecretRef(env="T")
    flows = [Workflow(repo=r, workflow=w, token=token) for r in ("a/b", "a/c") for w in ("x.yml", "y.yml")]
    every = [Machines(), Flyctl(), Flyctl(binary="/opt/flyctl"), *flows, Command(run=("./a",)), Command(run=("./b",))]
    assert len({one.name for one in every}) == len(every)
    assert every[0].name == "machines", "what journals of older guards mean"


# -- people ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "image, known, foreign",
    [
        (REF, {}, False),
        (f"registry.fly.io/shop:v41@{GOOD}", {}, False),
        (f"registry.fly.io/shop@{OLDER}", {}, True),
        ("registry.fly.io/shop:v41", {"registry.fly.io/shop:v41": GOOD}, False),
        ("registry.fly.io/shop:v43", {"registry.fly.io/shop:v43": OLDER}, True),
        ("registry.fly.io/shop:gone", {"registry.fly.io/shop:gone": None}, True),
        ("registry.fly.io/shop:v44", {}, False),
        ("", {}, False),
    ],
)
def test_a_row_is_a_sign_of_others_when_it_leads_elsewhere(image: str, known: dict[str, str], foreign: bool) -> None:
    rows = signs_of_others(GOAL, seen(rows=(a_row(43, image),)), known).releases
    assert bool(rows) is foreign


def test_leases_are_no_sign_of_others_while_somebody_rolls_back() -> None:
    assert signs_of_others(GOAL, seen(a_machine()), {}).leases is None


def test_images_of_new_rows_are_asked_for_once() -> None:
    tag, other = "registry.fly.io/shop:v43", "registry.fly.io/shop:v44"
    rows = (a_row(45, REF), a_row(44, other), a_row(43, tag), a_row(42, "registry.fly.io/shop:v42"))
    assert unknown_images(GOAL, seen(rows=rows), {}) == [other, tag]
    assert unknown_images(GOAL, seen(rows=rows), {tag: GOOD}) == [other]


@pytest.mark.parametrize(
    "machine, known, foreign",
    [
        (a_machine(), {}, False),
        (a_machine(digest=BAD, instance_id="i1"), {}, False),
        (a_machine(digest=BAD), {}, True),
        (a_machine(digest=OLDER), {}, True),
        (a_machine(digest=OLDER, state="replacing"), {}, False),
        (a_machine(digest=BAD, instance_id="i1"), {"m1": "new-m1"}, False),
        (a_machine(digest=OLDER, instance_id="third"), {"m1": "new-m1"}, True),
        (a_machine("m9", digest=BAD), {}, False),
        (a_machine("m9", digest=BAD), {"m9": "before"}, True),
    ],
    ids=[
        "on the target",
        "not begun",
        "changed, and on the candidate",
        "changed, and on a third image",
        "changing",
        "put back by the platform",
        "changed again by somebody",
        "new",
        "new, and changed",
    ],
)
def test_a_machine_that_was_changed_and_is_not_on_the_target_is_a_sign_of_others(
    machine: Machine, known: dict[str, str], foreign: bool
) -> None:
    assert (changed_by_others(GOAL, seen(machine), known) is machine) is foreign


# -- done --------------------------------------------------------------------------------------------------------------

CRASHED = (Exit(at=NOON, code=1, requested=False),)


@pytest.mark.parametrize(
    "machine, astray, unwell",
    [
        (a_machine(), False, False),
        (a_machine(digest=BAD), True, False),
        (a_machine(digest=""), True, False),
        (a_machine(digest=BAD, state="stopped"), True, False),
        (a_machine(digest=BAD, state="replacing"), False, True),
        (a_machine(state="starting"), False, True),
        (a_machine(checks=()), False, True),
        (a_machine(checks=(Check("health", "critical"),)), False, True),
        (a_machine(state="stopped"), False, False),
        (a_machine(state="stopped", exits=CRASHED), False, True),
        (a_machine(standby=True, state="stopped"), False, False),
        (a_machine(cordoned=True), False, False),
        (a_machine(cordoned=True, checks=()), False, True),
        (a_machine(host_ok=False), False, True),
    ],
)
def test_who_is_where_it_should_be_and_well(machine: Machine, astray: bool, unwell: bool) -> None:
    found = standing(GOAL, seen(a_machine("m2"), machine))
    assert (machine in found.astray, machine in found.unwell) == (astray, unwell)
    assert found.is_well is not (astray or unwell)


# -- what people read --------------------------------------------------------------------------------------------------


def word(state: str, **more: str) -> Event:
    return Delegated(at=NOON, incident=GOAL.incident, executor="github", state=state, **more)


def test_a_page_tells_the_last_word_the_link_and_the_last_lines() -> None:
    events = [word("running", id="7", link="https://hub/7"), word("failed", sentence="exit code 3", output="a\nb")]
    assert said(events, GOAL.incident) == [
        ("github", "failed: exit code 3"),
        ("its run", "https://hub/7"),
        ("its last lines", "a\nb"),
    ]
    assert said(events, "another") == []
    assert said([word("running")], GOAL.incident) == [("github", "running")]
