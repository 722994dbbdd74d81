"""Makes the recording of v1 that the demo compares with: ``python -m rollguard.demo.recorded OUT.jsonl``.

The stage of the demo without a deploy: v1 serves, users come, and the real ``rollguard record`` saves what the signals
of the demo's policy say. What no comparison needs is left out, so that it is small enough to be checked in, as
``config/examples/demo-baseline.jsonl``; each of its lines is as it was saved.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from rollguard.demo.processes import Processes, StageError
from rollguard.demo.scenarios import SLOW
from rollguard.demo.stage import ROLLGUARD, set_up

LEFT_OUT = ("edge.", "logs.", "monitoring.")
"""Beginnings of keys that no comparison needs. Rules compare ``traffic``, less what the probes made of it."""
FOR_S = 40
ON_TOP_S = 30.0


async def record(folder: Path) -> tuple[Path, str]:
    """Play v1 and save a recording in the folder; it, and what ``rollguard record`` says. Raises ``StageError``."""
    async with Processes(folder) as processes:
        stage = await set_up(SLOW, processes)
        await stage.start_users()
        out = folder / "recording.jsonl"
        verb = (*ROLLGUARD, "record", str(stage.policy), "--for", f"{FOR_S}s", "--out", str(out))
        code, said = await processes.run("record", *verb, timeout_s=FOR_S + ON_TOP_S, env=stage.told())
        if code != 0:
            raise StageError(f"rollguard record: {processes.last_words('record')}")
        return out, said


def is_kept(line: str) -> bool:
    """Whether a line of a recording is its header, tells the machines, or is a reading that a comparison needs."""
    return not json.loads(line).get("key", "").startswith(LEFT_OUT)


def main(argv: Sequence[str] | None = None) -> int:
    """The command line; returns the exit code."""
    parser = argparse.ArgumentParser(prog="recorded", description="Records what v1 of the demo does.")
    parser.add_argument("out", type=Path, help="the file to write")
    args = parser.parse_args(argv)
    try:
        with tempfile.TemporaryDirectory(prefix="rollguard-") as folder:
            recording, said = asyncio.run(record(Path(folder)))
            lines = recording.read_text(encoding="utf-8").splitlines(keepends=True)
    except StageError as error:
        print(f"recorded: {error}", file=sys.stderr)
        return 1
    args.out.write_text("".join(filter(is_kept, lines)), encoding="utf-8")
    print(said)
    return 0


if __name__ == "__main__":
    sys.exit(main())
