"""Support bundles: what a guard knows of an incident in one file, for somebody who was not there."""

from __future__ import annotations

import asyncio
import hashlib
import platform
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rollguard import __version__
from rollguard.adapters.artifacts import ArtifactFolder, packed
from rollguard.adapters.journal.sqlite import read_journal
from rollguard.adapters.secrets import read_secret
from rollguard.app.options import journal_path
from rollguard.app.view import View
from rollguard.config import yamltext
from rollguard.config.loader import load_policies
from rollguard.core import events as ev
from rollguard.core import text
from rollguard.core.explain import explain_incident
from rollguard.core.incident_json import Salt, incident_object
from rollguard.core.incident_record import BUNDLE, Chronicle, chronicle, folder_name
from rollguard.core.model import Snapshot
from rollguard.core.policy import Policy, Target
from rollguard.core.signals import SecretRef
from rollguard.core.status import journal_object
from rollguard.core.support import Known, bundle_files, log_lines, secret_refs, typed_in, written_secrets
from rollguard.engine.guard import Guard
from rollguard.errors import PolicyError, Refused
from rollguard.ports import Journal, Vitals

EVENTS_WITHOUT_INCIDENT = 500


def new_salt() -> Salt:
    """One for each document: nobody can look values up in it."""
    return Salt(secrets.token_hex(16))


@dataclass(frozen=True, slots=True)
class Bundled:
    """A bundle on the disk and what is in it."""

    path: Path
    incident: str
    files: tuple[str, ...]


class Bundler:
    """Makes the bundles of one running guard."""

    def __init__(
        self, guard: Guard, view: View, vitals: Vitals, journal: Journal, environ: Mapping[str, str], data: Path
    ) -> None:
        self._guard = guard
        self._view = view
        self._vitals = vitals
        self._journal = journal
        self._environ = environ
        self._data = data

    async def by_hand(self, incident: str | None) -> Bundled:
        """The bundle of an incident (default: the newest) in its folder. Raises ``Refused`` or ``JournalError``."""
        policy, recorded = self._guard.policy, await self._journal.replay()
        told_of = choose(recorded, policy.target.name, incident)
        files = await self.files(told_of, self._guard.watch.snapshot)
        now = self._guard.clock.now()
        return await asyncio.to_thread(keep, self._data, policy, told_of, files, now)

    async def files(
        self, told_of: Chronicle, snapshot: Snapshot | None, before: Snapshot | None = None
    ) -> dict[str, str]:
        """What goes into a bundle; ``before`` is the platform as it was seen before the first write."""
        guard, salt = self._guard, new_salt()
        policy, drift_s = guard.policy, guard.clock.drift_s()
        known = Known(
            entries=told_of.entries,
            incident=incident_object(policy, told_of, salt, version=__version__, before=before, after=snapshot)
            if told_of.incident
            else None,
            status=self._view.status(),
            explained=self._view.explain(None)["lines"],
            snapshot=snapshot,
            guard=self._about(policy, drift_s),
            log_lines=log_lines(policy, guard.watch.windows, snapshot),
        )
        return await asyncio.to_thread(_files, policy, known, salt, self._environ)

    def _about(self, policy: Policy, drift_s: float) -> dict[str, Any]:
        vitals = self._vitals
        return {
            **_program(policy),
            "at": text.stamp(self._guard.clock.now()),
            "mode": self._guard.mode.name.lower(),
            "clockDriftSeconds": round(drift_s, 3),
            "started": text.stamp(vitals.started_at),
            "lastTick": text.stamp(vitals.last_tick_at) if vitals.last_tick_at is not None else None,
            "lastLook": text.stamp(vitals.last_snapshot_at) if vitals.last_snapshot_at is not None else None,
            "lateTicks": vitals.late_ticks,
            "blind": list(vitals.blind),
            "journalError": vitals.journal_error,
            "policyError": vitals.reload_error,
        }


def without_a_guard(data: Path, target: str, incident: str | None, environ: Mapping[str, str]) -> Bundled:
    """A bundle from the journal alone, and from the policy where its file can be read.

    Raises ``Refused`` or ``JournalError``.
    """
    recorded, now = read_journal(journal_path(data, target), target), time.time()
    told_of, policy, salt = choose(recorded, target, incident), _policy(recorded, target, environ), new_salt()
    of = told_of.incident
    known = Known(
        entries=told_of.entries,
        incident=incident_object(policy, told_of, salt, version=__version__) if of else None,
        status=journal_object(target, recorded, now),
        explained=explain_incident(recorded, of) if of else (),
        guard={**_program(policy), "at": text.stamp(now), "mode": "no guard runs: from the journal alone"},
    )
    return keep(data, policy, told_of, _files(policy, known, salt, environ), now)


