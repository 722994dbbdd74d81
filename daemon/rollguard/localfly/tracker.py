"""Issues of repositories, as GitHub keeps and shows them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

LOGIN = "rollguard[bot]"


@dataclass(frozen=True, slots=True)
class Comment:
    """One comment."""

    id: int
    at: float
    body: str


@dataclass(slots=True, kw_only=True)
class Issue:
    """One issue. Times are epoch seconds."""

    repo: str  # owner/name
    number: int
    created_at: float
    updated_at: float
    title: str
    body: str | None = None
    labels: Sequence[str] = ()
    state: str = "open"
    state_reason: str | None = None
    closed_at: float | None = None
    comments: list[Comment] = field(default_factory=list)

    def change(self, at: float, changes: Mapping[str, Any]) -> None:
        """Set what is named: title, body, labels, state, state_reason."""
        self.updated_at = at
        closes = changes.get("state", self.state)
        if closes != self.state:
            self.closed_at = at if closes == "closed" else None
            self.state_reason = "completed" if closes == "closed" else "reopened"
        for name, value in changes.items():
            setattr(self, name, value)

    def to_json(self, base: str) -> dict[str, Any]:
        """As GitHub's REST interface shows it; ``base`` is the interface's URL."""
        url = f"{base}/repos/{self.repo}/issues/{self.number}"
        return {
            "id": 1_000_000 + self.number,
            "node_id": f"I_local{self.number}",
            "url": url,
            "repository_url": f"{base}/repos/{self.repo}",
            "labels_url": url + "/labels{/name}",
            "comments_url": f"{url}/comments",
            "events_url": f"{url}/events",
            "html_url": f"{base}/{self.repo}/issues/{self.number}",
            "number": self.number,
            "title": self.title,
            "body": self.body,
            "state": self.state,
            "state_reason": self.state_reason,
            "user": _user(base),
            "labels": [_label(base, self.repo, name) for name in self.labels],
            "assignee": None,
            "assignees": [],
            "milestone": None,
            "locked": False,
            "active_lock_reason": None,
            "comments": len(self.comments),
            "author_association": "NONE",
            "created_at": _stamp(self.created_at),
            "updated_at": _stamp(self.updated_at),
            "closed_at": None if self.closed_at is None else _stamp(self.closed_at),
        }

    def comment_json(self, base: str, comment: Comment) -> dict[str, Any]:
        """A comment as GitHub's REST interface shows it."""
        issue = f"{base}/repos/{self.repo}/issues/{self.number}"
        return {
            "id": comment.id,
            "node_id": f"IC_local{comment.id}",
            "url": f"{base}/repos/{self.repo}/issues/comments/{comment.id}",
            "html_url": f"{base}/{self.repo}/issues/{self.number}#issuecomment-{comment.id}",
            "issue_url": issue,
            "body": comment.body,
            "user": _user(base),
            "author_association": "NONE",
            "created_at": _stamp(comment.at),
            "updated_at": _stamp(comment.at),
        }


class Tracker:
    """All issues. Every change is told its time, so that a history can be lived again."""

    def __init__(self) -> None:
        self._issues: dict[str, dict[int, Issue]] = defaultdict(dict)
        self._comments = 0

    def create(self, repo: str, at: float, fields: Mapping[str, Any]) -> Issue:
        """A new open issue with the next number of its repository."""
        number = self.next_number(repo)
        issue = Issue(repo=repo, number=number, created_at=at, updated_at=at, **fields)
        self._issues[repo][number] = issue
        return issue

    def next_number(self, repo: str) -> int:
        """The number of the next issue there."""
        return len(self._issues[repo]) + 1

    def comment(self, issue: Issue, at: float, body: str) -> Comment:
        """One more comment."""
        self._comments += 1
        comment = Comment(self._comments, at, body)
        issue.comments.append(comment)
        issue.updated_at = at
        return comment

    def find(self, repo: str, number: int) -> Issue | None:
        """The issue of that number, or None."""
        return self._issues[repo].get(number)

    def listed(self, repo: str, state: str, labels: frozenset[str], sort: str, direction: str) -> list[Issue]:
        """The issues in a state ("all" is any) that have all those labels; by default the newest comes first."""
        keys = {"created": lambda i: i.number, "updated": lambda i: i.updated_at, "comments": lambda i: len(i.comments)}
        found = [
            issue
            for issue in self._issues[repo].values()
            if state in ("all", issue.state) and labels <= {name.lower() for name in issue.labels}
        ]
        return sorted(found, key=keys.get(sort, keys["created"]), reverse=direction != "asc")


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _label(base: str, repo: str, name: str) -> dict[str, Any]:
    url = f"{base}/repos/{repo}/labels/{name}"
    named = {"id": 1, "node_id": f"LA_{name}", "url": url, "name": name}
    return {**named, "description": None, "color": "ededed", "default": False}


def _user(base: str) -> dict[str, Any]:
    url = f"{base}/users/{LOGIN}"
    parts = ("followers", "subscriptions", "organizations", "repos", "received_events")
    links: dict[str, Any] = {f"{part}_url": f"{url}/{part}" for part in parts}
    links |= {f"{part}_url": f"{url}/{part}{{/x}}" for part in ("following", "gists", "starred", "events")}
    named = {"login": LOGIN, "id": 1, "node_id": "BOT_local", "avatar_url": f"{url}/avatar", "gravatar_id": ""}
    return {**named, "url": url, "html_url": url, **links, "type": "Bot", "site_admin": False}
