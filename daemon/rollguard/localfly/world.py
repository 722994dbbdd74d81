"""The local platform's world: apps, machines, leases, releases and images under a clock.

Pure: every method is told the time, nothing blocks, nothing is read or written outside. What must happen
physically is queued as effects for a host (`take_effects`), and the host reports back through `prepared`,
`booted`, `check_result` and `exited`. So the same world runs over real processes and over simulated ones.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rollguard.localfly import leases, transitions, volumes
from rollguard.localfly.access import Access
from rollguard.localfly.apps import App, AppSpec
from rollguard.localfly.effects import SIGNALS, Behave, Signal
from rollguard.localfly.happenings import SYSTEM, Happenings
from rollguard.localfly.images import Behaviour
from rollguard.localfly.ledger import Ledger
from rollguard.localfly.machines import Lease, Machine
from rollguard.localfly.refusal import Refused, not_found
from rollguard.localfly.registry import Caller
from rollguard.localfly.releases import STATUSES, Release

MACHINES_MAX = 200


class World(Happenings):
    """Everything that can happen. What takes a Caller is a write: counted, and refused with `Refused`."""

    # Setting up

    def create_app(self, spec: AppSpec, now: float) -> App:
        """An app whose machines boot `spec.image` as release v1; 422 when the name or image will not do."""
        if spec.name in self.apps:
            raise Refused(422, f"app name {spec.name} is taken", "name_taken")
        if not 0 <= spec.machines <= MACHINES_MAX:
            raise Refused(422, f"an app has at most {MACHINES_MAX} machines")
        image = self._resolve(spec.image)
        ledger = Ledger(sorted(set(spec.tokens.values())))
        app = App(name=spec.name, org=spec.org, number=len(self.apps) + 1, floor=spec.floor, ledger=ledger)
        self.apps[spec.name] = app
        for token, owner in spec.tokens.items():
            seen = self.tokens.get(token, Access()).apps
            self.tokens[token] = Access(owner=owner, apps=seen | {spec.name})
        release = self._new_release(app, spec.image, SYSTEM, now, definition=spec.definition())
        release.status = "complete"
        for number in range(spec.machines):
            config = spec.machine_config(release.id)
            machine = self._new_machine(app, f"{spec.group}-{number + 1}", spec.region, config, image, now)
            self._effects += transitions.launch(machine, self.ids, now)
        self._changed(app)
        return app

    # How the code behaves

    def set_mood(self, app_name: str, mood: Mapping[str, Any], now: float, machine_id: str | None = None) -> None:
        """Let code behave so, by fields of `Behaviour`; {} lifts it. Raises TypeError, ValueError on nonsense.

        Without `machine_id` it holds for all the app's code, whatever the image, also that which boots later. With
        one it holds on top of that, for the virtual machine that runs there now and no later one.
        """
        Behaviour().altered(mood)
        app = self.app(app_name)
        if machine_id is None:
            app.mood = dict(mood)
            concerned = [machine for machine in app.present() if machine.alive]
        else:
            machine = app.machine(machine_id)
            if not machine.alive:
                raise Refused(412, f"failed_precondition: machine is {machine.state}: nothing runs there")
            machine.mood = dict(mood)
            concerned = [machine]
        app.ledger.note(now, "mood", SYSTEM, machine_id or "", ", ".join(f"{k}={v!r}" for k, v in mood.items()))
        self._effects += [Behave(app=app_name, machine=machine.id) for machine in concerned]
        self._changed(app)

    def mood(self, app: str, machine_id: str) -> Mapping[str, Any]:
        """In what the code on a machine behaves unlike its image now."""
        found = self.app(app)
        return {**found.mood, **found.machine(machine_id).mood}

    # Machines: what owners ask for

    def create_machine(self, app_name: str, body: Mapping[str, Any], caller: Caller, now: float) -> Machine:
        """A new machine; boots unless `skip_launch`; with `lease_ttl` the caller holds it from the start."""
        app = self.app(app_name)
        config, image = self._accept(body)
        name = str(body.get("name") or f"machine-{len(app.machines) + 1}")
        region = str(body.get("region") or "ord")
        volumes.refuse_unfit(app, config, region)
        app.vault.refuse_younger(body)
        machine = self._new_machine(app, name, region, config, image, now)
        ttl_s = body.get("lease_ttl")
        if isinstance(ttl_s, int | float) and 0 < ttl_s <= leases.TTL_S_MAX:
            machine.lease = leases.new_lease(self.ids, caller.owner, "", now + ttl_s)
        skipped = body.get("skip_launch")
        self._effects += transitions.provision(machine) if skipped else transitions.launch(machine, self.ids, now)
        app.ledger.wrote(caller.owner, "create", now, machine.id, config["image"])
        self._changed(app)
        return machine

    def update(
        self,
        app: str,
        machine_id: str,
        body: Mapping[str, Any],
        caller: Caller,
        now: float,
        *,
        stuck: int | None = None,
    ) -> Machine:
        """Put a new version on a machine: its whole config. `stuck` is for the host, see `Prepare`.

        412 where `current_version` is not the machine's `instance_id` (what Fly itself answers is not known),
        409 while another change runs, 422 for an unknown image.
        """
        wanted = body.get("config")
        detail = str(wanted.get("image")) if isinstance(wanted, dict) else ""
        with self._writing(app, machine_id, "update", caller, now, detail) as machine:
            expected = body.get("current_version")
            if expected and expected != machine.instance_id:
                raise Refused(
                    412,
                    f"failed_precondition: machine version mismatch: expected {expected}, "
                    f"current {machine.instance_id}",
                )
            config, image = self._accept(body)
            transitions.refuse_while_busy(machine)
            volumes.refuse_changed(machine, config)
            self.apps[app].vault.refuse_younger(body)
            self._watch_floor(machine, caller, now)
            launches = not body.get("skip_launch")
            self._effects += transitions.update(
                machine, config, image, launches=launches, ids=self.ids, now=now, stuck=stuck
            )
        return machine

    def start(self, app: str, machine_id: str, caller: Caller, now: float) -> str:
        """Boot a machine at rest and say in which state it was."""
        with self._writing(app, machine_id, "start", caller, now) as machine:
            before = machine.state
            self._effects += transitions.start(machine, "user", self.ids, now)
        return before

    def take_down(self, app: str, machine_id: str, purpose: str, caller: Caller, now: float, **stop: Any) -> None:
        """Stop, suspend, restart or destroy a machine (`purpose`); `stop` may give a signal and a timeout."""
        with self._writing(app, machine_id, purpose, caller, now) as machine:
            if purpose != "destroy":
                transitions.refuse_while_busy(machine)
            self._watch_floor(machine, caller, now)
            self._effects += transitions.take_down(machine, purpose, self.ids, now, stop)
        self._forget_destroyed(self.apps[app])

    def cordon(self, app: str, machine_id: str, cordoned: bool, caller: Caller, now: float) -> None:
        """Take a machine out of routing, or put it back."""
        with self._writing(app, machine_id, "cordon" if cordoned else "uncordon", caller, now) as machine:
            if cordoned:
                self._watch_floor(machine, caller, now)
            machine.cordoned = cordoned

    def signal(self, app: str, machine_id: str, signal: str, caller: Caller, now: float) -> None:
        """Send a signal to a running machine; what it does about it is its own affair."""
        with self._writing(app, machine_id, "signal", caller, now) as machine:
            if signal not in SIGNALS:
                raise Refused(400, f"invalid_argument: no such signal: {signal}")
            if machine.alive:
                self._effects.append(Signal(app=app, machine=machine_id, signal=signal, timeout_s=None))

    def set_metadata(
        self,
        app: str,
        machine_id: str,
        changes: Mapping[str, str | None],
        caller: Caller,
        now: float,
        version: str = "",
    ) -> None:
        """Set metadata keys, or remove those given as None; no lease is asked for. 412 on another version."""
        with self._counted(app, machine_id, "metadata", caller, now) as machine:
            if version and version != machine.instance_id:
                raise Refused(412, "failed_precondition: machine_version mismatch")
            merged = {**machine.metadata, **changes}
            kept = {key: value for key, value in merged.items() if value is not None}
            machine.config = {**machine.config, "metadata": kept}
            self._shown(machine, now)

    # Leases

    def acquire_lease(
        self, app: str, machine_id: str, ttl_s: float, description: str, caller: Caller, now: float
    ) -> Lease:
        """A new lease, or with the nonce of a held one its refresh."""
        kind = "lease_refresh" if caller.nonce else "lease"
        with self._counted(app, machine_id, kind, caller, now) as machine:
            if not 0 < ttl_s <= leases.TTL_S_MAX:
                raise Refused(400, "invalid_argument: lease ttl out of range")
            if caller.nonce:
                return leases.refresh(machine, caller.nonce, now + ttl_s, now)
            lease = leases.new_lease(self.ids, caller.owner, description, now + ttl_s)
            return leases.acquire(machine, lease, now)

    def release_lease(self, app: str, machine_id: str, caller: Caller, now: float) -> None:
        """Give a lease back; 404 when none is held."""
        with self._counted(app, machine_id, "lease_release", caller, now) as machine:
            leases.release(machine, caller.nonce, now)

    # Releases

    def create_release(
        self, app: str, image_ref: str, definition: Mapping[str, Any], strategy: str, owner: str, now: float
    ) -> Release:
        """A new pending row with the next version number."""
        found = self.app(app)
        release = self._new_release(found, image_ref, owner, now, definition=definition, strategy=strategy)
        found.ledger.wrote(owner, "release_create", now, detail=f"v{release.version} {image_ref}")
        self._changed(found)
        return release

    def patch_release(
        self, release_id: str, status: str, metadata: Mapping[str, Any] | None, owner: str, now: float
    ) -> Release:
        """Move a row's status; 404 for a row and 422 for a status there is not."""
        release = self.releases.get(release_id)
        if release is None:
            raise not_found("release")
        if status not in STATUSES:
            raise Refused(422, f"invalid release status {status!r}")
        release.status, release.updated_at = status, now
        release.metadata = {**(release.metadata or {}), **metadata} if metadata else release.metadata
        app = self.apps[release.app]
        app.ledger.wrote(owner, "release_patch", now, detail=f"v{release.version} {status}")
        self._changed(app)
        return release

    # What the host reports

    def prepared(self, app: str, machine_id: str, now: float) -> None:
        """The image of that version was pulled."""
        with self._report(app, machine_id, now) as machine:
            self._effects += transitions.prepared(machine, self.ids, now)

    def pull_failed(self, app: str, machine_id: str, now: float) -> None:
        """The image of that version cannot be pulled: the machine silently goes back to the version before."""
        with self._report(app, machine_id, now) as machine:
            self._effects += transitions.pull_failed(machine, self.ids, now)

    def booted(self, app: str, machine_id: str, address: str, now: float) -> None:
        """The virtual machine answers at `address` (host:port)."""
        with self._report(app, machine_id, now) as machine:
            transitions.booted(machine, address, self.ids, now)

    def check_result(self, app: str, machine_id: str, name: str, status: str, output: str, now: float) -> None:
        """A check of a running machine answered: "passing", "warning" or "critical"."""
        machine = self.app(app).machine(machine_id)
        if machine.alive and transitions.check_result(machine, name, status, output, now):
            self._shown(machine, now)

    def logged(self, app: str, machine_id: str, message: str, now: float) -> None:
        """The code on a machine said something. Nobody is woken for it."""
        found = self.app(app)
        found.logs.add(message, instance=machine_id, region=found.machine(machine_id).region, now=now)

    def exited(self, app: str, machine_id: str, code: int, now: float, *, oom: bool = False, signal: int = -1) -> None:
        """The virtual machine is gone, with that exit code."""
        with self._report(app, machine_id, now) as machine:
            note = f"exit code {code}" + (", out of memory" if oom else "")
            self.apps[app].ledger.note(now, "exit", SYSTEM, machine_id, note)
            self.logged(app, machine_id, f"Main child exited normally with code: {code}", now)
            self._effects += transitions.exited(machine, code, oom=oom, signal=signal, ids=self.ids, now=now)
