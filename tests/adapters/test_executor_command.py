"""The team's own program: real child processes, told by words and environment, bounded, and never without a guard."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from rollguard.adapters.executors import leash, process
from rollguard.adapters.executors.command import command
from rollguard.adapters.executors.process import FOLDERS_MAX, ProcessDelegate
from rollguard.core.executors import Command
from rollguard.core.order import Begun, Work
from rollguard.errors import Refused, Unavailable
from tests.adapters.programs import DIGEST, ORDER, ended, is_alive, program, told, until

FOR_EVER = "print(os.getpid(), flush=True)\nwhile True: time.sleep(60)\n"
STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + FOR_EVER


async def printed(delegate: ProcessDelegate) -> str:
    return await delegate.printed(Begun(ORDER.id))


async def pid_of(delegate: ProcessDelegate) -> int:
    """The number that the program printed first."""
    path = delegate.root / ORDER.id / "output.txt"
    await until(lambda: path.exists() and path.read_text().endswith("\n"))
    return int(path.read_text().split()[0])


async def test_it_is_told_by_its_words_and_by_its_environment_without_a_shell(tmp_path: Path) -> None:
    words = ("{version}", "--image={image}", "{digest} {app}", "{incident}", "{reason}", "$HOME; `id`", "{")
    body = "print(json.dumps([sys.argv[1:], dict(os.environ)]))"
    delegate = told(tmp_path, body, *words)
    word = await ended(delegate, await delegate.begin(ORDER))
    assert word.work is Work.SUCCEEDED
    argv, environ = json.loads(await printed(delegate))
    assert argv == [
        "41",
        f"--image=registry.fly.io/shop@{DIGEST}",
        f"{DIGEST} shop",
        ORDER.incident,
        ORDER.reason,
        "$HOME; `id`",
        "{",
    ]
    assert {name: value for name, value in environ.items() if name.startswith("ROLLGUARD_")} == {
        "ROLLGUARD_APP": "shop",
        "ROLLGUARD_VERSION": "41",
        "ROLLGUARD_IMAGE": ORDER.image,
        "ROLLGUARD_DIGEST": DIGEST,
        "ROLLGUARD_INCIDENT": ORDER.incident,
        "ROLLGUARD_REASON": ORDER.reason,
    }
    await delegate.close()


async def test_of_the_guards_secrets_it_sees_those_that_are_named_and_nobody_reads_them_in_its_output(
    tmp_path: Path,
) -> None:
    settings = Command(run=(program(tmp_path, "print(dict(os.environ))"),), env=("FLY_API_TOKEN",))
    environ = {"PATH": os.environ["PATH"], "FLY_API_TOKEN": "fo1_hush-hush", "PAGERDUTY_KEY": "pd-key"}
    delegate = command(settings, environ, tmp_path / "orders")
    word = await ended(delegate, await delegate.begin(ORDER))
    said = await printed(delegate)
    assert "'FLY_API_TOKEN': '[FLY_API_TOKEN]'" in said
    assert "hush" not in said + word.output
    assert "PAGERDUTY_KEY" not in said
    await delegate.close()
    next_life = command(settings, environ, tmp_path / "orders")
    assert "hush" not in await printed(next_life) + (await next_life.progress(Begun(ORDER.id))).output


async def test_nobody_can_answer_it(tmp_path: Path) -> None:
    delegate = told(tmp_path, "print(repr(sys.stdin.read()))")
    await ended(delegate, await delegate.begin(ORDER))
    assert await printed(delegate) == "''\n"
    await delegate.close()


@pytest.mark.parametrize(
    "body, sentence",
    [("sys.exit(3)", "exit code 3: two"), ("os.kill(os.getpid(), signal.SIGKILL)", "killed by signal 9: two")],
)
async def test_how_it_failed_is_said(tmp_path: Path, body: str, sentence: str) -> None:
    delegate = told(tmp_path, "print('one'); print('two', flush=True)\n" + body)
    word = await ended(delegate, await delegate.begin(ORDER))
    assert (word.work, word.sentence, word.output) == (Work.FAILED, sentence, "one\ntwo")
    await delegate.close()


async def test_its_last_lines_are_few_short_and_harmless(tmp_path: Path) -> None:
    body = "for n in range(100): print(n, '\\x1b[31m' + 'x' * 500)\nprint('\\n\\nend')"
    delegate = told(tmp_path, body)
    word = await ended(delegate, await delegate.begin(ORDER))
    lines = word.output.split("\n")
    assert len(lines) == 5
    assert lines[-1] == "end"
    assert all(len(line) <= 110 and line.isprintable() for line in lines)
    await delegate.close()


async def test_what_it_prints_is_kept_up_to_a_bound_and_the_end_of_it_is_what_counts(tmp_path: Path) -> None:
    delegate = told(tmp_path, "for n in range(300_000): print(n)")
    await ended(delegate, await delegate.begin(ORDER))
    said = await printed(delegate)
    assert len(said) <= leash.OUTPUT_BYTES_MAX
    assert said.startswith(leash.CUT.decode())
    assert said.endswith("299999\n")
    await delegate.close()


async def test_what_it_printed_is_for_the_guard_alone(tmp_path: Path) -> None:
    delegate = told(tmp_path, "print('x')")
    await ended(delegate, await delegate.begin(ORDER))
    folder = delegate.root / ORDER.id
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "output.txt").stat().st_mode) == 0o600
    await delegate.close()


async def test_one_that_is_not_there_is_refused_and_known_beforehand(tmp_path: Path) -> None:
    delegate = command(Command(run=("./no-such-script",)), os.environ, tmp_path / "orders")
    assert await delegate.trial() == "./no-such-script is not there, or cannot be run"
    with pytest.raises(Refused, match="No such file"):
        await delegate.begin(ORDER)
    await delegate.close()


async def test_one_that_is_there_passes_its_trial(tmp_path: Path) -> None:
    assert await told(tmp_path, "").trial() == ""


async def test_an_order_goes_out_once_whatever_happens(tmp_path: Path) -> None:
    delegate = told(tmp_path, "print('x')")
    await ended(delegate, await delegate.begin(ORDER))
    again = told(tmp_path, "print('y')")
    for one in (delegate, again):
        with pytest.raises(Refused, match="went out before"):
            await one.begin(ORDER)
        await one.close()


async def test_without_a_release_number_a_command_that_takes_one_is_refused(tmp_path: Path) -> None:
    delegate = told(tmp_path, "", "{version}")
    with pytest.raises(Refused, match="release number"):
        await delegate.begin(replace(ORDER, version=None))
    other = told(tmp_path, "", "{image}")
    assert (await ended(other, await other.begin(replace(ORDER, version=None, id="another")))).work is Work.SUCCEEDED
    await other.close()


async def test_told_to_stop_it_may_tidy_up(tmp_path: Path) -> None:
    tidy = "def end(*_): os.write(1, b'tidy'); sys.exit(7)\nsignal.signal(signal.SIGTERM, end)\n"
    delegate = told(tmp_path, tidy + FOR_EVER)
    begun = await delegate.begin(ORDER)
    await pid_of(delegate)
    await delegate.cancel(begun)
    word = await delegate.progress(begun)
    assert (word.work, word.sentence) == (Work.FAILED, "the guard stopped it")
    assert word.output.endswith("tidy")
    await delegate.close()


async def test_one_that_does_not_listen_is_killed_and_its_children_with_it(tmp_path: Path) -> None:
    body = (
        "import subprocess\n"
        "child = subprocess.Popen([sys.executable, '-ISc', "
        "'import signal,time\\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)\\nwhile True: time.sleep(60)'])\n"
        "print(child.pid, flush=True)\n"
    )
    delegate = told(tmp_path, body + STUBBORN, grace_s=0.2)
    begun = await delegate.begin(ORDER)
    child = await pid_of(delegate)
    await delegate.cancel(begun)
    await until(lambda: not is_alive(child))
    assert (await delegate.progress(begun)).work is Work.FAILED
    await delegate.close()


async def test_children_that_it_leaves_behind_do_not_outlive_it(tmp_path: Path) -> None:
    body = "import subprocess\nprint(subprocess.Popen(['sleep', '600']).pid, flush=True)"
    delegate = told(tmp_path, body)
    assert (await ended(delegate, await delegate.begin(ORDER))).work is Work.SUCCEEDED
    child = await pid_of(delegate)
    await until(lambda: not is_alive(child))
    await delegate.close()


LIFE = """
import asyncio, os, sys
from pathlib import Path
from tests.adapters.programs import ORDER, program, told
async def live():
    delegate = told(Path(sys.argv[1]), sys.argv[2], grace_s=0.5)
    await delegate.begin(ORDER)
    print("began", flush=True)
    await asyncio.sleep(600)
