"""What people ask of a running guard: ``pause``, ``hold``, ``report``, ``approve`` … always with who and why."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rollguard.cli import asking
from rollguard.cli import show as screen
from rollguard.cli.parser import DONE, Parser, Usage, version_number, with_data, with_output, with_why


def pause(argv: Sequence[str], about: str) -> int:
    """No automatic act until resumed."""
    return _act(_parser("pause", about), argv, "pause")


def resume(argv: Sequence[str], about: str) -> int:
    """Pause and hold off."""
    return _act(_parser("resume", about), argv, "resume")


def hold(argv: Sequence[str], about: str) -> int:
    """Page instead of acting for a while."""
    parser = _parser("hold", about)
    parser.add_argument("--for", dest="for_", required=True, metavar="TIME", help="how long, such as 20m or 1h30m")
    return _act(parser, argv, "hold")


def report(argv: Sequence[str], about: str) -> int:
    """Blame a release."""
    parser = _parser("report", about)
    parser.add_argument("kind", metavar="KIND", help="what it did, such as data-corruption, security or bug")
    parser.add_argument("--version", type=version_number, metavar="N", help="the release (default: the serving one)")
    return _act(parser, argv, "report")


def adopt(argv: Sequence[str], about: str) -> int:
    """Declare a release proven."""
    parser = _parser("adopt", about)
    parser.add_argument("version", nargs="?", type=version_number, metavar="VERSION", help="default: the serving one")
    parser.add_argument("--baseline", type=Path, metavar="FILE", help="a recording of it, as rollguard record writes")
    return _act(parser, argv, "adopt")


def approve(argv: Sequence[str], about: str) -> int:
    """Yes, roll back."""
    return _act(_parser("approve", about), argv, "approve")


def veto(argv: Sequence[str], about: str) -> int:
    """No, leave it."""
    return _act(_parser("veto", about), argv, "veto")


def floor(argv: Sequence[str], about: str) -> int:
    """The oldest release that may be gone back to."""
    parser = _parser("floor", about)
    parser.add_argument("version", nargs="?", type=version_number, metavar="VERSION", help="the oldest release allowed")
    parser.add_argument("--lift", action="store_true", help="there is no floor any more")
    args = parser.read(argv)
    if (args.version is None) is not args.lift:
        raise Usage("rollguard floor: either VERSION or --lift")
    return _act(parser, argv, "floor")


def reload(argv: Sequence[str], about: str) -> int:
    """Read the policy files again."""
    parser = Parser("reload", about)
    with_data(parser)
    with_output(parser)
    args = parser.read(argv)
    return _say(asking.asked(args.data, "reload", {}, "cli"), args.output)


def _parser(verb: str, about: str) -> Parser:
    parser = Parser(verb, about)
    parser.add_argument("target", metavar="TARGET")
    with_why(parser)
    with_data(parser)
    with_output(parser)
    return parser


def _act(parser: Parser, argv: Sequence[str], verb: str) -> int:
    args = parser.read(argv)
    wanted: dict[str, Any] = {"target": args.target, "reason": args.reason}
    if verb == "hold":
        wanted["for_s"] = seconds("hold", "--for", args.for_)
    if verb == "report":
        wanted["kind"] = args.kind
    if verb in {"report", "adopt", "floor"}:
        wanted["version"] = args.version
    if verb == "adopt" and args.baseline is not None:
        wanted["baseline"] = str(args.baseline.absolute())
    return _say(asking.asked(args.data, verb, wanted, args.by), args.output)


def _say(answer: dict[str, Any], output: str) -> int:
    if output == "json":
        screen.as_json(answer)
    else:
        screen.line(answer["say"])
    return DONE


def seconds(verb: str, option: str, text: str) -> float:
    """A duration of the command line. Raises ``Usage``."""
    from rollguard.config.problems import Wrong
    from rollguard.config.quantity import duration_s

    try:
        return duration_s(text)
    except Wrong as wrong:
        raise Usage(f"rollguard {verb}: {option} {wrong}") from wrong
