"""The stand-ins as processes: their files, their faults, and a life after the first."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rollguard.localfly.http1 import BadMessageError
from rollguard.localfly.stand_in import open_notebook
from tests.localfly.running import get, running

HEADERS = {"content_type": "application/json", "user_agent": "test"}
WORK: dict[str, tuple[str, dict[str, Any], str, int]] = {  # where to, with what, by whom, and the answer
    "pager": (
        "/v2/enqueue",
        {
            "routing_key": "k",
            "event_action": "trigger",
            "dedup_key": "d",
            "payload": {"summary": "s", "source": "x", "severity": "critical"},
        },
        "",
        202,
    ),
    "chat": ("/api/chat.postMessage", {"channel": "#x", "text": "t"}, "Bearer xoxb-local", 200),
    "hub": ("/repos/a/b/issues", {"title": "t"}, "Bearer ghp_local", 201),
}


async def work(url: str, name: str) -> int:
    """Send a stand-in what it is there for; the status."""
    path, body, who, _ = WORK[name]
    return (await get(url, path, "POST", json.dumps(body).encode(), authorization=who, **HEADERS)).status


@pytest.mark.parametrize("name", WORK)
async def test_killed_and_started_again_it_goes_on_with_its_file(tmp_path: Path, name: str) -> None:
    out, fine = tmp_path / "out.jsonl", WORK[name][3]
    for _ in range(2):
        async with running(name, "--out", str(out), "--append") as stand_in:
            assert await work(stand_in.url, name) == fine
            stand_in.process.kill()
    assert len(out.read_text().splitlines()) == 2
    async with running(name, "--out", str(out)):
        assert out.read_text() == ""


@pytest.mark.parametrize("name", WORK)
async def test_it_fails_as_scripted_and_what_it_did_before_a_cut_is_done(tmp_path: Path, name: str) -> None:
    out, fine = tmp_path / "out.jsonl", WORK[name][3]
    faults = [{"do": "429", "retry_after_s": 2}, {"do": "500"}, {"do": "drop-after"}]
    async with running(name, "--out", str(out)) as stand_in:
        await get(stand_in.url, "/local/v1/faults", "POST", json.dumps({"faults": faults}).encode())
        assert [await work(stand_in.url, name) for _ in range(2)] == [429, 500]
        assert out.read_text() == ""
        with pytest.raises((BadMessageError, OSError)):
            await work(stand_in.url, name)
        assert len(out.read_text().splitlines()) == 1
        assert await work(stand_in.url, name) == fine


def test_a_line_cut_off_by_a_crash_costs_that_line_only(tmp_path: Path) -> None:
    path = tmp_path / "out.jsonl"
    path.write_text('{"whole": 1}\n{"cut o')
    with open_notebook(path, append=True) as file:
        file.write('{"next": 1}\n')
    assert path.read_text().splitlines() == ['{"whole": 1}', '{"cut o', '{"next": 1}']
