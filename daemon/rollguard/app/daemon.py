"""The daemon: from options to a guard on duty, and from a signal to the end of the process."""

from __future__ import annotations

import asyncio
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack

from rollguard import __version__
from rollguard.adapters.http import AiohttpTransport
from rollguard.app.desk import Desk
from rollguard.app.options import CannotStart, Options, socket_path
from rollguard.app.preflight import missing_secrets, strangers, unusable_folder
from rollguard.app.reload import Reloader, fingerprint
from rollguard.app.reporting import ReportDesk
from rollguard.app.target import Shared, Target
from rollguard.config.loader import load_policies
from rollguard.core.policy import Policy
from rollguard.errors import GuardError, PolicyError
from rollguard.telemetry.metrics import Metrics
from rollguard.web.control import ControlServer, unusable_socket
from rollguard.web.server import Views, WebServer, parse_listen, taken

STOP_S = 4.0
"""How long the loops get to end; shutdown is a crash announced in advance."""
DONE, PROBLEM = 0, 1
log = logging.getLogger("rollguard")


OnEnd = Callable[[int], None]


async def run_daemon(options: Options, on_end: OnEnd = lambda code: None) -> int:
    """Guard until told to stop (returns 0) or something breaks (1). Raises ``CannotStart`` with nothing touched.

    ``on_end`` is told the exit code when the end begins, which may take ``STOP_S`` and what closing takes.
    """
    async with AsyncExitStack() as stack:
        return await _guard(options, stack, on_end)


async def _guard(options: Options, stack: AsyncExitStack, on_end: OnEnd) -> int:
    read = fingerprint(options.config)
    policies = _policies(options)
    transport = AiohttpTransport()
    stack.push_async_callback(transport.close)
    problems = await strangers(policies, transport, options.environ, options.data)
    problems += [why for why in (taken(options.listen), unusable_socket(socket_path(options.data))) if why]
    if problems:
        raise CannotStart(problems)
    metrics = Metrics.fresh(__version__)

    def probing() -> AiohttpTransport:
        own = AiohttpTransport()
        stack.push_async_callback(own.close)
        return own

    shared = Shared(
        transport=transport,
        probing=probing,
        environ=options.environ,
        data=options.data,
        limit=options.limit,
        metrics=metrics,
    )
    targets = await _targets(policies, shared, stack)
    reloader = Reloader(options, targets, metrics, read)
    web = await _serve(options, targets, reloader, metrics, stack)
    metrics.reload(ok=True, at=next(iter(targets.values())).clock.now())
    for target in targets.values():
        await target.start()
    log.info("on duty for %s; http://%s serves /metrics and /-/healthy", ", ".join(targets), web.address)
    return await _until_told(targets, reloader, on_end)


def _policies(options: Options) -> tuple[Policy, ...]:
    """Everything that can be known without asking anybody. Raises ``CannotStart``."""
    try:
        policies = load_policies(options.config, options.environ)
        parse_listen(options.listen)
    except PolicyError as error:
        raise CannotStart(list(error.problems)) from error
    except GuardError as error:
        raise CannotStart([str(error)]) from error
    problems = missing_secrets(policies, options.environ)
    if problems:
        raise CannotStart(problems)
    return policies


async def _targets(policies: tuple[Policy, ...], shared: Shared, stack: AsyncExitStack) -> dict[str, Target]:
    """Every target with its journal open. Raises ``CannotStart``: a folder, a lock or a file that cannot be had."""
    if why := unusable_folder(shared.data):
        raise CannotStart([why])
    targets: dict[str, Target] = {}
    try:
        for policy in policies:
            target = targets[policy.target.name] = Target.on_disk(policy, shared)
            stack.push_async_callback(target.close)
            await target.open()
    except GuardError as error:
        raise CannotStart([str(error)]) from error
    return targets


async def _serve(
    options: Options, targets: dict[str, Target], reloader: Reloader, metrics: Metrics, stack: AsyncExitStack
) -> WebServer:
    """The web server and the socket for acts. Raises ``CannotStart`` when an address cannot be had."""
    views = Views(
        metrics=metrics.render,
        unhealthy=lambda: next((why for t in targets.values() if (why := t.why_unhealthy())), None),
        unready=lambda: next((why for t in targets.values() if (why := t.why_unready())), None),
    )
    try:
        web = await WebServer.start(views, options.listen, ReportDesk(targets, options.environ))
        stack.push_async_callback(web.close)
        control = await ControlServer.start(socket_path(options.data), Desk(targets, reloader).handle)
        stack.push_async_callback(control.close)
    except GuardError as error:
        raise CannotStart([str(error)]) from error
    return web


async def _until_told(targets: dict[str, Target], reloader: Reloader, on_end: OnEnd) -> int:
    """Run every loop until a signal comes or one of them ends, which none may."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    loop.add_signal_handler(signal.SIGHUP, reloader.ask)
    work = asyncio.create_task(_work(targets, reloader), name="work")
    told = asyncio.create_task(stop.wait(), name="stop")
    await asyncio.wait({work, told}, return_when=asyncio.FIRST_COMPLETED)
    told.cancel()
    on_end(PROBLEM if work.done() else DONE)
    if not work.done():
        work.cancel()
        await asyncio.wait({work}, timeout=STOP_S)
        return DONE
    error = work.exception()
    for each in _leaves(error) if error else ():
        bug = None if isinstance(each, GuardError) else each
        log.critical("the guard ends: %s: %s", type(each).__name__, each, exc_info=bug)
    return PROBLEM


async def _work(targets: dict[str, Target], reloader: Reloader) -> None:
    async with asyncio.TaskGroup() as group:
        for name, target in targets.items():
            group.create_task(target.run(), name=name)
        group.create_task(reloader.watch_forever(), name="reload")


def _leaves(error: BaseException) -> Iterator[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from _leaves(inner)
    else:
        yield error
