"""What was seen of a run of the demo, and what it says about single requests, pages and writes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rollguard.localfly.traffic import Visit


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """What was seen of one run. Times are epoch seconds.

    ``view`` is the platform's last word and ``events`` its ledger, oldest first (``/local/v1/apps/APP/watch``).
    ``good`` is the digest that must run at the end, ``bad`` the one whose code fails users; None where nothing is bad.
    They are the same where a bad release must be left to people. ``names`` are what digests are called.
    ``limit_s`` bounds the reaction. ``pages`` are what PagerDuty got. ``late`` are the waits that were given up.
    ``decided_at``, ``proven`` and ``judged_first`` (a machine had to prove itself first) are the guard's word.
    ``fault_at`` is when it was made bad, if not by its image; ``sick`` the machine that was; ``yes_at`` when a
    person approved.
    """

    guard: str
    deployer: str
    person: str = ""
    good: str
    bad: str | None
    names: Mapping[str, str] = field(default_factory=dict)
    view: Mapping[str, Any]
    events: Sequence[Mapping[str, Any]]
    visits: Sequence[Visit]
    pages: Sequence[Mapping[str, Any]]
    limit_s: float | None = None
    whole_at: float | None = None
    decided_at: float | None = None
    fault_at: float | None = None
    yes_at: float | None = None
    sick: str | None = None
    proven: bool = False
    judged_first: bool = False
    late: tuple[str, ...] = ()

    @property
    def writes(self) -> Mapping[str, int]:
        """The guard's writes by kind, as they arrived."""
        return dict(self.view["writes"].get(self.guard, {}))

    @property
    def first_write_at(self) -> float | None:
        """The guard's first write that was carried out."""
        at: float | None = self.view["first_write_at"].get(self.guard)
        return at

    @property
    def machines(self) -> list[str]:
        """The app's machines."""
        return [str(machine["id"]) for machine in self.view["machines"]]

    def by(self, owner: str, kind: str = "") -> list[Mapping[str, Any]]:
        """What an owner did, oldest first; all of it or of one kind. What was refused did not happen."""
        return [e for e in self.events if e["owner"] == owner and e["kind"] == (kind or e["kind"]) and _done(e)]

    def rows(self, owner: str) -> list[Mapping[str, Any]]:
        """The release rows that an owner made."""
        return [row for row in self.view["releases"] if row["user"] == owner]

    def saying(self, words: str) -> list[Mapping[str, Any]]:
        """The pages in whose text these words are."""
        return [page for page in self.pages if words in text_of(page)]


def text_of(page: Mapping[str, Any]) -> str:
    """All that a person reads of a page; a resolve and an acknowledgement have no words."""
    payload = page.get("payload") or {}
    return "\n".join([str(payload.get("summary", "")), *map(str, (payload.get("custom_details") or {}).values())])


def failed(visits: Sequence[Visit]) -> list[Visit]:
    """The requests that did not get what they asked for."""
    return [visit for visit in visits if not visit.ok]


def ended_at(visit: Visit) -> float:
    """When the user had the answer, or gave up."""
    return visit.at + visit.latency_s


def on_bad_image(visit: Visit, bad: str | None) -> bool:
    """Whether this is a 5xx in a body that the bad image served: its code ran, and failed by itself."""
    return not visit.ok and visit.error is None and visit.image is not None and visit.image == bad


def cause(visit: Visit, bad: str | None) -> str:
    """Why a request failed, in words."""
    match visit.error:
        case None:
            whose = "the bad image" if on_bad_image(visit, bad) else "another image"
            return f"{visit.status} in a body served by {whose}"
        case "connection":
            return "connection error"
        case str(error) if error.startswith("proxy:"):
            return f"{visit.status} made by the proxy ({error.removeprefix('proxy:')})"
        case error:
            return {"timeout": "no answer in time", "shed": "never sent"}.get(error, error)


def describe(visit: Visit, seen: Seen) -> str:
    """One failed request in a line."""
    since = seen.first_write_at
    when = f"{ended_at(visit) - since:+.1f} s after the first write, " if since is not None else ""
    return f"{when}GET {visit.path}: {cause(visit, seen.bad)}, machine {visit.machine or 'unknown'}"


def p95_s(visits: Sequence[Visit], image: str | None) -> float | None:
    """How long users waited for this image, but for the slowest twentieth; None below 100 answers."""
    waits = sorted(visit.latency_s for visit in visits if visit.image == image)
    return waits[int(0.95 * len(waits))] if len(waits) >= 100 else None


def _done(event: Mapping[str, Any]) -> bool:
    return not str(event["kind"]).endswith(" refused") and event["kind"] != "floor violation"
