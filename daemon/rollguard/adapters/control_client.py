"""Asking a running guard to act, over its socket file."""

from __future__ import annotations

import contextlib
import json
import socket
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rollguard.errors import BadAnswer, Conflict, GuardError, JournalError, Refused, Unavailable

REQUEST_BYTES_MAX = 1 << 16
ANSWER_BYTES_MAX = 1 << 22

_KINDS: dict[str, type[Unavailable | Conflict | Refused | JournalError]] = {
    "Unavailable": Unavailable,
    "BadAnswer": Unavailable,
    "Conflict": Conflict,
    "JournalError": JournalError,
}


class NotRunning(Unavailable):
    """Nobody listens at the socket; nothing was asked."""


def ask(path: Path, verb: str, args: Mapping[str, Any], by: str, timeout_s: float = 70.0) -> dict[str, Any]:
    """Have the guard at ``path`` perform one act; return its result.

    Raises what the guard raised (``PolicyError`` as ``Refused``), ``NotRunning`` when no guard listens, and
    ``Unavailable`` when none answers in time: whether the act was done is then for its history to say.
    """
    request = json.dumps({"verb": verb, "args": dict(args), "by": by}).encode() + b"\n"
    if len(request) > REQUEST_BYTES_MAX:
        raise Refused(f"that is too much to ask at once: {len(request)} bytes, at most {REQUEST_BYTES_MAX}")
    ends_at = time.monotonic() + timeout_s
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as guard:
        guard.settimeout(timeout_s)
        try:
            guard.connect(str(path))
            with contextlib.suppress(BrokenPipeError):  # it would not listen; what it said waits to be read
                guard.sendall(request)
            line = _read_line(guard, ends_at)
        except (FileNotFoundError, ConnectionRefusedError):
            raise NotRunning(f"no guard listens at {path}: is it running, with this --data?") from None
        except PermissionError:
            raise Refused(f"{path} is another user's guard: ask as that user") from None
        except TimeoutError:
            raise Unavailable(f"the guard at {path} did not answer within {timeout_s:g} s") from None
        except OSError as error:
            raise Unavailable(f"the guard at {path} cannot be asked: {error}") from error
    return _read_answer(line)


def _read_line(guard: socket.socket, ends_at: float) -> bytes:
    line = bytearray()
    while not line.endswith(b"\n"):
        guard.settimeout(max(0.001, ends_at - time.monotonic()))
        part = guard.recv(1 << 16)
        if not part:
            raise Unavailable("the guard ended before it answered: look at its history")
        line += part
        if len(line) > ANSWER_BYTES_MAX:
            raise BadAnswer(f"the guard's answer is larger than {ANSWER_BYTES_MAX} bytes")
    return bytes(line)


def _read_answer(line: bytes) -> dict[str, Any]:
    try:
        answer = json.loads(line)
    except ValueError:
        raise BadAnswer("the guard's answer is not JSON") from None
    match answer:
        case {"ok": True, "result": dict(result)}:
            return result
        case {"ok": False, "kind": str(kind), "error": str(error)}:
            raise _error(kind, error)
    raise BadAnswer("the guard's answer has an unknown shape: are client and guard of one version?")


def _error(kind: str, error: str) -> GuardError:
    return _KINDS.get(kind, Refused)(error)
