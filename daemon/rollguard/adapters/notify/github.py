"""Issues in a GitHub repository: one per problem, commented while it lasts, closed when it is over."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, unquote, urlencode

from rollguard.adapters.http import excerpt
from rollguard.adapters.notify.answers import must_be_taken, secret_of
from rollguard.core.channels import GitHubIssue
from rollguard.core.pages import Kind, Page
from rollguard.errors import Unavailable
from rollguard.ports import HttpAnswer, Transport

KINDS = frozenset({Kind.ALERT, Kind.ACKNOWLEDGE, Kind.FOLLOW_UP})
API_VERSION = "2022-11-28"
TIMEOUT_S = 10.0
PAGES_MAX = 3
PER_PAGE = 100
TITLE_CHARS_MAX = 200
BODY_CHARS_MAX = 60_000
FOLLOW_UP_LABEL = "post-mortem"
BYTES_MAX = 4 << 20
_MARKER = re.compile(r"<!-- rollguard:([^ ]+) ([0-9a-f]{16}) -->")

Json = dict[str, Any]


class GitHubNotifier:
    """``ports.Notifier`` of one repository. ``thread`` is the number of the issue that this key began or adopted."""

    def __init__(self, name: str, settings: GitHubIssue, transport: Transport, environ: Mapping[str, str]) -> None:
        self.name = name
        self.kinds = KINDS
        self._settings, self._transport, self._environ = settings, transport, environ

    async def send(self, page: Page, thread: str = "") -> str:
        """See ``ports.Notifier``. An issue is looked for before it is made: a crash must not make two of them."""
        if page.kind is Kind.FOLLOW_UP:
            return thread or await self._follow_up(page)
        if thread and await self._tell(page, thread):
            return thread
        known = None if thread else await self._find(page)
        if known is not None:
            number = str(known["number"])
            if marker(page) not in str(known.get("body")):
                await self._tell(page, number)
            elif page.resolve:
                await self._close(number)
            return number
        if page.resolve or page.kind is Kind.ACKNOWLEDGE:
            return ""  # there is no issue of this: nothing to say it in
        return await self._create(page.summary, body_of(page), self._settings.labels)

    async def _tell(self, page: Page, number: str) -> bool:
        """Comment on the issue, and close it where it is over. False: it is not there any more."""
        answer = await self._call("POST", f"/{number}/comments", {"body": body_of(page)}, (201, 404, 410))
        if answer.status != HTTPStatus.CREATED:
            return False
        if page.resolve:
            await self._close(number)
        return True

    async def _close(self, number: str) -> None:
        await self._call("PATCH", f"/{number}", {"state": "closed", "state_reason": "completed"}, (200, 404, 410))

    async def _find(self, page: Page) -> Json | None:
        """The open issue of this key; else one with our labels that no guard wrote, such as the team's own monitoring
        opens: one problem has one issue.
        """
        found = await self._open_issues(self._settings.labels)
        mine = next((one for one in found if key_of(one) == page.key), None)
        return mine or (next((one for one in found if key_of(one) is None), None) if self._settings.labels else None)

    async def _follow_up(self, page: Page) -> str:
        labels = (*self._settings.labels, FOLLOW_UP_LABEL)
        for one in await self._open_issues((FOLLOW_UP_LABEL,)):
            if key_of(one) == page.key:
                return str(one["number"])
        return await self._create(page.summary, body_of(page), labels)

    async def _create(self, summary: str, body: str, labels: Sequence[str]) -> str:
        wanted = {"title": excerpt(summary, TITLE_CHARS_MAX), "body": body, "labels": list(labels)}
        answer = await self._call("POST", "", wanted, (201,))
        return str(_number(_json(answer, self.name), self.name))

    async def _open_issues(self, labels: Sequence[str]) -> list[Json]:
        """The open issues with these labels, newest first; pull requests are issues too, for GitHub, but not for us."""
        issues: list[Json] = []
        for page in range(1, PAGES_MAX + 1):
            query = {"state": "open", "labels": ",".join(labels), "per_page": PER_PAGE, "page": page}
            listed = _json(await self._call("GET", f"?{urlencode(query)}", None, (200,)), self.name)
            if not isinstance(listed, list):
                raise Unavailable(f"{self.name} did not answer with a list of issues")
            issues += [one for one in listed if isinstance(one, dict) and "pull_request" not in one and _numbered(one)]
            if len(listed) < PER_PAGE:
                break
        return issues

    async def _call(self, method: str, path: str, body: Json | None, taken: Sequence[int]) -> HttpAnswer:
        repo = "/".join(quote(part, safe="") for part in self._settings.repo.split("/"))
        token = secret_of(self._settings.token, self._environ)
        answer = await self._transport.request(
            method,
            f"{self._settings.url.rstrip('/')}/repos/{repo}/issues{path}",
            headers={
                "Accept": "application/vnd.github+json",
                "X-GitHub-Api-Version": API_VERSION,
                "Authorization": f"Bearer {token}",
                "Content-Type": "application/json",
            },
            body=None if body is None else json.dumps(body).encode(),
            timeout_s=TIMEOUT_S,
            max_bytes=BYTES_MAX,
        )
        _must_be_mendable(answer, self.name)
        must_be_taken(answer, self.name, taken)
        return answer


def _must_be_mendable(answer: HttpAnswer, name: str) -> None:
    """A token that is wrong, or used up for this hour, is something that a person or time mends: the message waits.

    Raises ``Unavailable``.
    """
    if answer.status not in {401, 403}:
        return
    wait_s = None
    if answer.headers.get("x-ratelimit-remaining") == "0" or b"secondary rate limit" in answer.body:
        asked = answer.headers.get("retry-after", "")
        wait_s = float(asked) if asked.isascii() and asked.isdigit() else 60.0
    said = excerpt(answer.body[:500].decode(errors="replace"), 200)
    raise Unavailable(f"HTTP {answer.status}: {name}: {said}", retry_after_s=wait_s)


def marker(page: Page) -> str:
    """An invisible line by which the guard knows its own: the page's key, and this very page."""
    parts = json.dumps([page.key, page.at, page.summary, page.resolve, page.kind])
    return f"<!-- rollguard:{quote(page.key, safe='/:.-_')} {hashlib.sha256(parts.encode()).hexdigest()[:16]} -->"


