"""Reading a command line: one parser a verb, every mistake a sentence, a hint where one was probably meant."""

from __future__ import annotations

import argparse
import getpass
import os
import sys
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, NoReturn

from rollguard.app.options import DEFAULT_DATA

DONE, PROBLEM, USAGE, LINT = 0, 1, 2, 3


class Usage(Exception):
    """The command line cannot be understood; the sentence says how to put it."""


class Parser(argparse.ArgumentParser):
    """Options by their whole names only; knows them all, to guess which one was meant."""

    def __init__(self, verb: str, about: str, epilog: str = "") -> None:
        self.options: list[str] = []
        super().__init__(prog=f"rollguard {verb}", description=about, epilog=epilog, allow_abbrev=False)

    def add_argument(self, *names: Any, **settings: Any) -> argparse.Action:
        """As argparse has it."""
        self.options += [name for name in names if name.startswith("-")]
        return super().add_argument(*names, **settings)

    def read(self, argv: Sequence[str]) -> argparse.Namespace:
        """The arguments. Raises ``Usage``; prints help and exits where it is asked for."""
        found, extra = self.parse_known_args(list(argv))
        if extra:
            word = extra[0].partition("=")[0]
            what = "option" if word.startswith("-") else "argument"
            raise Usage(f"{self.prog}: unknown {what} {word}{did_you_mean(word, self.options)}")
        return found

    def error(self, message: str) -> NoReturn:
        """Every complaint of argparse."""
        raise Usage(f"{self.prog}: {message}; see {self.prog} --help")


def did_you_mean(word: str, known: Sequence[str]) -> str:
    """``; did you mean status?`` or, when nothing is near, nothing."""
    near = get_close_matches(word[:100], known, n=1, cutoff=0.6)
    return f"; did you mean {near[0]}?" if near else ""


def with_data(parser: Parser) -> None:
    """``--data``: where the guard keeps its journals and its socket."""
    default = Path(os.environ.get("ROLLGUARD_DATA") or DEFAULT_DATA)
    about = f"the guard's data folder ({default}; $ROLLGUARD_DATA)".replace("%", "%%")
    parser.add_argument("--data", type=Path, default=default, metavar="DIR", help=about)


def with_output(parser: Parser) -> None:
    """``--output``: for people or for programs."""
    parser.add_argument("--output", choices=("text", "json"), default="text", help="for people (default) or programs")


def with_why(parser: Parser) -> None:
    """``--reason`` and ``--by``: an act by hand is always recorded with who and why."""
    parser.add_argument("--reason", required=True, metavar="TEXT", help="why; it is recorded and paged")
    parser.add_argument("--by", default=_login(), metavar="WHO", help="who does it (default: your login name)")


def version_number(text: str) -> int:
    """``42`` or ``v42``."""
    digits = text.removeprefix("v")
    if not (digits.isascii() and digits.isdigit() and len(digits) < 10):
        raise argparse.ArgumentTypeError(f"{text!r} is no release number, such as 42 or v42")
    return int(digits)


def _login() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def complain(sentence: str) -> None:
    """A sentence on stderr."""
    print(sentence, file=sys.stderr)
