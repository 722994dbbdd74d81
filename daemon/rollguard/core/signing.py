"""Signatures of Standard Webhooks v1, for what the guard sends and for what it is sent.

Signed is ``id.timestamp.body``, with HMAC-SHA256. Nothing here tells, not even by its duration, how wrong a guess was.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
from collections.abc import Iterable

from rollguard.errors import Refused

PREFIX = "whsec_"
KEYS_MAX = 4
KEY_BYTES_MIN = 16
SIGNATURES_MAX = 16
TOLERANCE_S = 300.0
"""How far the seconds of a signature may be from ours, either way; a repeat within them is known by its ID."""

_ID = re.compile(r"[A-Za-z0-9_-]{1,128}")
_SECONDS = re.compile(r"[0-9]{1,12}")


def sign(key: bytes, message: str, timestamp: int, body: bytes) -> str:
    """The signature over the ID, the seconds of this attempt, and the body."""
    digest = hmac.digest(key, b"%s.%d.%s" % (message.encode(), timestamp, body), "sha256")
    return f"v1,{base64.b64encode(digest).decode()}"


def verify(keys: Iterable[bytes], message: str, timestamp: int, body: bytes, signatures: str) -> bool:
    """Whether one of these, with spaces between, is by one of the keys. Looks at ``SIGNATURES_MAX`` of them."""
    given = [one.encode(errors="surrogateescape") for one in signatures.split()[:SIGNATURES_MAX]]
    mine = [sign(key, message, timestamp, body).encode() for key in keys]
    return _any_equal(mine, given)


def envelope(message: str, timestamp: str, now: float) -> tuple[str, int] | None:
    """The ID and the seconds of a message, or None for what cannot be either or is not of now.

    An ID has no full stop, or it and the body could be cut in another place under the same signature.
    """
    if not _ID.fullmatch(message) or not _SECONDS.fullmatch(timestamp):
        return None
    return (message, int(timestamp)) if abs(now - int(timestamp)) <= TOLERANCE_S else None


def keys_of(secret: str) -> tuple[bytes, ...]:
    """The keys in a secret: one, or while rotating several with spaces between.

    What begins with ``whsec_`` is base64, anything else is the key as it stands. Raises ``Refused``, which shows none.
    """
    keys = tuple(map(_key, secret.split()))
    if not 0 < len(keys) <= KEYS_MAX:
        raise Refused(f"it holds {len(keys)} keys: one, or up to {KEYS_MAX} with spaces between while rotating")
    if min(map(len, keys)) < KEY_BYTES_MIN:
        raise Refused(f"it holds a key of less than {KEY_BYTES_MIN} bytes: make one with `openssl rand -hex 32`")
    return keys


def is_bearer(secret: str, token: str) -> bool:
    """Whether ``token`` is one of those in ``secret``, each as it is written there."""
    return _any_equal([part.encode() for part in secret.split()], [token.encode(errors="surrogateescape")])


def _key(part: str) -> bytes:
    if not part.startswith(PREFIX):
        return part.encode()
    try:
        return base64.b64decode(part.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise Refused(f"what follows {PREFIX} in it is not base64") from None


def _any_equal(mine: list[bytes], given: list[bytes]) -> bool:
    """Compares every pair to its end, found or not."""
    found = 0
    for one in mine:
        for other in given:
            found |= hmac.compare_digest(one, other)
    return bool(found)
