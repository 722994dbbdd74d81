"""One request to GitHub's REST interface, and how long its limits ask to wait."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

from rollguard.adapters.http import retry_after_s, server_now
from rollguard.ports import HttpAnswer, Transport

API_VERSION = "2022-11-28"
TIMEOUT_S = 10.0
WAIT_S = 60.0
"""What GitHub asks for where a limit is hit and it does not say until when."""


async def request(
    transport: Transport, method: str, url: str, repo: str, path: str, token: str, body: Any, max_bytes: int
) -> HttpAnswer:
    """Ask ``url`` about ``repo`` (``owner/name``); any status is an answer. Raises as ``ports.Transport``."""
    where = "/".join(quote(part, safe="") for part in repo.split("/"))
    return await transport.request(
        method,
        f"{url.rstrip('/')}/repos/{where}{path}",
        headers={
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": API_VERSION,
            "Authorization": f"Bearer {token}",
            "Content-Type": "application/json",
        },
        body=None if body is None else json.dumps(body).encode(),
        timeout_s=TIMEOUT_S,
        max_bytes=max_bytes,
    )


def wait_of(answer: HttpAnswer) -> float | None:
    """The seconds until GitHub's limits let us in again; None where it is not a limit that stops us."""
    asked = retry_after_s(answer.headers)
    if asked is not None:
        return asked
    if answer.headers.get("x-ratelimit-remaining") == "0":
        until = answer.headers.get("x-ratelimit-reset", "")
        if until.isascii() and until.isdecimal():
            return max(float(until[:12]) - server_now(answer.headers), 1.0)
        return WAIT_S
    return WAIT_S if answer.status == 429 or b"secondary rate limit" in answer.body else None
