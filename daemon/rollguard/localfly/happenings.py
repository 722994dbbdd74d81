"""What happens to a world without anybody asking its interfaces: hosts, images, tokens, volumes, the proxy."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

from rollguard.localfly import transitions, volumes
from rollguard.localfly.apps import App
from rollguard.localfly.images import Image
from rollguard.localfly.machines import AT_REST, Machine
from rollguard.localfly.refusal import Refused, not_found
from rollguard.localfly.registry import Registry
from rollguard.localfly.store import Reference

SYSTEM = "platform"
HOST_STATUSES = ("ok", "unknown", "unreachable")
SLEEPS = {True: "stop", "stop": "stop", "suspend": "suspend"}  # by a service's `autostop`


class Happenings(Registry):
    """Acts of nobody: no lease is asked for, nothing is counted as a write."""

    # Hosts

    def set_host_status(self, app: str, machine_id: str, status: str, now: float) -> Machine:
        """Lose sight of a machine's host, or see it again ("ok"); machines that stand by for it are started.

        While it is not ok, the machine is shown without its config, and what needs the host is refused with 408.
        """
        if status not in HOST_STATUSES:
            raise Refused(422, f"host_status must be one of {', '.join(HOST_STATUSES)}")
        found = self.app(app)
        machine = found.machine(machine_id)
        machine.host_status = status
        found.ledger.note(now, "host", SYSTEM, machine_id, status)
        self._shown(machine, now)
        if status != "ok":
            for standby in found.present():
                if machine_id in (standby.config.get("standbys") or ()) and standby.state in AT_REST:
                    self._effects += transitions.start(standby, "flyd", self.ids, now)
                    self._shown(standby, now)
        return machine

    def create_volume(self, app: str, body: dict[str, Any], now: float) -> volumes.Volume:
        """A volume nobody mounts yet."""
        found = self.app(app)
        volume = volumes.asked(body, f"vol_{self.ids.hex(16)}", now)
        found.volumes[volume.id] = volume
        return volume

    # The proxy

    def wake(self, app: str, machine_id: str, now: float) -> Machine:
        """What the proxy does when a request arrives for a stopped machine with autostart."""
        machine = self.app(app).machine(machine_id)
        if machine.autostart and machine.state in {"stopped", "suspended"} and machine.host_status == "ok":
            self._effects += transitions.start(machine, "proxy", self.ids, now)
            self._shown(machine, now)
        return machine

    def idle(self, app: str, machine_id: str, now: float) -> Machine:
        """What the proxy does with a machine that nobody used for minutes: nothing, stop it or suspend it."""
        found = self.app(app)
        machine = found.machine(machine_id)
        purpose = _sleep_of(machine)
        if purpose and machine.state == "started" and not _is_needed(machine, found):
            self._effects += transitions.take_down(machine, purpose, self.ids, now, source="proxy")
            self._shown(machine, now)
        return machine

    # Images

    def prune_image(self, named: str) -> Image:
        """Keep an image only as long as a machine runs it: then neither its tag nor its digest names it any more.

        `named` is a reference or a bare digest; 404 when there is none.
        """
        image = self.images.named(named)
        if image is None:
            raise not_found("image")
        self._unkept.add(image.digest)
        self._sweep()
        return image

    def move_tag(self, ref: str, digest: str) -> Image:
        """Let a tag name another image from now on. Machines keep the digest they booted."""
        image = self.images.named(digest)
        if image is None:
            raise not_found("image")
        wanted = Reference.parse(ref)
        if not wanted.tag or wanted.digest or wanted.name != Reference.parse(image.ref).name:
            raise Refused(422, f"{ref!r} is no tag of the image's repository")
        self.images.tag(ref, image)
        return image

    # Tokens

    def revoke_token(self, token: str) -> None:
        """From now on its bearer is a stranger."""
        if self.tokens.pop(token, None) is None:
            raise not_found("token")

    def limit_token(self, token: str, *, read_only: bool | None = None, apps: Iterable[str] | None = None) -> None:
        """Let a token only read, or write again; let it see these apps and no others."""
        access = self.tokens.get(token)
        if access is None:
            raise not_found("token")
        self.tokens[token] = replace(
            access,
            read_only=access.read_only if read_only is None else read_only,
            apps=access.apps if apps is None else frozenset(apps),
        )

    def _changed(self, app: App) -> None:
        super()._changed(app)
        if self._unkept:
            self._sweep()

    def _sweep(self) -> None:
        """Forget the unkept images that no machine has any more."""
        used = {machine.image.digest for app in self.apps.values() for machine in app.present()}
        for digest in self._unkept - used:
            self.images.prune(digest)
            self._unkept.discard(digest)


def _sleep_of(machine: Machine) -> str | None:
    modes = [service.get("autostop") for service in machine.config.get("services") or []]
    return next((SLEEPS[mode] for mode in modes if isinstance(mode, bool | str) and mode in SLEEPS), None)


def _is_needed(machine: Machine, app: App) -> bool:
    """Whether it is one of the last that its group keeps running."""
    services = machine.config.get("services") or []
    least = max((service.get("min_machines_running") or 0 for service in services), default=0)
    peers = [peer for peer in app.present() if peer.group == machine.group and peer.region == machine.region]
    return sum(peer.state == "started" for peer in peers) <= least
