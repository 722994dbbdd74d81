"""What happens to a machine: requests start it, reports of the host finish it.

Each step returns what the host must do. A virtual machine is `alive` from its Boot until its `exited`, which every
Boot gets exactly once. A requested exit has a purpose, `after_exit`; an exit without one is a crash, and the
restart policy decides.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rollguard.localfly.effects import SIGNALS, Boot, Effect, Prepare, Signal
from rollguard.localfly.ids import Ids
from rollguard.localfly.images import Image
from rollguard.localfly.machines import RESERVED_GROUPS, CheckStatus, Machine
from rollguard.localfly.refusal import Refused
from rollguard.localfly.times import duration_s, rfc3339

STOP_TIMEOUT_S = 5.0
RESTART_DELAY_S = 1.0
MAX_RETRIES = 10
GOING = {"stop": "stopping", "suspend": "suspending", "destroy": "destroying", "restart": "restarting"}
RESTS = {"stop": "stopped", "suspend": "suspended", "destroy": "destroyed"}
BUSY = frozenset({"replacing", "restarting", "stopping", "suspending", "destroying"})


def update(
    machine: Machine,
    config: Mapping[str, Any],
    image: Image,
    *,
    launches: bool,
    ids: Ids,
    now: float,
    stuck: int | None = None,
) -> list[Effect]:
    """Begin a new version: the old virtual machine goes, the image is pulled, the new one boots if it `launches`."""
    refuse_while_busy(machine)
    machine.wire_before, machine.stuck = machine.wire(), stuck
    farewell = _stop_config(machine)  # the old version's, not the new one's
    machine.record(ids, now, "update", "replacing", "user")
    machine.configure(ids.ulid(now), config, image)
    machine.checks.clear()
    machine.state = "replacing"
    machine.launches = launches
    machine.restart_count = 0
    machine.updates += 1
    if not machine.alive:
        return [_prepare(machine)]
    machine.after_exit = "replace"
    return [_signal(machine, farewell)]


def launch(machine: Machine, ids: Ids, now: float) -> list[Effect]:
    """Boot a machine that was just created."""
    machine.record(ids, now, "launch", "created", "user")
    machine.state = "starting"
    return _boot(machine)


def provision(machine: Machine) -> list[Effect]:
    """Only fetch the image of a machine that was just created; then it rests."""
    return [_prepare(machine)]


def start(machine: Machine, source: str, ids: Ids, now: float) -> list[Effect]:
    """Boot a machine that rests; one that runs already is left alone."""
    refuse_while_busy(machine)
    if machine.alive:
        return []
    machine.record(ids, now, "start", "starting", source)
    machine.state = "starting"
    machine.restart_count = 0
    return _boot(machine)


def take_down(
    machine: Machine, purpose: str, ids: Ids, now: float, stop: Mapping[str, Any] | None = None, source: str = "user"
) -> list[Effect]:
    """End the virtual machine to stop, suspend, restart or destroy the machine.

    `stop` may name another `signal` and `timeout` than the config does.
    """
    machine.record(ids, now, purpose, GOING[purpose], source)
    if machine.alive:
        machine.state = GOING[purpose]
        machine.after_exit = purpose
        return [_signal(machine, _stop_config(machine) | dict(stop or {}))]
    if purpose == "restart":
        machine.state = "restarting"
        return _boot(machine)
    machine.state = RESTS[purpose]
    return []


def prepared(machine: Machine, ids: Ids, now: float) -> list[Effect]:
    """The image is there: boot the new version, or leave it at rest."""
    machine.pulls -= 1
    if machine.pulls:
        return []  # another image was asked for in the meantime
    if machine.state == "created" and not machine.alive:
        machine.state = "stopped"
    if machine.state != "replacing":
        return []  # destroyed or started while the image was pulled
    machine.record(ids, now, "launch", "created", "user")  # "flyd" would be a move to another host
    if machine.launches:
        return _boot(machine)
    machine.state = "stopped"
    return []


def pull_failed(machine: Machine, ids: Ids, now: float) -> list[Effect]:
    """The image cannot be had: the platform puts the previous version back and says nothing about it."""
    if machine.state == "replacing" and machine.pulls == 1:
        machine.revert()
    return prepared(machine, ids, now)


def booted(machine: Machine, address: str, ids: Ids, now: float) -> None:
    """The virtual machine answers at `address`; its checks have no result yet."""
    machine.address = address
    if not machine.after_exit:  # else it is on its way out already
        machine.state = "started"
        machine.record(ids, now, "start", "started", "flyd")


def check_result(machine: Machine, name: str, status: str, output: str, now: float) -> bool:
    """Note a check's result and say whether its status changed."""
    before = machine.checks.get(name)
    if before and before.status == status:
        return False
    machine.checks[name] = CheckStatus(status, output, now)
    return True


