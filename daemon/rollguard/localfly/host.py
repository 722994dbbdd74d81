"""A simulated host: machines without processes, on asyncio's clock, virtual or not.

Inside each runs the sample app's own code, so that checks and pages answer as they would from a process; only
sockets and processes are missing.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from itertools import count

from rollguard.localfly.effects import Boot, Check
from rollguard.localfly.faults import Faults
from rollguard.localfly.hosting import KILLED, End, Host, Vm, happens
from rollguard.localfly.hotdash import HotDash, start_line
from rollguard.localfly.http1 import Request
from rollguard.localfly.images import Behaviour
from rollguard.localfly.lifespan import Lifespan
from rollguard.localfly.world import World

PULL_S = 0.5
LAME_DUCK_S = 0.5
ONE_SHOT_S = 1.0
FIXED_PATHS = frozenset({"/health"})  # a function of the behaviour alone: asking once is enough
SIGINT_CODE, SIGINT = 130, 2


class SimulatedHost(Host):
    """Each VM's `inside` is its HotDash, None until it has booted."""

    def __init__(
        self,
        world: World,
        clock: Callable[[], float],
        *,
        faults: Faults | None = None,
        pull_s: float = PULL_S,
        seed: int = 0,
    ) -> None:
        super().__init__(world, clock, faults=faults, pull_s=pull_s)
        self._seed = seed
        self._boots = count()
        self._lives: dict[str, Lifespan] = {}  # by machine

    def app_of(self, machine: str) -> HotDash | None:
        """The app that runs on a machine now, or None."""
        vm = self.vms.get(machine)
        return vm.inside if vm else None

    async def _run(self, vm: Vm) -> End:
        if await _ends(vm, vm.boot.delay_s):
            return End(0)
        deaths: list[int] = []

        def die(code: int) -> None:
            deaths.append(code)
            vm.told_to_stop.set()

        self._lives[vm.boot.machine] = life = Lifespan(die)
        try:
            end = await self._attend(vm, life)
        finally:
            life.spare()
            del self._lives[vm.boot.machine]
        return End(deaths[0], oom=deaths[0] == KILLED) if deaths else end

    async def _attend(self, vm: Vm, life: Lifespan) -> End:
        boot, behaviour = vm.boot, self._behaviour(vm)
        assert behaviour.needs is None, "nothing is simulated that an app could need: give it a mood instead"
        life.follow(behaviour)
        if await _ends(vm, behaviour.boots_in_s):
            return End(0)
        vm.inside = app = self._boot(boot)
        self._up(vm, f"{boot.machine}.vm:3000")
        self._world.logged(boot.app, boot.machine, start_line(boot.image.digest, boot.instance), self._clock())
        if not await _ends(vm, ONE_SHOT_S if boot.one_shot else None):
            return End(0)
        if vm.killed.is_set():
            return End(KILLED, signal=9)
        if not app.behaviour.drains:
            return End(SIGINT_CODE, signal=SIGINT)
        killed = await happens(vm.killed, LAME_DUCK_S)
        return End(KILLED, signal=9) if killed else End(0)

    def _boot(self, boot: Boot) -> HotDash:
        """A fresh process of the app; with the same seed its dice fall the same."""
        behaviour = boot.image.behaviour.altered(self._world.mood(boot.app, boot.machine))
        dice = random.Random(f"{self._seed} {boot.machine} {next(self._boots)}")

        def log(line: str) -> None:
            self._world.logged(boot.app, boot.machine, line, self._clock())

        return HotDash(behaviour, secret=boot.app, dice=dice, clock=self._clock, log=log)

    def _behave(self, vm: Vm, behaviour: Behaviour) -> None:
        if (life := self._lives.get(vm.boot.machine)) is not None:
            life.follow(behaviour)
        if vm.inside is not None:
            vm.inside.behave(behaviour)

    def _tell(self, vm: Vm, signal: str) -> None:
        if signal == "SIGKILL":
            vm.killed.set()
        vm.told_to_stop.set()  # what ends a VM ends all its waiting

    async def _probe(self, vm: Vm, check: Check) -> tuple[bool, str]:
        if check.kind != "http":
            return True, "Success"
        try:
            async with asyncio.timeout(check.timeout_s):
                answer = await vm.inside.answer(Request("GET", check.path))
        except TimeoutError:
            return False, "request timed out"
        return 200 <= answer.status < 300, f"{answer.status}"

    def _is_fixed(self, check: Check) -> bool:
        return check.kind != "http" or check.path in FIXED_PATHS


async def _ends(vm: Vm, within_s: float | None) -> bool:
    """Whether the VM is told to end within that time."""
    return await happens(vm.told_to_stop, within_s)