def key_of(issue: Json) -> str | None:
    """The key that the guard wrote into an issue, or None where it did not write it."""
    found = _MARKER.search(str(issue.get("body") or ""))
    return None if found is None else unquote(found[1])


def body_of(page: Page) -> str:
    """The page as Markdown. What the app or a person said stands in code blocks: no mention, link or heading in it."""
    lines = [marker(page)]
    if page.due_at is not None:
        due = datetime.fromtimestamp(page.due_at, UTC).strftime("%Y-%m-%d %H:%M UTC")
        lines += [f"**Due {due}**", ""]
    if page.text:
        lines += [page.text]
    else:
        lines += [fenced("\n".join([page.summary, "", *(f"{name}: {text}" for name, text in page.details)]))]
    if page.link.startswith(("https://", "http://")) and not set(page.link) & set("<>()[] \n"):
        lines += ["", f"[What to do]({page.link})"]
    return "\n".join(lines)[:BODY_CHARS_MAX]


def fenced(words: str) -> str:
    """A code block that its content cannot end."""
    longest = max((len(run) for run in re.findall(r"`+", words)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}text\n{words}\n{fence}"


def _json(answer: HttpAnswer, name: str) -> Any:
    try:
        return json.loads(answer.body)
    except (ValueError, RecursionError):
        raise Unavailable(f"{name} did not answer with JSON") from None


def _number(issue: Any, name: str) -> int:
    if not isinstance(issue, dict) or not _numbered(issue):
        raise Unavailable(f"{name} answered without the number of the issue")
    number: int = issue["number"]
    return number


def _numbered(issue: Json) -> bool:
    return isinstance(issue.get("number"), int) and not isinstance(issue["number"], bool)
