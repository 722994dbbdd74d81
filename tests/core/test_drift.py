"""What differs between two configurations, in words that hold no secret; and what is kept of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rollguard.core import drift
from rollguard.core.drift import Capsule, Config, Drift, Drifts, Unreadable, between
from rollguard.core.model import Machine
from tests.builders import BAD, GOOD, NOON, OLDER, a_machine, a_snapshot

PLAIN = {"guest.cpus": "1", "guest.memory_mb": "256", "env.API_URL": "#aaaa", "env.MODE": "#bbbb"}


def config(*keys: dict[str, str], groups: tuple[str, ...] = ("app", "worker"), **but: Any) -> Config:
    """One of the good release: for each group its keys."""
    capsules = tuple(
        Capsule(group=group, machine=f"{group}-1", hash=str(hash(tuple(one.items()))), keys=one)
        for group, one in zip(groups, keys, strict=False)
    )
    return Config(**{"digest": GOOD, "version": 41, "at": NOON, "capsules": capsules} | but)


@pytest.mark.parametrize(
    "before, now, lines",
    [
        ({}, {}, []),
        (PLAIN, PLAIN, []),
        (PLAIN, PLAIN | {"guest.memory_mb": "512"}, ["guest.memory_mb 256 → 512"]),
        (PLAIN, PLAIN | {"env.API_URL": "#cccc"}, ["env.API_URL changed"]),
        (PLAIN, PLAIN | {"env.API_URL": "plain"}, ["env.API_URL changed"]),
        (PLAIN | {"env.API_URL": "plain"}, PLAIN, ["env.API_URL changed"]),
        (PLAIN, PLAIN | {"env.NEW": "#dddd"}, ["env.NEW added"]),
        (PLAIN | {"services[0].internal_port": "80"}, PLAIN, ["services[0].internal_port removed"]),
        (PLAIN | {"mounts[0].volume": "vol_a"}, PLAIN | {"mounts[0].volume": "vol_b"}, []),
        (PLAIN | {"mounts[0].path": "/a"}, PLAIN | {"mounts[0].path": "/b"}, ["mounts[0].path /a → /b"]),
        (PLAIN | {"standbys[0]": "m1"}, PLAIN | {"standbys[0]": "m2"}, []),
        ({"schedule": "a\nb\x1b[31m"}, {"schedule": "c"}, ["schedule a b [31m → c"]),
        ({"a": "1", "b": "1"}, {"b": "2", "c": "1"}, ["b 1 → 2", "c added", "a removed"]),
    ],
)
def test_two_capsules_differ_by(before: dict[str, str], now: dict[str, str], lines: list[str]) -> None:
    found = between(config(before), config(now))
    assert list(found.lines) == lines
    assert bool(found) is bool(lines)


def test_what_holds_for_every_group_is_told_once_and_the_rest_by_group() -> None:
    mine = PLAIN | {"env.API_URL": "#cccc"}
    found = between(config(PLAIN, PLAIN), config(mine, mine | {"env.QUEUE": "#1"}))
    assert found == Drift(changed=("env.API_URL changed",), added=("worker: env.QUEUE",))


def test_groups_that_came_and_went_are_told() -> None:
    found = between(config(PLAIN, groups=("app",)), config(PLAIN, groups=("web",)))
    assert found == Drift(added=("group web",), removed=("group app",))


def test_a_difference_is_bounded_and_what_is_left_out_is_counted() -> None:
    many = {f"env.K{n:03}": "#1" for n in range(150)}
    found = between(config({}), config(many))
    assert (len(found.added), found.omitted) == (drift.LINES_MAX, 50)
    assert drift.said(found) == (
        "env.K000 added, env.K001 added, env.K002 added, env.K003 added, env.K004 added, env.K005 added and 144 more"
    )
    long = between(config({"k" * 500: "v" * 500}), config({"k" * 500: "w" * 500}))
    assert len(long.changed[0]) == drift.LINE_CHARS


# -- who stands for a group, and which groups are mixed ----------------------------------------------------------------


def machine(name: str, digest: str = BAD, **but: Any) -> Machine:
    return a_machine(name, digest, **{"config_hash": "h"} | but)


@pytest.mark.parametrize(
    "fleet, chosen",
    [
        ((machine("m2"), machine("m1")), {"app": "m1"}),
        ((machine("m1", GOOD), machine("m2", BAD)), {"app": "m2"}),  # the newest release
        ((machine("m1", state="stopped"), machine("m2")), {"app": "m2"}),
        ((machine("m1", state="stopped"),), {"app": "m1"}),
        ((machine("m1", standby=True), machine("m2")), {"app": "m2"}),
        ((machine("m1", host_ok=False), machine("m2")), {"app": "m2"}),
        ((machine("m1", config_hash=""),), {}),
        ((machine("m1", managed=False),), {}),
        ((machine("m1"), machine("w1", group="worker")), {"app": "m1", "worker": "w1"}),
    ],
)
def test_one_machine_stands_for_each_group(fleet: tuple[Machine, ...], chosen: dict[str, str]) -> None:
    found = drift.representatives(a_snapshot(*fleet))
    assert {group: one.id for group, one in found.items()} == chosen


def test_a_group_whose_machines_differ_is_noted_but_not_for_their_own_volumes() -> None:
    snapshot = a_snapshot(machine("m1"), machine("m2", config_hash="other"), machine("w1", group="worker"))
    assert drift.mixed(snapshot, [Capsule(group="app", machine="m1", hash="h", keys=PLAIN)]) == ("app",)
    with_volume = Capsule(group="app", machine="m1", hash="h", keys={"mounts[0].volume": "vol_1"})
    assert drift.mixed(snapshot, [with_volume]) == ()
    asleep = a_snapshot(machine("m1"), machine("m2", config_hash="other", standby=True))
    assert drift.mixed(asleep, []) == ()


# -- the book ----------------------------------------------------------------------------------------------------------


def test_the_book_keeps_what_releases_ran_with_and_what_was_proven_longest() -> None:
    book: tuple[Config, ...] = (config(PLAIN, digest=OLDER, version=1, proven=True),)
    for version in range(2, 60):
        book = drift.with_config(book, config({"n": str(version)}, digest=BAD, version=version))
    assert len(book) == drift.ROWS_MAX
    assert book[-1].version == 59
    assert drift.proven_with(book, OLDER) is not None


def test_a_book_full_of_what_was_proven_goes_on_with_the_newest() -> None:
    book: tuple[Config, ...] = ()
    for version in range(60):
        book = drift.with_config(book, config({"n": str(version)}, digest=f"sha256:{version}", proven=True))
    assert [c.digest for c in book] == [f"sha256:{n}" for n in range(60 - drift.ROWS_MAX, 60)]


def test_the_same_configuration_of_the_same_release_is_one_row_with_its_first_time() -> None:
    first = config(PLAIN)
    again = replace(config(PLAIN, at=NOON + 60, proven=True), mixed=("app",))
    assert drift.with_config((first,), again) == (replace(again, at=NOON),)
    assert drift.with_config((replace(first, proven=True),), replace(again, proven=False))[0].proven
    assert len(drift.with_config((first,), config(PLAIN, version=42))) == 2
    assert len(drift.with_config((first,), config(PLAIN | {"env.NEW": "#1"}))) == 2


def test_today_is_compared_with_what_the_target_was_proven_with_and_with_the_release_before() -> None:
    proven = config(PLAIN, proven=True)
    before = config(PLAIN | {"a": "1"}, digest=BAD, version=42)
    today = config(PLAIN | {"a": "2"}, digest=BAD, version=43)
    found = drift.drifts((proven, before, today), today, GOOD)
    assert found.since_proven == Drift(added=("a",))
    assert found.since_before == Drift(changed=("a 1 → 2",))


@pytest.mark.parametrize(
    "book, today, target",
    [
        ((), None, GOOD),
        ((), config(PLAIN), GOOD),
        ((config(PLAIN),), config(PLAIN), GOOD),  # it ran, and was not proven
        ((config(PLAIN, proven=True),), None, GOOD),
        ((config(PLAIN, proven=True),), config(PLAIN), OLDER),
        ((config(PLAIN, version=None),), config(PLAIN), ""),
        ((config(PLAIN),), config(PLAIN, version=None), ""),
    ],
)
def test_what_is_not_known_is_not_made_up(book: tuple[Config, ...], today: Config | None, target: str) -> None:
    assert drift.drifts(book, today, target) == Drifts()


def test_a_book_is_read_as_it_was_written_and_not_under_another_salt() -> None:
    book = (config(PLAIN, PLAIN, proven=True, mixed=("app",)), config(PLAIN, version=None))
    words = drift.to_text(book, "salt-1")
    assert drift.from_text(words, "salt-1") == book
    assert drift.from_text(words, "salt-2") == ()


def test_a_book_that_would_be_too_long_loses_its_oldest_rows() -> None:
    big = {f"k{n}": "v" * 1000 for n in range(400)}
    book = tuple(config(big, digest=f"sha256:{n}") for n in range(4))
    kept = drift.from_text(drift.to_text(book, ""), "")
    assert [c.digest for c in kept] == ["sha256:2", "sha256:3"]


@pytest.mark.parametrize(
    "words", ["", "{", "[]", "{}", '{"mark": "", "rows": [{}]}', '{"mark": "", "rows": 3}', "null"]
)
def test_a_book_that_cannot_be_read_says_so(words: str) -> None:
    with pytest.raises(Unreadable):
        drift.from_text(words, "")
