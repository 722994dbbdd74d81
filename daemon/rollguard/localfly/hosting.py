"""What every host does with the world's effects; how a virtual machine lives is left to the kind of host."""

from __future__ import annotations

import abc
import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from rollguard.localfly.effects import Behave, Boot, Check, Prepare, Signal
from rollguard.localfly.faults import Faults
from rollguard.localfly.images import Behaviour
from rollguard.localfly.world import World

CHECKS_APPEAR_S = 0.3  # after a boot; until then the list of checks is empty
KILLED = 137


@dataclass(frozen=True, slots=True)
class End:
    """How a virtual machine ended."""

    code: int
    oom: bool = False
    signal: int = -1


@dataclass(slots=True, eq=False)
class Vm:
    """One virtual machine, from its Boot to its end. What runs inside is the host's affair."""

    boot: Boot
    told_to_stop: asyncio.Event = field(default_factory=asyncio.Event)
    killed: asyncio.Event = field(default_factory=asyncio.Event)
    altered: asyncio.Event = field(default_factory=asyncio.Event)  # a fresh one after every change of behaviour
    checks: list[asyncio.Task[None]] = field(default_factory=list)
    inside: Any = None


class Host(abc.ABC):
    """Carries out a world's effects while used as ``async with``; a bug in it ends that block with an error."""

    def __init__(
        self, world: World, clock: Callable[[], float], *, faults: Faults | None = None, pull_s: float = 0.0
    ) -> None:
        self.vms: dict[str, Vm] = {}  # by machine
        self._world = world
        self._clock = clock
        self._faults = faults or Faults()
        self._pull_s = pull_s
        self._open = False
        self._group = asyncio.TaskGroup()
        self._tasks: set[asyncio.Task[None]] = set()
        world.subscribe(self._perform_all)

    async def __aenter__(self) -> Self:
        await self._group.__aenter__()
        self._open = True
        self._perform_all("")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open = False
        for task in self._tasks:
            task.cancel()
        if isinstance(error, asyncio.CancelledError):  # perhaps by the group, for a bug in one of our tasks
            await self._group.__aexit__(kind, error, trace)
        else:
            await self._group.__aexit__(None, None, None)  # an error of the block itself passes as it is

    @abc.abstractmethod
    async def _run(self, vm: Vm) -> End:
        """Live: wait out the boot's delay, boot, call `_up`, obey the VM's events, return how it ended."""

    @abc.abstractmethod
    async def _probe(self, vm: Vm, check: Check) -> tuple[bool, str]:
        """One health check: whether it passes, and what it saw."""

    def _tell(self, vm: Vm, signal: str) -> None:
        """Hand a signal to what runs inside."""
        (vm.killed if signal == "SIGKILL" else vm.told_to_stop).set()

    @abc.abstractmethod
    def _behave(self, vm: Vm, behaviour: Behaviour) -> None:
        """Hand a new behaviour to what runs inside, if anything does yet."""

    def _is_fixed(self, check: Check) -> bool:
        """Whether the answer of a check stays the same until the VM's behaviour changes."""
        return False

    def _behaviour(self, vm: Vm) -> Behaviour:
        """How the code inside is to behave: as its image does, but for the moods of the moment."""
        return vm.boot.image.behaviour.altered(self._world.mood(vm.boot.app, vm.boot.machine))

    def _perform_all(self, app: str) -> None:
        if not self._open:
            return  # effects wait in the world
        for effect in self._world.take_effects():
            match effect:
                case Prepare():
                    self._spawn(self._prepare(effect))
                case Boot():
                    vm = self.vms[effect.machine] = Vm(effect)
                    self._spawn(self._live(vm))
                case Signal():
                    self._signal(self.vms[effect.machine], effect)
                case Behave():
                    self._alter(self.vms[effect.machine])

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _prepare(self, effect: Prepare) -> None:
        if effect.stuck is not None:
            await self._faults.until_lifted(effect.stuck)
        await asyncio.sleep(self._pull_s)
        fails = self._faults.meeting("pull", effect.machine) == "fails"
        report = self._world.pull_failed if fails else self._world.prepared
        report(effect.app, effect.machine, self._clock())

    async def _live(self, vm: Vm) -> None:
        end = await self._run(vm)
        for task in vm.checks:
            task.cancel()
        boot = vm.boot
        del self.vms[boot.machine]
        self._world.exited(boot.app, boot.machine, end.code, self._clock(), oom=end.oom, signal=end.signal)

    def _signal(self, vm: Vm, effect: Signal) -> None:
        self._tell(vm, effect.signal)
        if effect.timeout_s is not None:
            vm.checks.append(self._spawn(self._kill_after(vm, effect.timeout_s)))

    def _alter(self, vm: Vm) -> None:
        self._behave(vm, self._behaviour(vm))
        vm.altered.set()
        vm.altered = asyncio.Event()

    async def _kill_after(self, vm: Vm, timeout_s: float) -> None:
        await asyncio.sleep(timeout_s)
        self._tell(vm, "SIGKILL")

    def _up(self, vm: Vm, address: str) -> None:
        """The VM answers at `address`: say so, and begin to check it."""
        self._world.booted(vm.boot.app, vm.boot.machine, address, self._clock())
        vm.checks += [self._spawn(self._watch(vm, check)) for check in vm.boot.checks]

    async def _watch(self, vm: Vm, check: Check) -> None:
        """Report a check for as long as the VM lives: critical during its grace, then as it answers."""
        await asyncio.sleep(CHECKS_APPEAR_S)
        self._report(vm, check, False, "waiting for the grace period to pass")
        await asyncio.sleep(check.grace_s)
        while True:
            self._report(vm, check, *await self._probe(vm, check))
            if self._is_fixed(check):
                await vm.altered.wait()
            else:
                await asyncio.sleep(check.interval_s)

    def _report(self, vm: Vm, check: Check, passes: bool, output: str) -> None:
        status = "passing" if passes else "critical"
        self._world.check_result(vm.boot.app, vm.boot.machine, check.name, status, output, self._clock())


async def happens(event: asyncio.Event, within_s: float | None) -> bool:
    """Whether the event is set within that time (None: wait for ever); returns as soon as it is."""
    try:
        async with asyncio.timeout(within_s):
            return await event.wait()
    except TimeoutError:
        return False
