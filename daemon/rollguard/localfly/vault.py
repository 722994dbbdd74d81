"""An app's secrets: names, digests and a version. The values are nobody's business."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from rollguard.localfly.refusal import Refused
from rollguard.localfly.times import rfc3339

SECRETS_MAX = 500


class Vault:
    """`version` grows with every change; machines take the newest when they boot."""

    def __init__(self) -> None:
        self.version = 0
        self._secrets: dict[str, tuple[str, float]] = {}  # digest, and since when

    def change(self, values: Any, now: float) -> None:
        """Set secrets, or remove those given as None; 422 for what no secret can be."""
        if not isinstance(values, dict) or not all(isinstance(value, str | None) for value in values.values()):
            raise Refused(422, "invalid_argument: values must be strings or null")
        after = dict(self._secrets)
        for name, value in values.items():
            if value is None:
                after.pop(name, None)
            else:
                after[name] = (hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:16], now)
        if len(after) > SECRETS_MAX:
            raise Refused(422, f"invalid_argument: an app has at most {SECRETS_MAX} secrets")
        self._secrets = after
        self.version += 1

    def refuse_younger(self, body: Mapping[str, Any]) -> None:
        """412 where a request wants secrets that are not there yet."""
        wanted = body.get("min_secrets_version")
        if isinstance(wanted, int) and wanted > self.version:
            raise Refused(412, f"failed_precondition: secrets version {wanted} is not available yet")

    def wire(self) -> dict[str, Any]:
        """As the Machines API lists them."""
        listed = [
            {"name": name, "digest": digest, "created_at": rfc3339(at), "updated_at": rfc3339(at)}
            for name, (digest, at) in sorted(self._secrets.items())
        ]
        return {"secrets": listed, "version": self.version}
