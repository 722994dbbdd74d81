"""Runs of a GitHub workflow: as they are listed, and which of them an order began."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rollguard.adapters.http import excerpt
from rollguard.core.order import Order, Work

WAITING: Mapping[str, str] = {
    "queued": "it waits for a runner",
    "waiting": "it waits for an approval in GitHub",
    "pending": "it waits for another run",
    "requested": "it was requested",
    "in_progress": "",
}
SHOWS_S = 300.0
"""A run that was made later than this after the order is somebody else's, unless it names the order."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run. ``title`` is what its ``run-name`` makes of the inputs; ``created_at`` by GitHub's clock."""

    id: int
    title: str
    created_at: float
    status: str
    conclusion: str
    link: str
    branch: str = ""
    event: str = ""

    @property
    def work(self) -> Work:
        if self.status != "completed":
            return Work.RUNNING
        return Work.SUCCEEDED if self.conclusion == "success" else Work.FAILED

    @property
    def sentence(self) -> str:
        if self.status == "completed":
            return f"the run's conclusion is {excerpt(self.conclusion, 40) or 'missing'}"
        return WAITING.get(self.status, f"the run is {excerpt(self.status, 40)}")


def run_of(found: Any) -> Run | None:
    """A run as GitHub describes it, or None for anything else."""
    if not isinstance(found, dict):
        return None
    number, created = found.get("id"), found.get("created_at")
    if not isinstance(number, int) or isinstance(number, bool) or not isinstance(created, str):
        return None
    try:
        at = datetime.fromisoformat(created).timestamp()
    except (ValueError, OverflowError):
        return None
    return Run(
        id=number,
        title=str(found.get("display_title") or ""),
        created_at=at,
        status=str(found.get("status") or ""),
        conclusion=str(found.get("conclusion") or ""),
        link=link_of(found.get("html_url")),
        branch=str(found.get("head_branch") or ""),
        event=str(found.get("event") or ""),
    )


def link_of(found: Any) -> str:
    """An address that people may be sent to, or nothing."""
    is_link = isinstance(found, str) and found.startswith(("https://", "http://"))
    return excerpt(found, 300) if is_link else ""


def begun_by(order: Order, runs: Sequence[Run], since: float, ref: str) -> Run | None:
    """The run that names the order; else the only one dispatched on ``ref`` soon after ``since`` that names no other.

    None where there is none, or more than one: then it cannot be told.
    """
    named = [run for run in runs if _names(run, order.id)]
    alike = [run for run in runs if _could_be(run, ref) and "rollguard " not in run.title]
    soon = [run for run in alike if since <= run.created_at <= since + SHOWS_S]
    found = named or soon
    return found[0] if len(found) == 1 else None


def _could_be(run: Run, ref: str) -> bool:
    """Whether nothing that is said of the run speaks against it."""
    name = ref.removeprefix("refs/heads/").removeprefix("refs/tags/")
    return run.branch in {"", name} and run.event in {"", "workflow_dispatch"}


def _names(run: Run, order: str) -> bool:
    """Whole, not as the beginning of another order's."""
    return order in run.title.replace(":", " ").replace(",", " ").split()
