"""Release rows: numbered intentions to deploy, and what their makers say became of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rollguard.localfly.times import rfc3339

STATUSES = frozenset({"pending", "running", "complete", "failed", "interrupted"})


@dataclass(slots=True, kw_only=True)
class Release:
    """One row. Its version is taken before anything is touched; nobody but its maker moves its status."""

    id: str
    app: str
    version: int
    status: str
    image_ref: str
    user: str
    created_at: float
    updated_at: float
    strategy: str = "ROLLING"
    definition: Mapping[str, Any] | None = None
    metadata: Mapping[str, Any] | None = None

    @property
    def in_progress(self) -> bool:
        return self.status in {"pending", "running"}

    def rest(self) -> dict[str, Any]:
        """As the REST interface shows it: `user` is a string."""
        return {
            "id": self.id,
            "version": self.version,
            "stable": self.status == "complete",
            "in_progress": self.in_progress,
            "status": self.status,
            "strategy": self.strategy,
            "user": self.user,
            "created_at": rfc3339(self.created_at),
            "image_ref": self.image_ref,
        }

    def graphql(self) -> dict[str, Any]:
        """As GraphQL shows it: with everything a query may have asked for."""
        return {
            "id": self.id,
            "version": self.version,
            "description": "Release",
            "reason": "deploy",
            "status": self.status,
            "imageRef": self.image_ref,
            "stable": self.status == "complete",
            "inProgress": self.in_progress,
            "deploymentStrategy": self.strategy,
            "user": {"id": f"user-{self.user}", "email": self.user, "name": self.user.partition("@")[0]},
            "createdAt": rfc3339(self.created_at),
            "updatedAt": rfc3339(self.updated_at),
            "configDefinition": self.definition,
            "metadata": self.metadata,
        }
