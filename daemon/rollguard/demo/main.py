"""``rollguard demo``: the main job on this machine, with nothing else installed."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import tempfile
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from rollguard.demo.processes import StageError
from rollguard.demo.scenario import Scenario
from rollguard.demo.scenarios import DEFAULT, SCENARIOS
from rollguard.demo.show import run
from rollguard.demo.story import Story, wants_colour
from rollguard.demo.summary import not_played

OK, PROBLEM, USAGE = 0, 1, 2
INTERRUPTED = 130


def demo(names: Sequence[str] = (DEFAULT,), *, output: str = "text", keep: Path | None = None) -> int:
    """Play scenarios one after the other; the exit code, 0 only if each ended as it must.

    Each ends with one line of JSON on stdout. The story is told on stdout too, or with ``output="json"`` on stderr.
    ``keep``: a folder that gets what each run wrote, as ``KEEP/SCENARIO``.
    """
    wrong = _unknown(names) or (_unusable(keep, names) if keep else "")
    if wrong:
        print(f"rollguard demo: {wrong}", file=sys.stderr)
        return USAGE
    worst = OK
    for name in names:
        code = play(SCENARIOS[name], output=output, keep=keep / name if keep else None)
        if code == INTERRUPTED:
            return code
        worst = max(worst, code)
    return worst


def listed(output: str = "text") -> int:
    """Print every scenario, what happens in it and how it must end; the exit code."""
    for scenario in SCENARIOS.values():
        if output == "json":
            row = {"scenario": scenario.name, "about": scenario.about, "expected": scenario.expected}
            print(json.dumps(row))
        else:
            print(f"{scenario.name:<11} {scenario.about}\n{'':<11} → {scenario.expected}")
    return OK


def _unknown(names: Sequence[str]) -> str:
    """A sentence about a name that is no scenario; empty when there is none."""
    unknown = next((name for name in names if name not in SCENARIOS), None)
    if unknown is None:
        return ""
    near = get_close_matches(unknown[:100], SCENARIOS, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"no scenario {unknown!r}{hint}; there are {', '.join(SCENARIOS)}"


def _unusable(keep: Path, names: Sequence[str]) -> str:
    """Why the folder cannot take what these runs leave behind: better known before a run than after it."""
    there = next((keep / name for name in names if (keep / name).exists()), None)
    if there is not None:
        return f"{there} is there already: what a run leaves behind needs a new folder"
    try:
        keep.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=keep):
            return ""
    except OSError as error:
        return f"cannot write to {keep}: {error.strerror}: choose another with --keep"


def play(scenario: Scenario, *, output: str = "text", keep: Path | None = None) -> int:
    """Play one scenario and print its summary; the exit code."""
    stream = sys.stderr if output == "json" else sys.stdout
    story = Story(stream, colour=wants_colour(stream, os.environ))
    folder = Path(tempfile.mkdtemp(prefix="rollguard-"))
    try:
        summary = asyncio.run(_until_told_to_stop(scenario, folder, story))
    except StageError as error:
        story.tell("wrong", f"the demo could not be played: {error}")
        summary = not_played(scenario)
    except (KeyboardInterrupt, asyncio.CancelledError):
        story.tell("stage", "interrupted; everything that was started is ended")
        return INTERRUPTED
    finally:
        _leave(folder, keep)
    print(json.dumps(summary), flush=True)
    return OK if summary["ok"] else PROBLEM


async def _until_told_to_stop(scenario: Scenario, folder: Path, story: Story) -> dict[str, Any]:
    """SIGTERM, or a terminal that goes away, ends it as Ctrl-C does: in order."""
    playing = asyncio.current_task()
    assert playing is not None
    for number in (signal.SIGTERM, signal.SIGHUP):
        asyncio.get_running_loop().add_signal_handler(number, playing.cancel)
    return await run(scenario, folder, story)


def _leave(folder: Path, keep: Path | None) -> None:
    if keep is None:
        shutil.rmtree(folder, ignore_errors=True)
        return
    shutil.move(folder, keep)
    print(f"what the run wrote is in {keep}", file=sys.stderr)
