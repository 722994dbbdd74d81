"""What a token opens: whose it is, which apps it may see, and whether it may change anything."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Self

from rollguard.localfly.refusal import Refused

READING = frozenset({"GET", "HEAD"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """The rights of one token, or of several that are sent together."""

    owner: str = ""  # "" for a stranger
    apps: frozenset[str] = frozenset()
    read_only: bool = False

    @classmethod
    def of(cls, credentials: str, tokens: Mapping[str, Access]) -> Self:
        """What an ``authorization`` header opens: all of its known tokens together, in the first one's name."""
        named = credentials.removeprefix("Bearer ").removeprefix("FlyV1 ").split(",")
        known = [tokens[each.strip()] for each in named if each.strip() in tokens]
        if not known:
            return cls()
        apps = frozenset[str]().union(*(each.apps for each in known))
        return cls(owner=known[0].owner, apps=apps, read_only=all(each.read_only for each in known))

    def admit(self, method: str, app: str | None, apps: Iterable[str]) -> None:
        """401 for a stranger, 403 or 404 for an app that is none of its own, 403 for a write of a reader."""
        if not self.owner:
            raise Refused(401, "Authenticate: token validation error")
        if app is not None and app not in self.apps:
            if app in apps:
                raise Refused(403, "unauthorized: token is not for this app")
            raise Refused(404, "app not found")
        if self.read_only and method not in READING:
            raise Refused(403, "unauthorized: token is read-only")
