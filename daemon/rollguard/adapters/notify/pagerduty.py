"""Pages through PagerDuty's Events API v2: a trigger opens or updates the alert of its key, a resolve closes it.

An alert is acknowledged only when a person answered the guard. The guard never acknowledges its own: later triggers
of an acknowledged key wake nobody, so a rollback that fails would be handed over to people who sleep.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from rollguard.adapters.notify.answers import must_be_taken, secret_of
from rollguard.core.channels import PagerDuty
from rollguard.core.pages import Kind, Page
from rollguard.errors import Refused
from rollguard.ports import Transport

KEY_CHARS_MAX = 255
SUMMARY_CHARS_MAX = 1024
DETAIL_NAME_CHARS_MAX = 128
DETAIL_CHARS_MAX = 1024
DETAILS_MAX = 32
"""With every character escaped at its longest this stays under the 512 KB that PagerDuty takes in one event."""
LINK_CHARS_MAX = 2048
TIMEOUT_S = 10.0
KINDS = frozenset({Kind.ALERT, Kind.ACKNOWLEDGE, Kind.CHANGE})


def kinds_of(settings: PagerDuty) -> frozenset[Kind]:
    """What this service is sent: change events only where there is an address for them."""
    return KINDS if settings.change_url else KINDS - {Kind.CHANGE}


class PagerDutyNotifier:
    """``ports.Notifier`` of one PagerDuty service. The routing key is read anew for each page."""

    def __init__(self, name: str, settings: PagerDuty, transport: Transport, environ: Mapping[str, str]) -> None:
        self.name = name
        self.kinds = kinds_of(settings)
        self._settings, self._transport, self._environ = settings, transport, environ

    async def send(self, page: Page, thread: str = "") -> str:
        """See ``ports.Notifier``. PagerDuty drops repeats of one page by its key."""
        settings, is_change = self._settings, page.kind is Kind.CHANGE
        if page.kind not in self.kinds:
            raise Refused(f"{self.name} has no form for {page.kind} any more")
        routing_key = secret_of(settings.routing_key, self._environ)
        event = change_of(page, routing_key) if is_change else event_of(page, routing_key)
        answer = await self._transport.request(
            "POST",
            settings.change_url if is_change else settings.url,
            headers={"Content-Type": "application/json", "Accept": "application/json"},
            body=json.dumps(event).encode(),
            timeout_s=TIMEOUT_S,
        )
        must_be_taken(answer, self.name, (202,))
        return ""


def event_of(page: Page, routing_key: str) -> dict[str, Any]:
    """The page as an event of PagerDuty's API, every part within its limits."""
    event: dict[str, Any] = {"routing_key": routing_key, "dedup_key": dedup_key(page.key)}
    if page.kind is Kind.ACKNOWLEDGE:
        return event | {"event_action": "acknowledge"}
    if page.resolve:
        return event | {"event_action": "resolve"}
    event |= {
        "event_action": "trigger",
        "client": "rollguard",
        "payload": {
            "summary": cut(page.summary, SUMMARY_CHARS_MAX) or "rollguard pages without a word",
            "source": page.target,
            "severity": page.severity.value,
            "class": "release",
            "custom_details": _details(page),
            **_timestamp(page),
        },
    }
    if links := _links(page):
        event |= {"client_url": page.link, "links": links}
    return event


def change_of(page: Page, routing_key: str) -> dict[str, Any]:
    """The page as a change event: something that was done, shown beside incidents; it wakes nobody."""
    event: dict[str, Any] = {
        "routing_key": routing_key,
        "payload": {
            "summary": cut(page.summary, SUMMARY_CHARS_MAX) or "a change without a word",
            "source": page.target,
            "custom_details": _details(page),
            **_timestamp(page),
        },
    }
    return event | {"links": _links(page)} if _links(page) else event


def _links(page: Page) -> list[dict[str, str]]:
    sound = page.link.startswith(("https://", "http://")) and len(page.link) <= LINK_CHARS_MAX
    return [{"href": page.link, "text": "What to do"}] if sound else []


def dedup_key(key: str) -> str:
    """The key as it is, or, where it is too long, its beginning and a hash of all of it."""
    if len(key) <= KEY_CHARS_MAX:
        return key
    digest = hashlib.sha256(key.encode(errors="replace")).hexdigest()
    return f"{key[: KEY_CHARS_MAX - len(digest) - 1]}-{digest}"


def cut(text: str, chars_max: int) -> str:
    """The text, with an ellipsis for what is over ``chars_max``."""
    return text if len(text) <= chars_max else text[: chars_max - 1] + "…"


def _details(page: Page) -> dict[str, str]:
    details: dict[str, str] = {}
    for long_name, text in page.details[:DETAILS_MAX]:
        name = cut(long_name, DETAIL_NAME_CHARS_MAX)
        details[name] = f"{details[name]}\n{text}" if name in details else text
    return {name: cut(text, DETAIL_CHARS_MAX) for name, text in details.items()}


def _timestamp(page: Page) -> dict[str, str]:
    return {"timestamp": datetime.fromtimestamp(page.at, UTC).isoformat(timespec="milliseconds")} if page.at else {}
