"""Slack, GitHub, PagerDuty and a webhook's receiver in one process, behind ``ports.Transport``: no socket, no wait.

They are the stand-ins of the local platform, so what they take and refuse is what the real ones take and refuse.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from rollguard.core.channels import Channel, GitHubIssue, PagerDuty, Slack, Webhook
from rollguard.core.policy import Policy, Target
from rollguard.core.signals import SecretRef
from rollguard.localfly import chat, hub
from rollguard.localfly.http1 import Request, Response
from rollguard.localfly.pager import Pager
from rollguard.localfly.stand_in import Notebook
from rollguard.ports import HttpAnswer

REPO = "acme/shop"
LABELS = ("production", "monitoring", "automated", "priority:high")
PAGER = PagerDuty(
    routing_key=SecretRef(env="PD_KEY"),
    url="https://pager.test/v2/enqueue",
    change_url="https://pager.test/v2/change/enqueue",
)
SLACK = Slack(token=SecretRef(env="SLACK"), channel="#engineering", url="https://chat.test/api")
GITHUB = GitHubIssue(token=SecretRef(env="GITHUB"), repo=REPO, labels=LABELS, url="https://hub.test")
HOOK = Webhook(url="https://hook.test/in", secret=SecretRef(env="HOOK"))
ENVIRON = {
    "PD_KEY": "r" * 32,
    "SLACK": chat.TOKEN,
    "GITHUB": hub.TOKEN,
    "HOOK": f"whsec_{base64.b64encode(b'shared').decode()}",
}
ANSWERS = 1 << 20


def policy_of(*channels: Channel) -> Policy:
    """A policy that tells these."""
    return Policy(
        target=Target(name="shop", app="shop", token=SecretRef(env="TOKEN")), signals=(), rules=(), page=channels
    )


@dataclass
class Town:
    """Everybody who may be told. ``meet`` is called with each request before it arrives and with each answer that is
    on its way back (then the answer is given): it may wait, raise, or return an answer in place of the real one.
    """

    meet: Callable[[str, str, HttpAnswer | None], Awaitable[HttpAnswer | None]] | None = None
    asked: list[tuple[str, str, dict[str, str], Any]] = field(default_factory=list)
    hooked: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._files = {name: io.StringIO() for name in ("pages", "changes", "chat", "hub")}
        books = {name: Notebook(file) for name, file in self._files.items()}
        self._who = {
            "pager.test": Pager(books["pages"], books["changes"]).answer,
            "chat.test": chat.Chat(books["chat"]).answer,
            "hub.test": hub.Hub(books["hub"]).answer,
            "hook.test": self._hook,
        }

    def written(self, name: str) -> list[dict[str, Any]]:
        """What "pages", "changes", "chat" or "hub" took."""
        return [json.loads(line) for line in self._files[name].getvalue().splitlines()]

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout_s: float = 10.0,
        max_bytes: int = ANSWERS,
    ) -> HttpAnswer:
        parts = urlsplit(url)
        host = parts.hostname or ""
        named = {"user-agent": "test", "host": host, **{k.lower(): v for k, v in (headers or {}).items()}}
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        self.asked.append((method, url, named, json.loads(body) if body else None))
        if self.meet is not None and (instead := await self.meet(method, url, None)):
            return instead
        said = await self._who[host](Request(method, target, list(named.items()), body or b""))
        answer = HttpAnswer(said.status, dict(said.headers), said.body)
        return (self.meet is not None and await self.meet(method, url, answer)) or answer

    async def _hook(self, request: Request) -> Response:
        self.hooked.append((request.header("webhook-id") or "", json.loads(request.body)))
        await asyncio.sleep(0)
        return Response(204, b"")
