"""A workflow of a GitHub repository: dispatched once, found again, followed to its conclusion."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote, urlencode

from rollguard.adapters import github
from rollguard.adapters.executors.runs import Run, begun_by, link_of, run_of
from rollguard.adapters.http import excerpt, server_now
from rollguard.adapters.secrets import read_secret
from rollguard.core.executors import Workflow
from rollguard.core.order import Begun, Order, Progress, Work
from rollguard.errors import BadAnswer, Conflict, GuardError, Refused, Unavailable
from rollguard.ports import Clock, HttpAnswer, Transport

BYTES_MAX = 8 << 20
RUNS_READ = 50
EARLIER_S = 2.0
"""How much earlier than the order a run may have been made, by GitHub's clock: its times are whole seconds."""
UNKNOWN_KEY = b"return_run_details"


class GitHubDelegate:
    """``ports.Delegate`` of one workflow, which takes the inputs ``target_version`` and ``reason``.

    The reason holds the order's ID: where the workflow's ``run-name`` shows it, the run is found by it; else by being
    the only one dispatched since the order.
    """

    poll_s = 5.0

    def __init__(self, settings: Workflow, transport: Transport, environ: Mapping[str, str], clock: Clock) -> None:
        self.name = settings.name
        self.timeout_s = settings.timeout_s
        self._settings, self._transport, self._environ, self._clock = settings, transport, environ, clock
        self._workflow = f"/workflows/{quote(settings.workflow, safe='')}"

    async def begin(self, order: Order) -> Begun:
        """See ``ports.Delegate``."""
        if order.version is None:  # an empty one means "the previous release" to many a workflow: the bad one itself
            raise Refused("it takes a release number, and none is known of the image to go back to")
        inputs = {"target_version": str(order.version), "reason": order.reason}
        asked = {"ref": self._settings.ref, "inputs": inputs}
        path = f"{self._workflow}/dispatches"
        answer = await self._call("POST", path, asked | {"return_run_details": True}, (200, 204, 422))
        if answer.status == 422 and UNKNOWN_KEY in answer.body:  # an older server: it does not say which run it is
            answer = await self._call("POST", path, asked, (200, 204, 422))
        if answer.status == 422:
            raise Refused(f"HTTP 422: {_said(answer)}")
        if answer.status == 200 and (run := _dispatched(answer)) is not None:
            return run
        try:
            found = await self.find(order)
        except (Conflict, Refused) as error:  # it did begin: no refusal to list runs changes that
            raise Unavailable(f"it was dispatched, and its run cannot be looked for: {error}") from error
        if found is None:
            raise Unavailable("it was dispatched, and its run does not show yet")
        return found

    async def find(self, order: Order) -> Begun | None:
        """See ``ports.Delegate``."""
        since = datetime.fromtimestamp(order.at - 86400.0, UTC).strftime("%Y-%m-%d")
        query = {"event": "workflow_dispatch", "created": f">={since}", "per_page": RUNS_READ}
        asked_at = self._clock.now()
        answer = await self._call("GET", f"{self._workflow}/runs?{urlencode(query)}", None, (200,))
        listed = _json(answer).get("workflow_runs")
        if not isinstance(listed, list):
            raise BadAnswer("GitHub's list of runs has no workflow_runs")
        runs = [run for one in listed if (run := run_of(one)) is not None]
        ahead_s = server_now(answer.headers) - asked_at if "date" in answer.headers else 0.0
        run = begun_by(order, runs, since=order.at + ahead_s - EARLIER_S, ref=self._settings.ref)
        return None if run is None else Begun(str(run.id), run.link)

    async def progress(self, begun: Begun) -> Progress:
        """See ``ports.Delegate``. A run that is gone is lost; a failed one says which job and step it was."""
        answer = await self._call("GET", f"/runs/{_number(begun.id)}", None, (200, 404))
        if answer.status == 404:
            return Progress(work=Work.LOST, sentence="GitHub does not know the run any more")
        run = run_of(_json(answer))
        if run is None or run.id != _number(begun.id):
            raise BadAnswer("GitHub's answer is not the run that was asked for")
        if run.work is not Work.FAILED:
            return Progress(work=run.work, sentence=run.sentence, link=run.link)
        where = await self._failed_step(run)
        return Progress(work=run.work, sentence=f"{run.sentence}{where}", link=run.link)

    async def cancel(self, begun: Begun) -> None:
        """See ``ports.Delegate``. One that is over already cannot be cancelled, which is as well."""
        await self._call("POST", f"/runs/{_number(begun.id)}/cancel", None, (202, 409))

    async def printed(self, begun: Begun) -> str:
        """See ``ports.Delegate``. GitHub keeps it."""
        return ""

    async def trial(self) -> str:
        """See ``ports.Delegate``: whether the workflow can be read, and is not switched off."""
        try:
            found = _json(await self._call("GET", self._workflow, None, (200,)))
        except GuardError as error:
            return str(error)
        state = found.get("state")
        return "" if state == "active" else f"the workflow is {excerpt(str(state), 40)}"

    async def close(self) -> None:
        """See ``ports.Delegate``."""

    async def _failed_step(self, run: Run) -> str:
        """``, in job rollback, step Deploy``: a courtesy, without which the page goes out as well."""
        try:
            jobs = _json(await self._call("GET", f"/runs/{run.id}/jobs?per_page=50", None, (200,))).get("jobs")
        except GuardError:
            return ""
        job = _first_failed(jobs)
        step = _first_failed(job.get("steps"))
        names = [f"{word} {excerpt(str(one.get('name')), 60)}" for word, one in (("job", job), ("step", step)) if one]
        return f", in {', '.join(names)}" if names else ""

    async def _call(self, method: str, path: str, body: Any, taken: Sequence[int]) -> HttpAnswer:
        answer = await github.request(
            self._transport,
            method,
            self._settings.url,
            self._settings.repo,
            f"/actions{path}",
            read_secret(self._settings.token, self._environ),
            body,
            BYTES_MAX,
        )
        if answer.status not in taken:
            raise self._error(answer)
        return answer

    def _error(self, answer: HttpAnswer) -> GuardError:
        """What the catcher should do: wait where it is a limit or GitHub's own trouble, else ask a person."""
        wait_s = github.wait_of(answer) if answer.status in {403, 429} or answer.status >= 500 else None
        hint = {
            401: " (is the token valid?)",
            403: " (may the token write to actions?)",
            404: " (are there such a repository and workflow, and may the token see them?)",
        }.get(answer.status, "")
        message = f"HTTP {answer.status}: {_said(answer)}{'' if wait_s is not None else hint}"
        if wait_s is not None or answer.status >= 500 or answer.status == 408:
            return Unavailable(message, retry_after_s=wait_s)
        return Conflict(message) if answer.status == 409 else Refused(message)


