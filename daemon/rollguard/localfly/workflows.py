"""A stand-in for GitHub Actions: ``python -m rollguard.localfly.workflows --out FILE.jsonl -- COMMAND…``.

One workflow of any repository, which takes the inputs ``target_version`` and ``reason``. A dispatch runs the command
with ``INPUT_TARGET_VERSION`` and ``INPUT_REASON`` in its environment; its exit code is the run's conclusion. Runs are
listed, read, and cancelled as GitHub's REST interface does it; known tokens only. Every dispatch, end and cancel is
written down as a JSON line. Faults are scripted as ``fault_script`` says.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rollguard.localfly import stand_in
from rollguard.localfly.http1 import Request, Response
from rollguard.localfly.hub import TOKEN, VERSIONS, HubError
from rollguard.localfly.stand_in import Notebook, bearer, said

WORKFLOW = "rollback.yml"
INPUTS = ("target_version", "reason")
ACTIONS = re.compile(
    r"/repos/(?P<repo>[\w.-]+/[\w.-]+)/actions/"
    r"(?:workflows/(?P<workflow>[\w.-]+)(?P<what>/dispatches|/runs)?|runs/(?P<run>\d{1,15})(?P<of>/jobs|/cancel)?)"
)
FIRST_RUN = 9_000_000_001

Inputs = Mapping[str, str]
Work = Callable[[Inputs], Awaitable[bool]]
"""What the workflow does; whether it succeeded. Cancelled, it was cancelled."""


@dataclass(slots=True, kw_only=True)
class Run:
    """One run. Times are epoch seconds."""

    id: int
    repo: str
    ref: str
    inputs: Inputs
    created_at: float
    status: str = "queued"
    conclusion: str | None = None

    def to_json(self, base: str, title: str) -> dict[str, Any]:
        """As GitHub shows it, without what nobody here asks for."""
        url = f"{base}/repos/{self.repo}/actions/runs/{self.id}"
        stamp = datetime.fromtimestamp(self.created_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return {
            "id": self.id,
            "name": "Rollback Production",
            "display_title": title,
            "head_branch": self.ref,
            "event": "workflow_dispatch",
            "status": self.status,
            "conclusion": self.conclusion,
            "path": f".github/workflows/{WORKFLOW}@{self.ref}",
            "run_number": self.id - FIRST_RUN + 1,
            "run_attempt": 1,
            "url": url,
            "html_url": f"{base}/{self.repo}/actions/runs/{self.id}",
            "jobs_url": f"{url}/jobs",
            "cancel_url": f"{url}/cancel",
            "created_at": stamp,
            "run_started_at": stamp,
            "updated_at": stamp,
        }

    def job_json(self) -> dict[str, Any]:
        """Its only job, with its steps."""
        steps = [("Set up job", "success"), ("Roll back", self.conclusion), ("Verify", "skipped")]
        listed = [{"name": n, "status": self.status, "conclusion": c, "number": i} for i, (n, c) in enumerate(steps, 1)]
        return {
            "id": self.id,
            "name": "rollback",
            "status": self.status,
            "conclusion": self.conclusion,
            "steps": listed,
        }


@dataclass(slots=True, kw_only=True)
class Actions:
    """Runs of one workflow. ``titled``: its ``run-name`` shows the reason; ``modern``: the server can say which run a
    dispatch began, and does where it is asked to.
    """

    notebook: Notebook
    work: Work
    tokens: Sequence[str] = (TOKEN,)
    titled: bool = True
    modern: bool = True
    runs: dict[int, Run] = field(default_factory=dict)
    _tasks: dict[int, asyncio.Task[None]] = field(default_factory=dict)

    async def answer(self, request: Request) -> Response:
        """What GitHub would answer. Never fails."""
        try:
            self._admit(request)
            return self._route(request)
        except HubError as error:
            return error.response()

    async def drain(self) -> None:
        """Cancel what is at work, and wait for its end."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    def _admit(self, request: Request) -> None:
        if bearer(request) not in self.tokens:
            raise HubError(401, "Bad credentials")
        if (version := request.header("x-github-api-version")) not in VERSIONS:
            raise HubError(400, f"{version!r} is not a supported API version")

    def _route(self, request: Request) -> Response:
        path = ACTIONS.fullmatch(request.path)
        base = f"http://{request.header('host') or 'localhost'}"
        if path is None or path["workflow"] not in (WORKFLOW, None):
            raise HubError(404, "Not Found")
        if path["workflow"]:
            if (request.method, path["what"]) == ("POST", "/dispatches"):
                return self._dispatch(path["repo"], base, request)
            if (request.method, path["what"]) == ("GET", "/runs"):
                listed = [self._shown(run, base) for run in self._listed(path["repo"], request)]
                return said(200, {"total_count": len(listed), "workflow_runs": listed})
            if (request.method, path["what"]) == ("GET", None):
                return said(200, {"id": 7, "name": "Rollback Production", "path": WORKFLOW, "state": "active"})
            raise HubError(404, "Not Found")
        run = self.runs.get(int(path["run"]))
        if run is None or run.repo != path["repo"]:
            raise HubError(404, "Not Found")
        if (request.method, path["of"]) == ("POST", "/cancel"):
            return self._cancel(run)
        if request.method != "GET" or path["of"] == "/cancel":
            raise HubError(404, "Not Found")
        if path["of"] == "/jobs":
            return said(200, {"total_count": 1, "jobs": [run.job_json()]})
        return said(200, self._shown(run, base))

    def _dispatch(self, repo: str, base: str, request: Request) -> Response:
        asked = self._asked(request)
        run = Run(
            id=FIRST_RUN + len(self.runs),
            repo=repo,
            ref=asked["ref"],
            inputs=asked.get("inputs", {}),
            created_at=time.time(),
        )
        self.runs[run.id] = run
        self.notebook.write({"did": "dispatch", "run": run.id, "repo": repo, "ref": run.ref, "inputs": run.inputs})
        self._tasks[run.id] = asyncio.ensure_future(self._live(run))
        if not (self.modern and asked.get("return_run_details")):
            return Response(204, b"")
        shown = self._shown(run, base)
        return said(200, {"workflow_run_id": run.id, "run_url": shown["url"], "html_url": shown["html_url"]})

    def _asked(self, request: Request) -> dict[str, Any]:
        """What is asked for, as GitHub takes it. Raises HubError."""
        try:
            asked = json.loads(request.body or b"{}")
        except (ValueError, RecursionError):
            raise HubError(400, "Problems parsing JSON") from None
        known = {"ref", "inputs", *(["return_run_details"] if self.modern else [])}
        if not isinstance(asked, dict) or not isinstance(asked.get("ref"), str):
            raise HubError(422, 'Invalid request.\n\n"ref" wasn\'t supplied.')
        if more := sorted(set(asked) - known):
            raise HubError(422, f'Invalid request.\n\n"{more[0]}" is not a permitted key.')
        inputs = asked.get("inputs", {})
        if not isinstance(inputs, dict) or not all(isinstance(value, str) for value in inputs.values()):
            raise HubError(422, "Invalid request.\n\nInputs are not strings.")
        if unexpected := sorted(set(inputs) - set(INPUTS)):
            raise HubError(422, f"Unexpected inputs provided: {unexpected}")
        return asked

    async def _live(self, run: Run) -> None:
        run.status = "in_progress"
        try:
            run.conclusion = "success" if await self.work(run.inputs) else "failure"
        except asyncio.CancelledError:
            run.conclusion = "cancelled"
        run.status = "completed"
        self.notebook.write({"did": "end", "run": run.id, "conclusion": run.conclusion})

    def _cancel(self, run: Run) -> Response:
        if run.status == "completed":
            raise HubError(409, "Cannot cancel a workflow run that is completed.")
        self.notebook.write({"did": "cancel", "run": run.id})
        self._tasks[run.id].cancel()
        return said(202, {})

    def _listed(self, repo: str, request: Request) -> list[Run]:
        """Newest first, of the day that is asked for on."""
        asked = dict(request.query)
        since = datetime.fromisoformat(asked.get("created", ">=1970-01-01").removeprefix(">=")).replace(tzinfo=UTC)
        found = [r for r in self.runs.values() if r.repo == repo and r.created_at >= since.timestamp()]
        return found[::-1][: int(asked.get("per_page", "30"))]

    def _shown(self, run: Run, base: str) -> dict[str, Any]:
        return run.to_json(base, run.inputs.get("reason", "") if self.titled else "Rollback Production")


