"""A stand-in for GitHub's issues: ``python -m rollguard.localfly.hub --out FILE.jsonl --port 0``.

List (labels, state, pages), create, read, comment, change, as GitHub's REST interface does it; known tokens only
(``--token``). Every change is written down as a JSON line: ``did`` ("create", "comment" or "update"), ``repo``,
``number`` and what was sent. Faults are scripted as ``fault_script`` says.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from rollguard.localfly import stand_in
from rollguard.localfly.http1 import Request, Response
from rollguard.localfly.stand_in import Notebook, bearer, said
from rollguard.localfly.tracker import Issue, Tracker

TOKEN = "ghp_local"  # noqa: S105  (no secret: the stand-in's own)
VERSIONS = (None, "2022-11-28", "2026-03-10")
ISSUES = re.compile(r"/repos/(?P<repo>[\w.-]+/[\w.-]+)/issues(?:/(?P<number>\d{1,9}))?(?P<comments>/comments)?")
BODY_CHARS_MAX, TITLE_CHARS_MAX = 65_536, 256
PER_PAGE, PER_PAGE_MAX = 30, 100
STATES = ("open", "closed")
REASONS = (None, "completed", "not_planned", "duplicate", "reopened")


class HubError(Exception):
    """A refusal: an HTTP status, GitHub's message, and its list of errors."""

    def __init__(self, status: int, message: str, *errors: Mapping[str, str]) -> None:
        super().__init__(message)
        self.status, self.errors = status, errors

    def response(self) -> Response:
        """As it goes over the wire."""
        errors = {"errors": list(self.errors)} if self.errors else {}
        docs = {"documentation_url": "https://docs.github.com/rest"}
        return said(self.status, {"message": str(self), **errors, **docs, "status": str(self.status)})


class Hub:
    """Issues of any repository, or only of those that are named."""

    def __init__(self, notebook: Notebook, *, tokens: Sequence[str] = (TOKEN,), repos: Sequence[str] = ()) -> None:
        self._notebook, self._tokens, self._repos = notebook, frozenset(tokens), frozenset(repos)
        self._tracker = Tracker()
        for entry in notebook.past:
            self._live(entry)

    async def answer(self, request: Request) -> Response:
        """What GitHub would answer. Never fails."""
        try:
            self._admit(request)
            return self._route(request)
        except HubError as error:
            return error.response()

    def _admit(self, request: Request) -> None:
        if not request.header("user-agent"):
            raise HubError(403, "Request forbidden by administrative rules. Please set a User-Agent header")
        if bearer(request) not in self._tokens:
            raise HubError(401, "Bad credentials")
        if (version := request.header("x-github-api-version")) not in VERSIONS:
            raise HubError(400, f"{version!r} is not a supported API version")

    def _route(self, request: Request) -> Response:
        path = ISSUES.fullmatch(request.path)
        if path is None or (self._repos and path["repo"] not in self._repos):
            raise HubError(404, "Not Found")
        repo, base = path["repo"], f"http://{request.header('host') or 'localhost'}"
        if path["number"] is None:
            collection: dict[str, Callable[[], Response]] = {
                "GET": lambda: self._list(repo, base, request),
                "POST": lambda: self._create(repo, base, request),
            }
            return _one_of({} if path["comments"] else collection, request.method)
        issue = self._tracker.find(repo, int(path["number"]))
        if issue is None:
            raise HubError(404, "Not Found")
        if path["comments"]:
            shown = [issue.comment_json(base, comment) for comment in issue.comments]
            comments = {"GET": lambda: _page(shown, request, base), "POST": lambda: self._comment(issue, base, request)}
            return _one_of(comments, request.method)
        single = {"GET": lambda: said(200, issue.to_json(base)), "PATCH": lambda: self._change(issue, base, request)}
        return _one_of(single, request.method)

    def _list(self, repo: str, base: str, request: Request) -> Response:
        asked = dict(request.query)
        labels = frozenset(name.strip().lower() for name in asked.get("labels", "").split(",") if name.strip())
        state, sort, direction = (
            asked.get("state", "open"),
            asked.get("sort", "created"),
            asked.get("direction", "desc"),
        )
        if state not in (*STATES, "all"):
            raise invalid("state")
        found = self._tracker.listed(repo, state, labels, sort, direction)
        return _page([issue.to_json(base) for issue in found], request, base)

    def _create(self, repo: str, base: str, request: Request) -> Response:
        fields = fields_of(request)
        if not fields.get("title"):
            raise invalid("title", "missing_field")
        wanted: dict[str, Any] = {name: fields[name] for name in ("title", "body", "labels") if name in fields}
        entry = {"did": "create", "repo": repo, "number": self._tracker.next_number(repo), **wanted}
        issue = self._live(self._notebook.write(entry))
        return said(201, issue.to_json(base), ("location", issue.to_json(base)["url"]))

    def _comment(self, issue: Issue, base: str, request: Request) -> Response:
        body = fields_of(request).get("body")
        if not body:
            raise invalid("body", "missing_field")
        self._live(self._notebook.write({"did": "comment", "repo": issue.repo, "number": issue.number, "body": body}))
        return said(201, issue.comment_json(base, issue.comments[-1]))

    def _change(self, issue: Issue, base: str, request: Request) -> Response:
        entry: dict[str, Any] = {"did": "update", "repo": issue.repo, "number": issue.number}
        entry |= fields_of(request)
        self._live(self._notebook.write(entry))
        return said(200, issue.to_json(base))

    def _live(self, entry: Mapping[str, Any]) -> Issue:
        """Do what an entry of the notebook says, now or once more."""
        at, repo, did, number = (entry[name] for name in ("at", "repo", "did", "number"))
        fields = {name: value for name, value in entry.items() if name in FIELDS}
        if did == "create":
            return self._tracker.create(repo, at, fields)
        issue = self._tracker.find(repo, number)
        assert issue is not None, "a notebook speaks of an issue that it does not know"
        if did == "comment":
            self._tracker.comment(issue, at, fields["body"])
        else:
            issue.change(at, fields)
        return issue


