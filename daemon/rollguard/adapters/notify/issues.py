"""What stands in the issues that the guard writes, and which of other people's issues are about the same."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any, TypeGuard
from urllib.parse import quote, unquote

from rollguard.adapters.http import excerpt
from rollguard.core.pages import Page

TITLE_CHARS_MAX = 200
BODY_CHARS_MAX = 60_000
FOLLOW_UP_LABEL = "post-mortem"

_KEY = re.compile(r"<!-- rollguard:([!-~]+) -->")

Json = dict[str, Any]


def key_marker(page: Page) -> str:
    """An invisible line: this issue is the one of the page's key."""
    return f"<!-- rollguard:{quote(page.key, safe='/:.-_')} -->"


def page_marker(page: Page) -> str:
    """An invisible line: this very page was said here."""
    parts = json.dumps([page.key, page.at, page.summary, page.resolve, page.kind])
    return f"<!-- rollguard-page:{hashlib.sha256(parts.encode()).hexdigest()[:32]} -->"


def key_of(issue: Json) -> str | None:
    """The key of the issue's problem, or None where no guard has to do with it."""
    found = _KEY.search(str(issue.get("body") or ""))
    return None if found is None else unquote(found[1])


def adoptable(issues: Sequence[Json], target: str) -> Json | None:
    """Of these issues the one that may be about ``target``: that speaks of it, or the only one that anybody opened."""
    strangers = [one for one in issues if key_of(one) is None and _has_room(one) and not _is_follow_up(one)]
    named = (one for one in strangers if target.lower() in f"{one.get('title')} {one.get('body')}".lower())
    return next(named, strangers[0] if len(strangers) == 1 else None)


def is_numbered(issue: Any) -> TypeGuard[Json]:
    """Whether this is an issue at all."""
    return isinstance(issue, dict) and isinstance(issue.get("number"), int) and not isinstance(issue["number"], bool)


def title_of(page: Page) -> str:
    """One line, which GitHub shows as it is."""
    return excerpt(page.summary, TITLE_CHARS_MAX) or f"{page.target}: rollguard"


def body_of(page: Page) -> str:
    """The page as Markdown. What the app or a person said stands in code blocks: no mention, link or heading in it."""
    lines = [key_marker(page), page_marker(page)]
    if page.due_at is not None:
        due = datetime.fromtimestamp(page.due_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
        lines += [f"**Due {due}**", ""]
    if page.text:
        lines += [page.text[:BODY_CHARS_MAX]]
    else:
        words = "\n".join([page.summary, "", *(f"{name}: {value}" for name, value in page.details)])
        lines += [fenced(words[:BODY_CHARS_MAX])]
    if page.link.startswith(("https://", "http://")) and not set(page.link) & set("<>()[]\\ \n"):
        lines += ["", f"[What to do]({page.link})"]
    return "\n".join(lines)


def fenced(words: str) -> str:
    """A code block that its content cannot end."""
    longest = max((len(run) for run in re.findall(r"`+", words)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{words}\n{fence}"


def _has_room(issue: Json) -> bool:
    return len(str(issue.get("body") or "")) < BODY_CHARS_MAX


def _is_follow_up(issue: Json) -> bool:
    labels = issue.get("labels")
    names = [one.get("name") if isinstance(one, dict) else one for one in labels] if isinstance(labels, list) else []
    return FOLLOW_UP_LABEL in names
