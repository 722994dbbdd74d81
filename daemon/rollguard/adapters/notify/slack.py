"""Messages by a Slack bot: one message an incident, everything after it in its thread."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from rollguard.adapters.http import excerpt
from rollguard.adapters.notify.answers import must_be_taken, secret_of
from rollguard.core.channels import Slack
from rollguard.core.pages import Kind, Page, Severity
from rollguard.errors import GuardError, Refused, Unavailable
from rollguard.ports import Transport

KINDS = frozenset({Kind.ALERT, Kind.ACKNOWLEDGE, Kind.FOLLOW_UP})
TIMEOUT_S = 10.0
TEXT_CHARS_MAX = 3000
"""Of one section; Slack's own limit."""
SECTIONS_MAX = 20
BAD_FORM = frozenset({"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long", "no_text"})
GONE = frozenset({"thread_not_found", "message_not_found", "cannot_reply_to_message"})
"""The thread is not there any more: a new message begins a new one."""

_SIGNS = {Severity.CRITICAL: "🔴", Severity.ERROR: "🟠", Severity.WARNING: "🟡", Severity.INFO: "🔵"}


class SlackSays(Unavailable):
    """Slack's word for what is wrong, under HTTP 200. Whatever it is, a person can mend it while the message waits."""

    def __init__(self, word: str, channel: str) -> None:
        super().__init__(f"{channel} says {excerpt(word, 60)}")
        self.word = word


class SlackNotifier:
    """``ports.Notifier`` of one channel. ``thread`` is ``CHANNEL:TS`` of the message that began the incident.

    The reply in the thread is what is delivered; the first message is changed to show how it stands now as well as
    that goes. After a crash between Slack's answer and ours a reply may come twice.
    """

    def __init__(self, name: str, settings: Slack, transport: Transport, environ: Mapping[str, str]) -> None:
        self.name = name
        self.kinds = KINDS
        self._settings, self._transport, self._environ = settings, transport, environ

    async def send(self, page: Page, thread: str = "") -> str:
        """See ``ports.Notifier``."""
        channel, _, root = thread.partition(":")
        if root:
            try:
                await self._post(page, channel, root)
            except SlackSays as error:
                if error.word not in GONE:
                    raise
            else:
                await self._show_state(page, channel, root)
                return thread
        answer = await self._post(page, self._settings.channel, "")
        return f"{_word(answer, 'channel')}:{_word(answer, 'ts')}"

    async def _post(self, page: Page, channel: str, root: str) -> Mapping[str, Any]:
        """Post, without its finery where Slack does not like that: the words are what counts."""
        message = message_of(page) | {"channel": channel} | ({"thread_ts": root} if root else {})
        try:
            return await self._call("chat.postMessage", message)
        except SlackSays as error:
            if error.word not in BAD_FORM:
                raise
        return await self._call("chat.postMessage", {k: v for k, v in message.items() if k != "blocks"})

    async def _show_state(self, page: Page, channel: str, root: str) -> None:
        """The first message shows how it stands now. Best effort: what people need to know is in the thread."""
        try:
            await self._call("chat.update", message_of(page) | {"channel": channel, "ts": root})
        except GuardError:
            return

    async def _call(self, method: str, message: Mapping[str, Any]) -> Mapping[str, Any]:
        token = secret_of(self._settings.token, self._environ)
        answer = await self._transport.request(
            "POST",
            f"{self._settings.url.rstrip('/')}/{method}",
            headers={"Content-Type": "application/json; charset=utf-8", "Authorization": f"Bearer {token}"},
            body=json.dumps(message).encode(),
            timeout_s=TIMEOUT_S,
        )
        must_be_taken(answer, self.name, (200,))
        try:
            said = json.loads(answer.body)
        except (ValueError, RecursionError):
            said = None
        if not isinstance(said, dict):
            raise Unavailable(f"{self.name} did not answer with JSON")
        if said.get("ok") is not True:
            raise SlackSays(str(said.get("error") or "nothing"), self.name)
        return said


def message_of(page: Page) -> dict[str, Any]:
    """The page as a message. Everything that is not ours is plain text: no mention, no link, no formatting in it."""
    sign = "✅" if page.resolve else "👤" if page.kind is Kind.ACKNOWLEDGE else _SIGNS[page.severity]
    words = f"{sign} {page.summary}"
    lines = "\n".join(f"{name}: {text}" for name, text in page.details)
    sections = [_section(words), *(_section(part) for part in _parts(lines))][:SECTIONS_MAX]
    if page.link.startswith(("https://", "http://")) and not set(page.link) & set("<>|"):
        sections.append({"type": "context", "elements": [{"type": "mrkdwn", "text": f"<{page.link}|What to do>"}]})
    return {"text": _escaped(words[:TEXT_CHARS_MAX]), "blocks": sections, "unfurl_links": False, "unfurl_media": False}


def _section(words: str) -> dict[str, Any]:
    text = words if len(words) <= TEXT_CHARS_MAX else words[: TEXT_CHARS_MAX - 1] + "…"
    return {"type": "section", "text": {"type": "plain_text", "text": text or "…", "emoji": False}}


def _parts(lines: str) -> list[str]:
    """The text in pieces of whole lines that each fit into a section."""
    parts: list[str] = []
    for line in lines.split("\n"):
        if parts and len(parts[-1]) + len(line) + 1 <= TEXT_CHARS_MAX:
            parts[-1] += "\n" + line
        elif line:
            parts.append(line)
    return parts


def _escaped(words: str) -> str:
    """What Slack would otherwise take for a mention, a link or an entity."""
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _word(answer: Mapping[str, Any], name: str) -> str:
    found = answer.get(name)
    if not isinstance(found, str) or not found or len(found) > 100 or ":" in found:
        raise Refused(f"slack answered without a usable {name}: the message was posted, its thread is not known")
    return found
