"""What the world consists of, and the one way to change it: look up, admit, act, count, tell."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from rollguard.localfly import floor, leases
from rollguard.localfly.access import Access
from rollguard.localfly.apps import App
from rollguard.localfly.configs import accepted
from rollguard.localfly.effects import Effect
from rollguard.localfly.ids import Ids
from rollguard.localfly.images import Image
from rollguard.localfly.incidents import Incident
from rollguard.localfly.machines import Machine
from rollguard.localfly.refusal import Refused, not_found
from rollguard.localfly.releases import Release
from rollguard.localfly.store import ImageStore

DESTROYED_MAX = 100
WITHOUT_HOST = frozenset({"destroy", "cordon", "uncordon"})  # what can be done while a machine's host is away


@dataclass(frozen=True, slots=True)
class Caller:
    """Who writes, and with which lease."""

    owner: str
    nonce: str = ""


class Registry:
    """Apps, images, tokens and releases, with the effects and listeners that every change feeds."""

    def __init__(self, ids: Ids) -> None:
        self.ids = ids
        self.images = ImageStore()
        self.apps: dict[str, App] = {}
        self.tokens: dict[str, Access] = {}
        self._unkept: set[str] = set()  # digests of images that go when no machine has them any more
        self.releases: dict[str, Release] = {}
        self.incidents: tuple[Incident, ...] = ()  # of the platform itself, newest first
        self._effects: list[Effect] = []
        self._listeners: list[Callable[[str], None]] = []

    def app(self, name: str) -> App:
        """The app of that name; 404 if there is none."""
        try:
            return self.apps[name]
        except KeyError:
            raise not_found("app") from None

    def subscribe(self, listener: Callable[[str], None]) -> None:
        """Call `listener` with an app's name after every change in it. It must not call back at once."""
        self._listeners.append(listener)

    def take_effects(self) -> list[Effect]:
        """What the host has to do now; each effect is handed out once."""
        taken, self._effects = self._effects, []
        return taken

    def _changed(self, app: App) -> None:
        app.version += 1
        for listener in self._listeners:
            listener(app.name)

    @contextmanager
    def _counted(
        self, app: str, machine_id: str, kind: str, caller: Caller, now: float, detail: str = ""
    ) -> Iterator[Machine]:
        """One attempt of an owner on a machine, in the ledger as carried out or as refused."""
        ledger = self.app(app).ledger
        try:
            machine = self.apps[app].machine(machine_id)
            if machine.state == "destroyed":
                raise not_found("machine")
            if kind not in WITHOUT_HOST:
                machine.refuse_without_host()
            yield machine
        except Refused as refused:
            ledger.refused(caller.owner, kind, now, machine_id, refused.sentence)
            raise
        ledger.wrote(caller.owner, kind, now, machine_id, detail)

    @contextmanager
    def _writing(
        self, app: str, machine_id: str, kind: str, caller: Caller, now: float, detail: str = ""
    ) -> Iterator[Machine]:
        """One write to a machine: admitted by its lease, counted, shown to listeners."""
        with self._counted(app, machine_id, kind, caller, now, detail) as machine:
            leases.admit(machine, caller.nonce, now)
            yield machine
        self._shown(machine, now)

    @contextmanager
    def _report(self, app: str, machine_id: str, now: float) -> Iterator[Machine]:
        """One report of the host about a machine."""
        machine = self.app(app).machine(machine_id)
        yield machine
        self._shown(machine, now)

    def _shown(self, machine: Machine, now: float) -> None:
        machine.touch(now)
        self._changed(self.apps[machine.app])

    def _watch_floor(self, machine: Machine, caller: Caller, now: float) -> None:
        """Note a violation if taking `machine` down now is one. Nothing is prevented."""
        app = self.apps[machine.app]
        group = app.machines.values()
        found = floor.violation(machine, group, share=app.floor, owner=caller.owner, now=now)
        if found:
            app.ledger.violations.append(found)
            detail = f"{found.remaining} healthy left, floor {found.floor}"
            app.ledger.note(now, "floor violation", caller.owner, machine.id, detail)

    def _accept(self, body: Mapping[str, Any]) -> tuple[dict[str, Any], Image]:
        """The config of a request and its image; 422 where either is not usable."""
        config = accepted(body.get("config"))
        return config, self._resolve(config["image"])

    def _resolve(self, ref: str) -> Image:
        image = self.images.resolve(ref)
        if image is None:
            raise Refused(422, f"failed_precondition: could not find image {ref!r}")
        return image

    def _new_machine(
        self, app: App, name: str, region: str, config: Mapping[str, Any], image: Image, now: float
    ) -> Machine:
        machine = Machine(
            app=app.name,
            id=self.ids.hex(14),
            name=name,
            region=region,
            created_at=now,
            instance_id="",
            config=config,
            image=image,
        )
        machine.configure(self.ids.ulid(now), config, image)
        machine.touch(now)
        app.machines[machine.id] = machine
        return machine

    def _new_release(
        self,
        app: App,
        image_ref: str,
        owner: str,
        now: float,
        definition: Mapping[str, Any],
        strategy: str = "ROLLING",
    ) -> Release:
        release = Release(
            id=f"rel_{self.ids.hex(14)}",
            app=app.name,
            version=len(app.releases) + 1,
            status="pending",
            image_ref=image_ref,
            user=owner,
            created_at=now,
            updated_at=now,
            strategy=strategy,
            definition=definition,
        )
        app.releases.append(release)
        self.releases[release.id] = release
        return release

    def _forget_destroyed(self, app: App) -> None:
        """Destroyed machines can still be asked for, but not all of them for ever."""
        gone = [machine.id for machine in app.machines.values() if machine.state == "destroyed"]
        for machine_id in gone[:-DESTROYED_MAX]:
            del app.machines[machine_id]
