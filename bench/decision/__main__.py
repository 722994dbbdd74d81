"""``python -m bench.decision COMMAND``: public, cohorts, replay."""

from __future__ import annotations

import sys

from bench.decision import cohorts, public, replaying

COMMANDS = {"public": public.main, "cohorts": cohorts.main, "replay": replaying.main}

if __name__ == "__main__":
    name = sys.argv[1] if len(sys.argv) > 1 else ""
    if name not in COMMANDS:
        raise SystemExit(f"{__doc__} Each has --help.")
    raise SystemExit(COMMANDS[name](sys.argv[2:]))