FIELDS: Mapping[str, Callable[[Any], bool]] = {  # what may be sent, and what it must look like
    "title": lambda value: isinstance(value, str) and 0 < len(value) <= TITLE_CHARS_MAX,
    "body": lambda value: value is None or (isinstance(value, str) and len(value) <= BODY_CHARS_MAX),
    "labels": lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
    "state": lambda value: value in STATES,
    "state_reason": lambda value: value in REASONS,
}


def fields_of(request: Request) -> dict[str, Any]:
    """What is sent of what may be sent. Raises HubError."""
    try:
        body = json.loads(request.body or b"{}")
    except (ValueError, RecursionError):
        raise HubError(400, "Problems parsing JSON") from None
    if not isinstance(body, dict):
        raise HubError(400, "Body should be a JSON object")
    fields = {name: value for name, value in body.items() if name in FIELDS}
    if isinstance(fields.get("labels"), list):
        fields["labels"] = [label.get("name") if isinstance(label, dict) else label for label in fields["labels"]]
    for name, value in fields.items():
        if not FIELDS[name](value):
            raise invalid(name)
    return fields


def invalid(field: str, code: str = "invalid") -> HubError:
    """422 about one field."""
    return HubError(422, "Validation Failed", {"resource": "Issue", "code": code, "field": field})


def _one_of(handlers: Mapping[str, Callable[[], Response]], method: str) -> Response:
    if method not in handlers:
        raise HubError(404, "Not Found")
    return handlers[method]()


def _page(items: Sequence[Any], request: Request, base: str) -> Response:
    """One page of a list, with links to its neighbours."""
    asked = dict(request.query)
    size = min(max(_number(asked.get("per_page"), PER_PAGE), 1), PER_PAGE_MAX)
    page, last = max(_number(asked.get("page"), 1), 1), max(1, -(-len(items) // size))
    ways = {"prev": page - 1, "next": page + 1, "first": 1, "last": last}
    shown = {"prev": page > 1, "next": page < last, "first": page > 1, "last": page < last}
    links = [
        f'<{base}{request.path}?{urlencode({**asked, "page": number})}>; rel="{way}"'
        for way, number in ways.items()
        if shown[way]
    ]
    return said(200, items[(page - 1) * size : page * size], *([("link", ", ".join(links))] if links else []))


def _number(text: str | None, default: int) -> int:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) < 10 else default


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = stand_in.parser("hub", "Keeps issues and writes down what happens to them.")
    parser.add_argument("--token", action="append", help=f"one that is known; may be repeated; {TOKEN} without it")
    parser.add_argument("--repo", action="append", help="owner/name that there is; may be repeated; any without it")
    args = parser.parse_args(argv)
    tokens, repos = args.token or [TOKEN], args.repo or []
    return stand_in.play(args, "hub", lambda notebook: Hub(notebook, tokens=tokens, repos=repos).answer)


if __name__ == "__main__":
    sys.exit(main())
