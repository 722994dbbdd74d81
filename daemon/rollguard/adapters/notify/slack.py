"""Messages by a Slack bot: one message an incident, everything after it in its thread."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

from rollguard.adapters.http import excerpt, retry_after_s
from rollguard.adapters.notify.answers import must_be_taken, secret_of
from rollguard.core import text
from rollguard.core.channels import Slack
from rollguard.core.pages import Kind, Page, Severity
from rollguard.errors import GuardError, Refused, Unavailable
from rollguard.ports import HttpAnswer, Transport

KINDS = frozenset({Kind.ALERT, Kind.ACKNOWLEDGE, Kind.FOLLOW_UP})
POST_S, UPDATE_S = 6.0, 3.0
"""Together less than a send may take: a slow update must not have the reply before it sent again."""
TEXT_CHARS_MAX = 3000
"""Of one section; Slack's own limit, which counts characters beyond the basic plane twice."""
SECTIONS_MAX = 20
BEGAN_CHARS_MAX = 300
BAD_FORM = frozenset({"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long", "no_text"})
GONE = frozenset({"thread_not_found", "message_not_found", "cannot_reply_to_message"})
"""The thread is not there any more: a new message begins a new one."""

PLAIN = {"mrkdwn": False, "unfurl_links": False, "unfurl_media": False}

_SIGNS = {Severity.CRITICAL: "🔴", Severity.ERROR: "🟠", Severity.WARNING: "🟡", Severity.INFO: "🔵"}
_ADVICE = {
    "channel_not_found": "is there such a channel, and was the bot invited to it?",
    "not_in_channel": "invite the bot to the channel",
    "is_archived": "the channel is archived",
    "invalid_auth": "set the token of the bot (xoxb-…)",
    "not_authed": "set the token of the bot (xoxb-…)",
    "token_revoked": "set a new token of the bot",
    "token_expired": "set a new token of the bot",
    "account_inactive": "the bot was removed: install it again",
    "missing_scope": "the bot needs chat:write",
}


class SlackSays(Unavailable):
    """Slack's word for what is wrong, under HTTP 200. Most of it a person can mend while the message waits."""

    def __init__(self, word: str, channel: str, wait_s: float | None) -> None:
        advice = f" ({_ADVICE[word]})" if word in _ADVICE else ""
        super().__init__(f"{channel} says {excerpt(word, 60)}{advice}", retry_after_s=wait_s)
        self.word = word


class Thread(NamedTuple):
    """Where an incident's messages stand, and how it began: kept as ``CHANNEL:TS:when it began, and with what``."""

    channel: str
    ts: str
    began: str

    @classmethod
    def of(cls, name: str) -> Thread | None:
        """The thread that ``name`` names; None for what names none."""
        channel, _, rest = name.partition(":")
        ts, _, began = rest.partition(":")
        return cls(channel, ts, began) if channel and ts else None


class SlackNotifier:
    """``ports.Notifier`` of one channel.

    The reply in the thread is what is delivered; after it, the first message is changed to show how it stands now, as
    well as that goes. After a crash between Slack's answer and ours a message may come twice, and no more than that.
    """

    def __init__(self, name: str, settings: Slack, transport: Transport, environ: Mapping[str, str]) -> None:
        self.name = name
        self.kinds = KINDS
        self._settings, self._transport, self._environ = settings, transport, environ

    async def send(self, page: Page, thread: str = "") -> str:
        """See ``ports.Notifier``."""
        known = Thread.of(thread)
        if known is not None:
            try:
                await self._post(message_of(page) | {"channel": known.channel, "thread_ts": known.ts})
            except SlackSays as error:
                if error.word not in GONE:
                    raise
            else:
                await self._show_state(page, known)
                return thread
        if page.kind is Kind.ACKNOWLEDGE:
            return ""  # of something that was never said here
        said = await self._post(message_of(page) | {"channel": self._settings.channel})
        channel, ts = _word(said, "channel"), _word(said, "ts")
        began = f"{text.clock(page.at)} {text.one_line(page.summary, BEGAN_CHARS_MAX)}"
        return ":".join(Thread(channel, ts, began)) if channel and ts else ""

    async def _post(self, message: dict[str, Any]) -> Mapping[str, Any]:
        """Post, without its finery where Slack does not like that: the words are what counts."""
        message = PLAIN | message
        try:
            return await self._call("chat.postMessage", message, POST_S)
        except SlackSays as error:
            if error.word not in BAD_FORM:
                raise
        try:
            return await self._call("chat.postMessage", {k: v for k, v in message.items() if k != "blocks"}, POST_S)
        except SlackSays as error:
            if error.word not in BAD_FORM:
                raise
            raise Refused(str(error)) from None

    async def _show_state(self, page: Page, thread: Thread) -> None:
        """The first message shows how it stands now. Best effort: what people need to know is in the thread."""
        message = message_of(page, thread.began) | {"channel": thread.channel, "ts": thread.ts}
        try:
            await self._call("chat.update", message, UPDATE_S)
        except GuardError:
            return

    async def _call(self, method: str, message: Mapping[str, Any], timeout_s: float) -> Mapping[str, Any]:
        token = secret_of(self._settings.token, self._environ)
        answer = await self._transport.request(
            "POST",
            f"{self._settings.url.rstrip('/')}/{method}",
            headers={"Content-Type": "application/json; charset=utf-8", "Authorization": f"Bearer {token}"},
            body=json.dumps(message).encode(),
            timeout_s=timeout_s,
        )
        must_be_taken(answer, self.name, (200,))
        return _said(answer, self.name)