def command(words: Sequence[str]) -> Work:
    """The work of running a program; cancelled, it is ended."""

    async def work(inputs: Inputs) -> bool:
        environ = {**os.environ, **{f"INPUT_{name.upper()}": value for name, value in inputs.items()}}
        process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.DEVNULL, env=environ)
        try:
            return await process.wait() == 0
        except asyncio.CancelledError:
            process.terminate()
            await process.wait()
            raise

    return work


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = stand_in.parser("workflows", "Runs a workflow when it is dispatched, and writes down what happens.")
    parser.add_argument("--token", action="append", help=f"one that is known; may be repeated; {TOKEN} without it")
    parser.add_argument("--untitled", action="store_true", help="runs do not show the reason that they were given")
    parser.add_argument("--old", action="store_true", help="a dispatch never tells which run it began")
    parser.add_argument("command", nargs="+", help="what the workflow does")
    args = parser.parse_args(argv)

    def make(notebook: Notebook) -> Callable[[Request], Awaitable[Response]]:
        actions = Actions(
            notebook=notebook,
            work=command(args.command),
            tokens=args.token or [TOKEN],
            titled=not args.untitled,
            modern=not args.old,
        )
        return actions.answer

    return stand_in.play(args, "workflows", make)


if __name__ == "__main__":
    sys.exit(main())
