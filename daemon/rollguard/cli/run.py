"""``run`` and ``version``."""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from rollguard import __version__
from rollguard.app.options import DEFAULT_LISTEN, CannotStart, Options
from rollguard.cli.parser import DONE, USAGE, Parser, complain, with_data, with_output

EXIT_S = 4.8
"""From the beginning of the end to its last instant."""


def run(argv: Sequence[str], about: str) -> int:
    """Guard until a signal; 2 when it cannot start as told, 1 when it had to end."""
    parser = Parser("run", about, "Acts come over a socket in the data folder; TCP only shows. SIGHUP reads again.")
    parser.add_argument("--config", type=Path, required=True, metavar="PATH", help="a policy file, or a folder of them")
    with_data(parser)
    parser.add_argument(
        "--listen", default=DEFAULT_LISTEN, metavar="ADDR", help=f"where metrics and health are ({DEFAULT_LISTEN})"
    )
    modes = ("observe", "page", "enforce")
    parser.add_argument("--mode", choices=modes, default="enforce", help="the most it may do, whatever the files say")
    args = parser.read(argv)

    from rollguard.app.daemon import run_daemon
    from rollguard.core.model import Mode
    from rollguard.telemetry.logs import set_up

    set_up(os.environ)
    options = Options(
        config=args.config,
        data=args.data,
        environ=os.environ,
        listen=args.listen,
        limit=Mode[args.mode.upper()],
    )
    try:
        return asyncio.run(run_daemon(options, _last_resort))
    except CannotStart as error:
        for problem in error.problems:
            complain(problem)
        return USAGE


def _last_resort(code: int) -> None:
    """End in time whatever happens: a thread that hangs in a system call must not keep a guard half alive."""
    timer = threading.Timer(EXIT_S, os._exit, (code,))
    timer.daemon = True
    timer.start()


def version(argv: Sequence[str], about: str) -> int:
    """The version, as people or programs read it."""
    parser = Parser("version", about)
    with_output(parser)
    args = parser.read(argv)
    print(f'{{"version": "{__version__}"}}' if args.output == "json" else f"rollguard {__version__}")
    return DONE
