"""A transport whose answers are a function of the request, and that remembers every request."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlsplit

from rollguard.errors import GuardError
from rollguard.ports import HttpAnswer


@dataclass(frozen=True)
class Asked:
    """One request as it was sent."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    timeout_s: float
    max_bytes: int

    @property
    def path(self) -> str:
        return urlsplit(self.url).path

    @property
    def query(self) -> dict[str, str]:
        return {name: values[0] for name, values in parse_qs(urlsplit(self.url).query).items()}

    @property
    def json(self) -> Any:
        return json.loads(self.body)


Script = Callable[[Asked], HttpAnswer | GuardError]


@dataclass
class ScriptedTransport:
    """``ports.Transport`` that asks ``script`` for each answer; an error in its place is raised."""

    script: Script
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
        asked = Asked(method, url, dict(headers or {}), body or b"", timeout_s, max_bytes)
        self.asked.append(asked)
        answer = self.script(asked)
        if isinstance(answer, GuardError):
            raise answer
        return answer


def says(document: Any = None, status: int = 200, **headers: str) -> HttpAnswer:
    """An answer with a JSON body; bytes are taken as they are."""
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    return HttpAnswer(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)
