"""``bundle``: what is known of an incident, without secrets, in one file that can be handed on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rollguard.cli import asking
from rollguard.cli import show as screen
from rollguard.cli.parser import DONE, Parser, complain, with_data, with_output


def bundle(argv: Sequence[str], about: str) -> int:
    """Through the running guard, which knows most; where there is none, from its journal."""
    parser = Parser("bundle", about, "It goes into the incident's folder; --out copies it. Without secrets, mode 0600.")
    parser.add_argument("target", metavar="TARGET")
    parser.add_argument("incident", nargs="?", metavar="INCIDENT", help="as in pages and history (default: the newest)")
    parser.add_argument("--out", type=Path, metavar="FILE", help="a copy here; nothing is overwritten")
    with_data(parser)
    with_output(parser)
    args = parser.read(argv)
    answer = asking.asked_if_running(args.data, "bundle", {"target": args.target, "incident": args.incident})
    if answer is None:
        complain("no guard runs with this data folder: made from its journal")
        answer = _alone(args)
    path = Path(answer["path"])
    if args.out is not None:
        from rollguard.adapters.artifacts import copy_private

        copy_private(path, args.out)
        path = args.out
    if args.output == "json":
        screen.as_json({"target": args.target, **answer, "path": str(path)})
    else:
        of = f"incident {answer['incident']}" if answer["incident"] else f"{args.target}: there was no incident yet"
        screen.line(f"{path}: {of}; {', '.join(answer['files'])}")
    return DONE


def _alone(args: Any) -> dict[str, Any]:
    from rollguard.app.bundle import without_a_guard

    made = without_a_guard(args.data, asking.one_target(args.data, args.target), args.incident, os.environ)
    return {"path": str(made.path), "incident": made.incident, "files": list(made.files)}
