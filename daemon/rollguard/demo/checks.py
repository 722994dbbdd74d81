"""What may be asked of a run. Each check gives the sentences that are against it; none when all is well."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rollguard.demo.figures import Figures, in_time
from rollguard.demo.seen import Seen, cause, describe, ended_at, failed, on_bad_image, p95_s
from rollguard.localfly.ledger import HOLDS
from rollguard.localfly.traffic import Visit

LISTED_MAX = 10
HEARD_S = 1.0
"""So long the edge may take to hear that a machine goes."""
ROLLBACK_WRITES = frozenset({"lease", "lease_refresh", "lease_release", "update", "release_create", "release_patch"})

Check = Callable[[Seen, Figures], Iterator[str]]


# -- what runs, and who wrote it ---------------------------------------------------------------------------------------


def all_good(seen: Seen, _: Figures) -> Iterator[str]:
    """Every machine serves the image that must run at the end."""
    for machine in seen.view["machines"]:
        if machine["digest"] != seen.good:
            yield f"machine {machine['id']} does not run the good image"
        elif not machine["routable"]:
            yield f"machine {machine['id']} runs the good image and does not serve"


def all_good_but_one_asleep(seen: Seen, figures: Figures) -> Iterator[str]:
    """The same; but flyctl leaves asleep what it found in the middle of a change, and that is nobody's to wake."""
    sleeps = [machine for machine in seen.view["machines"] if machine["state"] == "stopped"]
    against = list(all_good(seen, figures))
    asleep = [f"machine {machine['id']} runs the good image and does not serve" for machine in sleeps[:1]]
    yield from (sentence for sentence in against if sentence not in asleep)


def one_row(seen: Seen, _: Figures) -> Iterator[str]:
    """The guard made one release row and completed it."""
    yield from _one_row(seen, "complete")


def one_row_given_up(seen: Seen, _: Figures) -> Iterator[str]:
    """The guard made one release row and marked it failed."""
    yield from _one_row(seen, "failed")


def _one_row(seen: Seen, status: str) -> Iterator[str]:
    rows = seen.rows(seen.guard)
    if len(rows) != 1:
        yield f"the guard made {len(rows)} release rows, not 1"
    yield from (f"release v{row['version']} is {row['status']}" for row in rows if row["status"] != status)


def each_once(seen: Seen, _: Figures) -> Iterator[str]:
    """The guard wrote once to each machine that the deploy had changed, and to no other."""
    deployed = {event["machine"] for event in seen.by(seen.deployer, "update")}
    updates = Counter(event["machine"] for event in seen.by(seen.guard, "update"))
    for machine in seen.machines:
        count, wanted = updates.get(machine, 0), int(machine in deployed)
        if count != wanted:
            yield f"the guard updated machine {machine} {count} times, not {('never', 'once')[wanted]}"


def half_deployed(seen: Seen, _: Figures) -> Iterator[str]:
    """The deploy got to some machines and not to all."""
    deployed = {event["machine"] for event in seen.by(seen.deployer, "update")}
    if not 0 < len(deployed) < len(seen.machines):
        yield f"the deploy got to {len(deployed)} of {len(seen.machines)} machines: this run shows nothing"


def known_writes(seen: Seen, _: Figures) -> Iterator[str]:
    """Nothing was written that no rollback needs."""
    strange = {kind: count for kind, count in seen.writes.items() if kind not in ROLLBACK_WRITES | {"refused"}}
    if strange:
        yield f"writes that no rollback needs: {strange}"


def no_writes(seen: Seen, _: Figures) -> Iterator[str]:
    """The guard changed nothing; that it may hold a machine it finds out by doing it."""
    changes = {kind: count for kind, count in seen.writes.items() if kind not in HOLDS}
    if changes:
        yield f"the guard wrote to the platform: {changes}"


def untouched_until_yes(seen: Seen, _: Figures) -> Iterator[str]:
    """Nothing was written before a person approved."""
    if seen.yes_at is None:
        yield "nobody approved anything"
    elif seen.first_write_at is not None and seen.first_write_at < seen.yes_at:
        yield f"the guard wrote {seen.yes_at - seen.first_write_at:.1f} s before it was approved"


def yielded(seen: Seen, _: Figures) -> Iterator[str]:
    """From a person's first write on the guard wrote to one machine at most, and not to all of them."""
    theirs, updates = seen.by(seen.person), seen.by(seen.guard, "update")
    if not theirs:
        yield "nobody came in between: this run shows nothing"
        return
    after = [event for event in updates if event["at"] > theirs[0]["at"]]
    if len(after) > 1:
        yield f"the guard wrote to {len(after)} machines after a person had begun to deploy"
    if not 0 < len(updates) < len(seen.machines):
        yield f"the guard had written to {len(updates)} machines: that was not in the middle of a rollback"
    yield from (f"machine {event['machine']} was written to over a person's release" for event in _over(seen, theirs))


