"""Was it well done? Judged by what the platform and the users saw, never by the guard's own word.

The figures, in seconds; one that does not exist is None:

``to_first_bad_response``  from the deploy's first write to the first 5xx that a user got from the bad image
``to_decision``            from the later of that answer and the deploy's last write to the guard's decision, as its
                           journal dates it: a figure for people, on which no verdict rests
``to_first_write``         from the same instant to the guard's first write that the platform carried out; a decision
                           cannot be later than its first write, so the time limits are held against this one
``to_recovered``           from the same instant until the platform has shown every machine routable on the good image
                           *and* no user got a bad answer any more, whichever is later

The guard's word cannot make a run succeed. In one place it can spoil one: only the guard knows what is "proven".
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rollguard.demo.seen import Seen, cause, describe, ended_at, failed, on_bad_image
from rollguard.localfly.traffic import Visit

LISTED_MAX = 10
ROLLBACK_WRITES = frozenset({"lease", "lease_refresh", "lease_release", "update", "release_create", "release_patch"})

ROLLED_BACK, FAST, LEFT_ALONE, ONCE = (
    "rolled back",
    "rolled back by the fast path",
    "left alone, and proven",
    "finished exactly once",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The seconds of the summary; see the module."""

    to_first_bad_response: float | None = None
    to_decision: float | None = None
    to_first_write: float | None = None
    to_recovered: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """``failures`` are sentences; ``ok`` is that there are none and that the outcome is the expected one."""

    outcome: str
    ok: bool
    failures: tuple[str, ...]
    figures: Figures


def rule(seen: Seen) -> Ruling:
    """Judge a run."""
    figures = measure(seen)
    checks = ON_GOOD if seen.expected == LEFT_ALONE else ON_BAD
    failures = tuple(sentence for check in checks for sentence in check(seen, figures))
    outcome = outcome_of(seen, figures)
    return Ruling(outcome=outcome, ok=outcome == seen.expected and not failures, failures=failures, figures=figures)


def measure(seen: Seen) -> Figures:
    """The figures of a run."""
    deploy = seen.by(seen.deployer)
    bad_at = [ended_at(v) for v in seen.visits if on_bad_image(v, seen.bad)]
    if not deploy or not bad_at:
        return Figures()
    zero_at = max(deploy[-1]["at"], min(bad_at))
    recovered_at = max(seen.whole_at, *bad_at) if seen.whole_at is not None else None
    return Figures(
        to_first_bad_response=_span(deploy[0]["at"], min(bad_at)),
        to_decision=_span(zero_at, seen.decided_at),
        to_first_write=_span(zero_at, seen.first_write_at),
        to_recovered=_span(zero_at, recovered_at),
    )


def outcome_of(seen: Seen, figures: Figures) -> str:
    """In a few words how it ended; one of the expected ones where it did."""
    digests = Counter(machine["digest"] for machine in seen.view["machines"])
    if set(digests) != {seen.good}:
        return "not rolled back" if set(digests) == {seen.bad} else f"a mix: {_mix(digests, seen)}"
    if seen.expected == LEFT_ALONE:
        if seen.writes:
            return "not left alone"
        return LEFT_ALONE if seen.proven else "left alone, not proven"
    if not seen.by(seen.guard, "update"):
        return "on the good image, but not by the guard"
    if seen.expected == FAST:
        return FAST if _in_time(figures, seen.limit_s) else "rolled back, too late for the fast path"
    if seen.expected == ONCE:
        return ONCE if not [*_one_row(seen, figures), *_each_once(seen, figures)] else "rolled back, not exactly once"
    return ROLLED_BACK


# -- checks: each gives the sentences that are against it -------------------------------------------------------------

Check = Callable[[Seen, Figures], Iterator[str]]


def _all_good(seen: Seen, _: Figures) -> Iterator[str]:
    for machine in seen.view["machines"]:
        if machine["digest"] != seen.good:
            yield f"machine {machine['id']} does not run the good image"
        elif not machine["routable"]:
            yield f"machine {machine['id']} runs the good image and does not serve"


def _one_row(seen: Seen, _: Figures) -> Iterator[str]:
    rows = [row for row in seen.view["releases"] if row["user"] == seen.guard]
    if len(rows) != 1:
        yield f"the guard made {len(rows)} release rows, not 1"
    yield from (f"release v{row['version']} is {row['status']}" for row in rows if row["status"] != "complete")


def _each_once(seen: Seen, _: Figures) -> Iterator[str]:
    updates = Counter(event["machine"] for event in seen.by(seen.guard, "update"))
    for machine in seen.view["machines"]:
        if (count := updates.get(machine["id"], 0)) != 1:
            yield f"the guard updated machine {machine['id']} {count} times, not once"


