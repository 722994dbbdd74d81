"""``judge``: samples on standard input, verdicts on standard output; the guard's own judge in between."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from rollguard.cli.parser import DONE, PROBLEM, USAGE, Parser, complain
from rollguard.core.mapping import feed
from rollguard.core.samples import NotJson, Runs

CHUNK = 1 << 16
LINE_MAX = 1 << 20
USUAL_DT_S = 15.0
EPILOG = """\
Protocol 1: one JSON object a line. {"type": "start", "run", "dt" (seconds between scrapes), "le_ms" (bucket bounds)};
{"type": "sample", "run", "t", "scrape", "req", "err", "hist", "p95_ms", "probe_ok", "probe_fail", "control_fail"} with
increments since the last scrape; {"type": "release", "run", "t", "version"}; {"type": "end", "run"}. Each sample is
replied to with {"run", "t", "verdict": learning, ok, no_data, page or rollback}, "signal" and "odds", and "gap" where
something of the sample could not be. Of a policy, requests feed the total of each ratio, errors the bad ones, the
histogram each quantile, probes each rule about failing probes, p95_ms each value with p95 in its name; other rules are
left out, and standard error says which. Without a policy: errors, latency and probes compared with what was before;
latency by the histogram, or by p95_ms in a run whose first scrape has that and no histogram.
Exit codes: 0 done, 1 a line was no JSON object, 2 nothing of the policy can be judged."""


def judge(argv: Sequence[str], about: str) -> int:
    """0 done, 1 a line was no JSON object, 2 a policy that cannot be obeyed or judged by."""
    from rollguard.config.loader import load_policy

    parser = Parser("judge", about, EPILOG)
    parser.add_argument("policy", nargs="?", type=Path, metavar="POLICY", help="a policy file; else built-in defaults")
    args = parser.read(argv)
    policy = load_policy(args.policy or _built_in("judge.yaml"), os.environ)
    bare = load_policy(_built_in("judge_gauge.yaml"), os.environ) if args.policy is None else None
    fed = feed(policy, USUAL_DT_S)
    for why in fed.left_out:
        complain(f"rollguard judge: {why}: left out")
    if not fed.policy.rules:
        complain("rollguard judge: no rule of the policy can be judged by protocol 1")
        return USAGE
    return _talk(Runs(policy, bare))


def _built_in(name: str) -> Path:
    return Path(str(files("rollguard.config").joinpath(name)))


def _talk(runs: Runs) -> int:
    """Reply to what has come before waiting for more: whoever asks may wait for each reply."""
    code, rest, skipping, out = DONE, b"", False, sys.stdout
    while chunk := os.read(0, CHUNK):
        if skipping:
            _, end, chunk = chunk.partition(b"\n")
            skipping = not end
        *lines, rest = (rest + chunk).split(b"\n")
        code = max(code, _reply(runs, lines))
        out.flush()
        if len(rest) > LINE_MAX:  # nothing of it, to its very end, is a line of its own
            complain("rollguard judge: a line without an end: left out")
            rest, code, skipping = b"", PROBLEM, True
    code = max(code, _reply(runs, [rest] if rest.strip() else []))
    out.flush()
    return code


def _reply(runs: Runs, lines: Sequence[bytes]) -> int:
    code = DONE
    for line in lines:
        if not line.strip():
            continue
        try:
            reply = runs.answer(line.decode("utf-8", "replace"))
        except NotJson as error:
            complain(f"rollguard judge: {error}")
            code = PROBLEM
            continue
        if reply is not None:
            sys.stdout.write(reply + "\n")
    return code
