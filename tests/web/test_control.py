"""Acts come over a socket that only the guard's user can open; each gets one answer, whatever is sent."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from rollguard.adapters.control_client import ask
from rollguard.errors import BadAnswer, Conflict, GuardError, JournalError, PolicyError, Refused, Unavailable
from rollguard.web import control
from rollguard.web.control import CLIENTS_MAX, LINE_BYTES_MAX, ControlServer

Request = tuple[str, Mapping[str, Any], str]


class Guard:
    """Performs acts as told: says them back, fails, or takes its time."""

    def __init__(self) -> None:
        self.acts: list[Request] = []
        self.fails_with: Exception | None = None
        self.may_end = asyncio.Event()
        self.may_end.set()

    async def handle(self, verb: str, args: Mapping[str, Any], by: str) -> Mapping[str, Any]:
        self.acts.append((verb, args, by))
        await self.may_end.wait()
        if self.fails_with:
            raise self.fails_with
        return {"did": verb}


@pytest.fixture
async def guard() -> Guard:
    return Guard()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


@pytest.fixture
async def server(path: Path, guard: Guard) -> AsyncIterator[ControlServer]:
    server = await ControlServer.start(path, guard.handle)
    yield server
    await server.close()


async def asked(path: Path, verb: str = "pause", **args: Any) -> dict[str, Any]:
    return await asyncio.to_thread(ask, path, verb, args, "ada", 10.0)


async def sent(path: Path, line: bytes) -> dict[str, Any]:
    """The answer to raw bytes."""
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(line)
    answer = await reader.readline()
    writer.close()
    await writer.wait_closed()
    return dict(json.loads(answer))


@pytest.mark.usefixtures("server")
async def test_an_act_is_done_and_its_result_comes_back(path: Path, guard: Guard) -> None:
    assert await asked(path, "pause", target="shop", reason="ü\n") == {"did": "pause"}
    assert guard.acts == [("pause", {"target": "shop", "reason": "ü\n"}, "ada")]


@pytest.mark.usefixtures("server")
async def test_only_the_guard_s_user_can_open_the_socket(path: Path) -> None:
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.usefixtures("server")
async def test_another_user_is_refused_even_if_somebody_loosened_the_mode(
    path: Path, guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "_peer_uid", lambda peer: 12345)
    with pytest.raises(Refused, match="user 12345 may not command this guard"):
        await asked(path)
    assert not guard.acts


def test_the_user_at_the_other_end_is_known_to_the_system() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert control._peer_uid(ours) == os.getuid()


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    "error, seen",
    [
        (Refused("no"), Refused),
        (Conflict("no"), Conflict),
        (Unavailable("no"), Unavailable),
        (BadAnswer("no"), Unavailable),
        (JournalError("no"), JournalError),
        (PolicyError(["no"]), Refused),
    ],
)
async def test_what_the_guard_raises_is_raised_where_it_was_asked(
    path: Path, guard: Guard, error: GuardError, seen: type[GuardError]
) -> None:
    guard.fails_with = error
    with pytest.raises(GuardError, match="no") as told:
        await asked(path)
    assert type(told.value) is seen


@pytest.mark.usefixtures("server")
async def test_a_fault_of_the_guard_is_answered_and_the_next_act_is_done(path: Path, guard: Guard) -> None:
    guard.fails_with = KeyError("bug")
    with pytest.raises(Unavailable, match=r"a fault of the guard: KeyError\('bug'\)"):
        await asked(path)
    guard.fails_with = None
    assert await asked(path) == {"did": "pause"}


@pytest.mark.usefixtures("server")
@pytest.mark.parametrize(
    "line, error",
    [
        (b"\n", "not JSON"),
        (b"\xff\n", "not JSON"),
        (b"[" * 60_000 + b"\n", "not JSON"),
        (b'["pause"]\n', "a request is"),
        (b'{"verb": "pause", "args": {}}\n', "a request is"),
        (b'{"verb": "pause", "args": {}, "by": ""}\n', "a request is"),
        (b'{"verb": 1, "args": {}, "by": "ada"}\n', "a request is"),
        (b'{"verb": "pause", "args": [], "by": "ada"}\n', "a request is"),
        (b'"' + b"x" * LINE_BYTES_MAX + b'"\n', "at most 65536 bytes"),
    ],
)
async def test_what_is_no_request_is_refused_and_nothing_is_done(
    path: Path, guard: Guard, line: bytes, error: str
) -> None:
    answer = await sent(path, line)
    assert (answer["ok"], answer["kind"]) == (False, "Refused")
    assert error in answer["error"]
    assert not guard.acts


@pytest.mark.usefixtures("server")
async def test_whoever_says_nothing_is_sent_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control, "READ_S", 0.05)
    assert "no whole line" in (await sent(path, b'{"verb"'))["error"]


@pytest.mark.usefixtures("server")
async def test_an_act_that_takes_too_long_is_answered(
    path: Path, guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "ACT_S", 0.05)
    guard.may_end.clear()
    with pytest.raises(Unavailable, match="not done within"):
        await asked(path)


@pytest.mark.usefixtures("server")
async def test_a_ninth_client_is_told_to_come_back(path: Path, guard: Guard) -> None:
    guard.may_end.clear()
    line = b'{"verb": "pause", "args": {}, "by": "ada"}\n'
    served = [asyncio.ensure_future(sent(path, line)) for _ in range(CLIENTS_MAX)]
    async with asyncio.timeout(5.0):
        while len(guard.acts) < CLIENTS_MAX:
            await asyncio.sleep(0.005)
    assert "8 others are being served" in (await sent(path, line))["error"]
    guard.may_end.set()
    assert all(answer["ok"] for answer in await asyncio.gather(*served))


@pytest.mark.usefixtures("server")
async def test_a_client_that_leaves_before_its_answer_harms_nobody(path: Path, guard: Guard) -> None:
    guard.may_end.clear()
    _, writer = await asyncio.open_unix_connection(str(path))
    writer.write(b'{"verb": "pause", "args": {}, "by": "ada"}\n')
    async with asyncio.timeout(5.0):
        while not guard.acts:
            await asyncio.sleep(0.005)
    writer.transport.abort()
    guard.may_end.set()
    assert await asked(path) == {"did": "pause"}


@pytest.mark.usefixtures("server")
async def test_a_second_guard_does_not_take_the_socket_away(path: Path, guard: Guard) -> None:
    with pytest.raises(Refused, match="another guard listens at"):
        await ControlServer.start(path, guard.handle)
    assert await asked(path) == {"did": "pause"}


async def test_the_socket_of_a_dead_guard_is_replaced(path: Path, guard: Guard) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    server = await ControlServer.start(path, guard.handle)
    assert await asked(path) == {"did": "pause"}
    await server.close()
    assert not path.exists()


async def test_a_file_that_is_no_socket_is_left_alone(path: Path, guard: Guard) -> None:
    path.write_text("precious")
    with pytest.raises(Refused, match="is in the way: it is not a socket"):
        await ControlServer.start(path, guard.handle)
    assert path.read_text() == "precious"


async def test_a_place_where_no_socket_can_be_is_named(tmp_path: Path, guard: Guard) -> None:
    with pytest.raises(Refused, match=r"cannot listen at .*nowhere"):
        await ControlServer.start(tmp_path / "nowhere" / "c.sock", guard.handle)
    with pytest.raises(Refused, match="too long for a socket's name"):
        await ControlServer.start(tmp_path / ("x" * 120), guard.handle)


async def test_without_a_guard_the_client_says_so(path: Path) -> None:
    with pytest.raises(Unavailable, match=r"no guard listens at .*is it running"):
        await asked(path)


def test_a_request_too_large_is_not_even_sent(path: Path) -> None:
    with pytest.raises(Refused, match="too much to ask at once"):
        ask(path, "report", {"reason": "x" * LINE_BYTES_MAX}, "ada")


@pytest.mark.parametrize(
    "answer, error",
    [
        (b"", "ended before it answered"),
        (b"hello\n", "is not JSON"),
        (b'{"ok": true}\n', "unknown shape"),
        (None, "did not answer within"),
    ],
)
async def test_a_strange_answer_is_never_taken_for_success(path: Path, answer: bytes | None, error: str) -> None:
    over = asyncio.Event()

    async def strange(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        if answer is None:
            await over.wait()
        writer.write(answer or b"")
        writer.close()

    server = await asyncio.start_unix_server(strange, path)
    with pytest.raises(Unavailable, match=error):
        await asyncio.to_thread(ask, path, "pause", {}, "ada", 0.2 if answer is None else 10.0)
    over.set()
    server.close()
    await server.wait_closed()