def exited(machine: Machine, code: int, *, oom: bool, signal: int, ids: Ids, now: float) -> list[Effect]:
    """The virtual machine is gone: go on with what it was taken down for, or treat it as a crash."""
    purpose, machine.after_exit = machine.after_exit, ""
    machine.alive, machine.address, machine.mood = False, "", {}
    machine.checks.clear()
    again = not purpose and _restarts(machine, code)
    exit_event = {
        "exit_code": code,
        "guest_exit_code": code,
        "guest_signal": signal,
        "oom_killed": oom,
        "requested_stop": bool(purpose),
        "restarting": again or purpose == "restart",
        "signal": signal,
        "exited_at": rfc3339(now),
    }
    count = machine.restart_count
    machine.record(ids, now, "exit", "stopped", "flyd", restart_count=count, exit_event=exit_event)
    if purpose == "replace":
        return [_prepare(machine)]
    if purpose == "restart":
        return _boot(machine)
    if again:
        machine.restart_count += 1
        machine.state = "starting"
        return _boot(machine, RESTART_DELAY_S)
    machine.state = RESTS.get(purpose) or ("destroyed" if machine.config.get("auto_destroy") else "stopped")
    return []


def refuse_while_busy(machine: Machine) -> None:
    """409 while another change of the machine is under way."""
    if machine.state in BUSY:
        raise Refused(409, f"aborted: machine is {machine.state}: concurrent update in progress")


def state_of(machine: Machine, instance_id: str) -> str:
    """The state of one version of a machine: any but the current one is "replaced"."""
    return machine.state if instance_id in ("", machine.instance_id) else "replaced"


def _restarts(machine: Machine, code: int) -> bool:
    restart = machine.config.get("restart") or {}
    policy = restart.get("policy") or "on-failure"
    if policy == "always":
        return True
    retries_max = restart.get("max_retries") or MAX_RETRIES
    return policy == "on-failure" and code != 0 and machine.restart_count < retries_max


def _stop_config(machine: Machine) -> dict[str, Any]:
    return dict(machine.config.get("stop_config") or {})


def _prepare(machine: Machine) -> Prepare:
    machine.pulls += 1
    return Prepare(app=machine.app, machine=machine.id, image=machine.image, stuck=machine.stuck)


def _boot(machine: Machine, delay_s: float = 0.0) -> list[Effect]:
    assert not machine.alive, "two virtual machines for one machine"
    machine.alive = True
    boot = Boot(
        app=machine.app,
        machine=machine.id,
        instance=machine.instance_id,
        image=machine.image,
        checks=machine.wanted_checks,
        delay_s=delay_s,
        one_shot=machine.group in RESERVED_GROUPS,
    )
    return [boot]


def _signal(machine: Machine, stop: Mapping[str, Any]) -> Signal:
    return Signal(
        app=machine.app,
        machine=machine.id,
        signal=wanted if (wanted := stop.get("signal")) in SIGNALS else "SIGINT",
        timeout_s=duration_s(stop.get("timeout"), STOP_TIMEOUT_S) or STOP_TIMEOUT_S,
    )
