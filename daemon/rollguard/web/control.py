"""The channel for acts: a socket file that only the guard's own user can open. One line asks, one line answers."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import stat
import struct
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from rollguard.errors import GuardError, Refused, Unavailable

LINE_BYTES_MAX = 1 << 16
CLIENTS_MAX = 8
READ_S = 5.0
ACT_S = 60.0
PATH_BYTES_MAX = 107  # of a Linux socket address, without its closing zero

Handle = Callable[[str, Mapping[str, Any], str], Awaitable[Mapping[str, Any]]]
log = logging.getLogger(__name__)


class ControlServer:
    """Listens for acts. ``handle(verb, args, by)`` performs one; its ``GuardError`` is the answer."""

    def __init__(self, path: Path, server: asyncio.Server) -> None:
        self._path, self._server = path, server

    @classmethod
    async def start(cls, path: Path, handle: Handle) -> ControlServer:
        """Listen on the socket file ``path`` (0600), taking the place of one that nobody listens on any more.

        Raises ``Refused`` when somebody does, or the file cannot be made.
        """
        if why := unusable_socket(path):
            raise Refused(why)
        try:
            listener = _listen(path)
        except OSError as error:
            raise Refused(f"cannot listen at {path}: {error.strerror}") from error
        desk = _Desk(handle)
        return cls(path, await asyncio.start_unix_server(desk.serve, sock=listener, limit=LINE_BYTES_MAX))

    async def close(self) -> None:
        """Stop listening and remove the file."""
        self._server.close()
        self._path.unlink(missing_ok=True)
        await self._server.wait_closed()


def unusable_socket(path: Path) -> str | None:
    """Why no socket can have this name, or None. Looks at nothing but the name."""
    if len(os.fsencode(path)) > PATH_BYTES_MAX:
        return f"{path} is too long for a socket's name: give the guard a shorter --data"
    return None


class _Desk:
    """Serves a bounded number of clients, one act for each."""

    def __init__(self, handle: Handle) -> None:
        self._handle = handle
        self._clients = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients += 1
        try:
            writer.write(await self._answer(reader, writer))
            async with asyncio.timeout(READ_S):
                await writer.drain()
        except (TimeoutError, ConnectionError):
            pass  # whoever asked is gone; the act, if any, is in the journal
        finally:
            self._clients -= 1
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bytes:
        try:
            return _line({"ok": True, "result": dict(await self._act(reader, writer))})
        except GuardError as error:
            return _failure(type(error).__name__, str(error))
        except TimeoutError:
            return _failure("Unavailable", f"the guard was not done within {ACT_S:g} s; look at its history")
        except Exception as bug:
            log.exception("an act failed by a fault of the guard")
            return _failure("Unavailable", f"a fault of the guard: {bug!r}")

    async def _act(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Mapping[str, Any]:
        _check_peer(writer.get_extra_info("socket"))
        line = await _read_line(reader)  # first of all: who is still writing might miss the answer
        if self._clients > CLIENTS_MAX:
            raise Unavailable(f"{CLIENTS_MAX} others are being served: try again")
        verb, args, by = _read_request(line)
        async with asyncio.timeout(ACT_S):
            return await self._handle(verb, args, by)


def _line(answer: Mapping[str, Any]) -> bytes:
    return json.dumps(answer).encode() + b"\n"


def _failure(kind: str, error: str) -> bytes:
    return _line({"ok": False, "kind": kind, "error": error})


async def _read_line(reader: asyncio.StreamReader) -> bytes:
    try:
        async with asyncio.timeout(READ_S):
            return await reader.readuntil(b"\n")
    except TimeoutError:
        raise Refused(f"no whole line within {READ_S:g} s") from None
    except asyncio.LimitOverrunError:
        raise Refused(f"a request is one line of at most {LINE_BYTES_MAX} bytes") from None
    except asyncio.IncompleteReadError:
        raise Refused("the line did not end") from None


def _read_request(line: bytes) -> tuple[str, dict[str, Any], str]:
    try:
        request = json.loads(line)
    except (ValueError, RecursionError):
        raise Refused("the request is not JSON") from None
    match request:
        case {"verb": str(verb), "args": dict(args), "by": str(by)} if verb and by:
            return verb, args, by
    raise Refused('a request is {"verb": "…", "args": {…}, "by": "…"}')


def _check_peer(peer: socket.socket) -> None:
    """The file's mode keeps others out already; this holds when somebody loosens it."""
    uid = _peer_uid(peer)
    if uid not in {0, os.getuid()}:
        raise Refused(f"user {uid} may not command this guard")


def _peer_uid(peer: socket.socket) -> int:
    ids = struct.Struct("3i")  # process, user, group
    _, uid, _ = ids.unpack(peer.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, ids.size))
    return int(uid)


def _listen(path: Path) -> socket.socket:
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)  # 0600 from its first instant
    try:
        listener.bind(str(path))
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(mask)
    return listener


def _remove_stale(path: Path) -> None:
    if not path.exists():
        return
    if not stat.S_ISSOCK(path.stat().st_mode):
        raise Refused(f"{path} is in the way: it is not a socket")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as knock:
        knock.settimeout(1.0)
        try:
            knock.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
    raise Refused(f"another guard listens at {path}")
