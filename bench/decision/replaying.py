"""Recordings of a real target as releases of it: healthy as they were, or with a regression put in.

    python -m bench.decision replay FILE --policy POLICY --release 40m --inject errors=5%@40m
    python -m bench.decision replay FILE --policy POLICY --release 40m --every 10m

A recording is what `rollguard record` wrote, POLICY the policy that it was recorded under (the machines may write it
anew: signals must have the same names). At ``--release`` the machines are said to get another image, one after the
other; machines on it are harmed by what is injected, the others are not, so that the first machine of a rollback is
well again. With ``--every``, the same release is tried again so much later, up to the end. Without ``--release``
nothing is made up but the harm: the recording's own releases are judged. All harm counts from the beginning of the
recording, except with ``--every``, where it moves with the release. What was read is the same in all of them: these
are not independent trials.
"""

from __future__ import annotations

import argparse
import json
import math
import os
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bench.decision.recorded import Harm, Recorded
from bench.decision.watching import Ending, Rolling, Watched
from rollguard.adapters.recording import read_recording
from rollguard.config.loader import load_policy
from rollguard.config.problems import Wrong
from rollguard.config.quantity import duration_s
from rollguard.core.mind import Mind
from rollguard.core.model import Mode
from rollguard.core.policy import Policy
from rollguard.core.recording import Recording
from rollguard.errors import GuardError

NEW = "sha256:" + "0e3" * 21 + "0"


def main(argv: Sequence[str]) -> int:
    """See ``--help``."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.decision replay",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("file", type=Path, help="what `rollguard record` wrote")
    parser.add_argument("--policy", type=Path, required=True)
    parser.add_argument("--release", type=_seconds, metavar="TIME", help="after the beginning, such as 40m")
    parser.add_argument("--every", type=_seconds, metavar="TIME", help="the same again so much later, to the end")
    parser.add_argument("--apart", type=_seconds, default=40.0, metavar="TIME", help="between two machines (40s)")
    parser.add_argument("--watch", type=_seconds, default=3600.0, metavar="TIME")
    parser.add_argument("--inject", type=_harm, action="append", default=[], metavar="KIND=MUCH@TIME")
    parser.add_argument("--seed", default="1")
    options = parser.parse_args(argv)
    if options.every is not None and options.release is None:
        parser.error("--every needs --release")
    try:
        recording, policy = read_recording(options.file), load_policy(options.policy, os.environ)
    except GuardError as error:
        parser.error(str(error))
    if not recording.looks:
        parser.error(f"{options.file}: no machines were seen")
    if policy.hash != recording.policy:
        print("the recording was made under another version of this policy: what it did not read cannot be judged")
    endings = []
    for number, release_s in enumerate(releases(recording, options.release, options.every)):
        moved_s = (release_s or 0.0) - (options.release or 0.0)
        harms = [replace(harm, at_s=harm.at_s + moved_s) for harm in options.inject]
        ending = replayed(
            recording, policy, release_s, harms, apart_s=options.apart, watch_s=options.watch, seed=options.seed
        )
        endings.append(ending)
        print(json.dumps({"run": number, "release_s": release_s, **asdict(ending)}))
    print(summary(endings))
    return 0


def releases(recording: Recording, first_s: float | None, every_s: float | None) -> list[float | None]:
    """When there is one, in seconds after the beginning; None: as it was recorded."""
    if first_s is None or every_s is None:
        return [first_s]
    count = math.floor(max(0.0, recording.end - recording.at - first_s) / max(1.0, every_s))
    return [first_s + every_s * number for number in range(count + 1)]


def replayed(
    recording: Recording,
    policy: Policy,
    release_s: float | None,
    harms: Sequence[Harm],
    *,
    apart_s: float = 40.0,
    watch_s: float = 3600.0,
    seed: str = "1",
) -> Ending:
    """One release of the recording, or the recording as it is. The policy may do all that its rules ask for.

    Seconds count from the release; from the beginning of the recording where none was made up.
    """
    made_up = release_s is not None
    fleet = Recorded(recording, policy, release_s or 0.0, NEW if made_up else "", harms, f"{seed} {release_s}")
    mind = Mind(replace(policy, mode=Mode.ENFORCE), recording.at)
    rolling = Rolling(at_s=[(apart_s * n, machine) for n, machine in enumerate(fleet.names)] if made_up else [])
    watched = Watched(fleet, mind, rolling, NEW if made_up else "", at=fleet.begins_at)
    return watched.run(watch_s if made_up else math.inf)


def summary(endings: Sequence[Ending]) -> str:
    """One line for people."""
    back = sum(e.rolled_back_s is not None for e in endings)
    return f"rolled back {back} of {len(endings)}, paged {sum(e.paged_s is not None for e in endings)}"


def _seconds(words: str) -> float:
    try:
        return duration_s(words)
    except Wrong as wrong:
        raise argparse.ArgumentTypeError(str(wrong)) from None


def _harm(words: str) -> Any:
    try:
        return Harm.parse(words)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