def message_of(page: Page, began: str = "") -> dict[str, Any]:
    """The page as a message. Everything that is not ours is plain text: no mention, no link, no formatting in it.

    ``began`` is how the incident began, where the message is not its first one.
    """
    sign = "✅" if page.resolve else "👤" if page.kind is Kind.ACKNOWLEDGE else _SIGNS[page.severity]
    words = f"{sign} {page.summary}"
    lines = "\n".join(f"{name}: {value}" for name, value in page.details)
    blocks = [_section(part) for part in (*_parts(words), *_parts(lines))][:SECTIONS_MAX]
    if began:
        blocks.append(_context("plain_text", f"It began {began}"))
    if page.link.startswith(("https://", "http://")) and not set(page.link) & set("<>| \n"):
        blocks.append(_context("mrkdwn", f"<{_escaped(page.link)}|What to do>"))
    return {"text": _escaped(words[:TEXT_CHARS_MAX]), "blocks": blocks, "parse": "none"}


def _section(words: str) -> dict[str, Any]:
    return {"type": "section", "text": {"type": "plain_text", "text": words, "emoji": False}}


def _context(kind: str, words: str) -> dict[str, Any]:
    return {"type": "context", "elements": [{"type": kind, "text": words}]}


def _parts(lines: str) -> list[str]:
    """The text in pieces of whole lines that each fit into a section."""
    parts: list[list[str]] = []
    room = 0
    for line in map(_cut, lines.split("\n")):
        needed = _length(line) + 1
        if needed > room and line:
            parts.append([line])
            room = TEXT_CHARS_MAX - needed
        elif needed <= room:
            parts[-1].append(line)
            room -= needed
    return ["\n".join(part) for part in parts]


def _cut(line: str) -> str:
    """At most as much as fits into a section."""
    if _length(line) <= TEXT_CHARS_MAX:
        return line
    return line[: TEXT_CHARS_MAX // 2 - 1] + "…"


def _length(words: str) -> int:
    """As Slack counts: in UTF-16."""
    return len(words) + sum(char > "\uffff" for char in words)


def _escaped(words: str) -> str:
    """What Slack would otherwise take for a mention, a link or an entity."""
    return words.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _said(answer: HttpAnswer, name: str) -> Mapping[str, Any]:
    """What Slack said. Raises ``Unavailable`` for what is not its yes."""
    try:
        said = json.loads(answer.body)
    except (ValueError, RecursionError):
        said = None
    if not isinstance(said, dict):
        raise Unavailable(f"{name} did not answer with JSON")
    if said.get("ok") is not True:
        raise SlackSays(str(said.get("error") or "nothing"), name, retry_after_s(answer.headers))
    return said


def _word(said: Mapping[str, Any], name: str) -> str:
    """One of Slack's names for things; empty where it is not usable: then nothing can be added to the message."""
    found = said.get(name)
    return found if isinstance(found, str) and 0 < len(found) <= 100 and ":" not in found else ""
