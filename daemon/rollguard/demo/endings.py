"""How a scenario may end, in the words of its summary, and what shows that it did."""

from __future__ import annotations

from dataclasses import dataclass

from rollguard.demo import checks as c
from rollguard.demo import page_checks as p
from rollguard.demo.checks import Check


@dataclass(frozen=True, slots=True)
class Ending:
    """What must come out. ``proof`` makes it this ending and no other; ``checks`` must hold besides."""

    words: str
    proof: tuple[Check, ...]
    checks: tuple[Check, ...]


ALWAYS = (c.late, c.floor, c.played)
BACK = (c.all_good, c.one_row, c.each_once)
WELL_DONE = (*ALWAYS, c.known_writes, c.after_the_deploy, p.one_incident, p.closed)
UNTOUCHED = (c.all_good, c.no_writes)
LEFT_TO_PEOPLE = (*ALWAYS, c.met_bad, c.users, p.one_incident, p.stays_open, p.never_says("rolling back"))

ROLLED_BACK = Ending("rolled back", BACK, (*WELL_DONE, c.reaction, c.met_bad, c.users))
FAST = Ending("rolled back by the fast path", (*BACK, c.reaction), (*WELL_DONE, c.met_bad, c.users))
LEFT_ALONE = Ending("left alone, and proven", (*UNTOUCHED, c.proven), (*ALWAYS, c.users, p.no_page))
ONCE = Ending("finished exactly once", BACK, (*WELL_DONE, c.reaction, c.met_bad, c.users))
BY_COMPARISON = Ending(
    "rolled back by comparison",
    (*BACK, c.no_error_pages, p.says("slower-by-half")),
    (*WELL_DONE, c.reaction, c.users, c.slower(1.5, 2.4)),
)
APPROVED = Ending(
    'paged as "consider", nothing touched; approved by the demo → rolled back',
    (*BACK, p.says("consider a rollback"), c.untouched_until_yes),
    (*WELL_DONE, c.reaction, c.users, c.no_error_pages, c.slower(1.15, 1.5)),
)
NO_PROOF = Ending(
    "rolled back, no proof by the first machine",
    (*BACK, c.no_proof),
    (*WELL_DONE, c.reaction, c.somebody_was_cut_off, c.well_once_restored),
)
BY_REPORT = Ending("rolled back", BACK, (*WELL_DONE, c.reaction, c.users, c.no_error_pages, p.says("data-corruption")))
MIGRATED = Ending(
    "paged with that reason, nothing touched",
    (*UNTOUCHED, p.says("is labelled rollguard.migration=")),
    LEFT_TO_PEOPLE,
)
NOT_THE_RELEASE = Ending(
    'paged "not the release", nothing touched',
    (*UNTOUCHED, p.says("not the release: the dependency database")),
    LEFT_TO_PEOPLE,
)
ALL_PROVEN = Ending(
    "all machines on the proven digest", BACK, (*WELL_DONE, c.half_deployed, c.reaction, c.met_bad, c.users)
)
ONE_SICK = Ending('paged "machine X, not the release"', (*UNTOUCHED, p.names_the_sick_machine), LEFT_TO_PEOPLE)
BLIND = Ending(
    "pages that it is blind; health probes still protect (a second fault is then caught)",
    (*BACK, p.blind_before_the_fault, c.reaction),
    (*ALWAYS, c.known_writes, c.after_the_deploy, c.met_bad, c.users, p.one_incident, p.stays_open),
)
NOT_BETTER = Ending(
    "stops, leaves it, pages; no second rollback, no roll-forward",
    (*BACK, p.says("not the release"), p.stays_open),
    (*ALWAYS, c.known_writes, c.after_the_deploy, c.reaction, c.met_bad, c.nobody_cut_off, p.one_incident),
)
YIELDED = Ending(
    "the guard yields within one machine and hands over",
    (c.all_good_but_one_asleep, c.yielded, p.says("handed over to you")),
    (
        *ALWAYS,
        c.persons_release_is_out,
        c.one_row_given_up,
        c.known_writes,
        c.after_the_deploy,
        c.reaction,
        c.met_bad,
        c.users,
    ),
)
