"""What goes wrong with a stand-in, as its stage manager scripts it: ``POST /local/v1/faults``, also while it runs.

``{"faults": [{"do": "500", "times": 2}, {"do": "pass"}, {"do": "hang", "times": null}]}`` replaces the script; ``[]``
ends it. Each request uses up the first fault that is for it; after the last one all is well. What a fault may do:

* a status from 200 to 599, with ``body`` (JSON) and ``retry_after_s`` where they are given
* ``pass``: nothing wrong, this time
* ``hang``: no answer until the script changes, then the connection is cut
* ``drop``: the connection is cut, unheard
* ``drop-after``: it is heard and acted upon, but the connection is cut before the answer

``times`` is 1 unless given, null is "until the script changes"; ``method`` and ``path`` (its beginning) narrow a fault.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from rollguard.localfly.http1 import Request, Response
from rollguard.localfly.http1_server import Answer, HangUpError

CONTROL = "/local/v1/faults"
FAULTS_MAX = 100
HANG_S_MAX = 600.0
DEEDS = frozenset({"pass", "hang", "drop", "drop-after"})
JSON = ("content-type", "application/json")


@dataclass(slots=True, kw_only=True)
class Fault:
    """One line of the script. `times` counts down; None is never used up."""

    do: str
    times: int | None = 1
    method: str = ""
    path: str = ""
    body: Any = None
    retry_after_s: float | None = None

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The fault a dict describes. TypeError, ValueError on nonsense."""
        fault = cls(**{**data, "do": str(data.get("do"))})
        if fault.do not in DEEDS and not (fault.do.isascii() and fault.do.isdigit() and 200 <= int(fault.do) <= 599):
            raise ValueError(f"do must be a status or one of {', '.join(sorted(DEEDS))}, not {fault.do!r}")
        if fault.times is not None and (not isinstance(fault.times, int) or fault.times < 1):
            raise ValueError("times must be 1 or more, or null")
        if not isinstance(fault.method, str) or not isinstance(fault.path, str):
            raise TypeError("method and path must be texts")
        if not isinstance(fault.retry_after_s, int | float | None):
            raise TypeError("retry_after_s must be a number")
        return fault

    def is_for(self, request: Request) -> bool:
        """Whether it is still there, and for this request."""
        return self.times != 0 and self.method in ("", request.method) and request.path.startswith(self.path)

    def response(self) -> Response:
        """What a status is answered with."""
        body = {"message": "a scripted fault"} if self.body is None else self.body
        wait = [] if self.retry_after_s is None else [("retry-after", f"{self.retry_after_s:g}")]
        return Response(int(self.do), json.dumps(body).encode(), [JSON, *wait])


class FaultScript:
    """Stands between the wire and `inner`. Only paths that begin with `covers` can go wrong."""

    def __init__(self, inner: Answer, *, covers: str = "/") -> None:
        self._inner = inner
        self._covers = covers
        self._faults: tuple[Fault, ...] = ()
        self._changed = asyncio.Event()

    def play(self, faults: tuple[Fault, ...]) -> None:
        """A new script, from its beginning; who hangs on the old one is cut off."""
        self._faults = faults
        self._changed.set()
        self._changed = asyncio.Event()

    async def answer(self, request: Request) -> Response:
        """The answer the script allows. Raises HangUpError where the connection is to be cut."""
        if request.path == CONTROL:
            return self._control(request)
        fault = self._next(request)
        if fault is None or fault.do == "pass":
            return await self._inner(request)
        if fault.do.isdigit():
            return fault.response()
        if fault.do == "drop-after":
            await self._inner(request)
        if fault.do == "hang":
            await self._until_changed()
        raise HangUpError

    def _next(self, request: Request) -> Fault | None:
        if not request.path.startswith(self._covers):
            return None
        fault = next((fault for fault in self._faults if fault.is_for(request)), None)
        if fault is not None and fault.times is not None:
            fault.times -= 1
        return fault

    async def _until_changed(self) -> None:
        changed = self._changed
        try:
            async with asyncio.timeout(HANG_S_MAX):
                await changed.wait()
        except TimeoutError:
            return

    def _control(self, request: Request) -> Response:
        """``GET`` shows what is left of the script."""
        if request.method == "POST":
            try:
                listed = json.loads(request.body)["faults"]
                self.play(tuple(Fault.from_json(each) for each in listed[:FAULTS_MAX]))
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                return _said(422, {"error": f"{type(error).__name__}: {error}"})
        return _said(200, {"faults": [asdict(fault) for fault in self._faults if fault.times != 0]})


def _said(status: int, body: Mapping[str, Any]) -> Response:
    return Response(status, json.dumps(body).encode(), [JSON])
