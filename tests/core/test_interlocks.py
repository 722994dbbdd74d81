"""Which interlock holds which trigger: the table of the law cell by cell, each row driven to hold and to let go."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import pytest

from rollguard.core import events as ev
from rollguard.core.calendars import Freeze
from rollguard.core.case import Case, Effect
from rollguard.core.drift import Drift, Drifts
from rollguard.core.finding import RuleState, Trigger
from rollguard.core.first_plan import Plan
from rollguard.core.interlocks import PRECONDITIONS, TABLE, overridable, standing
from rollguard.core.lifecycle import DigestRecord, Schema
from rollguard.core.policy import Interlocks, Migration, Rollback, SchemaProbe
from rollguard.core.signals import PlatformSignal
from rollguard.core.surroundings import Address, Neighbour, Surroundings
from tests.builders import (
    BAD,
    DAY,
    GOOD,
    HOUR,
    MINUTE,
    NOON,
    OLDER,
    a_case,
    a_finding,
    a_machine,
    a_policy,
    a_record,
    a_release,
    a_rollback,
    a_rule,
    a_snapshot,
    a_state,
    machines,
)

THE_LAW = """
| interlock | relative rule | absolute rule | hard-down | report | approved | manual |
|---|---|---|---|---|---|---|
| pause | H | H | H | H | H* | H* |
| hold (a person: "hotfix on its way") | H | H | H | H | W | W |
| release age | H | H | H | – | W | W |
| onset before the release | H | H | H | – | W | W |
| target not proven | H | H | H | H | H* | H* |
| quarantine | H | H | H | H | W | W |
| migration applied or unknown | H | H | H | H | H* | H* |
| release floor (security) | H | H | H | H | H* | H* |
| control: the guard is cut off | H | H | H | W | W | W |
| dependency down | H | H | H | – | W | W |
| other targets breach at the same time | H | H | H | – | W | W |
| platform incident reported | W | W | W | W | W | W |
| cooldown, budget | H | H | H | H | – | – |
| freeze (only if policy says `freeze: {rollback: page}`) | H | H | H | H | W | W |
"""

OUR_NAMES: Mapping[str, tuple[str, ...]] = {
    "pause": ("pause",),
    'hold (a person: "hotfix on its way")': ("hold",),
    "release age": ("release age",),
    "onset before the release": ("onset",),
    "target not proven": ("target not proven",),
    "quarantine": ("quarantine",),
    "migration applied or unknown": ("migration",),
    "release floor (security)": ("release floor",),
    "control: the guard is cut off": ("control",),
    "dependency down": ("dependency",),
    "other targets breach at the same time": ("other targets",),
    "platform incident reported": ("platform incident",),
    "cooldown, budget": ("cooldown", "budget"),
    "freeze (only if policy says `freeze: {rollback: page}`)": ("freeze",),
}

OUR_OWN = """
| report budget | – | – | – | H | – | – |
| config-only release | H | H | H | H | W | W |
| restored release | H | H | H | H | W | W |
| learning | H | H | H | H | W | W |
| clock | H | H | H | H | W | W |
| watch | H | – | – | – | – | – |
| config drift | W | W | W | W | W | W |
| first machine | H | H | – | – | – | – |
| no first machine | W | W | – | – | – | – |
"""
"""What the law says elsewhere than in its table: comparisons count for an hour, one report a day, no image undoes a
configuration (which one that is, is said), never further back than once, first sight only watches, no automatic act
while the clock is behind the journal, and no machine is restarted for a comparison that could tell nothing."""


def rows(table: str) -> dict[str, tuple[Effect, ...]]:
    cells = [[c.strip() for c in line.strip("|").split("|")] for line in table.strip().splitlines()]
    return {
        name: tuple(Effect(c.replace("–", "-")) for c in effects)
        for name, *effects in cells
        if name != "interlock" and not name.startswith("---")
    }


LAW = {ours: effects for name, effects in rows(THE_LAW).items() for ours in OUR_NAMES.get(name, ())}
CELLS = [
    (name, trigger, effect)
    for name, effects in (LAW | rows(OUR_OWN)).items()
    for trigger, effect in zip(Trigger, effects, strict=True)
]


def test_every_row_of_the_law_is_built() -> None:
    assert rows(THE_LAW).keys() == OUR_NAMES.keys()


def test_every_row_of_ours_stands_in_the_law() -> None:
    assert {lock.name for lock in TABLE} == LAW.keys() | rows(OUR_OWN).keys()
    assert len({lock.name for lock in TABLE} | {name for name, _ in PRECONDITIONS}) == len(TABLE) + len(PRECONDITIONS)


# -- a situation in which a row stands, and one next to it in which it does not ----------------------------------------

A_DAY_OLD = a_record(full_at=NOON - DAY)
UNPROVEN = a_record(GOOD, proven_at=None)
CHANGED = Drift(changed=("env.API_URL changed",))


def drifted(since_proven: Drift | None = CHANGED) -> Case:
    return a_case(drifts=Drifts(since_proven=since_proven))


def unlabelled(digest: str, **labels: str) -> Case:
    records = [a_record(d, labels=labels) if d == digest else a_record(d) for d in (OLDER, GOOD, BAD)]
    return a_case(state=a_state(*records))


def with_migration(**but: object) -> Case:
    migration = Migration(label="rollguard.migration", allow=("none",), **but)  # type: ignore[arg-type]
    return a_case(
        policy=a_policy(interlocks=Interlocks(migration=migration)),
        state=a_state(a_record(OLDER), a_record(GOOD), a_record(BAD, labels={})),
    )


def rolled_back(*past: object) -> Case:
    return a_case(state=a_state(rollbacks=past))


def born_into(*rules: str, firing: tuple[str, ...]) -> Case:
    candidate = a_record(born_into=frozenset(rules))
    findings = tuple(a_finding(a_rule(name=name)) for name in firing)
    return a_case(state=a_state(a_record(GOOD), candidate), findings=findings)


def _proven_since(case: Case) -> Case:
    return replace(case, candidate=replace(case.candidate, proven_at=NOON - HOUR))


def at_first_sight(ago: float, **but: object) -> Case:
    candidate = a_record(first_seen_at=NOON - ago, full_at=NOON - ago, first_sight=True, **but)
    return a_case(state=a_state(a_record(GOOD), candidate))


def found_marked(ago: float) -> Case:
    older = a_record(OLDER, first_sight=True, by_guard=True, first_seen_at=NOON - ago)
    return a_case(state=a_state(older, a_record(GOOD), a_record(BAD)))


def running_as(version: int, **but: object) -> Case:
    return a_case(snapshot=a_snapshot(*(replace(m, release_version=version, **but) for m in machines(BAD, BAD))))


def around(**seen: object) -> Case:
    """A rule fires since a minute; the policy's default rule looks back 17 s."""
    return a_case(around=Surroundings(**seen), findings=(a_finding(since=NOON - MINUTE),))  # type: ignore[arg-type]


