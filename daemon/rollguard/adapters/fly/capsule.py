"""A machine's configuration as text that may be kept and shown: every path with its value, or with a salted hash.

What may hold a secret is told only as a hash: two are equal where the values are, and the salt keeps anybody from
finding a value by guessing.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from rollguard.adapters.fly import opaque
from rollguard.adapters.http import excerpt

KEYS_MAX = 500
PATH_MAX = 160
VALUE_MAX = 200
DEPTH_MAX = 16
HASH_DIGITS = 16
NUMBER_DIGITS = 15
REST = "…"
"""The one path that stands for all that are too many: so many, and a hash of them."""

_NO_PLAIN_TEXT = re.compile(r"true|false|-?[0-9][0-9.eE+-]*|[\"#].*", re.DOTALL)

_MAY_TELL = re.compile(r"[?@=]|://")
"""In a harmless place: a query (``/health?key=…``), a user's name with a password, an assignment."""

LEFT_OUT = frozenset({"image", "metadata"})
SECRET = frozenset(
    {"env", "raw_value", "init", "headers", "cmd", "exec", "entrypoint", "command", "kernel_args", "secrets"}
)
"""Keys under which nothing is shown, at any depth."""
PLAIN = frozenset(
    {
        "auto_destroy",
        "cache_drive",
        "checks",
        "containers",
        "disable_machine_autostart",
        "dns",
        "files",
        "guest",
        "metrics",
        "mounts",
        "processes",
        "restart",
        "rootfs",
        "schedule",
        "services",
        "size",
        "spot",
        "standbys",
        "statics",
        "stop_config",
        "volumes",
    }
)
"""Top-level keys whose text is known to be harmless: under any other only numbers, true and false are shown."""


def capsule_of(config: Mapping[str, Any], salt: bytes) -> dict[str, str]:
    """``path: value`` for all of an opaque config but its image and metadata, by path.

    Null and empty lists and objects are left out: Fly takes them for absent. At most ``KEYS_MAX``
    paths; the rest is one hash.
    """
    told = sorted(
        (_bounded(path, PATH_MAX, salt), text)
        for name, value in config.items()
        if name not in LEFT_OUT
        for path, text in _flat(_key(name), value, name in SECRET, name in PLAIN, DEPTH_MAX, salt)
    )
    kept, rest = dict(told[:KEYS_MAX]), told[KEYS_MAX:]
    if rest:
        kept[REST] = f"{len(rest)} more {_hash(json.dumps(rest), salt)}"
    return kept


def _flat(path: str, value: Any, secret: bool, plain: bool, depth: int, salt: bytes) -> Iterator[tuple[str, str]]:
    if value is None or value in ({}, []):
        return
    if depth == 0:
        yield path, _hash(opaque.dump(value).decode(), salt)
    elif isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(f"{path}.{_key(name)}", inner, secret or name in SECRET, plain, depth - 1, salt)
    elif isinstance(value, list):
        for place, inner in enumerate(value):
            yield from _flat(f"{path}[{place}]", inner, secret, plain, depth - 1, salt)
    elif secret or (_is_words(value) and (not plain or _MAY_TELL.search(value))):
        yield path, _hash(_text(value), salt)
    else:
        yield path, _bounded(_text(value), VALUE_MAX, salt)


def _key(name: str) -> str:
    """A key that cannot be mistaken for two, or for a place in a list."""
    return json.dumps(name, ensure_ascii=False) if set(name) & set('.[]"') else name


def _is_words(value: Any) -> bool:
    return isinstance(value, str) and not isinstance(value, opaque.Number)


def _text(value: Any) -> str:
    """A scalar; text that looks like another kind of scalar is quoted."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = str(value) if _is_words(value) else _number(str(value))
    odd = _is_words(value) and _NO_PLAIN_TEXT.fullmatch(text)
    return json.dumps(text, ensure_ascii=False) if odd else text


def _number(text: str) -> str:
    """As short as it can be said, for 1, 1.0 and 1e0 are the same; a long one stays exactly as it is."""
    if len(text) > NUMBER_DIGITS:
        return text
    number = float(text)
    if math.isinf(number) or (number == 0 and set(text) & set("123456789")):
        return text
    return str(int(number)) if abs(number) < 10**NUMBER_DIGITS and number.is_integer() else repr(number)


def _bounded(text: str, limit: int, salt: bytes) -> str:
    """The text where it is short and printable, else as much as fits, made unmistakable by the hash of all of it."""
    if len(text) <= limit and text == excerpt(text, limit):
        return text
    return f"{excerpt(text, limit - HASH_DIGITS - 2)} {_hash(text, salt)}"


def _hash(text: str, salt: bytes) -> str:
    return "#" + hmac.new(salt, text.encode(errors="surrogatepass"), hashlib.sha256).hexdigest()[:HASH_DIGITS]
