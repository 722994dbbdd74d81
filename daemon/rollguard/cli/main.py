"""``rollguard VERB``: finds the verb, turns expected errors into sentences and exit codes. No logic of its own."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

from rollguard.cli.parser import DONE, PROBLEM, USAGE, Usage, complain, did_you_mean
from rollguard.errors import GuardError, PolicyError

VERBS: dict[str, tuple[str, str]] = {
    "run": ("run", "the daemon: guard the targets of a policy file or a folder of them"),
    "demo": ("local", "the main job on this machine: a local platform, a bad release, and the guard"),
    "check": ("check", "every mistake of policy files at once; with --live also against the platform"),
    "status": ("look", "the targets as they are now"),
    "watch": ("watch", "the targets as they are, again and again"),
    "history": ("look", "what happened to a target"),
    "show": ("look", "one incident from its first sign to its end"),
    "explain": ("look", "the decision tree now, or of a past incident"),
    "bundle": ("bundle", "what the guard knows of an incident in one file, for somebody who was not there"),
    "rollback": ("rollback", "go back by hand, under the same floor; works without a daemon too"),
    "drill": ("drill", "rehearse a rollback: one machine, or a staging app, to the target and back, timed"),
    "pause": ("acts", "the hand brake: no automatic act until resumed"),
    "resume": ("acts", "take the hand brake and any hold off"),
    "hold": ("acts", "page instead of acting for a while: a hotfix is on its way"),
    "report": ("acts", "blame a release for something that no signal shows"),
    "adopt": ("acts", "vouch for a release: it may be gone back to"),
    "approve": ("acts", "say yes to the rollback that a page proposes"),
    "veto": ("acts", "say no to it"),
    "floor": ("acts", "never go back below this release: what is older has a hole"),
    "notify": ("notify", "test: whether the channels of a policy reach anybody"),
    "record": ("record", "save what the signals of a target say, for adopt --baseline"),
    "judge": ("judge", "samples in, verdicts out: the guard's own judge on your data"),
    "reload": ("acts", "have the guard read its policy files again"),
    "platform": ("local", "the local Fly platform alone, for trying things"),
    "version": ("run", "the version"),
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line; returns the exit code: 0 done, 1 problem found, 2 usage or bad file, 3 lint only."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(words)
    except (Usage, PolicyError) as error:
        complain(str(error))
        return USAGE
    except GuardError as error:
        complain(f"rollguard: {error}")
        return PROBLEM
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # whoever read our output has seen enough
        sys.stdout = None
        return DONE


def _run(words: list[str]) -> int:
    verb = words[0] if words else ""
    if verb in {"-h", "--help", "help"}:
        print(usage())
        return DONE
    if verb in {"-V", "--version"}:
        verb = "version"
    if verb not in VERBS:
        near = did_you_mean(verb, list(VERBS)) if verb else ""
        more = "\nrollguard help lists them all" if near else f"\n{usage()}"
        raise Usage(f"rollguard: unknown verb {verb!r}{near}{more}" if verb else usage())
    module = importlib.import_module(f"rollguard.cli.{VERBS[verb][0]}")
    code: int = getattr(module, verb)(words[1:], VERBS[verb][1])
    return code


def usage() -> str:
    """What every verb is for, in one line each."""
    verbs = "\n".join(f"  {verb:<10}{about}" for verb, (_, about) in VERBS.items())
    return f"usage: rollguard VERB …\n\n{verbs}\n\nrollguard VERB --help says more."


if __name__ == "__main__":
    sys.exit(main())