def down(name: str = "database", *, since: float = MINUTE, until: float | None = None) -> Address:
    """Away for the last ``since`` seconds, or, with ``until``, over that long ago."""
    address = Address(name=name).saw(NOON - since, "timeout after 3s").saw(NOON - (until or 0.0), "timeout after 3s")
    return address if until is None else address.saw(NOON - until, "")


def up(name: str = "wire") -> Address:
    return Address(name=name).saw(NOON, "")


def beside(*firing_ago: float, within: float = 2 * MINUTE) -> Case:
    neighbours = tuple(Neighbour(f"shop-{n}", NOON - ago) for n, ago in enumerate(firing_ago))
    return replace(around(neighbours=neighbours), policy=a_policy(interlocks=Interlocks(others_within_s=within)))


def floored(version: int | None, target: DigestRecord | None = None) -> Case:
    floor = ev.FloorSet(at=NOON - DAY, version=version, by="ann", reason="CVE-2026-1")
    case = a_case(state=replace(a_state(), floor=floor))
    return case if target is None else replace(case, target=target)


def in_freeze(*, holds: bool = True, begins: float = -HOUR, ends: float = HOUR) -> Case:
    freeze = Freeze(name="sale", holds_rollback=holds, begins_at=NOON + begins, ends_at=NOON + ends)
    return a_case(policy=a_policy(interlocks=Interlocks(freeze=(freeze,))))


