"""A stand-in for ``fly deploy --image``: the same calls in the same order, over the public APIs only.

``python -m rollguard.localfly.deployer --platform URL --token T --app A --image REF``. It keeps flyctl's habits:
leases on all machines first, the first machine of each list alone, then a pool; on an error nothing is reverted;
killed, it cleans nothing up. What it does not do: release commands, creating, replacing or destroying machines, `ps`.
Progress goes to stderr; stdout gets one JSON line, ``{"ok", "version", "ended_at", "error"}``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from rollguard.localfly.flyctl_api import ApiError, FlyApi, Json
from rollguard.localfly.rollout import DeployError, Settings, update_machines
from rollguard.localfly.serving import log_to_stderr, on_stop

INTERRUPTED_S_MAX = 1.0
STRATEGIES = ("rolling", "immediate")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Deployed:
    """How it ended. ``version`` is None where no release was made."""

    version: int | None
    error: str | None = None
    interrupted: bool = False

    @property
    def status(self) -> str:
        """The release's final status."""
        if self.interrupted:
            return "interrupted"
        return "complete" if self.error is None else "failed"


INTERRUPTED = Deployed(None, "interrupted", interrupted=True)


async def deploy(api: FlyApi, settings: Settings, done: Callable[[], None] = lambda: None) -> Deployed:
    """Deploy the image and say how it ended; ``done`` is called after each machine.

    Cancelled, it marks the release ``interrupted`` and says so too; its leases expire, as flyctl's do.
    """
    try:
        image_ref, machines, release = await _begin(api, settings)
    except (ApiError, DeployError) as error:
        return Deployed(None, str(error))
    except asyncio.CancelledError:
        return INTERRUPTED
    ended = replace(INTERRUPTED, version=int(release["version"]))
    log.info("v%s: %s on %s machines", ended.version, image_ref, len(machines))
    try:
        await api.patch_release(release["id"], "running")
        await update_machines(api, settings, machines, release, image_ref, done)
        ended = Deployed(ended.version)
    except (ApiError, DeployError) as error:
        ended = Deployed(ended.version, str(error))
    except asyncio.CancelledError:
        log.warning("interrupted: machines stay as they are")
    await _close(api, release["id"], ended)
    return ended


async def _begin(api: FlyApi, settings: Settings) -> tuple[str, list[Json], Json]:
    """What to deploy, on what, and the new release's row. Raises ApiError, DeployError."""
    definition = await api.definition()
    image = await api.image(settings.image)
    if image is None:
        raise DeployError(f"could not find image {settings.image!r}")
    machines = await api.machines()
    if not machines:
        raise DeployError(f"{api.app} has no managed machines")
    ref = str(image["ref"])
    return ref, machines, await api.create_release(ref, settings.strategy, _deployed_by(definition, settings))


def _deployed_by(definition: Json, settings: Settings) -> Json:
    """The definition with the strategy in it that was asked for: later deploys without a word on it inherit it."""
    deploying = definition.get("deploy") or {}
    if deploying.get("strategy", "rolling") == settings.strategy:
        return definition
    return {**definition, "deploy": {**deploying, "strategy": settings.strategy}}


async def _close(api: FlyApi, release_id: str, ended: Deployed) -> None:
    """Write the final status, an interrupted one without a word. That this fails is only a warning, as to flyctl."""
    try:
        async with asyncio.timeout(INTERRUPTED_S_MAX if ended.interrupted else None):
            await api.patch_release(release_id, ended.status, "" if ended.interrupted else ended.error or "")
    except (ApiError, TimeoutError) as error:
        log.warning("the release's final status could not be written: %s", error)


async def run(args: argparse.Namespace) -> Deployed:
    """Deploy as the command line says; SIGINT and SIGTERM interrupt it."""
    settings = Settings(
        image=args.image,
        strategy=args.strategy,
        max_unavailable=args.max_unavailable,
        wait_timeout_s=args.wait_timeout,
        smoke_s=args.smoke,
    )
    async with FlyApi(args.platform, args.token, args.app) as api:
        task = asyncio.ensure_future(deploy(api, settings, _killed_after(args.die_after)))
        on_stop(task.cancel)
        return await task


def _killed_after(machines: int) -> Callable[[], None]:
    """To be called after each machine: at that many the process is killed and cleans nothing up; 0 is never."""
    good = 0

    def done() -> None:
        nonlocal good
        good += 1
        if good == machines:
            log.warning("killed after %s machines", machines)
            os.kill(os.getpid(), signal.SIGKILL)

    return done


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="deployer", description="Deploys an image as flyctl does.")
    parser.add_argument("--platform", required=True, help="the base URL of all of Fly's APIs")
    parser.add_argument("--token", required=True)
    parser.add_argument("--app", required=True)
    parser.add_argument("--image", required=True)
    parser.add_argument("--strategy", choices=STRATEGIES, default="rolling")
    parser.add_argument("--max-unavailable", type=_positive, default=0.25, help="a share below 1, else a count")
    parser.add_argument("--wait-timeout", type=_positive, default=60.0, help="seconds, per machine and wait")
    parser.add_argument("--smoke", type=float, default=0.5, help="seconds to watch each machine for a crash loop")
    parser.add_argument("--die-after", type=int, default=0, metavar="N", help="be killed once N machines are good")
    args = parser.parse_args(argv)
    log_to_stderr("deployer")
    ended = asyncio.run(run(args))
    if ended.error is not None:
        log.error("%s", ended.error)
    line = {"ok": ended.error is None, "version": ended.version, "ended_at": time.time(), "error": ended.error}
    print(json.dumps(line), flush=True)  # noqa: T201
    return 0 if ended.error is None else 1


def _positive(text: str) -> float:
    number = float(text)
    if not number > 0:
        raise argparse.ArgumentTypeError("must be above 0")
    return number


if __name__ == "__main__":
    sys.exit(main())
