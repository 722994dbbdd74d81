"""Reasons not to act, as a policy file says them, and the core settings that come of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from zoneinfo import ZoneInfo

from rollguard.config.complaints import Complaints
from rollguard.config.problems import Wrong, shown
from rollguard.config.scalars import (
    Count,
    Dotted,
    Duration,
    Instant,
    Interval,
    Name,
    Positive,
    Text,
    TimeOfDay,
    Url,
    UrlOrOff,
    Zone,
)
from rollguard.config.section import Section, doc, need
from rollguard.config.yamltext import Path
from rollguard.core import calendars
from rollguard.core import policy as core

DAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
WEEK_S = 7 * 86400.0


class Furthest(Section):
    """How far back a rollback may go."""

    releases: Count = doc("At most so many releases back.", default=1, ge=1, le=100)
    age: Positive = doc("Never to a release older than this.", default="7d")


class SchemaProbe(Section):
    """An address whose JSON answer names the database schema that the app sees."""

    url: Url = need("Address to ask.")
    path: Dotted = need("Keys from the top of the answer to the schema's name or number, joined by dots.")
    timeout: Positive = doc("Longest wait for the answer.", default="5s")


class Dependency(Section):
    """Something that the app needs: while it is down, nothing is the release's fault."""

    name: Name = need("Its name, for pages.")
    http: UrlOrOff = need("Address that the guard asks by itself; any status below 500 is well. Empty: off.")
    timeout: Positive = doc("Longest wait for the answer.", default="3s")


class Freeze(Section):
    """A time in which nobody should change anything: once (`from`, `to`), or every week (`days`, `at`, `for`)."""

    name: Name = need("Its name, for pages.")
    rollback: Literal["page", "allow"] = doc("`page`: rollbacks are held too; `allow`: they are not.", default="allow")
    from_: Instant | None = doc("When it begins, such as 2026-11-27T00:00Z.", alias="from")
    to: Instant | None = doc("When it ends.")
    days: tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...] | None = doc(
        "Days of the week on which it begins.", min_length=1
    )
    at: TimeOfDay | None = doc('When it begins on those days, such as "18:00".')
    for_: Positive | None = doc("How long it lasts; a week at most.", alias="for")
    zone: Zone | None = doc("Time zone of `days` and `at`; UTC without one.")


class Migration(Section):
    """Never past a database migration that is not known to be compatible."""

    label: Text = need("Label of the image that says what the build needs of the database.")
    allow: tuple[Text, ...] = need("Values of the label with which going back is safe.", min_length=1)
    unknown: Literal["block", "allow"] = doc("What it means when neither label nor probe answers.", default="block")
    probe: SchemaProbe | None = doc("Where the app tells its database schema; asked where the label is missing.")


class Budget(Section):
    """The most automatic rollbacks, over rolling time."""

    per_release: Count = doc("Per release: 1, or 0 for none. Never two for one bad release.", default=1, le=1)
    per_day: Count = doc("In 24 hours.", default=3, le=100)


class Interlocks(Section):
    """Reasons not to act although a rule fires; a person is paged instead."""

    release_age: Positive = doc("Older than this, it was not the release: page.", default="24h")
    onset: Literal["after_release", "any"] = doc(
        "`after_release`: what was broken before the deploy pages; `any`: it does not matter.", default="after_release"
    )
    proven_after: Positive = doc("A release is proven once it ran clean for so long.", default="10m")
    furthest: Furthest = doc("How far back a rollback may go.", default=Furthest())
    watch: Positive = doc("How long a release is compared with its predecessor.", default="1h")
    control: tuple[UrlOrOff, ...] = doc(
        "Addresses that tell whether this guard can see anything at all. Empty ones are left out.", default=()
    )
    dependencies: tuple[Dependency, ...] = doc("What the app needs, asked by the guard itself.", default=())
    look_every: Interval = doc("How often control addresses and dependencies are asked.", default="5s")
    others_within: Duration = doc(
        "Other targets of this guard that begin to breach so close to this one hold it. `0s`: off.", default="2m"
    )
    status_feed: UrlOrOff = doc("Where the platform lists its incidents, for pages. Empty: nobody asks.", default="")
    freeze: tuple[Freeze, ...] = doc("The team's calendar.", default=())
    migration: Migration | None = doc("Which releases must not be undone because of their database migration.")
    cooldown: Duration = doc("Least time between two automatic rollbacks.", default="30m")
    budget: Budget = doc("The most automatic rollbacks.", default=Budget())


