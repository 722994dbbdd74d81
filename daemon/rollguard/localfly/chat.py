"""A stand-in for Slack: ``python -m rollguard.localfly.chat --out FILE.jsonl --port 0``.

It answers ``/api/chat.postMessage``, ``/api/chat.update`` and ``/api/auth.test`` as Slack's Web API does: HTTP 200 also
for mistakes, then with ``{"ok": false, "error": …}``. It takes JSON and forms, and known tokens only (``--token``).
Each message is written down as a JSON line: ``did`` ("post" or "update"), ``channel`` (its ID), ``to`` (as it was
asked for), ``ts``, ``thread_ts``, ``text``, ``blocks``. Faults are scripted as ``fault_script`` says.
"""

from __future__ import annotations

import hashlib
import json
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rollguard.localfly import stand_in
from rollguard.localfly.http1 import Request, Response
from rollguard.localfly.stand_in import Notebook, bearer, said

TOKEN = "xoxb-local"  # noqa: S105  (no secret: the stand-in's own)
TEXT_CHARS_MAX, SECTION_CHARS_MAX = 40_000, 3_000
BLOCKS_MAX = 50
CHANNEL_ID = re.compile(r"[CDG][A-Z0-9]{8,}")
TS = re.compile(r"\d{1,12}\.\d{6}")
BOT = {"bot_id": "B0LOCALFLY", "type": "message", "subtype": "bot_message"}
ME = {
    "url": "https://local.slack.com/",
    "team": "Local",
    "team_id": "T0LOCAL",
    "user": "rollguard",
    "user_id": "U0LOCAL",
}

Asked = Mapping[str, Any]
Message = dict[str, Any]


class ChatError(Exception):
    """A mistake of the sender; the text is Slack's word for it."""


class Chat:
    """Takes messages of known tokens, in any channel, or only in those that are named."""

    def __init__(self, notebook: Notebook, *, tokens: Sequence[str] = (TOKEN,), channels: Sequence[str] = ()) -> None:
        self._notebook, self._tokens = notebook, frozenset(tokens)
        self._channels = frozenset(map(channel_id, channels))
        self._messages: dict[tuple[str, str], Message] = {}  # by channel and ts
        self._newest = 0
        self._methods: dict[str, Callable[[Asked], dict[str, Any]]] = {
            "/api/chat.postMessage": self._post,
            "/api/chat.update": self._update,
            "/api/auth.test": lambda asked: ME,
        }
        for entry in notebook.past:
            self._keep(entry)

    async def answer(self, request: Request) -> Response:
        """What Slack would answer. Never fails."""
        method = self._methods.get(request.path)
        if method is None or request.method != "POST":
            return said(200, {"ok": False, "error": "unknown_method"})
        try:
            self._admit(bearer(request))
            return said(200, {"ok": True, **method(asked_of(request))})
        except ChatError as error:
            return said(200, {"ok": False, "error": str(error)})

    def _admit(self, token: str) -> None:
        if token not in self._tokens:
            raise ChatError("invalid_auth" if token else "not_authed")

    def _post(self, asked: Asked) -> dict[str, Any]:
        to = asked.get("channel")
        if not isinstance(to, str) or not to:
            raise ChatError("channel_not_found")
        channel, thread = self._known(channel_id(to)), asked.get("thread_ts")
        if thread is not None and (channel, thread) not in self._messages:
            raise ChatError("thread_not_found")
        content = content_of(asked)
        entry = {"did": "post", "channel": channel, "to": to, "ts": self._next_ts(), "thread_ts": thread, **content}
        message = self._keep(self._notebook.write(entry))
        return {"channel": channel, "ts": message["ts"], "message": message}

    def _update(self, asked: Asked) -> dict[str, Any]:
        """Unlike a new message it wants the channel's ID, not its name."""
        channel, ts = asked.get("channel"), asked.get("ts")
        if not isinstance(channel, str) or not CHANNEL_ID.fullmatch(channel):
            raise ChatError("channel_not_found")
        before = self._messages.get((self._known(channel), str(ts)))
        if before is None:
            raise ChatError("message_not_found")
        named = {"did": "update", "channel": channel, "to": channel, "ts": ts, "thread_ts": before.get("thread_ts")}
        message = self._keep(self._notebook.write({**named, **content_of(asked)}))
        return {"channel": channel, "ts": ts, "text": message["text"], "message": message}

    def _known(self, channel: str) -> str:
        if self._channels and channel not in self._channels:
            raise ChatError("channel_not_found")
        return channel

    def _keep(self, entry: Mapping[str, Any]) -> Message:
        names = ("ts", "thread_ts", "text", "blocks")
        message = {**BOT, **{name: entry[name] for name in names if entry.get(name)}}
        self._messages[entry["channel"], entry["ts"]] = message
        self._newest = max(self._newest, int(entry["ts"].replace(".", "")))
        return message

    def _next_ts(self) -> str:
        """The moment in microseconds, and never the same twice: it is the message's name in its channel."""
        micros = max(self._newest + 1, int(time.time() * 1e6))
        return f"{micros // 1_000_000}.{micros % 1_000_000:06d}"


def channel_id(name: str) -> str:
    """The ID of the channel of that name; an ID is its own."""
    if CHANNEL_ID.fullmatch(name):
        return name
    return "C" + hashlib.sha256(name.removeprefix("#").encode()).hexdigest()[:10].upper()


def asked_of(request: Request) -> Asked:
    """The arguments of a call, from JSON or a form. Raises ChatError."""
    kind = (request.header("content-type") or "").partition(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded":
        form: dict[str, Any] = dict(request.form)
        if "blocks" in form:
            form["blocks"] = _parsed(form["blocks"], "invalid_blocks")
        return form
    if kind != "application/json":
        raise ChatError("invalid_post_type" if kind else "missing_post_type")
    asked = _parsed(request.body or b"{}", "invalid_json")
    if not isinstance(asked, dict):
        raise ChatError("json_not_object")
    return asked


def _parsed(text: str | bytes, mistake: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        raise ChatError(mistake) from None


def content_of(asked: Asked) -> dict[str, Any]:
    """Text and blocks of a message, of which there must be one. Raises ChatError."""
    text, blocks = asked.get("text") or "", asked.get("blocks") or []
    if not isinstance(text, str) or not isinstance(blocks, list) or not all(isinstance(b, dict) for b in blocks):
        raise ChatError("invalid_arguments")
    if not text and not blocks:
        raise ChatError("no_text")
    if len(text) > TEXT_CHARS_MAX:
        raise ChatError("msg_too_long")
    if len(blocks) > BLOCKS_MAX or any(_is_too_long(block) for block in blocks):
        raise ChatError("invalid_blocks")
    return {"text": text, "blocks": blocks}


def _is_too_long(block: Mapping[str, Any]) -> bool:
    text = block.get("text")
    return isinstance(text, dict) and len(str(text.get("text", ""))) > SECTION_CHARS_MAX


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = stand_in.parser("chat", "Receives messages and writes them down.")
    parser.add_argument("--token", action="append", help=f"one that is known; may be repeated; {TOKEN} without it")
    parser.add_argument("--channel", action="append", help="one that there is; may be repeated; any without it")
    args = parser.parse_args(argv)
    tokens, channels = args.token or [TOKEN], args.channel or []
    return stand_in.play(args, "chat", lambda notebook: Chat(notebook, tokens=tokens, channels=channels).answer)


if __name__ == "__main__":
    sys.exit(main())
