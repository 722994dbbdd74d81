"""Fly's public APIs as flyctl calls them: Machines, REST releases and GraphQL on one base URL, retried alike."""

from __future__ import annotations

import asyncio
import json
from typing import Any, Self
from urllib.parse import quote

import aiohttp

FLYCTL = "0.4.87"
ANSWER_BYTES_MAX = 4 * 1024 * 1024
TRIES_MAX = 4
PAUSE_S_MIN = 0.1
HASTE_PAUSE_S = 0.5
REQUEST_S_MAX = 70.0  # a wait may take 60
UNMANAGED_GROUPS = frozenset(("fly_app_release_command", "fly_app_console"))
IMAGE_QUERY = (
    "query($appName: String!, $imageRef: String!) { app(name: $appName) "
    "{ id image(ref: $imageRef) { id digest ref compressedSize } } }"
)
CONFIG_QUERY = (
    "query FlyctlConfigCurrentRelease($appName: String!) { app(name: $appName) "
    "{ currentReleaseUnprocessed { configDefinition } } }"
)

Json = dict[str, Any]


class ApiError(Exception):
    """The platform refused, or could not be reached. ``status`` is 0 where no answer came."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(f"{status}: {why}" if status else why)
        self.status = status


class FlyApi:
    """One app's platform, seen with one token. Use as a context manager; every call raises ApiError."""

    def __init__(self, base_url: str, token: str, app: str) -> None:
        self.app = app
        self._base = base_url.rstrip("/")
        self._machines = f"{self._base}/v1/apps/{quote(app, safe='')}/machines"
        self._headers = {"authorization": f"Bearer {token}", "user-agent": f"flyctl/{FLYCTL} (local stand-in)"}

    async def __aenter__(self) -> Self:
        self._session = aiohttp.ClientSession(
            headers=self._headers, timeout=aiohttp.ClientTimeout(total=REQUEST_S_MAX), trust_env=False
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def image(self, ref: str) -> Json | None:
        """``{"ref", "digest", …}`` of an image, or None if there is none of that name."""
        data = await self._graphql(IMAGE_QUERY, {"appName": self.app, "imageRef": ref})
        image = (data.get("app") or {}).get("image")
        return dict(image) if image else None

    async def definition(self) -> Json:
        """The config of the newest release, as flyctl takes it where there is no fly.toml; never empty."""
        data = await self._graphql(CONFIG_QUERY, {"appName": self.app})
        release = (data.get("app") or {}).get("currentReleaseUnprocessed") or {}
        return dict(release.get("configDefinition") or {"app": self.app})

    async def machines(self) -> list[Json]:
        """The machines a deploy manages."""
        answer = await self._call("GET", self._machines)
        if not isinstance(answer, list):
            raise ApiError(200, "the machine list is no list")
        return [machine for machine in answer if _is_managed(machine)]

    async def machine(self, machine_id: str) -> Json:
        """One machine as it is now."""
        return _object(await self._call("GET", f"{self._machines}/{machine_id}"))

    async def update(self, machine_id: str, body: Json, nonce: str) -> Json:
        """Send a machine its whole new config; return the machine."""
        return _object(await self._call("POST", f"{self._machines}/{machine_id}", body, nonce=nonce))

    async def wait(self, machine_id: str, state: str, timeout_s: int) -> None:
        """Block until the machine is in the state; 408 at the timeout (1 to 60 s)."""
        await self._call("GET", f"{self._machines}/{machine_id}/wait?state={state}&timeout={timeout_s}")

    async def lease(self, machine_id: str, ttl_s: int, nonce: str | None = None) -> str:
        """Take the machine's lease, or refresh the one with this nonce; return the nonce."""
        url = f"{self._machines}/{machine_id}/lease?ttl={ttl_s}"
        answer = _object(await self._call("POST", url, {}, nonce=nonce))
        return str(_object(answer.get("data") or answer)["nonce"])

    async def release_lease(self, machine_id: str, nonce: str) -> None:
        """Give the lease back."""
        await self._call("DELETE", f"{self._machines}/{machine_id}/lease", nonce=nonce)

    async def create_release(self, image_ref: str, strategy: str, definition: Json) -> Json:
        """Take a version number; return the release row."""
        body = {
            "app_name": self.app,
            "build_id": 0,
            "definition": definition,
            "image": image_ref,
            "strategy": strategy.upper(),
        }
        return _object(_object(await self._call("POST", f"{self._base}/api/v1/releases", body))["release"])

    async def patch_release(self, release_id: str, status: str, error: str | None = None) -> None:
        """Write the release's status; ``error`` (empty for none) makes it a final one."""
        info = None if error is None else {"flyctl_version": FLYCTL, "error": error}
        metadata = None if info is None else {"post_deployment_info": info}
        url = f"{self._base}/api/v1/releases/{quote(release_id, safe='')}"
        await self._call("PATCH", url, {"status": status, "metadata": metadata})

    async def _graphql(self, query: str, variables: Json) -> Json:
        url = f"{self._base}/graphql"
        answer = _object(await self._call("POST", url, {"query": query, "variables": variables}))
        if errors := answer.get("errors"):
            raise ApiError(200, str(errors[0].get("message", errors))[:500])
        return _object(answer.get("data"))

    async def _call(self, method: str, url: str, body: Json | None = None, *, nonce: str | None = None) -> Any:
        """Ask; 502, 503 and connection errors are retried whatever the method, as flyctl's transport does.

        So is 429, more slowly. flyctl does that for leases only, but it polls less often and meets none.
        """
        headers = {} if nonce is None else {"fly-machine-lease-nonce": nonce}
        for attempt in range(TRIES_MAX):
            try:
                async with self._session.request(method, url, json=body, headers=headers) as response:
                    raw = await response.content.read(ANSWER_BYTES_MAX)
                    while len(raw) < ANSWER_BYTES_MAX and (more := await response.content.read(ANSWER_BYTES_MAX)):
                        raw += more
                    status = response.status
            except (aiohttp.ClientError, TimeoutError) as error:
                failure = ApiError(0, f"{method} {url}: {error or type(error).__name__}")
            else:
                if status < 300:
                    return _decoded(raw)
                failure = ApiError(status, _message(raw))
            if failure.status not in (0, 429, 502, 503) or attempt == TRIES_MAX - 1:
                raise failure
            await asyncio.sleep((HASTE_PAUSE_S if failure.status == 429 else PAUSE_S_MIN) * 2**attempt)
        raise AssertionError("the last try returns or raises")


def _is_managed(machine: Json) -> bool:
    metadata = (machine.get("config") or machine.get("incomplete_config") or {}).get("metadata") or {}
    return (
        metadata.get("fly_platform_version") == "v2"
        and machine.get("state") not in ("destroyed", "destroying")
        and metadata.get("fly_process_group") not in UNMANAGED_GROUPS
    )


def _decoded(raw: bytes) -> Any:
    try:
        return json.loads(raw) if raw else {}
    except ValueError as error:
        raise ApiError(200, "the answer is no JSON") from error


def _object(value: Any) -> Json:
    if not isinstance(value, dict):
        raise ApiError(200, "the answer is no object")
    return value


def _message(raw: bytes) -> str:
    """The error text of a refusal."""
    try:
        body = json.loads(raw)
        return str(body.get("message") or body["error"])[:500]
    except (ValueError, KeyError, AttributeError):
        return raw[:200].decode("utf-8", "replace").strip()
