"""flyctl, driven in the form that works: a deploy of the old image by its digest, without the release command."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from rollguard.adapters.executors.process import Call, ProcessDelegate, environ_for
from rollguard.adapters.secrets import read_secret, token_parts
from rollguard.core import text
from rollguard.core.executors import Flyctl
from rollguard.core.order import Order
from rollguard.core.policy import Policy
from rollguard.errors import Refused

ADDRESSES = ("FLY_API_BASE_URL", "FLY_FLAPS_BASE_URL", "FLY_UIEX_BASE_URL", "FLY_REGISTRY_HOST")
TOKEN = "FLY_API_TOKEN"  # noqa: S105  (the name of the variable)
QUIET: Mapping[str, str] = {
    "FLY_NO_UPDATE_CHECK": "1",
    "FLY_NO_INCIDENTS_CHECK": "1",
    "FLY_SEND_METRICS": "0",
    "FLY_SYNTHETICS_AGENT": "0",
    "FLY_EMIT_RELEASE_JSON": "1",
    "NO_COLOR": "1",
}
"""No questions to anybody but the platform, and one line of JSON about the release that it made."""
SHARE_MAX = 0.999
"""From 1 on flyctl takes the number for a count of machines."""
_ENDS: Mapping[int, str] = {126: "its time was over", 127: "it was interrupted"}


def flyctl(settings: Flyctl, policy: Policy, environ: Mapping[str, str], root: Path) -> ProcessDelegate:
    """The delegate that drives flyctl.

    It runs in a private empty folder, also its HOME: no ``fly.toml`` of today and no login of anybody is found there,
    and the newest release's definition goes out with the old image. The token is never a word of the command line.
    """

    def call_of(order: Order, folder: Path) -> Call:
        token = read_secret(policy.target.token, environ)
        private = folder / "home"
        private.mkdir(mode=0o700)
        mine = {"HOME": str(private.resolve()), "FLY_CONFIG_DIR": str(private.resolve()), TOKEN: token}
        return Call(
            words=words(settings, policy, order),
            environ={**environ_for(environ, *ADDRESSES), **QUIET, **mine},
            folder=private,
        )

    def hidden() -> dict[str, str]:
        try:
            token = read_secret(policy.target.token, environ)
        except Refused:
            return {}
        parts = [part for kind in token_parts(token) for part in kind]  # flyctl takes it apart, and may show one
        return {TOKEN: token} | {f"{TOKEN} {place}": part for place, part in enumerate(parts, 1) if part != token}

    return ProcessDelegate(
        name=settings.name,
        timeout_s=settings.timeout_s,
        root=root,
        call_of=call_of,
        reading=reading,
        hidden=hidden,
        program=settings.binary,
        environ=environ,
    )


def words(settings: Flyctl, policy: Policy, order: Order) -> tuple[str, ...]:
    """The command line. Deploy retries would push a failing image forward again, by another algorithm."""
    rollback, binary = policy.rollback, settings.binary
    at_once = min(rollback.max_unavailable, SHARE_MAX)
    return (
        *(str(Path(binary).resolve()) if "/" in binary else binary, "deploy", "--app", order.app),
        *("--image", order.image, "--strategy", "rolling", "--max-unavailable", f"{at_once:g}"),
        *("--wait-timeout", f"{rollback.wait_timeout_s:.0f}s", "--deploy-retries", "0"),
        *("--skip-release-command", "--update-only", "--dns-checks=false", "--yes"),
    )


def reading(code: int, output: str) -> str:
    """The release that it made, or flyctl's own word on why it made none."""
    if code == 0:
        made = next((v for line in reversed(output.splitlines()) if (v := _version(line)) is not None), None)
        return f"it made release v{made}" if made is not None else ""
    errors = [line for line in output.splitlines() if line.startswith("Error: ")]
    said = text.one_line(errors[-1].removeprefix("Error: "), 200) if errors else ""
    return "; ".join(part for part in (_ENDS.get(code, ""), said) if part)


def _version(line: str) -> int | None:
    """The number in ``{"id": …, "version": 43, "image_ref": …}``, or None for any other line."""
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return None
    version = found.get("version") if isinstance(found, dict) and "image_ref" in found else None
    return version if isinstance(version, int) and not isinstance(version, bool) else None