def probed(settled: str | None, newest: str | None, *, labelled: bool = False, blocks: bool = True) -> Case:
    """The database's schema as it was when v41 was proven, and as it is under v42."""
    migration = Migration(
        label="rollguard.migration",
        allow=("none",),
        unknown_blocks=blocks,
        probe=SchemaProbe(url="https://shop.example/schema", path=("version",)),
    )
    seen = {GOOD: settled and Schema(settled, settled), BAD: newest and Schema(newest, newest)}
    schemas = {digest: schema for digest, schema in seen.items() if schema}
    labels = {"rollguard.migration": "none"} if labelled else {}
    state = a_state(a_record(OLDER), a_record(GOOD), a_record(BAD, labels=labels))
    return a_case(policy=a_policy(interlocks=Interlocks(migration=migration)), state=replace(state, schemas=schemas))


def first_shows(bad: float, *, go_on: bool = False, **but: object) -> Case:
    """So many bad events on the first machine; the team goes on without an answer, or does not."""
    plan = Plan(wait_s=90.0, expected=bad, rule="errors" if bad else "")
    policy = a_policy(rollback=Rollback(go_on_unclear=go_on))
    return a_case(plan=plan, policy=policy, **but)


OTHER = "sha256:" + "07e4" * 16
PAUSED = ev.PauseSet(at=NOON - HOUR, by="ann", reason="fire drill")
HELD = ev.HoldSet(at=NOON - 5 * MINUTE, by="ann", reason="hotfix on its way", until=NOON + 10 * MINUTE)

STANDS: list[tuple[str, Case, str]] = [
    ("pause", a_case(state=a_state(pause=PAUSED)), "paused by ann since 11:00:00Z: fire drill"),
    ("hold", a_case(state=a_state(hold=HELD)), "held by ann for another 10 m: hotfix on its way"),
    ("release age", a_case(candidate=a_record(full_at=NOON - DAY - 1)), "it was not the release"),
    (
        "release age",
        a_case(candidate=a_record(first_seen_at=NOON - DAY - 1, full_at=None)),
        "the release is 1 d 1 s old, over 1 d",
    ),
    ("onset", born_into("a", firing=("a",)), "a fired already before the release came"),
    ("onset", born_into("a", "b", "c", firing=("a", "b")), "a and b fired already before the release came"),
    ("target not proven", a_case(target=None, no_target="nobody knows"), "no proven release to go back to: nobody"),
    ("target not proven", a_case(target=UNPROVEN), "v41 (900d900d900d) was never proven"),
    ("quarantine", rolled_back(a_rollback(ago=2 * DAY)), "was already rolled back at 12:00:00Z"),
    ("migration", unlabelled(BAD), "whether v42 (bad0bad0bad0) migrated the database is unknown"),
    ("migration", unlabelled(BAD, **{"rollguard.migration": "applied"}), "is labelled rollguard.migration='applied'"),
    ("migration", with_migration(), "its image has no label rollguard.migration"),
    (
        "migration",
        a_case(target=replace(a_record(OTHER), version=39)),
        "what migrated the database since v39 (07e407e407e4) is unknown",
    ),
    (
        "migration",
        a_case(candidate=a_record(version=44), snapshot=a_snapshot(releases=tuple(map(a_release, (44, 43, 41))))),
        "whether release v43 migrated the database is unknown: it came and went while nobody watched",
    ),
    ("cooldown", rolled_back(a_rollback(OTHER, ago=1799)), "the last rollback was 29 m 59 s ago"),
    ("cooldown", rolled_back(a_rollback(OTHER, ago=DAY), a_rollback(OTHER, ago=60)), "was 1 m ago"),
    ("cooldown", found_marked(1799), "cooldown for another 1 s"),
    ("budget", rolled_back(a_rollback(ago=5 * DAY)), "this release was rolled back 1 times, the most allowed"),
    ("budget", rolled_back(*(a_rollback(OTHER, ago=h * HOUR) for h in (23, 12, 2))), "3 rollbacks within 24 h"),
    ("report budget", rolled_back(a_rollback(OTHER, ago=23 * HOUR, trigger="report")), "one rollback by a report"),
    ("config-only release", running_as(43), "release v43 has the same image as v42"),
    (
        "config-only release",
        a_case(snapshot=a_snapshot(*(a_machine(f"m{v}", release_version=v) for v in (42, 43)))),
        "release v43 has the same image as v42",  # half of the machines have it already
    ),
    ("restored release", rolled_back(a_rollback(OTHER, BAD, ago=DAY)), "is what the guard went back to"),
    ("learning", at_first_sight(9 * MINUTE), "was there before the guard: it is only watched for another 1 m"),
    ("clock", a_case(clock_behind_s=90.0), "the clock is 1 m 30 s behind the journal's newest entry"),
    ("watch", a_case(candidate=a_record(full_at=NOON - HOUR - 1)), "compared with its predecessor for 1 h 1 s"),
    ("release floor", floored(42), "v41 (900d900d900d) lies below the release floor v42, set by ann: CVE-2026-1"),
    ("release floor", floored(1, replace(a_record(GOOD), version=None)), "lies below the release floor v1"),
    (
        "control",
        around(control=(down("a"), down("b"))),
        "the guard itself is cut off: no control address",
    ),
    ("control", around(control=(down("a", until=20.0),)), "the guard itself is cut off"),  # the window still has it
    ("dependency", around(dependencies=(up(), down())), "not the release: the dependency database is down since 11:59"),
    ("dependency", around(dependencies=(down(until=30.0),)), "the dependency database was down since 11:59:00Z"),
    ("other targets", beside(90.0), "other targets breach at the same time: shop-0"),
    ("other targets", beside(180.0, 0.0), "shop-0 and shop-1"),
    ("platform incident", around(incidents=("API down in ORD",)), "the platform reports: API down in ORD"),
    ("config drift", drifted(), "config since v41 (900d900d900d) was proven: env.API_URL changed; the rollback"),
    ("freeze", in_freeze(), "the freeze 'sale' holds rollbacks for another 1 h"),
    ("migration", probed("7", "8"), "the database was migrated: its schema is '8' now and was '7'"),
    ("migration", probed(None, "8"), "the app never told its schema under the older one"),
    ("migration", probed("7", None), "the app never told its schema under this release"),
    ("migration", probed("7", "8", blocks=False), "the database was migrated"),
    (
        "first machine",
        first_shows(9.0),
        "so none is restarted: by errors one machine would show 9 bad in 1 m 30 s, 10 are",
    ),
    ("first machine", first_shows(0.0), "no rule that fails tells one machine from another"),
    (
        "no first machine",
        first_shows(9.0, go_on=True),
        "no machine goes first to prove it: by errors one machine would",
    ),
]