def choose(recorded: Sequence[ev.Recorded], target: str, incident: str | None) -> Chronicle:
    """The incident of that name, or the newest; where there never was one, what happened last. Raises ``Refused``."""
    opened = [e.event.incident for e in recorded if isinstance(e.event, ev.IncidentOpened)]
    if incident is None and not opened:
        return Chronicle(target=target, incident="", entries=tuple(recorded[-EVENTS_WITHOUT_INCIDENT:]))
    told_of = chronicle(recorded, target, incident if incident is not None else opened[-1])
    if not told_of.entries:
        raise Refused(f"the journal of {target} has no incident {incident!r}")
    return told_of


def keep(data: Path, policy: Policy, told_of: Chronicle, files: Mapping[str, str], now: float) -> Bundled:
    """Pack the files into the incident's folder. Raises ``Refused`` when the disk will not."""
    opened = told_of.opened
    at = opened.at if opened else now
    folder = ArtifactFolder(data, policy.artifacts).write(
        folder_name(at, policy.target.name), {BUNDLE: pack(told_of, files, at)}
    )
    return Bundled(folder / BUNDLE, told_of.incident, tuple(files))


def pack(told_of: Chronicle, files: Mapping[str, str], at: float) -> bytes:
    """The files as one archive."""
    return packed(f"rollguard-{told_of.target}-{told_of.incident or 'now'}", files, at)


def _files(policy: Policy, known: Known, salt: Salt, environ: Mapping[str, str]) -> dict[str, str]:
    """With what is on the disk: the policy's file, and the secrets, to make sure that none is in there."""
    data = _policy_data(policy)
    written, refs = written_secrets(data)
    found = [_secret(ref, environ) for ref in (*secret_refs(policy), *refs)] + typed_in(policy) + written
    hidden = [*found, *(quote(value, safe="") for value in found)]
    return bundle_files(policy, replace(known, policy_data=data, secrets=hidden), salt)


def _secret(ref: SecretRef, environ: Mapping[str, str]) -> str:
    try:
        return read_secret(ref, environ)
    except Refused:
        return ""


def _program(policy: Policy) -> dict[str, Any]:
    return {
        "version": __version__,
        "python": platform.python_version(),
        "system": platform.platform(),
        "policy": {"path": policy.path, "hash": policy.hash},
    }


def _policy_data(policy: Policy) -> object:
    """The policy's file as it is written, variables not filled in; a sentence where it cannot be had."""
    try:
        with Path(policy.path).open("rb") as file:
            raw = file.read(yamltext.BYTES_MAX + 1)
        words = raw.decode("utf-8")
    except (OSError, ValueError) as error:
        return {"path": policy.path, "missing": f"cannot be read: {type(error).__name__}"}
    document = yamltext.read_document(words, policy.path, {})
    same = hashlib.sha256(raw).hexdigest() == policy.hash
    return {"path": policy.path, "asObeyed": same, "policy": _as_written(document, document.data, ())}


def _as_written(document: yamltext.Document, value: object, path: yamltext.Path) -> object:
    if isinstance(value, dict):
        return {key: _as_written(document, item, (*path, key)) for key, item in value.items()}
    if isinstance(value, list):
        return [_as_written(document, item, (*path, place)) for place, item in enumerate(value)]
    return document.values[path].written if isinstance(value, str) else value


def _policy(recorded: Sequence[ev.Recorded], target: str, environ: Mapping[str, str]) -> Policy:
    """The policy that was obeyed last, as its file is now; where it cannot be read, one that says only its name."""
    loaded = [e.event for e in recorded if isinstance(e.event, ev.PolicyLoaded)]
    path, digest = (loaded[-1].path, loaded[-1].hash) if loaded else ("?", "")
    try:
        found = {p.target.name: p for p in load_policies(Path(path), environ)}
    except PolicyError:
        found = {}
    nobody = Policy(
        target=Target(name=target, app="?", token=SecretRef()), signals=(), rules=(), path=path, hash=digest
    )
    return found.get(target, nobody)