def _over(seen: Seen, theirs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    updated = {event["machine"]: event["at"] for event in theirs if event["kind"] == "update"}
    return [e for e in seen.by(seen.guard, "update") if e["at"] > updated.get(e["machine"], e["at"])]


def persons_release_is_out(seen: Seen, _: Figures) -> Iterator[str]:
    """What the person deployed was completed."""
    if [row["status"] for row in seen.rows(seen.person)] != ["complete"]:
        yield "the person's own release was not completed"


def floor(seen: Seen, _: Figures) -> Iterator[str]:
    """The guard never took down a machine below the floor."""
    for broken in floor_violations(seen):
        yield f"taking down machine {broken['machine']} left {broken['remaining']} healthy, under {broken['floor']}"


def floor_violations(seen: Seen) -> list[Mapping[str, Any]]:
    """The steps of the guard that left fewer healthy machines than the floor allows."""
    return [violation for violation in seen.view["floor_violations"] if violation["owner"] == seen.guard]


# -- when --------------------------------------------------------------------------------------------------------------


def after_the_deploy(seen: Seen, _: Figures) -> Iterator[str]:
    """Nothing was written while somebody deployed."""
    deploy = seen.by(seen.deployer)
    if not deploy:
        yield "nobody deployed"
    elif seen.first_write_at is not None and seen.first_write_at < deploy[-1]["at"]:
        yield f"the guard wrote {deploy[-1]['at'] - seen.first_write_at:.1f} s before the deploy was over"


def reaction(seen: Seen, figures: Figures) -> Iterator[str]:
    """The first write came in time."""
    if figures.to_first_write is None:
        yield "the guard never wrote" if seen.first_write_at is None else "nothing was bad: this run shows nothing"
    elif not in_time(figures, seen.limit_s):
        yield f"the first write came after {figures.to_first_write:.1f} s, limit {seen.limit_s:.1f} s"


def late(seen: Seen, _: Figures) -> Iterator[str]:
    """Everything happened that was waited for."""
    yield from seen.late


def proven(seen: Seen, _: Figures) -> Iterator[str]:
    """The guard would go back to what runs now."""
    if not seen.proven:
        yield "the guard has not proven the release"


def no_proof(seen: Seen, _: Figures) -> Iterator[str]:
    """The first machine had nothing to prove."""
    if seen.judged_first:
        yield "the first machine had to do better than its peers before the others followed"


# -- users -------------------------------------------------------------------------------------------------------------


def met_bad(seen: Seen, _: Figures) -> Iterator[str]:
    """Some user got an error from the bad image: else the run shows nothing."""
    if not any(on_bad_image(visit, seen.bad) for visit in seen.visits):
        yield "no user ever met the bad image: this run shows nothing"


def users(seen: Seen, _: Figures) -> Iterator[str]:
    """From the first write on, only the bad image may fail anybody. Without one there is nothing to excuse."""
    yield from _others(seen, lambda visit: not on_bad_image(visit, seen.bad))


def nobody_cut_off(seen: Seen, _: Figures) -> Iterator[str]:
    """From the first write on every user got an answer from a machine, be it a bad one."""
    yield from _others(seen, lambda visit: visit.error is not None)


def _others(seen: Seen, counts: Callable[[Visit], bool]) -> Iterator[str]:
    since = seen.first_write_at or 0.0
    others = [visit for visit in failed(seen.visits) if ended_at(visit) >= since and counts(visit)]
    if others:
        when = "after the first write" if seen.first_write_at else "during the run"
        yield f"{len(others)} requests failed {when} other than by the bad image: {_causes(others, seen)}"
    yield from (f"  {describe(visit, seen)}" for visit in others[:LISTED_MAX])


def no_error_pages(seen: Seen, _: Figures) -> Iterator[str]:
    """The bad image answered everything well, if slowly: no rule over errors can have had a part in it."""
    count = sum(on_bad_image(visit, seen.bad) for visit in seen.visits)
    if count:
        yield f"{count} answers of the bad image were errors: more than slowness was at work"


def slower(least: float, most: float) -> Check:
    """Users waited so many times as long for the bad image as for the one before: from ``least`` to ``most``."""

    def check(seen: Seen, _: Figures) -> Iterator[str]:
        before, now = (p95_s(seen.visits, digest) for digest in (seen.good, seen.bad))
        if before is None or now is None:
            yield "too few users met both images: this run shows nothing"
        elif not least <= now / before <= most:
            yield f"users waited {now / before:.2f} times as long (P95), not {least:g} to {most:g}: shows nothing"

    return check


def somebody_was_cut_off(seen: Seen, _: Figures) -> Iterator[str]:
    """Users lost their requests to machines that died before the guard wrote."""
    since = seen.first_write_at or 0.0
    if not any(visit.error is not None and ended_at(visit) < since for visit in seen.visits):
        yield "no user lost a request before the guard wrote: this run shows nothing"


def well_once_restored(seen: Seen, _: Figures) -> Iterator[str]:
    """A machine that is back fails nobody; and once all are back, nobody fails at all."""
    back = {event["machine"]: event["at"] + HEARD_S for event in seen.by(seen.guard, "update")}
    whole_at = seen.whole_at if seen.whole_at is not None else float("inf")
    never = float("inf")
    hurt = [v for v in failed(seen.visits) if v.at > min(back.get(v.machine or "", never), whole_at)]
    if hurt:
        yield f"{len(hurt)} requests failed on restored machines: {_causes(hurt, seen)}"
    yield from (f"  {describe(visit, seen)}" for visit in hurt[:LISTED_MAX])


def played(seen: Seen, _: Figures) -> Iterator[str]:
    """This machine could play every user."""
    shed = sum(visit.error == "shed" for visit in seen.visits)
    if shed:
        yield f"{shed} users could not be played: this machine is too slow for the numbers to mean anything"


def _causes(visits: Sequence[Visit], seen: Seen) -> str:
    counts = Counter(cause(visit, seen.bad) for visit in visits)
    return ", ".join(f"{count} × {name}" for name, count in counts.most_common())