DOES_NOT_STAND: list[tuple[str, Case]] = [
    ("first machine", first_shows(10.0)),
    ("first machine", first_shows(9.0, go_on=True)),
    ("first machine", first_shows(0.0, findings=(a_finding(side_by_side=True),))),  # the deploy has shown it
    ("first machine", first_shows(0.0, snapshot=a_snapshot(*machines(BAD)))),  # nobody to compare it with
    ("no first machine", first_shows(9.0)),
    ("no first machine", first_shows(10.0, go_on=True)),
    ("hold", a_case(state=a_state(hold=replace(HELD, until=NOON)))),
    ("release age", a_case(candidate=A_DAY_OLD)),
    ("release age", a_case(candidate=a_record(first_seen_at=NOON - 2 * DAY, full_at=NOON - HOUR))),
    ("onset", born_into("a", firing=("a", "b"))),  # b began after the release
    ("onset", born_into("a", firing=("b",))),
    ("onset", born_into("a", firing=())),
    ("onset", _proven_since(born_into("a", firing=("a",)))),  # it ran clean in between
    (
        "onset",
        replace(born_into("a", firing=("a",)), policy=a_policy(interlocks=Interlocks(onset_after_release=False))),
    ),
    ("quarantine", rolled_back(a_rollback(OTHER, ago=2 * DAY))),
    ("migration", with_migration(unknown_blocks=False)),
    ("migration", unlabelled(GOOD)),  # the target's own migration is not undone
    ("migration", a_case(policy=a_policy(interlocks=Interlocks()), candidate=a_record(labels={}))),
    ("migration", replace(with_migration(unknown_blocks=False), target=a_record(OTHER))),
    (
        "migration",  # the row in between only restarted the machines: it names an image that is known
        a_case(
            candidate=a_record(version=44),
            snapshot=a_snapshot(
                releases=(a_release(44), a_release(43, image_ref="registry.example/shop:tag"), a_release(41))
            ),
        ),
    ),
    ("cooldown", rolled_back(a_rollback(OTHER, ago=1800))),
    ("cooldown", found_marked(1800)),
    ("budget", rolled_back(*(a_rollback(OTHER, ago=h * HOUR) for h in (24, 12, 2)))),
    ("report budget", rolled_back(a_rollback(OTHER, ago=24 * HOUR, trigger="report"))),
    ("report budget", rolled_back(a_rollback(OTHER, ago=HOUR))),
    ("config-only release", running_as(42)),
    ("config-only release", running_as(43, incident="i-1")),  # the guard's own row
    ("config-only release", replace(running_as(43), candidate=a_record(full_at=None))),  # still being rolled out
    ("restored release", rolled_back(a_rollback(OTHER, BAD, ago=DAY), a_rollback(OTHER, GOOD, ago=HOUR))),
    ("learning", at_first_sight(10 * MINUTE)),
    ("learning", at_first_sight(MINUTE, proven_at=NOON - 30)),  # a person vouched for it
    ("watch", a_case(candidate=a_record(full_at=NOON - HOUR))),
    ("release floor", floored(41)),
    ("release floor", floored(None)),
    ("control", around(control=(down("a"), up("b")))),
    ("control", around(control=())),
    ("control", around(control=(down("a", until=40.0),))),  # over before anything that the rule still looks at
    ("control", around(control=(Address(name="a").saw(NOON, "refused"),))),  # one failure is nothing
    ("dependency", around(dependencies=(up(),))),
    ("dependency", around(dependencies=(down(until=40.0),))),
    ("other targets", beside(181.0)),
    ("other targets", beside(60.0, within=0.0)),
    ("platform incident", around(incidents=())),
    ("config drift", drifted(None)),
    ("config drift", drifted(Drift())),
    ("freeze", in_freeze(holds=False)),
    ("freeze", in_freeze(ends=0.0)),
    ("freeze", in_freeze(begins=1.0)),
    ("migration", probed("7", "7")),
    ("migration", probed("7", "8", labelled=True)),  # who builds it knows better
    ("migration", probed(None, None, blocks=False)),
]

