"""What the platform, the guard, the pager and the users show, as lines of the story. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from rollguard.demo.referee import Ruling
from rollguard.demo.seen import cause, failed, on_bad_image
from rollguard.demo.story import shortened
from rollguard.localfly.traffic import Visit

Line = tuple[str, str]  # who, what
Json = Mapping[str, Any]

USERS_EVERY_S = 5.0
PAGE_CHARS_MAX = 140


class FleetTeller:
    """Tells what changed between two views of the platform. ``names``: what each digest is called."""

    def __init__(self, names: Mapping[str, str], owners: Mapping[str, str]) -> None:
        self._names, self._owners = names, owners
        self._rows: dict[int, str] = {}
        self._serving: dict[str, str] = {}
        self._violations = 0

    def tell(self, view: Json) -> Iterator[Line]:
        """The news of this view against the one before."""
        yield from self._releases(view["releases"])
        yield from self._machines(view["machines"])
        for violation in view["floor_violations"][self._violations :]:
            what = f"{violation['remaining']} healthy machines left, floor {violation['floor']}"
            yield "wrong", f"{self._who(violation['owner'])} took down machine {violation['machine']}: {what}"
        self._violations = len(view["floor_violations"])

    def _releases(self, rows: Sequence[Json]) -> Iterator[Line]:
        for row in sorted(rows, key=lambda row: int(row["version"])):
            version, status = int(row["version"]), str(row["status"])
            before = self._rows.get(version)
            self._rows[version] = status
            if before is None and version > 1:
                yield "deploy", f"release v{version} begins: {self._who(row['user'])} rolls out {row['image_ref']}"
            elif status != before and status not in ("pending", "running") and version > 1:
                yield "deploy", f"release v{version} is {status}"

    def _machines(self, machines: Sequence[Json]) -> Iterator[Line]:
        for number, machine in enumerate(sorted(machines, key=lambda m: str(m["id"])), 1):
            before, digest = self._serving.get(machine["id"]), machine["digest"]
            if not machine["routable"] or digest == before:
                continue
            self._serving[machine["id"]] = digest
            if before is not None:
                mix = Counter(self._names.get(m["digest"], "?") for m in machines)
                shown = ", ".join(f"{count} on {name}" for name, count in sorted(mix.items()))
                name = self._names.get(digest, "?")
                yield "fleet", f"machine {number} of {len(machines)} now serves {name} ({shown})"

    def _who(self, owner: str) -> str:
        return self._owners.get(owner, owner)


class UsersTeller:
    """Tells every five seconds how users fared, and at once when it turns bad; ``rough``: the latter in sums only."""

    def __init__(self, bad: str | None, *, rough: bool = False) -> None:
        self._bad, self._rough = bad, rough
        self._fresh: list[Visit] = []
        self._since: float | None = None
        self._hurt = False

    def tell(self, visits: Sequence[Visit], now: float) -> Iterator[Line]:
        """News about these further visits at ``now`` (any clock that only grows)."""
        self._fresh += visits
        if self._since is None:
            self._since = now
        if not self._hurt and any(on_bad_image(visit, self._bad) for visit in visits):
            self._hurt = True
            yield "users", "the first user gets an error page from the new release"
        for visit in () if self._rough else failed(visits):
            if not on_bad_image(visit, self._bad):
                yield "wrong", f"GET {visit.path} failed: {cause(visit, self._bad)}, machine {visit.machine}"
        if now - self._since >= USERS_EVERY_S and self._fresh:
            yield "users", self._summary(now - self._since)
            self._fresh, self._since = [], now

    def _summary(self, span_s: float) -> str:
        wrong = failed(self._fresh)
        asked = f"{len(self._fresh)} requests in {span_s:.1f} s"
        if not wrong:
            return f"{asked}, none failed"
        causes = Counter(cause(visit, self._bad) for visit in wrong)
        why = ", ".join(f"{count} × {name}" for name, count in causes.most_common(3))
        return f"{asked}, {len(wrong)} failed ({len(wrong) / len(self._fresh):.0%}): {why}"


def of_page(page: Json) -> Line:
    """One event that the pager got."""
    if page["event_action"] != "trigger":
        return "page", f"PagerDuty: the incident is {page['event_action'].removesuffix('e')}ed"
    payload = page["payload"]
    summary = str(payload["summary"]).removeprefix(f"{payload['source']}: ")
    return "page", f"PagerDuty ({payload['severity']}): {shortened(summary, PAGE_CHARS_MAX)}"


def of_ruling(ruling: Ruling) -> Iterator[str]:
    """The verdict, and how long what took."""
    figures = ruling.figures
    if figures.to_first_write is not None and figures.to_decision is not None:
        since = "since v2 was out and bad"
        yield f"decided after {figures.to_decision:.1f} s, wrote after {figures.to_first_write:.1f} s {since}"
    if figures.to_recovered is not None:
        yield f"every user was well again after {figures.to_recovered:.1f} s"
    yield f"{ruling.outcome}: {'as it should be' if ruling.ok else 'NOT as it should be'}"


def of_guard(entry: Json) -> Line | None:
    """One line of the guard's log, where it is part of the story. What it does to machines, the platform tells."""
    tells = _GUARD.get(str(entry.get("event")))
    if tells is None or not tells(entry):
        return None
    return "guard", str(entry.get("message", ""))


_GUARD: dict[str, Callable[[Json], bool]] = {
    "GuardStarted": lambda e: True,
    "ClockJumped": lambda e: True,
    "Proven": lambda e: True,
    "DeployBegan": lambda e: True,
    "DeployEnded": lambda e: True,
    "RuleChanged": lambda e: e.get("after") in ("firing", "blind"),
    "Decided": lambda e: True,
    "StepFailed": lambda e: True,
    "GoalEnded": lambda e: True,
    "Verified": lambda e: True,
    "IncidentClosed": lambda e: True,
    "PageFailed": lambda e: True,
    "TickFailed": lambda e: True,
    "log": lambda e: e.get("level") in ("warning", "error", "critical"),
}