def _dispatched(answer: HttpAnswer) -> Begun | None:
    """The run that the answer names; None where it names none: it began all the same, and will be found."""
    try:
        found = _json(answer)
    except BadAnswer:
        return None
    number, link = found.get("workflow_run_id"), found.get("html_url")
    if not isinstance(number, int) or isinstance(number, bool):
        return None
    return Begun(str(number), link_of(link))


def _number(run: str) -> int:
    """What a run is known by. Raises ``Refused``."""
    if not (run.isascii() and run.isdecimal()):
        raise Refused(f"{excerpt(run, 40)!r} is not the number of a run")
    return int(run)


def _first_failed(listed: Any) -> dict[str, Any]:
    found = listed if isinstance(listed, list) else []
    bad = (one for one in found if isinstance(one, dict) and one.get("conclusion") not in {None, "success", "skipped"})
    return next(bad, {})


def _json(answer: HttpAnswer) -> dict[str, Any]:
    try:
        found = json.loads(answer.body)
    except (ValueError, RecursionError):
        raise BadAnswer("GitHub did not answer with JSON") from None
    if not isinstance(found, dict):
        raise BadAnswer("GitHub did not answer with an object")
    return found


def _said(answer: HttpAnswer) -> str:
    try:
        return excerpt(str(_json(answer).get("message")), 200)
    except BadAnswer:
        return excerpt(answer.body[:1000].decode(errors="replace"), 200)
