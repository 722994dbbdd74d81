"""Incidents of the platform itself, as its status page lists those that are not over."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from rollguard.localfly.ids import Ids
from rollguard.localfly.times import rfc3339

INCIDENTS_MAX = 50
STATUSES = frozenset({"investigating", "identified", "monitoring", "resolved"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Incident:
    """One incident. Times are RFC 3339; `components` are the names of what it concerns, such as "ORD - Chicago"."""

    id: str
    name: str
    status: str
    created_at: str
    updated_at: str
    resolved_at: str | None
    components: tuple[str, ...]

    @classmethod
    def from_json(cls, data: Mapping[str, Any], ids: Ids, now: float) -> Self:
        """An incident that began `now` unless it says otherwise. KeyError, ValueError on nonsense."""
        name, status = data["name"], data.get("status") or "investigating"
        components = data.get("components") or []
        if not isinstance(name, str) or status not in STATUSES or not isinstance(components, list):
            raise ValueError("an incident needs a name, a known status and a list of components")
        began = str(data.get("created_at") or rfc3339(now))
        over = rfc3339(now) if status == "resolved" else None
        return cls(
            id=str(data.get("id") or ids.hex(12)),
            name=name,
            status=status,
            created_at=began,
            updated_at=str(data.get("updated_at") or began),
            resolved_at=data.get("resolved_at") or over,
            components=tuple(str(each["name"] if isinstance(each, Mapping) else each) for each in components),
        )

    def to_json(self) -> dict[str, Any]:
        """As the status page's interface shows it."""
        return {
            "id": self.id,
            "name": self.name,
            "status": self.status,
            "created_at": self.created_at,
            "started_at": self.created_at,
            "updated_at": self.updated_at,
            "resolved_at": self.resolved_at,
            "components": [{"id": f"component-{name}", "name": name} for name in self.components],
        }
