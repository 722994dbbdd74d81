"""GitHub Actions as the stand-in plays them: dispatched, listed, followed, cancelled, and written down."""

from __future__ import annotations

import asyncio
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from rollguard.localfly.http1 import Request, Response
from rollguard.localfly.hub import TOKEN
from rollguard.localfly.stand_in import Notebook
from rollguard.localfly.workflows import Actions, Inputs
from tests.localfly.running import get, running

ROOT = "/repos/acme/shop/actions"
DISPATCHES = f"{ROOT}/workflows/rollback.yml/dispatches"
ASKED = {"ref": "main", "inputs": {"target_version": "41", "reason": "down"}, "return_run_details": True}


class Desk:
    """Actions whose work ends when it is told to."""

    def __init__(self, **options: Any) -> None:
        self.file = io.StringIO()
        self.finish = asyncio.Event()
        self.good = True
        self.actions = Actions(notebook=Notebook(self.file), work=self._work, **options)

    async def _work(self, inputs: Inputs) -> bool:
        await self.finish.wait()
        return self.good

    async def call(self, method: str, target: str, body: Any = None, **headers: str) -> Response:
        raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        named = {"host": "hub:1", "authorization": f"Bearer {TOKEN}", **headers}
        pairs = [(name.replace("_", "-"), value) for name, value in named.items()]
        return await self.actions.answer(Request(method, target, pairs, raw))

    async def ask(self, method: str, target: str, body: Any = None, status: int = 200) -> Any:
        answer = await self.call(method, target, body)
        assert answer.status == status, answer.body
        return json.loads(answer.body) if answer.body else None

    @property
    def did(self) -> list[str]:
        return [json.loads(line)["did"] for line in self.file.getvalue().splitlines()]


async def test_a_dispatch_begins_a_run_that_is_followed_to_its_conclusion() -> None:
    desk = Desk()
    begun = await desk.ask("POST", DISPATCHES, ASKED)
    run = f"{ROOT}/runs/{begun['workflow_run_id']}"
    assert begun["html_url"] == f"http://hub:1/acme/shop/actions/runs/{begun['workflow_run_id']}"
    assert (await desk.ask("GET", run))["status"] == "queued"
    await asyncio.sleep(0)
    shown = await desk.ask("GET", run)
    assert (shown["status"], shown["conclusion"], shown["display_title"]) == ("in_progress", None, "down")
    desk.good = False
    desk.finish.set()
    await asyncio.sleep(0.01)
    assert (await desk.ask("GET", run))["conclusion"] == "failure"
    [job] = (await desk.ask("GET", f"{run}/jobs"))["jobs"]
    assert [step["conclusion"] for step in job["steps"]] == ["success", "failure", "skipped"]
    assert desk.did == ["dispatch", "end"]


async def test_an_older_server_says_nothing_and_refuses_to_be_asked() -> None:
    desk = Desk(modern=False)
    assert b"not a permitted key" in (await desk.call("POST", DISPATCHES, ASKED)).body
    assert not desk.actions.runs
    await desk.ask("POST", DISPATCHES, {"ref": "main", "inputs": ASKED["inputs"]}, 204)
    [run] = (await desk.ask("GET", f"{ROOT}/workflows/rollback.yml/runs?event=workflow_dispatch"))["workflow_runs"]
    assert run["event"] == "workflow_dispatch"
    await desk.actions.drain()


async def test_runs_are_listed_newest_first_from_a_day_on() -> None:
    desk = Desk(titled=False)
    for _ in range(3):
        await desk.ask("POST", DISPATCHES, ASKED)
    runs = f"{ROOT}/workflows/rollback.yml/runs"
    listed = (await desk.ask("GET", f"{runs}?created=%3E%3D2020-01-01&per_page=2"))["workflow_runs"]
    ids = [run["id"] for run in listed]
    assert ids == sorted(desk.actions.runs, reverse=True)[:2]
    assert {run["display_title"] for run in listed} == {"Rollback Production"}
    assert (await desk.ask("GET", f"{runs}?created=%3E%3D2999-01-01"))["workflow_runs"] == []
    await desk.actions.drain()


async def test_a_run_is_cancelled_once() -> None:
    desk = Desk()
    begun = await desk.ask("POST", DISPATCHES, ASKED)
    await asyncio.sleep(0)
    run = f"{ROOT}/runs/{begun['workflow_run_id']}"
    await desk.ask("POST", f"{run}/cancel", status=202)
    await asyncio.sleep(0.01)
    assert (await desk.ask("GET", run))["conclusion"] == "cancelled"
    await desk.ask("POST", f"{run}/cancel", status=409)


@pytest.mark.parametrize(
    "method, target, body, status",
    [
        ("POST", DISPATCHES, {"inputs": {}}, 422),
        ("POST", DISPATCHES, {"ref": "main", "inputs": {"version": "41"}}, 422),
        ("POST", DISPATCHES, {"ref": "main", "inputs": {"target_version": 41}}, 422),
        ("POST", DISPATCHES, b"{", 400),
        ("POST", f"{ROOT}/workflows/other.yml/dispatches", ASKED, 404),
        ("GET", DISPATCHES, None, 404),
        ("GET", f"{ROOT}/runs/1", None, 404),
        ("DELETE", f"{ROOT}/workflows/rollback.yml", None, 404),
        ("GET", "/repos/acme/shop/issues", None, 404),
    ],
)
async def test_what_github_would_not_take_is_refused(method: str, target: str, body: Any, status: int) -> None:
    desk = Desk()
    assert (await desk.call(method, target, body)).status == status
    assert not desk.actions.runs


async def test_a_token_that_is_not_known_is_nobody() -> None:
    assert (await Desk().call("POST", DISPATCHES, ASKED, authorization="Bearer x")).status == 401


async def test_as_a_process_it_runs_the_command_with_the_inputs(tmp_path: Path) -> None:
    out, seen = tmp_path / "out.jsonl", tmp_path / "seen"
    program = (
        f"import os; open({str(seen)!r}, 'w').write(os.environ['INPUT_TARGET_VERSION'] + os.environ['INPUT_REASON'])"
    )
    async with running("workflows", "--out", str(out), "--", sys.executable, "-Ic", program) as stand_in:
        who = {"authorization": f"Bearer {TOKEN}", "content_type": "application/json"}
        answer = await get(stand_in.url, DISPATCHES, "POST", json.dumps(ASKED).encode(), **who)
        run = f"{ROOT}/runs/{json.loads(answer.body)['workflow_run_id']}"
        async with asyncio.timeout(15):
            while json.loads((await get(stand_in.url, run, **who)).body)["conclusion"] is None:
                await asyncio.sleep(0.02)
        assert json.loads((await get(stand_in.url, run, **who)).body)["conclusion"] == "success"
    assert seen.read_text() == "41down"