asyncio.run(live())
"""


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
async def test_when_the_guard_dies_it_dies_too_and_the_next_life_finds_it_lost(
    tmp_path: Path, how: signal.Signals
) -> None:
    root = Path(__file__).parents[2]
    environ = {**os.environ, "PYTHONPATH": f"{root}:{root / 'daemon'}"}
    guard = subprocess.Popen(
        [sys.executable, "-c", LIFE, str(tmp_path), STUBBORN], stdout=subprocess.PIPE, env=environ, cwd=root
    )
    assert guard.stdout is not None
    with guard.stdout:
        assert await asyncio.to_thread(guard.stdout.readline) == b"began\n"
        next_life = told(tmp_path, STUBBORN)
        child = await pid_of(next_life)
        assert is_alive(child)
        assert (await next_life.progress(Begun(ORDER.id))).work is Work.RUNNING
        guard.send_signal(how)
        guard.wait()
    begun = await next_life.find(ORDER)
    assert begun is not None
    word = await ended(next_life, begun)
    assert (word.work, word.sentence) == (Work.LOST, "it ended with an earlier life of the guard")
    assert word.output == str(child)
    await until(lambda: not is_alive(child))
    await next_life.close()


async def test_an_order_that_never_went_out_is_lost(tmp_path: Path) -> None:
    delegate = told(tmp_path, "")
    begun = await delegate.find(ORDER)
    assert begun is not None
    word = await delegate.progress(begun)
    assert (word.work, word.sentence) == (Work.LOST, "it never began")


async def test_one_whose_holder_is_killed_is_at_work_until_it_ends_and_then_lost(tmp_path: Path) -> None:
    delegate = told(tmp_path, "print(os.getpid(), os.getppid(), flush=True)\nwhile True: time.sleep(60)\n")
    begun = await delegate.begin(ORDER)
    child = await pid_of(delegate)
    os.kill(int((await printed(delegate)).split()[1]), signal.SIGKILL)
    assert (await delegate.progress(begun)).work is Work.RUNNING
    os.kill(child, signal.SIGKILL)
    word = await ended(delegate, begun)
    assert (word.work, word.sentence) == (Work.LOST, "it was killed, and how far it came is not known")
    await delegate.close()


async def test_only_the_newest_orders_are_kept(tmp_path: Path) -> None:
    delegate = told(tmp_path, "")
    delegate.root.mkdir()
    for number in range(FOLDERS_MAX + 5):
        (delegate.root / f"old-{number}").mkdir()
        os.utime(delegate.root / f"old-{number}", (number, number))
    await ended(delegate, await delegate.begin(ORDER))
    kept = {path.name for path in delegate.root.iterdir()}
    assert len(kept) == FOLDERS_MAX
    assert {ORDER.id, "old-24"} <= kept
    assert "old-0" not in kept
    await delegate.close()


@pytest.mark.parametrize("order", ["../x", "", ".hidden", "a/b"])
async def test_no_order_leads_out_of_the_folder(tmp_path: Path, order: str) -> None:
    with pytest.raises(Refused, match="name of a folder"):
        await told(tmp_path, "").begin(replace(ORDER, id=order))


async def test_what_begins_after_nobody_waits_any_more_is_followed_all_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else it would be called lost, and roll back behind everybody's back."""
    monkeypatch.setattr(process, "SPAWN_S", 0.001)
    one = told(tmp_path, "print('rolled back')")
    with pytest.raises(Unavailable):
        await one.begin(ORDER)
    begun = await one.find(ORDER)
    assert begun is not None
    word = await ended(one, begun)
    assert (word.work, word.output) == (Work.SUCCEEDED, "rolled back")
    await one.close()


async def test_one_that_was_stopped_and_left_somebody_behind_is_not_over(tmp_path: Path) -> None:
    body = (
        "child = os.fork()\n"
        "if child == 0:\n    os.setsid()\n    signal.signal(signal.SIGTERM, signal.SIG_IGN)\n    time.sleep(60)\n"
        f"open({str(tmp_path / 'left')!r} + '.new', 'w').write(str(child))\n"
        f"os.rename({str(tmp_path / 'left')!r} + '.new', {str(tmp_path / 'left')!r})\n"
        "time.sleep(60)\n"
    )
    one = told(tmp_path, body, grace_s=0.5)
    begun = await one.begin(ORDER)
    await until((tmp_path / "left").exists)
    left = int((tmp_path / "left").read_text())
    try:
        await one.cancel(begun)
        assert (await one.progress(begun)).work is Work.RUNNING, "somebody is still at it"
    finally:
        os.kill(left, signal.SIGKILL)
    assert (await ended(one, begun)).work is Work.FAILED
    await one.close()
