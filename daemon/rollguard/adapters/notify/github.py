"""Issues in a GitHub repository: one per problem, commented while it lasts, closed when it is over."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from rollguard.adapters import github
from rollguard.adapters.http import excerpt
from rollguard.adapters.notify.answers import must_be_taken, secret_of
from rollguard.adapters.notify.issues import (
    FOLLOW_UP_LABEL,
    Json,
    adoptable,
    body_of,
    is_numbered,
    key_marker,
    key_of,
    page_marker,
    title_of,
)
from rollguard.core.channels import GitHubIssue
from rollguard.core.pages import Kind, Page, Severity
from rollguard.errors import Unavailable
from rollguard.ports import HttpAnswer, Transport

KINDS = frozenset({Kind.ALERT, Kind.ACKNOWLEDGE, Kind.FOLLOW_UP})
URGENT = frozenset({Severity.CRITICAL, Severity.ERROR})
"""What is wrong with the app, and so may be what somebody else has opened an issue about."""
PAGES_MAX = 3
PER_PAGE = 100
BYTES_MAX = 16 << 20
"""Of one answer: a hundred issues as long as they may be."""
CLOCKS_APART_S = 3600.0
GONE = (404, 410)


class GitHubNotifier:
    """``ports.Notifier`` of one repository. ``thread`` is the number of the issue that this key began or adopted.

    Whatever is written carries an invisible line, and is looked for before it is written: a crash makes no second one.
    """

    def __init__(self, name: str, settings: GitHubIssue, transport: Transport, environ: Mapping[str, str]) -> None:
        self.name = name
        self.kinds = KINDS
        self._settings, self._transport, self._environ = settings, transport, environ

    async def send(self, page: Page, thread: str = "") -> str:
        """See ``ports.Notifier``."""
        if page.kind is Kind.FOLLOW_UP:
            return thread or await self._follow_up(page)
        if thread and await self._tell(page, thread):
            return thread
        opened = await self._open_issues(self._settings.labels)
        issue = next((one for one in opened if key_of(one) == page.key), None)
        if issue is None and (page.resolve or page.kind is Kind.ACKNOWLEDGE):
            return ""  # there is no issue of this: nothing to say it in
        if issue is None and (theirs := self._adoptable(page, opened)) and await self._adopt(page, theirs):
            issue = theirs
        if issue is not None:
            number = str(issue["number"])
            is_said = page_marker(page) in str(issue.get("body"))
            if is_said or await self._tell(page, number):
                return number
        return await self._create(page, self._settings.labels)

    async def _follow_up(self, page: Page) -> str:
        for one in await self._open_issues((FOLLOW_UP_LABEL,)):
            if key_of(one) == page.key:
                return str(one["number"])
        return await self._create(page, (*self._settings.labels, FOLLOW_UP_LABEL))

    async def _tell(self, page: Page, number: str) -> bool:
        """Comment on the issue, once, and close it where it is over. False: it is not there any more."""
        since = datetime.fromtimestamp(max(page.at - CLOCKS_APART_S, 0.0), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        query = urlencode({"since": since, "per_page": PER_PAGE})
        answer = await self._call("GET", f"/{number}/comments?{query}", None, (200, *GONE))
        if answer.status in GONE:
            return False
        comments = self._list_in(answer)
        if not any(page_marker(page) in str(one.get("body")) for one in comments if isinstance(one, dict)):
            answer = await self._call("POST", f"/{number}/comments", {"body": body_of(page)}, (201, *GONE))
            if answer.status in GONE:
                return False
        if page.resolve:
            await self._call("PATCH", f"/{number}", {"state": "closed", "state_reason": "completed"}, (200, *GONE))
        return True

    def _adoptable(self, page: Page, opened: Sequence[Json]) -> Json | None:
        """The issue that somebody else, such as the team's monitoring, has opened about the same problem."""
        return adoptable(opened, page.target) if self._settings.labels and page.severity in URGENT else None

    async def _adopt(self, page: Page, issue: Json) -> bool:
        """Write into the issue, invisibly, which key it is of now. False: it is not there any more."""
        body = f"{issue.get('body') or ''}\n\n{key_marker(page)}".lstrip()
        answer = await self._call("PATCH", f"/{issue['number']}", {"body": body}, (200, *GONE))
        return answer.status not in GONE

    async def _create(self, page: Page, labels: Sequence[str]) -> str:
        wanted = {"title": title_of(page), "body": body_of(page), "labels": list(labels)}
        issue = self._json(await self._call("POST", "", wanted, (201,)))
        return str(issue["number"]) if is_numbered(issue) else ""

    async def _open_issues(self, labels: Sequence[str]) -> list[Json]:
        """The open issues with these labels, newest first; pull requests are issues too, for GitHub, but not for us."""
        issues: list[Json] = []
        for page in range(1, PAGES_MAX + 1):
            query = {"state": "open", "labels": ",".join(labels), "per_page": PER_PAGE, "page": page}
            listed = self._list_in(await self._call("GET", f"?{urlencode(query)}", None, (200,)))
            issues += [one for one in listed if is_numbered(one) and "pull_request" not in one]
            if len(listed) < PER_PAGE:
                break
        return issues

    async def _call(self, method: str, path: str, body: Json | None, taken: Sequence[int]) -> HttpAnswer:
        answer = await github.request(
            self._transport,
            method,
            self._settings.url,
            self._settings.repo,
            f"/issues{path}",
            secret_of(self._settings.token, self._environ),
            body,
            BYTES_MAX,
        )
        if answer.status not in taken:
            self._complain(answer)
            must_be_taken(answer, self.name, taken)
        return answer

    def _complain(self, answer: HttpAnswer) -> None:
        """Raise ``Unavailable`` for what time or a person mends: limits, a wrong token, a repository it may not see."""
        if answer.status not in {401, 403, 404, 429}:
            return
        said = excerpt(answer.body[:1000].decode(errors="replace"), 200)
        advice = " (is there such a repository, and may the token see its issues?)" if answer.status == 404 else ""
        raise Unavailable(f"HTTP {answer.status}: {self.name}: {said}{advice}", retry_after_s=github.wait_of(answer))

    def _json(self, answer: HttpAnswer) -> Any:
        try:
            return json.loads(answer.body)
        except (ValueError, RecursionError):
            raise Unavailable(f"{self.name} did not answer with JSON") from None

    def _list_in(self, answer: HttpAnswer) -> list[Any]:
        listed = self._json(answer)
        if not isinstance(listed, list):
            raise Unavailable(f"{self.name} did not answer with a list")
        return listed
