"""Which reason not to act holds which kind of trigger.

``TABLE`` is the law as data. ``PRECONDITIONS`` hold every trigger, always: nothing at all bypasses them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from rollguard.core.case import Case, Check, Effect, Refusal
from rollguard.core.finding import Trigger
from rollguard.core.locks import budget, database, first, never, people, release, world


@dataclass(frozen=True, slots=True)
class Interlock:
    """A row of the table: what stands, and what that does to each trigger (in the order of ``COLUMNS``)."""

    name: str
    check: Check
    effects: str

    def effect(self, trigger: Trigger) -> Effect:
        """The cell of this row under ``trigger``."""
        return _cells(self.effects)[trigger]


@cache
def rows(trigger: Trigger) -> tuple[tuple[Interlock, Effect], ...]:
    """The rows that say something of ``trigger``, and what; asked for at every tick while a rule fires."""
    return tuple((lock, effect) for lock in TABLE if (effect := lock.effect(trigger)) is not Effect.NONE)


@cache
def _cells(effects: str) -> dict[Trigger, Effect]:
    """A row's cells."""
    return dict(zip(COLUMNS, map(Effect, effects.split()), strict=True))


COLUMNS = (
    Trigger.RELATIVE,
    Trigger.ABSOLUTE,
    Trigger.HARD_DOWN,
    Trigger.REPORT,
    Trigger.APPROVED,
    Trigger.MANUAL,
)

TABLE = (
    #         name                 check                      relative absolute hard-down report approved manual
    Interlock("pause", people.pause, "H  H  H  H  H* H*"),
    Interlock("hold", people.hold, "H  H  H  H  W  W"),
    Interlock("config-only release", release.config_only, "H  H  H  H  W  W"),
    Interlock("release age", release.release_age, "H  H  H  -  W  W"),
    Interlock("watch", release.watch_over, "H  -  -  -  -  -"),
    Interlock("onset", release.onset, "H  H  H  -  W  W"),
    Interlock("target not proven", release.not_proven, "H  H  H  H  H* H*"),
    Interlock("learning", release.learning, "H  H  H  H  W  W"),
    Interlock("quarantine", release.quarantine, "H  H  H  H  W  W"),
    Interlock("migration", database.migration, "H  H  H  H  H* H*"),
    Interlock("release floor", people.release_floor, "H  H  H  H  H* H*"),
    Interlock("control", world.control, "H  H  H  W  W  W"),
    Interlock("dependency", world.dependency, "H  H  H  -  W  W"),
    Interlock("other targets", world.others, "H  H  H  -  W  W"),
    Interlock("platform incident", world.platform_incident, "W  W  W  W  W  W"),
    Interlock("config drift", release.config_drift, "W  W  W  W  W  W"),
    Interlock("cooldown", budget.cooldown, "H  H  H  H  -  -"),
    Interlock("budget", budget.budget, "H  H  H  H  -  -"),
    Interlock("report budget", budget.report_budget, "-  -  -  H  -  -"),
    Interlock("freeze", people.freeze, "H  H  H  H  W  W"),
    Interlock("clock", world.clock, "H  H  H  H  W  W"),
    Interlock("restored release", release.restored, "H  H  H  H  W  W"),
    Interlock("first machine", first.cannot_tell, "H  H  -  -  -  -"),
    Interlock("no first machine", first.goes_without, "W  W  -  -  -  -"),
)


PRECONDITIONS: tuple[tuple[str, Check], ...] = (
    ("deploy in progress", never.deploying),
    ("target already there", never.there_already),
    ("target image", never.no_image),
    ("nowhere to go", never.nowhere),
    ("platform not seen", never.unseen),
    ("releases not seen", never.no_rows),
)


def standing(case: Case, trigger: Trigger, now: float) -> tuple[tuple[Refusal, ...], tuple[Refusal, ...]]:
    """What holds an act with this trigger, and what must be said though it does not hold it."""
    refusals = [Refusal(name, why) for name, check in PRECONDITIONS if (why := check(case, now))]
    warnings: list[Refusal] = []
    for lock, effect in rows(trigger):
        why = lock.check(case, now)
        if why is None:
            continue
        if effect is Effect.SAID or (effect is Effect.HOLDS_UNLESS_OVERRIDDEN and lock.name in case.overrides):
            warnings.append(Refusal(lock.name, why))
        else:
            refusals.append(Refusal(lock.name, why))
    return tuple(refusals), tuple(warnings)


def holds(name: str, trigger: Trigger) -> bool:
    """Whether this interlock, where it stands, holds this trigger."""
    return any(lock.name == name and lock.effect(trigger) is Effect.HOLDS for lock in TABLE)


def overridable(name: str, trigger: Trigger) -> bool:
    """Whether a person may override this interlock by name for this trigger."""
    return any(lock.name == name and lock.effect(trigger) is Effect.HOLDS_UNLESS_OVERRIDDEN for lock in TABLE)
