"""What goes wrong between a guard and its world: lost and late messages, outages, clocks, disks, other people."""

from __future__ import annotations

import asyncio
import json
import math
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from rollguard.errors import JournalError, Unavailable
from rollguard.localfly.messages import ApiResponse
from tests.virtual_time import wall_clock

_MACHINE = r"/v1/apps/[^/]+/machines/[^/?]+"
_KINDS: tuple[tuple[str, str, str], ...] = (
    ("list", "GET", r"/v1/apps/[^/]+/machines"),
    ("get", "GET", _MACHINE),
    ("update", "POST", _MACHINE),
    ("wait", "GET", _MACHINE + "/wait"),
    ("lease get", "GET", _MACHINE + "/lease"),
    ("lease", "POST", _MACHINE + "/lease"),
    ("lease release", "DELETE", _MACHINE + "/lease"),
    ("row create", "POST", "/api/v1/releases"),
    ("row patch", "PATCH", "/api/v1/releases/[^/]+"),
)
_QUERIES = {"releasesUnprocessed": "rows", "currentReleaseUnprocessed": "definition", "image(ref": "image"}
KINDS = (*(kind for kind, _, _ in _KINDS), "lease refresh", *_QUERIES.values())
"""Every kind of request that a guard sends to the platform."""
WRITES = frozenset({"update", "lease", "lease refresh", "lease release", "row create", "row patch"})


def kind_of(method: str, url: str, headers: Mapping[str, str], body: bytes) -> str:
    """Which of ``KINDS`` a request is."""
    path = "/" + url.split("://", 1)[-1].partition("/")[2].partition("?")[0]
    if path == "/graphql":
        query = json.loads(body)["query"]
        return next(kind for word, kind in _QUERIES.items() if word in query)
    kind = next((kind for kind, verb, pattern in _KINDS if verb == method and re.fullmatch(pattern, path)), "other")
    return "lease refresh" if kind == "lease" and "fly-machine-lease-nonce" in headers else kind


@dataclass(slots=True, kw_only=True)
class Fault:
    """Meets requests of ``kinds`` (all when empty) ``where`` is in the address, ``times`` times, before ``until``.

    ``status`` None and ``lost``: no answer ever comes. ``takes_effect``: the world changes all the same. ``act`` is
    called when the request is about to arrive. ``late_s``: how much longer the message is on its way.
    """

    kinds: frozenset[str] = frozenset()
    where: str = ""
    times: float = 1
    skip: int = 0
    until: float = math.inf
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    lost: bool = False
    takes_effect: bool = False
    late_s: float = 0.0
    act: Callable[[], Awaitable[object]] | None = None

    def meets(self, kind: str, url: str) -> bool:
        """Whether this request is met, and count it."""
        if (self.kinds and kind not in self.kinds) or self.where not in url:
            return False
        if self.skip > 0:
            self.skip -= 1
            return False
        if self.times <= 0 or asyncio.get_running_loop().time() >= self.until:
            return False
        self.times -= 1
        return True


class Trouble:
    """The faults between one stage's guards and the platform, the newest first."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.seen: list[tuple[float, str]] = []
        """Every request that a guard sent to the platform: when, and of which kind."""

    def on(self, *kinds: str, **fault: object) -> Fault:
        """Add a fault."""
        self.faults.insert(0, Fault(kinds=frozenset(kinds), **fault))  # type: ignore[arg-type]
        return self.faults[0]

    def outage(self, for_s: float, *kinds: str, status: int | None = None) -> None:
        """The interfaces answer nothing, or ``status``, from now on for that long."""
        until = asyncio.get_running_loop().time() + for_s
        self.on(*kinds, times=math.inf, until=until, status=status, lost=status is None)

    async def carry(self, kind: str, url: str, deliver: Callable[[], Awaitable[ApiResponse]]) -> ApiResponse:
        """One request on its way."""
        self.seen.append((wall_clock(), kind))
        fault = next((f for f in list(self.faults) if f.meets(kind, url)), None)
        if fault is None:
            return await deliver()
        if fault.act is not None:
            await fault.act()
        if fault.late_s:
            await asyncio.sleep(fault.late_s)
        unanswered = fault.lost or fault.status is not None
        answer = await deliver() if fault.takes_effect or not unanswered else None
        if fault.lost:
            raise Unavailable(f"connection lost: {kind}")
        if fault.status is not None:
            return ApiResponse(fault.status, dict(fault.headers), b'{"error":"out of order"}')
        assert answer is not None
        return answer


class Disk:
    """A disk that is full from the write on that ``writes_left`` counts down to."""

    def __init__(self) -> None:
        self.writes_left = math.inf
        self.failed_at: float | None = None

    def write(self) -> None:
        """Raises ``JournalError`` when it is full."""
        self.writes_left -= 1
        if self.writes_left < 0:
            self.failed_at = self.failed_at or wall_clock()
            raise JournalError("disk full")


class Watches:
    """The wall clocks of everybody in the room: ``skew_s`` is how far they were moved."""

    def __init__(self) -> None:
        self.skew_s = 0.0


class MovableClock:
    """``ports.Clock``: steady on the loop's time, beside a wall clock that can be moved."""

    def __init__(self, watches: Watches) -> None:
        self._watches = watches
        self._ahead_s = watches.skew_s

    def now(self) -> float:
        return wall_clock() + self._ahead_s

    def drift_s(self) -> float:
        return self._watches.skew_s - self._ahead_s

    def reanchor(self) -> None:
        self._ahead_s = self._watches.skew_s
