"""Was it well done? Judged by what the platform, the users and the pager saw, never by the guard's own word.

The guard's word cannot make a run succeed. In two places it can spoil one: only the guard knows what is "proven", and
whether the first machine had to prove anything.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from rollguard.demo.endings import Ending
from rollguard.demo.figures import Figures, measure
from rollguard.demo.seen import Seen


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruling:
    """``failures`` are sentences; ``ok`` is that there are none. ``outcome`` is the expected one where it came."""

    outcome: str
    ok: bool
    failures: tuple[str, ...]
    figures: Figures


def rule(seen: Seen, ending: Ending) -> Ruling:
    """Judge a run that must end so."""
    figures = measure(seen)
    against = tuple(sentence for check in ending.proof for sentence in check(seen, figures))
    also = tuple(sentence for check in ending.checks for sentence in check(seen, figures))
    outcome = described(seen) if against else ending.words
    return Ruling(outcome=outcome, ok=not against and not also, failures=(*against, *also), figures=figures)


def described(seen: Seen) -> str:
    """How a run ended that did not end as it must: what runs, and what the guard had to do with it."""
    mix = Counter(seen.names.get(machine["digest"], "an unknown image") for machine in seen.view["machines"])
    if len(mix) > 1:
        runs = "a mix: " + ", ".join(f"{count} on {name}" for name, count in sorted(mix.items()))
    else:
        runs = f"every machine on {next(iter(mix), 'nothing')}"
    updated = len(seen.by(seen.guard, "update"))
    did = f"the guard wrote to machines {updated} times" if updated else "the guard wrote to no machine"
    return f"{runs}; {did}"
