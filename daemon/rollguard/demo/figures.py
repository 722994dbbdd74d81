"""How long what took, in seconds; what does not exist is None.

``to_first_bad_response``  from the deploy's first write to the first 5xx that a user got from the bad image
``to_decision``            from zero to the guard's decision, as its journal dates it, 0 where it came before: a figure
                           for people, on which no verdict rests
``to_first_write``         from zero to the guard's first write that the platform carried out; a decision cannot be
                           later than its first write, so the time limits are held against this one
``to_recovered``           from zero until the platform has shown every machine routable on the image that must run
                           *and* no user got a bad answer any more, whichever is later

Zero is the latest of the first 5xx from the bad image, the deploy's last write and, where the release was not bad
from its birth, the instant at which it was made bad.
"""

from __future__ import annotations

from dataclasses import dataclass

from rollguard.demo.seen import Seen, ended_at, on_bad_image


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """The seconds of the summary; see the module."""

    to_first_bad_response: float | None = None
    to_decision: float | None = None
    to_first_write: float | None = None
    to_recovered: float | None = None


def measure(seen: Seen) -> Figures:
    """The figures of a run."""
    deploy = seen.by(seen.deployer)
    hurt = [ended_at(visit) for visit in seen.visits if on_bad_image(visit, seen.bad)]
    began = ([min(hurt)] if hurt else []) + ([seen.fault_at] if seen.fault_at is not None else [])
    if not deploy or not began:
        return Figures()
    zero_at = max(deploy[-1]["at"], *began)
    recovered = seen.whole_at is not None and seen.first_write_at is not None
    return Figures(
        to_first_bad_response=_span(deploy[0]["at"], min(hurt)) if hurt else None,
        to_decision=_span(zero_at, max(zero_at, seen.decided_at)) if seen.decided_at is not None else None,
        to_first_write=_span(zero_at, seen.first_write_at),
        to_recovered=_span(zero_at, max([seen.whole_at or 0.0, *hurt])) if recovered else None,
    )


def in_time(figures: Figures, limit_s: float | None) -> bool:
    """Whether the first write came within the limit."""
    return figures.to_first_write is not None and (limit_s is None or figures.to_first_write <= limit_s)


def _span(since: float, until: float | None) -> float | None:
    return None if until is None else round(until - since, 2)
