"""Text from outside made safe for a terminal and a log: bounded, printable, and free of what looks like a secret."""

from __future__ import annotations

import re

CHARS_MAX = 500
_SECRETS = re.compile(r"(?i:\b(?:FlyV1|Bearer|Basic|GenieKey)\s+|\b(?:fm[12][ar]?_|fo1_|whsec_))[\w.+/=,:-]{6,}")
_IN_ADDRESSES = re.compile(r"(?<=://)[^/\s@]+@")


def safe(text: str, chars_max: int = CHARS_MAX) -> str:
    """The text, at most ``chars_max`` and a mark, with ``<secret>`` for tokens and escapes for control characters."""
    if len(text) > chars_max:
        text = f"{text[:chars_max]}… ({len(text) - chars_max} more)"
    text = _IN_ADDRESSES.sub("<secret>@", _SECRETS.sub("<secret>", text))
    # Also the marks that turn the direction of writing, and line ends: one record is one line, whatever it says.
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
