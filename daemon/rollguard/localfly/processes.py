"""A host of real processes: each machine is a `sample_app` child on a loopback port of its own.

No child outlives the platform, however that dies: each holds the read end of a pipe as its stdin, and leaves when
the pipe ends. The kernel ends it even for a platform killed with SIGKILL, on every system; PR_SET_PDEATHSIG would
be Linux only, and is tied to the *thread* that forked. On the same pipe a child is told how to behave from now on;
what it says on stdout is the app's log.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import sys
from asyncio.subprocess import PIPE, Process
from dataclasses import replace
from urllib.parse import urlsplit

from rollguard.localfly.effects import Boot, Check
from rollguard.localfly.hosting import KILLED, End, Host, Vm, happens
from rollguard.localfly.http1 import BadMessageError, Request, fetch
from rollguard.localfly.images import Behaviour

LOOPBACK = "127.0.0.1"
COMMAND_S = 1.0
COMMAND = ("-c", "import sys, time; time.sleep(float(sys.argv[1])); sys.exit(int(sys.argv[2]))")


class ProcessHost(Host):
    """Each VM's `inside` is its process, None until there is one."""

    async def _run(self, vm: Vm) -> End:
        if await happens(vm.told_to_stop, vm.boot.delay_s):
            return End(0)
        behaviour = self._behaviour(vm)
        process = await asyncio.create_subprocess_exec(
            sys.executable, *_command(vm.boot, behaviour), stdin=PIPE, stdout=PIPE, limit=2**16
        )
        vm.inside = process
        if self._behaviour(vm) != behaviour:  # changed while it was being started
            self._behave(vm, self._behaviour(vm))
        try:
            return await self._attend(vm, process)
        finally:
            await _make_sure_it_is_gone(process)

    async def _attend(self, vm: Vm, process: Process) -> End:
        for asked in (vm.told_to_stop, vm.killed):
            if asked.is_set():  # while it was being started
                self._tell(vm, "SIGKILL")
        assert process.stdout is not None
        if vm.boot.one_shot:
            self._up(vm, "")
        elif ready := await process.stdout.readline():
            self._up(vm, urlsplit(json.loads(ready)["url"]).netloc)
            await self._listen(vm.boot, process.stdout)
        code = await process.wait()
        if code < 0:
            return End(128 - code, signal=-code)
        return End(code, oom=code == KILLED)

    async def _listen(self, boot: Boot, stdout: asyncio.StreamReader) -> None:
        """Take the process's lines into the app's log, up to its end."""
        while True:
            try:
                line = await stdout.readline()
            except ValueError:  # longer than anybody would read; it is thrown away
                continue
            if not line:
                return
            self._world.logged(boot.app, boot.machine, line.decode(errors="replace").rstrip(), self._clock())

    def _behave(self, vm: Vm, behaviour: Behaviour) -> None:
        if vm.inside is not None and not vm.boot.one_shot:
            vm.inside.stdin.write(json.dumps(behaviour.to_json()).encode() + b"\n")

    def _tell(self, vm: Vm, signal_name: str) -> None:
        super()._tell(vm, signal_name)
        if vm.inside is not None:
            with contextlib.suppress(ProcessLookupError):
                vm.inside.send_signal(getattr(signal, signal_name, signal.SIGINT))

    async def _probe(self, vm: Vm, check: Check) -> tuple[bool, str]:
        machine = self._world.app(vm.boot.app).machine(vm.boot.machine)
        host, _, port = machine.address.partition(":")
        try:
            answer = await fetch(host, int(port), Request("GET", check.path), check.timeout_s)
        except (OSError, TimeoutError, BadMessageError) as error:
            return False, f"{type(error).__name__}: {error}"
        return check.kind != "http" or 200 <= answer.status < 300, f"{answer.status}"


def _command(boot: Boot, behaviour: Behaviour) -> tuple[str, ...]:
    if boot.one_shot:  # a release command does nothing for a second, unless its image crashes earlier
        crash_s = behaviour.crash_after_s
        fails = crash_s is not None and crash_s < COMMAND_S
        return (*COMMAND, str(crash_s if fails else COMMAND_S), str(int(fails)))
    image = json.dumps(replace(boot.image, behaviour=behaviour).to_json())
    names = ("--app", boot.app, "--machine", boot.machine, "--instance", boot.instance)
    where = ("--host", LOOPBACK, "--port", "0")
    return ("-m", "rollguard.localfly.sample_app", *where, *names, "--image", image, "--watch-stdin")


async def _make_sure_it_is_gone(process: Process) -> None:
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    await process.wait()
    assert process.stdin is not None
    process.stdin.close()
