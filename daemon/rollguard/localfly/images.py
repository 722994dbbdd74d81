"""Images of the local platform: a reference, a digest, labels, and how the code inside behaves."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any, Self
from urllib.parse import urlsplit

KINDS: Mapping[type, tuple[type, ...]] = {float: (int, float), bool: (bool,)}  # by the kind of a field's default
OPTIONAL: Mapping[str, tuple[type, ...]] = {
    "crash_after_s": (int, float, type(None)),
    "broken_page": (str, type(None)),
    "needs": (str, type(None)),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Behaviour:
    """What the code in an image does. Shares are 0..1, times seconds, memory megabytes."""

    error_share: float = 0.0  # answers of pages and API that are 500; never /health, monitoring or /metrics
    added_latency_s: float = 0.0  # on top of every page answer
    latency_s: float = 0.12  # median of a log-normal (sigma 0.5) page latency
    crash_after_s: float | None = None  # exits with code 1 that long after its start
    leak_mb_per_s: float = 0.0  # exits as OOM-killed (code 137) above memory_mb
    memory_mb: float = 256.0
    broken_page: str | None = None  # this one path always answers 500
    health_fails: bool = False  # /health answers 500
    boots_in_s: float = 0.3  # until it listens
    drains: bool = True  # False: dies at once on SIGINT and cuts requests in flight
    needs: str | None = None  # the http URL of what pages read their data from; while it fails they are 500s

    def __post_init__(self) -> None:
        """TypeError or ValueError for what no process could behave like."""
        for each in fields(self):
            value = getattr(self, each.name)
            kinds = OPTIONAL.get(each.name) or KINDS[type(each.default)]
            if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                raise TypeError(f"{each.name} cannot be {value!r}")
            if isinstance(value, int | float) and not 0 <= value < math.inf:
                raise ValueError(f"{each.name} cannot be {value!r}")
        if self.needs is not None and (urlsplit(self.needs).scheme != "http" or not urlsplit(self.needs).port):
            raise ValueError(f"needs must look like http://127.0.0.1:4000/, not {self.needs!r}")

    def altered(self, mood: Mapping[str, Any]) -> Self:
        """This behaviour but for the fields that a mood names. TypeError, ValueError on nonsense."""
        return replace(self, **mood)

    def to_json(self) -> dict[str, Any]:
        """A plain dict of every field."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The behaviour a dict describes; the rest keeps its default. TypeError on unknown names."""
        return cls(**data)


@dataclass(frozen=True, slots=True, kw_only=True)
class Image:
    """One pushed image. Two images may share a ref (a moved tag), never a digest."""

    ref: str  # registry.fly.io/hotdash-production:deployment-<ULID>
    digest: str  # sha256:<64 hex>
    labels: Mapping[str, str] = field(default_factory=dict)
    behaviour: Behaviour = field(default_factory=Behaviour)

    @classmethod
    def build(cls, ref: str, behaviour: Behaviour | None = None, labels: Mapping[str, str] | None = None) -> Self:
        """An image with the digest its ref and behaviour give: the same input gives the same digest."""
        behaviour = behaviour or Behaviour()
        content = json.dumps([ref, behaviour.to_json()], sort_keys=True)
        digest = "sha256:" + hashlib.sha256(content.encode()).hexdigest()
        return cls(ref=ref, digest=digest, labels=dict(labels or {}), behaviour=behaviour)

    def to_json(self) -> dict[str, Any]:
        """A plain dict that `from_json` reads back."""
        return {
            "ref": self.ref,
            "digest": self.digest,
            "labels": dict(self.labels),
            "behaviour": self.behaviour.to_json(),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Self:
        """The image a dict describes; without a digest it is derived. KeyError, TypeError on nonsense."""
        built = cls.build(data["ref"], Behaviour.from_json(data.get("behaviour") or {}), data.get("labels") or {})
        digest = data.get("digest") or built.digest
        return cls(ref=built.ref, digest=digest, labels=built.labels, behaviour=built.behaviour)