def to_interlocks(written: Interlocks, complaints: Complaints) -> core.Interlocks:
    """The core settings; mistakes between keys are among the complaints."""
    path: Path = ("interlocks",)
    for key, length in (("proven_after", written.proven_after), ("watch", written.watch)):
        if length > written.release_age:
            message = f"{key} is longer than release_age"
            complaints.value((*path, key), Wrong(message, wanted="as short as release_age"))
    _check_names("dependencies", [one.name for one in written.dependencies], complaints)
    _check_names("freeze", [one.name for one in written.freeze], complaints)
    return core.Interlocks(
        release_age_s=written.release_age,
        watch_s=written.watch,
        onset_after_release=written.onset == "after_release",
        proven_after_s=written.proven_after,
        furthest_releases=written.furthest.releases,
        furthest_age_s=written.furthest.age,
        migration=_migration(written.migration),
        cooldown_s=written.cooldown,
        per_release=written.budget.per_release,
        per_day=written.budget.per_day,
        control=tuple(dict.fromkeys(url for url in written.control if url)),
        dependencies=tuple(
            core.Dependency(name=d.name, url=d.http, timeout_s=d.timeout) for d in written.dependencies if d.http
        ),
        look_every_s=written.look_every,
        others_within_s=written.others_within,
        status_feed=written.status_feed,
        freeze=tuple(
            freeze
            for index, one in enumerate(written.freeze)
            if (freeze := _freeze(one, (*path, "freeze", index), complaints)) is not None
        ),
    )


def _check_names(key: str, names: Sequence[str], complaints: Complaints) -> None:
    for index, name in enumerate(names):
        if name in names[:index]:
            message = f"{shown(name)} stands here already"
            complaints.value(("interlocks", key, index, "name"), Wrong(message, wanted="a name of its own"))


def _migration(written: Migration | None) -> core.Migration | None:
    if written is None:
        return None
    probe = written.probe
    return core.Migration(
        label=written.label,
        allow=written.allow,
        unknown_blocks=written.unknown == "block",
        probe=core.SchemaProbe(url=probe.url, path=tuple(probe.path.split(".")), timeout_s=probe.timeout)
        if probe
        else None,
    )


def _freeze(one: Freeze, path: Path, complaints: Complaints) -> calendars.Freeze | None:
    """Once or weekly, whole, and the right way round."""
    once, weekly = (one.from_, one.to), (one.days, one.at, one.for_)
    if one.zone is not None and one.from_ is not None:
        complaints.key((*path, "zone"), "'zone' belongs to days and at; from and to have their own")
    is_once, is_weekly = any(v is not None for v in once), any(v is not None for v in weekly)
    if is_once is is_weekly or None in (once if is_once else weekly):
        complaints.value(path, "a freeze has either from and to, or days, at and for")
        return None
    holds = one.rollback == "page"
    if one.from_ is not None and one.to is not None:
        if one.to <= one.from_:
            complaints.value((*path, "to"), Wrong("a freeze ends after it begins", wanted="later than from"))
        return calendars.Freeze(name=one.name, holds_rollback=holds, begins_at=one.from_, ends_at=one.to)
    assert one.days is not None
    assert one.at is not None
    assert one.for_ is not None
    if one.for_ > WEEK_S:
        complaints.value((*path, "for"), Wrong("a weekly freeze lasts a week at most", wanted="a week at most"))
    return calendars.Freeze(
        name=one.name,
        holds_rollback=holds,
        days=frozenset(DAYS.index(day) for day in one.days),
        from_s=one.at,
        length_s=one.for_,
        zone=ZoneInfo(one.zone or "UTC"),
    )
