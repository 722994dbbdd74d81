"""How flyctl rolls an image over an app's machines (its path without deploy retries): leases, order, waits, checks."""

from __future__ import annotations

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from rollguard.localfly.flyctl_api import FLYCTL, ApiError, FlyApi, Json

LEASE_TTL_S = 13
LEASE_REFRESH_S = 4.0
LEASE_PATIENCE_S = 60.0
LEASE_PAUSE_S = 0.5
GIVE_BACK_S_MAX = 10.0
COLD_POOL_MAX = 30
IMMEDIATE_POOL = 8
WAIT_SLICE_S_MAX = 60
POLL_S = 0.5
RUNNING_STATES = ("started", "starting", "failed")

log = logging.getLogger(__name__)


class DeployError(Exception):
    """The deploy cannot go on; the text is for its user."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How to deploy: the strategy (``rolling`` or ``immediate``) and its bounds, in seconds."""

    image: str
    strategy: str = "rolling"
    max_unavailable: float = 0.25
    wait_timeout_s: float = 60.0
    smoke_s: float = 0.5


async def update_machines(
    api: FlyApi,
    settings: Settings,
    machines: Sequence[Json],
    release: Json,
    image_ref: str,
    done: Callable[[], None] = lambda: None,
) -> None:
    """Lease all, update list by list, give the leases back; ``done`` is called after each machine, before the next.

    Raises ApiError, DeployError: the first that happened.
    """
    async with _leased(api, machines) as nonces:

        async def update(machine: Json) -> None:
            await _update(api, settings, machine, nonces[machine["id"]], release, image_ref)
            done()

        try:
            async with asyncio.TaskGroup() as lists:  # a failing list abandons its siblings, in flight or not
                for pool, members in _lists(machines, settings):
                    lists.create_task(_roll(members, pool, update, alone_first=settings.strategy == "rolling"))
        except ExceptionGroup as group:
            raise group.exceptions[0] from None


def _lists(machines: Sequence[Json], settings: Settings) -> list[tuple[int, list[Json]]]:
    """Per process group the warm machines and the cold ones, by ID, each with how many may be in flight."""
    found: dict[tuple[str, bool], list[Json]] = {}
    for machine in sorted(machines, key=lambda machine: str(machine["id"])):
        group = (machine.get("config") or {}).get("metadata", {}).get("fly_process_group", "app")
        found.setdefault((group, machine["state"] == "started"), []).append(machine)
    return [(pool_size(len(members), settings, warm=warm), members) for (_, warm), members in found.items()]


def pool_size(count: int, settings: Settings, *, warm: bool) -> int:
    """How many of ``count`` machines may be in flight at once."""
    if settings.strategy == "immediate":
        return IMMEDIATE_POOL
    if not warm:
        return min(count, COLD_POOL_MAX)
    share = settings.max_unavailable
    return int(share) if share >= 1 else math.ceil(count * share)


async def _roll(
    machines: Sequence[Json], pool: int, update: Callable[[Json], Awaitable[None]], *, alone_first: bool
) -> None:
    """The first machine alone, then ``pool`` at a time. After an error none begins; those in flight end."""
    rest = list(machines)
    if alone_first:
        await update(rest.pop(0))
    errors: list[ApiError | DeployError] = []

    async def work() -> None:
        while rest and not errors:
            try:
                await update(rest.pop(0))
            except (ApiError, DeployError) as error:
                errors.append(error)

    async with asyncio.TaskGroup() as workers:
        for _ in range(min(pool, len(rest))):
            workers.create_task(work())
    if errors:
        raise errors[0]


@asynccontextmanager
async def _leased(api: FlyApi, machines: Sequence[Json]) -> AsyncIterator[Mapping[str, str]]:
    """Hold the leases of all machines, refreshed; machine IDs to nonces. All or none: raises ApiError.

    Cancelled, they are left to expire: what an interrupted flyctl still sends to give them back never arrives.
    """
    nonces: dict[str, str] = {}

    async def acquire(machine_id: str) -> None:
        nonces[machine_id] = await _acquire(api, machine_id)

    async def refresh(machine_id: str) -> None:
        while True:
            await asyncio.sleep(LEASE_REFRESH_S)
            try:
                await api.lease(machine_id, LEASE_TTL_S, nonces[machine_id])
            except ApiError as error:
                log.warning("lease of %s not refreshed: %s", machine_id, error)

    refreshing: list[asyncio.Task[None]] = []
    try:
        taken = await asyncio.gather(*(acquire(machine["id"]) for machine in machines), return_exceptions=True)
        if failures := [failure for failure in taken if isinstance(failure, BaseException)]:
            raise failures[0]
        refreshing = [asyncio.create_task(refresh(machine_id)) for machine_id in nonces]
        yield nonces
    except asyncio.CancelledError:
        nonces.clear()
        raise
    finally:
        for task in refreshing:
            task.cancel()
        await asyncio.gather(*(_give_back(api, machine_id, nonce) for machine_id, nonce in nonces.items()))


