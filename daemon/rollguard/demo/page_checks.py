"""What may be asked of the pages that people got. Each check gives the sentences that are against it."""

from __future__ import annotations

from collections.abc import Iterator

from rollguard.demo.checks import Check
from rollguard.demo.figures import Figures
from rollguard.demo.seen import Seen


def one_incident(seen: Seen, _: Figures) -> Iterator[str]:
    """All that PagerDuty heard belongs together."""
    keys = {page["dedup_key"] for page in seen.pages}
    if len(keys) != 1:
        yield f"PagerDuty has {len(keys)} incidents, not 1"


def closed(seen: Seen, _: Figures) -> Iterator[str]:
    """Every incident is resolved."""
    yield from (f"the incident {key} is still open" for key, action in sorted(_ends(seen)) if action != "resolve")


def stays_open(seen: Seen, _: Figures) -> Iterator[str]:
    """No incident is resolved: somebody has to look."""
    yield from (f"the incident {key} was resolved" for key, action in sorted(_ends(seen)) if action == "resolve")


def _ends(seen: Seen) -> set[tuple[str, str]]:
    return set({page["dedup_key"]: page["event_action"] for page in seen.pages}.items())


def no_page(seen: Seen, _: Figures) -> Iterator[str]:
    """Nobody was woken."""
    if seen.pages:
        yield f"somebody was woken {len(seen.pages)} times for a release that is fine"


def says(words: str) -> Check:
    """A page has these words."""

    def check(seen: Seen, _: Figures) -> Iterator[str]:
        if not seen.saying(words):
            yield f"no page says {words!r}"

    return check


def never_says(words: str) -> Check:
    """No page has these words."""

    def check(seen: Seen, _: Figures) -> Iterator[str]:
        if seen.saying(words):
            yield f"a page says {words!r}"

    return check


def names_the_sick_machine(seen: Seen, _: Figures) -> Iterator[str]:
    """A page names the one machine that fails, and says that it is not the release."""
    if not seen.saying(f"machine {seen.sick}, not the release"):
        yield f"no page says 'machine {seen.sick}, not the release'"


def blind_before_the_fault(seen: Seen, _: Figures) -> Iterator[str]:
    """The guard said that it was blind before there was anything to see."""
    if not any(page["at"] < (seen.fault_at or 0.0) for page in seen.saying("blind on")):
        yield "no page said that the guard was blind before the second fault"
