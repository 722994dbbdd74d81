"""What people may ask a running guard over its socket: a table from verbs to what they do."""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

from rollguard.adapters.recording import read_recording
from rollguard.app.reload import Reloader, refusal
from rollguard.app.target import Target
from rollguard.core.policy import Policy
from rollguard.core.recording import Recorded, recorded
from rollguard.core.rehearsal import Wish
from rollguard.errors import PolicyError, Refused

Args = Mapping[str, Any]
Answer = dict[str, Any]
T = TypeVar("T")


class Desk:
    """Serves the acts of people on the targets of this process."""

    def __init__(self, targets: Mapping[str, Target], reloader: Reloader) -> None:
        self._targets = targets
        self._reloader = reloader
        self._verbs: dict[str, Callable[[Args, str], Awaitable[Answer]]] = {
            "status": self._status,
            "explain": self._explain,
            "pause": self._pause,
            "resume": self._resume,
            "hold": self._hold,
            "report": self._report,
            "adopt": self._adopt,
            "approve": self._approve,
            "veto": self._veto,
            "floor": self._floor,
            "rollback": self._rollback,
            "drill": self._drill,
            "bundle": self._bundle,
            "reload": self._reload,
        }

    async def handle(self, verb: str, args: Args, by: str) -> Answer:
        """Perform one act. Raises ``GuardError``, whose sentence is the answer."""
        act = self._verbs.get(verb)
        if act is None:
            raise Refused(f"this guard knows no act {verb[:40]!r}; it knows {', '.join(self._verbs)}")
        return await act(args, by)

    async def _status(self, args: Args, by: str) -> Answer:
        targets = [self._target(args)] if args.get("target") else self._targets.values()
        return {"items": [target.view.status() for target in targets]}

    async def _explain(self, args: Args, by: str) -> Answer:
        return self._target(args).view.explain(_optional(args, "rule", str))

    async def _pause(self, args: Args, by: str) -> Answer:
        return _said(await self._target(args).acts.pause(by, _reason(args)))

    async def _resume(self, args: Args, by: str) -> Answer:
        return _said(await self._target(args).acts.resume(by, _reason(args)))

    async def _hold(self, args: Args, by: str) -> Answer:
        for_s = args.get("for_s")
        if isinstance(for_s, bool) or not isinstance(for_s, int | float):
            raise Refused("a hold needs for_s, a number of seconds")
        return _said(await self._target(args).acts.hold(by, _reason(args), float(for_s)))

    async def _report(self, args: Args, by: str) -> Answer:
        kind = _optional(args, "kind", str) or ""
        return _said(await self._target(args).acts.report(by, _reason(args), kind, _version(args)))

    async def _approve(self, args: Args, by: str) -> Answer:
        return _said(await self._target(args).consent.approve(by, _reason(args)))

    async def _veto(self, args: Args, by: str) -> Answer:
        return _said(await self._target(args).consent.veto(by, _reason(args)))

    async def _floor(self, args: Args, by: str) -> Answer:
        return _said(await self._target(args).acts.floor(by, _reason(args), _version(args)))

    async def _adopt(self, args: Args, by: str) -> Answer:
        path, target = _optional(args, "baseline", str), self._target(args)
        known = await asyncio.to_thread(_recorded, Path(path), target.guard.policy) if path is not None else None
        return _said(await target.acts.adopt(by, _reason(args), _version(args), known))

    async def _rollback(self, args: Args, by: str) -> Answer:
        overrides = _overrides(args)
        dry_run = _optional(args, "dry_run", bool) or False
        acts = self._target(args).acts
        return dataclasses.asdict(await acts.rollback(by, _reason(args), _version(args), overrides, dry_run=dry_run))

    async def _drill(self, args: Args, by: str) -> Answer:
        wish = Wish(
            version=_version(args),
            machine=_optional(args, "machine", str),
            whole=_optional(args, "whole", bool) or False,
            accept_gap=_optional(args, "accept_gap", bool) or False,
            overrides=_overrides(args),
        )
        dry_run = _optional(args, "dry_run", bool) or False
        return dataclasses.asdict(await self._target(args).rehearse.drill(by, _reason(args), wish, dry_run=dry_run))

    async def _bundle(self, args: Args, by: str) -> Answer:
        made = await self._target(args).bundler.by_hand(_optional(args, "incident", str))
        return {"path": str(made.path), "incident": made.incident, "files": list(made.files)}

    async def _reload(self, args: Args, by: str) -> Answer:
        try:
            changed = await self._reloader.reload()
        except PolicyError as error:
            raise refusal(error) from error
        return _said(f"obeying the new policy of {', '.join(changed)}" if changed else "nothing changed")

    def _target(self, args: Args) -> Target:
        name = _optional(args, "target", str)
        if name is None and len(self._targets) == 1:
            return next(iter(self._targets.values()))
        target = self._targets.get(name or "")
        if target is None:
            known = ", ".join(self._targets)
            raise Refused(
                f"this guard has no target {name!r}; it guards {known}" if name else f"which target: {known}?"
            )
        return target


def _recorded(path: Path, policy: Policy) -> Recorded:
    """Takes seconds where it is large: not for the loop that guards. Raises ``Refused``."""
    return recorded(read_recording(path), policy)


def _said(sentence: str) -> Answer:
    return {"say": sentence}


def _reason(args: Args) -> str:
    return _optional(args, "reason", str) or ""


def _overrides(args: Args) -> tuple[str, ...]:
    names = args.get("overrides", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Refused("overrides is a list of names")
    return tuple(names)


def _version(args: Args) -> int | None:
    return _optional(args, "version", int)


def _optional(args: Args, name: str, kind: type[T]) -> T | None:
    value = args.get(name)
    if value is None:
        return None
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        raise Refused(f"{name} must be a {kind.__name__}")
    return value