CHECKS = {lock.name: lock.check for lock in TABLE}


@pytest.mark.parametrize("name, case, sentence", STANDS)
def test_a_row_stands_and_says_why(name: str, case: Case, sentence: str) -> None:
    assert sentence in (CHECKS[name](case, NOON) or "")


@pytest.mark.parametrize("name, case", DOES_NOT_STAND)
def test_a_row_lets_go_at_its_border(name: str, case: Case) -> None:
    assert CHECKS[name](case, NOON) is None


@pytest.mark.parametrize("name", CHECKS)
def test_every_row_is_driven_to_stand_and_lets_the_ordinary_case_pass(name: str) -> None:
    assert name in {stands for stands, _, _ in STANDS}
    assert CHECKS[name](a_case(), NOON) is None


def test_everything_in_between_must_be_free_of_migrations_not_only_the_newest() -> None:
    """From v42 back to v40: what v41 did to the database would have to be undone as well."""
    case = replace(unlabelled(GOOD, **{"rollguard.migration": "applied"}), target=a_record(OLDER))
    assert "v41" in (CHECKS["migration"](case, NOON) or "")


# -- every cell --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name, trigger, effect", CELLS)
def test_a_standing_row_does_to_each_trigger_what_the_law_says(name: str, trigger: Trigger, effect: Effect) -> None:
    for case in (case for stands, case, _ in STANDS if stands == name):
        refusals, warnings = standing(case, trigger, NOON)
        held, said = name in {r.name for r in refusals}, name in {w.name for w in warnings}
        assert held is (effect in {Effect.HOLDS, Effect.HOLDS_UNLESS_OVERRIDDEN})
        assert said is (effect is Effect.SAID)


