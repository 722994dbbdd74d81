"""A transport that answers from a script and remembers what it was asked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rollguard.ports import HttpAnswer


@dataclass(frozen=True)
class Asked:
    """One request as it was sent."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes


@dataclass
class RecordedTransport:
    """``ports.Transport`` with the same answer for everything."""

    status: int = 202
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b"{}"
    asked: list[Asked] = field(default_factory=list)

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout_s: float = 10.0,
        max_bytes: int = 1 << 20,
    ) -> HttpAnswer:
        self.asked.append(Asked(method, url, dict(headers or {}), body or b""))
        return HttpAnswer(self.status, self.headers, self.body)