async def _give_back(api: FlyApi, machine_id: str, nonce: str) -> None:
    try:
        async with asyncio.timeout(GIVE_BACK_S_MAX):
            await api.release_lease(machine_id, nonce)
    except (ApiError, TimeoutError) as error:
        log.warning("lease of %s not given back, it will expire: %s", machine_id, error or "too slow")


async def _acquire(api: FlyApi, machine_id: str) -> str:
    """The machine's lease; whoever holds it now gets a minute to give it back."""
    deadline = time.monotonic() + LEASE_PATIENCE_S
    while True:
        try:
            return await api.lease(machine_id, LEASE_TTL_S)
        except ApiError as error:
            if time.monotonic() >= deadline:
                raise
            log.info("waiting for the lease of %s: %s", machine_id, error)
        await asyncio.sleep(LEASE_PAUSE_S)


async def _update(api: FlyApi, settings: Settings, machine: Json, nonce: str, release: Json, image_ref: str) -> None:
    """One machine: new config, started, no crash loop, all checks passing. Raises ApiError, DeployError."""
    machine_id = str(machine["id"])
    if not machine.get("config"):
        raise DeployError(f"{machine_id}: its host is {machine.get('host_status')}; its config is not known")
    launch = machine["state"] in RUNNING_STATES
    body = {"config": new_config(machine["config"], image_ref, release), "region": machine.get("region")}
    updated = await api.update(machine_id, body if launch else body | {"skip_launch": True}, nonce)
    log.info("%s: updated%s", machine_id, "" if launch else ", left as it was: not running")
    if not launch or settings.strategy == "immediate":
        return
    await _wait_started(api, machine_id, settings.wait_timeout_s)
    await _smoke(api, machine_id, settings.smoke_s)
    if _has_checks(updated["config"]):
        await _wait_passing(api, machine_id, settings.wait_timeout_s)
    log.info("%s: good", machine_id)


def new_config(config: Json, image_ref: str, release: Json) -> Json:
    """The machine's config with the new image and the release's name on it; all else is carried through."""
    metadata = {
        **config.get("metadata", {}),
        "fly_release_id": str(release["id"]),
        "fly_release_version": str(release["version"]),
        "fly_flyctl_version": FLYCTL,
    }
    return {**config, "image": image_ref, "metadata": metadata}


async def _wait_started(api: FlyApi, machine_id: str, timeout_s: float) -> None:
    """Like flyctl without the new version's ID: the old version, still running, satisfies it too."""
    deadline = time.monotonic() + timeout_s
    while True:
        slice_s = min(WAIT_SLICE_S_MAX, max(1, math.ceil(deadline - time.monotonic())))
        try:
            return await api.wait(machine_id, "started", slice_s)
        except ApiError as error:
            if time.monotonic() >= deadline:
                raise DeployError(f"{machine_id}: not started in {timeout_s:g} s: {error}") from error
        await asyncio.sleep(POLL_S)


async def _smoke(api: FlyApi, machine_id: str, window_s: float) -> None:
    """Watch the machine for the window; a crash loop in it fails the deploy."""
    deadline = time.monotonic() + window_s
    while (left_s := deadline - time.monotonic()) > 0:
        await asyncio.sleep(min(POLL_S, left_s))
        if crash_loops(await api.machine(machine_id)):
            raise DeployError(f"{machine_id}: the machine is crash-looping")


def crash_loops(machine: Json) -> bool:
    """Whether the newest exit was an unrequested failure with more than one restart behind it."""
    exits = [event for event in machine.get("events") or [] if event.get("type") == "exit"]
    if not exits:
        return False
    request = exits[0]["request"]
    newest = request["exit_event"]
    restarting = not newest["requested_stop"] and newest["restarting"] and request.get("restart_count", 0) > 1
    return bool(restarting and newest["exit_code"] != 0)


def _has_checks(config: Json) -> bool:
    services = config.get("services") or []
    return bool(config.get("checks")) or any(service.get("checks") for service in services)


async def _wait_passing(api: FlyApi, machine_id: str, timeout_s: float) -> None:
    """Poll until there are checks and all of them pass."""
    deadline = time.monotonic() + timeout_s
    while True:
        checks: list[Any] = (await api.machine(machine_id)).get("checks") or []
        if checks and all(check["status"] == "passing" for check in checks):
            return
        if time.monotonic() >= deadline:
            failing = [check["name"] for check in checks if check["status"] != "passing"]
            raise DeployError(
                f"timeout reached waiting for health checks to pass for machine {machine_id}: "
                f"not passing in {timeout_s:g} s: {', '.join(failing) or 'none reported'}"
            )
        await asyncio.sleep(POLL_S)