@pytest.mark.parametrize("name, trigger, effect", CELLS)
def test_only_a_starred_cell_can_be_overridden_and_then_it_is_said(name: str, trigger: Trigger, effect: Effect) -> None:
    assert overridable(name, trigger) is (effect is Effect.HOLDS_UNLESS_OVERRIDDEN)
    for case in (case for stands, case, _ in STANDS if stands == name):
        refusals, warnings = standing(replace(case, overrides=frozenset({name})), trigger, NOON)
        assert (name in {r.name for r in refusals}) is (effect is Effect.HOLDS)
        assert (name in {w.name for w in warnings}) is (effect in {Effect.SAID, Effect.HOLDS_UNLESS_OVERRIDDEN})


def test_one_override_opens_one_interlock() -> None:
    case = replace(unlabelled(BAD), state=replace(unlabelled(BAD).state, pause=PAUSED))
    refusals, warnings = standing(replace(case, overrides=frozenset({"pause"})), Trigger.MANUAL, NOON)
    assert [r.name for r in refusals] == ["migration"]
    assert [w.name for w in warnings] == ["pause"]


@pytest.mark.parametrize("trigger", Trigger)
def test_the_ordinary_case_is_held_by_nothing(trigger: Trigger) -> None:
    assert standing(a_case(), trigger, NOON) == ((), ())


# -- what nothing bypasses ---------------------------------------------------------------------------------------------

EVERYTHING = frozenset(lock.name for lock in TABLE) | {name for name, _ in PRECONDITIONS}

UNBYPASSABLE: list[tuple[str, Case, str]] = [
    ("deploy in progress", a_case(deploy="bob (a lease on machine m1)"), "a deploy is under way: waiting for bob"),
    ("target already there", a_case(snapshot=a_snapshot(*machines(GOOD, GOOD))), "already runs the target"),
    ("target image", a_case(resolvable=False), "is gone from the registry"),
    ("target image", a_case(resolvable=None), "could not be looked up"),
    ("nowhere to go", a_case(target=None), "no release was named to go back to"),
    ("platform not seen", a_case(snapshot=a_snapshot(at=NOON - 41)), "the platform has not answered for 41 s"),
    (
        "releases not seen",
        a_case(snapshot=a_snapshot(a_machine(release_version=42), releases=())),
        "the list of releases is empty",
    ),
]


@pytest.mark.parametrize("trigger", Trigger)
@pytest.mark.parametrize("name, case, sentence", UNBYPASSABLE)
def test_a_precondition_holds_every_trigger_whatever_is_overridden(
    name: str, case: Case, sentence: str, trigger: Trigger
) -> None:
    refusals, _ = standing(replace(case, overrides=EVERYTHING), trigger, NOON)
    assert [r.sentence for r in refusals if r.name == name and sentence in r.sentence]
    assert not overridable(name, trigger)


def test_every_precondition_is_driven_to_hold() -> None:
    assert {name for name, _, _ in UNBYPASSABLE} == {name for name, _ in PRECONDITIONS}


def test_a_target_that_runs_on_all_but_one_managed_machine_is_not_there_yet() -> None:
    strangers = a_machine("other", OTHER, managed=False)
    assert not standing(a_case(snapshot=a_snapshot(*machines(GOOD, GOOD, BAD))), Trigger.ABSOLUTE, NOON)[0]
    there = a_case(snapshot=a_snapshot(*machines(GOOD, GOOD), strangers))
    assert [r.name for r in standing(there, Trigger.ABSOLUTE, NOON)[0]] == ["target already there"]


def test_a_platform_that_is_asked_seldom_may_be_older() -> None:
    assert standing(a_case(snapshot=a_snapshot(at=NOON - 40)), Trigger.MANUAL, NOON) == ((), ())
    seldom = a_policy(signals=(PlatformSignal(name="machines", every_s=60.0),))
    assert standing(a_case(policy=seldom, snapshot=a_snapshot(at=NOON - 189)), Trigger.MANUAL, NOON) == ((), ())


def test_findings_that_do_not_fire_have_no_onset() -> None:
    case = born_into("a", firing=("b",))
    pending = a_finding(a_rule(name="a"), state=RuleState.PENDING)
    assert CHECKS["onset"](replace(case, findings=(*case.findings, pending)), NOON) is None
