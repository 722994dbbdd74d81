"""Makes the recording of v1 that the demo compares with: ``python -m rollguard.demo.recorded OUT.jsonl``.

The stage of the demo without a deploy: v1 serves, users come, and the real ``rollguard record`` saves what the signals
of the demo's policy say. It is made once and checked in as ``config/examples/demo-baseline.jsonl``.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rollguard.demo.processes import Processes, StageError
from rollguard.demo.scenarios import SLOW
from rollguard.demo.stage import ROLLGUARD, set_up

FOR_S = 75
ON_TOP_S = 30.0


async def record(out: Path) -> str:
    """Play v1 and save a recording of it to a new file; what ``rollguard record`` says. Raises ``StageError``."""
    with tempfile.TemporaryDirectory(prefix="rollguard-") as folder:
        async with Processes(Path(folder)) as processes:
            stage = await set_up(SLOW, processes)
            await stage.start_users()
            verb = (*ROLLGUARD, "record", str(stage.policy), "--for", f"{FOR_S}s", "--out", str(out.absolute()))
            code, said = await processes.run("record", *verb, timeout_s=FOR_S + ON_TOP_S, env=stage.told())
            if code != 0:
                raise StageError(f"rollguard record: {processes.last_words('record')}")
            return said


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="recorded", description="Records what v1 of the demo does.")
    parser.add_argument("out", type=Path, help="a new file")
    try:
        print(asyncio.run(record(parser.parse_args(argv).out)))
    except StageError as error:
        print(f"recorded: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
