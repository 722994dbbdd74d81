"""Pages as signed webhooks (Standard Webhooks v1), for receivers that are not a pager."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime

from rollguard.adapters.notify.answers import must_be_taken, secret_of
from rollguard.core.channels import Webhook
from rollguard.core.pages import Kind, Page
from rollguard.core.signing import sign
from rollguard.errors import Unavailable
from rollguard.ports import Transport

BODY_VERSION = 1
TIMEOUT_S = 10.0
KINDS = frozenset(Kind)


class WebhookNotifier:
    """``ports.Notifier`` of one address. The secret is read anew for each page."""

    def __init__(
        self,
        name: str,
        settings: Webhook,
        transport: Transport,
        environ: Mapping[str, str],
        now: Callable[[], float] = time.time,
    ) -> None:
        self.name = name
        self.kinds = KINDS
        self._settings, self._transport, self._environ, self._now = settings, transport, environ, now

    async def send(self, page: Page, thread: str = "") -> str:
        """See ``ports.Notifier``. The receiver knows repeats of one page by their ``webhook-id``."""
        now = self._now()
        message, body = message_id(page), body_of(page)
        keys = signing_keys(secret_of(self._settings.secret, self._environ))
        headers = {
            "Content-Type": "application/json",
            "webhook-id": message,
            "webhook-timestamp": str(int(now)),
            "webhook-signature": " ".join(sign(key, message, int(now), body) for key in keys),
        }
        try:
            answer = await self._transport.request(
                "POST", self._settings.url, headers=headers, body=body, timeout_s=TIMEOUT_S
            )
        except Unavailable as error:  # its sentence names the path, and many receivers' paths are secrets
            cause = str(error).partition(": ")[0]
            raise Unavailable(f"{cause}: {self.name}", retry_after_s=error.retry_after_s) from None
        must_be_taken(answer, self.name, range(200, 300))
        return ""


def body_of(page: Page) -> bytes:
    """The page as versioned JSON: ``type`` says what it is (see ``type_of``), all else stands under ``data``."""
    return json.dumps(
        {
            "version": BODY_VERSION,
            "type": type_of(page),
            "timestamp": _stamp(page.at),
            "data": {
                "key": page.key,
                "target": page.target,
                "summary": page.summary,
                "severity": page.severity.value,
                "details": [{"name": name, "text": text} for name, text in page.details],
                "link": page.link,
                **({"text": page.text} if page.text else {}),
                **({"due": _stamp(page.due_at)} if page.due_at is not None else {}),
            },
        },
        separators=(",", ":"),
    ).encode()


def type_of(page: Page) -> str:
    """``page.opened``, ``page.resolved``, ``page.acknowledged``, ``change.recorded`` or ``follow_up.opened``."""
    if page.kind is Kind.ALERT:
        return "page.resolved" if page.resolve else "page.opened"
    return {Kind.ACKNOWLEDGE: "page.acknowledged", Kind.CHANGE: "change.recorded"}.get(page.kind, "follow_up.opened")


def _stamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="milliseconds")


def message_id(page: Page) -> str:
    """The same for every attempt at one page, in every life of the guard; different for any other page."""
    kind = [] if page.kind is Kind.ALERT else [page.kind]
    parts = json.dumps([page.key, page.at, page.summary, page.resolve, *kind])
    return f"msg_{hashlib.sha256(parts.encode()).hexdigest()[:32]}"


def signing_keys(secret: str) -> list[bytes]:
    """The keys in ``secret``: one, or while rotating several with spaces between, each ``whsec_`` and base64.

    Raises ``Unavailable`` for anything else, without showing it: a person can mend it while the page waits.
    """
    try:
        keys = [base64.b64decode(part.removeprefix("whsec_"), validate=True) for part in secret.split()]
    except (binascii.Error, ValueError):
        keys = []
    if not keys or not all(keys):
        raise Unavailable("the webhook's secret is not base64 (it looks like whsec_…): set the one the receiver shows")
    return keys
