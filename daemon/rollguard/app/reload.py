"""Policy files that change under a running guard: a good one is obeyed, a bad one is said and changes nothing."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Never

from rollguard.app.options import Options
from rollguard.app.preflight import missing_secrets
from rollguard.app.target import Target
from rollguard.config.loader import FILES_MAX, load_policies
from rollguard.config.yamltext import BYTES_MAX
from rollguard.core.policy import Policy
from rollguard.errors import PolicyError, Refused
from rollguard.telemetry.metrics import Metrics

POLL_S = 3.0
PROBLEM_CHARS_MAX = 1000


class Reloader:
    """Reads the policy files again when they changed, or when told to."""

    def __init__(self, options: Options, targets: Mapping[str, Target], metrics: Metrics, read: str) -> None:
        """``read`` is the ``fingerprint`` of the files that are obeyed now."""
        self._options = options
        self._targets = targets
        self._metrics = metrics
        self._read = read
        self._asked = asyncio.Event()
        self._one_at_a_time = asyncio.Lock()

    def ask(self) -> None:
        """Read the files now, changed or not (SIGHUP)."""
        self._asked.set()

    async def watch_forever(self) -> Never:
        """Follow the files until cancelled. Raises ``JournalError``."""
        while True:
            try:
                async with asyncio.timeout(POLL_S):
                    await self._asked.wait()
            except TimeoutError:
                if fingerprint(self._options.config) == self._read:
                    continue
            self._asked.clear()
            try:
                await self.reload()
            except PolicyError:
                continue  # it is in the journal, the log, the metrics and the status

    async def reload(self) -> list[str]:
        """Read the files and obey them; the names of the targets whose policy changed.

        Raises ``PolicyError`` when they cannot be obeyed: then every target keeps what it has, and says so.
        """
        async with self._one_at_a_time:
            self._read = fingerprint(self._options.config)
            try:
                policies = self._load()
            except PolicyError as error:
                await self._reject(error)
                raise
            changed = [p for p in policies if self._is_news(p)]
            for policy in changed:
                await self._targets[policy.target.name].obey(policy)
            self._metrics.reload(ok=True, at=self._now())
            return [p.target.name for p in changed]

    def _is_news(self, policy: Policy) -> bool:
        """Values from the environment are not part of the hash, but of what is obeyed."""
        target = self._targets[policy.target.name]
        return policy != target.guard.policy or target.vitals.reload_error is not None

    def _load(self) -> tuple[Policy, ...]:
        environ = self._options.environ
        policies = load_policies(self._options.config, environ)
        problems = missing_secrets(policies, environ)
        for policy in policies:
            known = self._targets.get(policy.target.name)
            if known is None:
                problems.append(f"{policy.path}: target {policy.target.name} is new: restart the guard to take it in")
            elif policy.target != known.guard.policy.target:
                problems.append(f"{policy.path}: target {policy.target.name} is another app now: restart the guard")
        gone = self._targets.keys() - {p.target.name for p in policies}
        problems += [f"{self._options.config}: target {name} is gone: restart the guard" for name in sorted(gone)]
        if problems:
            raise PolicyError(problems)
        return policies

    async def _reject(self, error: PolicyError) -> None:
        self._metrics.reload(ok=False, at=self._now())
        for target in self._targets.values():
            await target.reject(str(self._options.config), _in_one_line(error))

    def _now(self) -> float:
        return next(iter(self._targets.values())).clock.now()


def _in_one_line(error: PolicyError) -> str:
    """Every problem by its place and message, for logs and pages: without the lines of the file under them."""
    return "; ".join(problem.partition("\n")[0] for problem in error.problems)[:PROBLEM_CHARS_MAX]


def fingerprint(config: Path) -> str:
    """What the policy files say now, as a hash; one that cannot be read counts as changed."""
    try:
        files = sorted(config.glob("[!.]*.yaml"))[: FILES_MAX + 1] if config.is_dir() else [config]
        texts = [(file.name, _head(file)) for file in files]
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    return hashlib.sha256(repr(texts).encode()).hexdigest()


def _head(file: Path) -> bytes:
    """As much of a file as a policy may have and one byte more; nothing of a pipe or a device, which could wait."""
    if file.exists() and not file.is_file():
        return b""
    with file.open("rb") as opened:
        return opened.read(BYTES_MAX + 1)


def refusal(error: PolicyError) -> Refused:
    """A policy that cannot be obeyed, as an answer to whoever asked for it."""
    return Refused(f"the old policy stays: {error}")