def _known_writes(seen: Seen, _: Figures) -> Iterator[str]:
    strange = {kind: count for kind, count in seen.writes.items() if kind not in ROLLBACK_WRITES | {"refused"}}
    if strange:
        yield f"writes that no rollback needs: {strange}"


def _no_writes(seen: Seen, _: Figures) -> Iterator[str]:
    if seen.writes:
        yield f"the guard wrote to the platform: {dict(seen.writes)}"


def _floor(seen: Seen, _: Figures) -> Iterator[str]:
    for broken in floor_violations(seen):
        yield f"taking down machine {broken['machine']} left {broken['remaining']} healthy, under {broken['floor']}"


def _after_the_deploy(seen: Seen, _: Figures) -> Iterator[str]:
    deploy = seen.by(seen.deployer)
    if not deploy:
        yield "nobody deployed"
    elif seen.first_write_at is not None and seen.first_write_at < deploy[-1]["at"]:
        yield f"the guard wrote {deploy[-1]['at'] - seen.first_write_at:.1f} s before the deploy was over"


def _reaction(seen: Seen, figures: Figures) -> Iterator[str]:
    if figures.to_first_bad_response is None:
        yield "no user ever met the bad image: this run shows nothing"
    elif figures.to_first_write is None:
        yield "the guard never wrote"
    elif not _in_time(figures, seen.limit_s):
        yield f"the first write came after {figures.to_first_write:.1f} s, limit {seen.limit_s:.1f} s"


def _users(seen: Seen, _: Figures) -> Iterator[str]:
    """From the first write on, only the bad image may fail anybody. Without one there is nothing to excuse."""
    since = seen.first_write_at or 0.0
    others = [v for v in failed(seen.visits) if ended_at(v) >= since and not on_bad_image(v, seen.bad)]
    if others:
        when = "after the first write" if seen.first_write_at else "during the run"
        yield f"{len(others)} requests failed {when} other than by the bad image: {_causes(others, seen)}"
    yield from (f"  {describe(visit, seen)}" for visit in others[:LISTED_MAX])


def _played(seen: Seen, _: Figures) -> Iterator[str]:
    shed = sum(visit.error == "shed" for visit in seen.visits)
    if shed:
        yield f"{shed} users could not be played: this machine is too slow for the numbers to mean anything"


def _one_incident(seen: Seen, _: Figures) -> Iterator[str]:
    keys = {page["dedup_key"] for page in seen.pages}
    if len(keys) != 1:
        yield f"PagerDuty has {len(keys)} incidents, not 1"
    for key in sorted(keys) if seen.awaited else ():
        if [p["event_action"] for p in seen.pages if p["dedup_key"] == key][-1] != "resolve":
            yield f"the incident {key} is still open"


def _no_page(seen: Seen, _: Figures) -> Iterator[str]:
    if seen.pages:
        yield f"somebody was woken {len(seen.pages)} times for a release that is fine"


def _late(seen: Seen, _: Figures) -> Iterator[str]:
    yield from seen.late


ON_BAD: tuple[Check, ...] = (
    _late,
    _all_good,
    _one_row,
    _each_once,
    _known_writes,
    _floor,
    _after_the_deploy,
    _reaction,
    _users,
    _played,
    _one_incident,
)
ON_GOOD: tuple[Check, ...] = (_late, _all_good, _no_writes, _floor, _users, _played, _no_page)


# -- words -------------------------------------------------------------------------------------------------------------


def floor_violations(seen: Seen) -> list[Mapping[str, Any]]:
    """The steps of the guard that left fewer healthy machines than the floor allows."""
    return [violation for violation in seen.view["floor_violations"] if violation["owner"] == seen.guard]


def _causes(visits: Sequence[Visit], seen: Seen) -> str:
    counts = Counter(cause(visit, seen.bad) for visit in visits)
    return ", ".join(f"{count} × {name}" for name, count in counts.most_common())


def _mix(digests: Mapping[str, int], seen: Seen) -> str:
    names = {seen.good: "the good image", seen.bad: "the bad image"}
    return ", ".join(f"{count} on {names.get(digest, 'an unknown image')}" for digest, count in digests.items())


def _span(since: float, until: float | None) -> float | None:
    return None if until is None else round(until - since, 2)


def _in_time(figures: Figures, limit_s: float | None) -> bool:
    return figures.to_first_write is not None and (limit_s is None or figures.to_first_write <= limit_s)
