"""Scripted faults: in their order, as often as written, for whom they are meant."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from rollguard.localfly.fault_script import FaultScript
from rollguard.localfly.http1 import BadMessageError, Request, Response, fetch
from rollguard.localfly.http1_server import HangUpError, Server


class Inner:
    """A server that is always well, and counts what reaches it."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    async def answer(self, request: Request) -> Response:
        self.heard.append(request.path)
        return Response(200)


async def scripted(*faults: dict[str, Any], covers: str = "/") -> tuple[FaultScript, Inner]:
    inner = Inner()
    script = FaultScript(inner.answer, covers=covers)
    assert (await told(script, list(faults))).status == 200
    return script, inner


async def told(script: FaultScript, faults: Any) -> Response:
    return await script.answer(Request("POST", "/local/v1/faults", (), json.dumps({"faults": faults}).encode()))


async def statuses(script: FaultScript, count: int, path: str = "/", method: str = "POST") -> list[int]:
    return [(await script.answer(Request(method, path))).status for _ in range(count)]


async def test_faults_come_in_their_order_as_often_as_written_and_then_all_is_well() -> None:
    script, inner = await scripted({"do": 500, "times": 2}, {"do": "pass"}, {"do": "429", "retry_after_s": 3})
    assert await statuses(script, 5) == [500, 500, 200, 429, 200]
    assert len(inner.heard) == 2


async def test_a_fault_without_end_lasts_until_the_script_changes() -> None:
    script, _ = await scripted({"do": "503", "times": None})
    assert await statuses(script, 3) == [503] * 3
    await told(script, [])
    assert await statuses(script, 1) == [200]


async def test_a_refusal_says_when_to_come_back_and_what_it_was_told_to_say() -> None:
    script, _ = await scripted({"do": 429, "retry_after_s": 1.5, "body": {"ok": False, "error": "ratelimited"}})
    answer = await script.answer(Request("POST", "/"))
    assert (answer.header("retry-after"), json.loads(answer.body)["error"]) == ("1.5", "ratelimited")


async def test_a_fault_meets_only_the_method_and_path_it_is_for() -> None:
    script, _ = await scripted({"do": "500", "method": "POST", "path": "/api/"}, covers="/api")
    assert await statuses(script, 1, "/api/x", "GET") == [200]
    assert await statuses(script, 1, "/other") == [200]
    assert await statuses(script, 2, "/api/x") == [500, 200]


async def test_what_is_not_covered_never_fails() -> None:
    script, _ = await scripted({"do": "500", "times": None}, covers="/metrics")
    assert await statuses(script, 1, "/") == [200]


async def test_a_drop_is_unheard_and_a_drop_after_is_acted_upon() -> None:
    script, inner = await scripted({"do": "drop"}, {"do": "drop-after"})
    for path in ("/lost", "/done"):
        with pytest.raises(HangUpError):
            await script.answer(Request("POST", path))
    assert inner.heard == ["/done"]


async def test_who_hangs_is_cut_off_when_the_script_changes() -> None:
    script, inner = await scripted({"do": "hang"})
    hanging = asyncio.create_task(script.answer(Request("GET", "/")))
    await asyncio.sleep(0)
    assert not hanging.done()
    await told(script, [])
    with pytest.raises(HangUpError):
        await hanging
    assert inner.heard == []


async def test_a_cut_connection_is_one_to_the_client() -> None:
    script, _ = await scripted({"do": "drop"})
    server = Server(script.answer)
    port = await server.start("127.0.0.1", 0)
    with pytest.raises((BadMessageError, OSError)):
        await fetch("127.0.0.1", port, Request("GET", "/"), 5.0)
    assert (await fetch("127.0.0.1", port, Request("GET", "/"), 5.0)).status == 200
    await server.drain(0.0)


async def test_what_is_left_of_the_script_can_be_read() -> None:
    script, _ = await scripted({"do": "500", "times": 2}, {"do": "drop"})
    await statuses(script, 2)
    left = json.loads((await script.answer(Request("GET", "/local/v1/faults"))).body)["faults"]
    assert [fault["do"] for fault in left] == ["drop"]


@pytest.mark.parametrize(
    "faults",
    [
        None,
        1,
        [1],
        [{}],
        [{"do": "explode"}],
        [{"do": "99"}],
        [{"do": "²00"}],
        [{"do": "500", "times": 0}],
        [{"do": "500", "times": "2"}],
        [{"do": "500", "path": 1}],
        [{"do": "429", "retry_after_s": "soon"}],
        [{"do": "500", "often": 1}],
    ],
)
async def test_a_script_nobody_could_play_is_refused_and_the_old_one_goes_on(faults: Any) -> None:
    script, _ = await scripted({"do": "503"})
    assert (await told(script, faults)).status == 422
    assert await statuses(script, 2) == [503, 200]
