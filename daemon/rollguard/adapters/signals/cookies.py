"""The cookies of one journey: few, small, sent back to nobody but the host that set them.

Not on ``http.cookies``: that one drops a whole ``Set-Cookie`` for an attribute it does not know (``Partitioned``), and
takes another (``Priority=High``) for a cookie of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from urllib.parse import urlsplit

COOKIES_MAX = 50
COOKIE_CHARS_MAX = 4096
CHARS_MAX = 16 * 1024
"""All cookies together."""


@dataclass(frozen=True, slots=True)
class Cookie:
    """What goes back to the server, and where."""

    name: str
    value: str
    secure: bool

    def __str__(self) -> str:
        return f"{self.name}={self.value}" if self.name else self.value


class CookieJar:
    """Keeps what ``Set-Cookie`` says, as a browser does for the length of a visit.

    By RFC 6265, with one exception: ``Domain`` is not heeded, a cookie goes back to its own host alone. What would
    make the jar too big is not taken.
    """

    def __init__(self) -> None:
        self._cookies: dict[tuple[str, str, str], Cookie] = {}
        """By host, path and name."""

    def take(self, url: str, set_cookies: str, now: float) -> None:
        """The ``Set-Cookie`` lines of an answer from this address; what is not well formed is left out."""
        for line in set_cookies.split("\n")[:COOKIES_MAX]:
            if len(line) <= COOKIE_CHARS_MAX and line.isprintable():
                self._take(url, line, now)

    def header(self, url: str) -> str:
        """The ``Cookie`` header for a request to this address, longest paths first; empty without any."""
        parts = urlsplit(url)
        fitting = [
            (path, cookie)
            for (host, path, _), cookie in self._cookies.items()
            if host == _host(url)
            and _within(parts.path or "/", path)
            and (parts.scheme == "https" or not cookie.secure)
        ]
        return "; ".join(str(cookie) for _, cookie in sorted(fitting, key=lambda item: -len(item[0])))

    def _take(self, url: str, line: str, now: float) -> None:
        pair, *rest = line.split(";")
        name, equals, value = pair.partition("=")
        if not equals:
            name, value = "", pair
        attributes = {key.strip().lower(): text.strip() for key, _, text in (part.partition("=") for part in rest)}
        path = attributes.get("path", "")
        place = (_host(url), path if path.startswith("/") else _default_path(url), name.strip())
        self._cookies.pop(place, None)
        cookie = Cookie(name.strip(), value.strip(), secure="secure" in attributes)
        if str(cookie) and not _over(attributes, now) and self._has_room(cookie):
            self._cookies[place] = cookie

    def _has_room(self, cookie: Cookie) -> bool:
        chars = sum(len(str(known)) for known in (*self._cookies.values(), cookie))
        return len(self._cookies) < COOKIES_MAX and chars <= CHARS_MAX


def _over(attributes: dict[str, str], now: float) -> bool:
    """Whether the cookie is being deleted: its time is over already. ``Max-Age`` outranks ``Expires``."""
    age = attributes.get("max-age", "")
    digits = age.removeprefix("-")
    if digits.isascii() and digits.isdecimal():
        return age.startswith("-") or not digits.strip("0")
    try:
        return "expires" in attributes and parsedate_to_datetime(attributes["expires"]).timestamp() <= now
    except (ValueError, OverflowError):
        return False


def _host(url: str) -> str:
    return (urlsplit(url).hostname or "").lower()


def _default_path(url: str) -> str:
    """Of ``/shop/login``: ``/shop``."""
    return urlsplit(url).path.rpartition("/")[0] or "/"


def _within(asked: str, path: str) -> bool:
    return asked == path or asked.startswith(path if path.endswith("/") else path + "/")
