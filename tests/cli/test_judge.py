"""``rollguard judge``: protocol 1, line by line, with hostile lines among them."""

from __future__ import annotations

import json
import math
import random
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rollguard.config.loader import load_policy
from rollguard.core.mapping import feed
from rollguard.core.samples import NotJson, Runs

ROOT = Path(__file__).parents[2]
DEFAULT = load_policy(ROOT / "daemon/rollguard/config/judge.yaml", {})
BARE = load_policy(ROOT / "daemon/rollguard/config/judge_gauge.yaml", {})
LE_MS = [5, 10, 25, 50, 100, 250, 500, 1000, 2500, 5000, 10000]
DT = 15.0


def start(run: str = "a", **but: Any) -> dict[str, Any]:
    return {"type": "start", "run": run, "protocol": 1, "dt": DT, "le_ms": LE_MS} | but


def release(t: float = 0.0, run: str = "a", version: str = "v2") -> dict[str, Any]:
    return {"type": "release", "run": run, "t": t, "version": version}


def sample(t: float, run: str = "a", **but: Any) -> dict[str, Any]:
    """300 requests, most of them within 100 ms."""
    said = {
        "type": "sample",
        "run": run,
        "t": t,
        "scrape": True,
        "req": 300,
        "err": 0,
        "hist": [0, 0, 20, 130, 130, 15, 5, 0, 0, 0, 0, 0],
        "p95_ms": 160.0,
        "probe_ok": 3,
        "probe_fail": 0,
        "control_fail": 0,
    }
    return said | but


def app(seconds: float = 1200.0, before: dict[str, Any] | None = None, **after: Any) -> Iterator[dict[str, Any]]:
    """Two hours of an app, a release, and what its samples say then."""
    yield start()
    for number in range(480):
        t = -7200 + DT * (number + 1)
        yield sample(t, **(before or {} if t > -300 else {}))
    yield release()
    for number in range(int(seconds / DT)):
        yield sample(DT * (number + 1), **after)
    yield {"type": "end", "run": "a"}


def replies(lines: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    runs = Runs(DEFAULT, BARE)
    said = [runs.answer(json.dumps(line)) for line in lines]
    return [json.loads(reply) for reply in said if reply is not None]


def first(verdict: str, found: list[dict[str, Any]]) -> float | None:
    return next((r["t"] for r in found if r["verdict"] == verdict), None)


# -- the verdicts ------------------------------------------------------------------------------------------------------


def test_a_healthy_release_is_ok_and_before_it_there_is_nothing_to_judge() -> None:
    found = replies(app())
    assert {r["verdict"] for r in found if r["t"] <= 0} == {"learning"}
    assert {r["verdict"] for r in found if r["t"] > 0} == {"ok"}


@pytest.mark.parametrize(
    "after, signal, within_s",
    [
        ({"err": 150}, "errors", 45),
        ({"err": 15}, "errors", 90),
        ({"probe_ok": 0, "probe_fail": 3, "scrape": False, "req": None, "err": None, "hist": None}, "probes", 45),
        ({"hist": [0, 0, 0, 0, 20, 130, 130, 15, 5, 0, 0, 0]}, "latency", 135),
    ],
)
def test_a_bad_release_is_rolled_back_by_what_is_wrong_with_it(
    after: dict[str, Any], signal: str, within_s: float
) -> None:
    found = replies(app(**after))
    at = first("rollback", found)
    assert at is not None
    assert at <= within_s
    told = next(r for r in found if r["verdict"] == "rollback")
    assert told["signal"] == signal
    assert told["odds"] > 1000


def test_what_was_as_bad_before_the_release_is_no_releases_doing() -> None:
    assert first("rollback", replies(app(before={"err": 15}, err=15))) is None


def test_nothing_is_rolled_back_while_the_control_fails() -> None:
    assert first("rollback", replies(app(err=150, control_fail=3))) is None


def test_silence_is_no_data() -> None:
    silent: dict[str, Any] = {"scrape": False, "req": None, "err": None, "hist": None, "probe_ok": 0}
    found = replies(app(**silent))
    assert first("no_data", found) is not None
    assert first("rollback", found) is None


# -- the protocol ------------------------------------------------------------------------------------------------------


def test_every_sample_has_one_reply_in_its_place() -> None:
    lines = list(app(300.0))
    found = replies(lines)
    assert [(r["run"], r["t"]) for r in found] == [(x["run"], x["t"]) for x in lines if x["type"] == "sample"]


def test_runs_know_nothing_of_each_other() -> None:
    alone = replies(app(err=15))
    runs = Runs(DEFAULT)
    twice = []
    for line in [*app(err=150), *app(err=15)]:
        reply = runs.answer(json.dumps(line))
        twice += [json.loads(reply)] if reply is not None else []
    assert twice[len(alone) :] == alone


HOSTILE: list[tuple[dict[str, Any], str]] = [
    ({"t": None}, "t is no time"),
    ({"t": "x"}, "t is no time"),
    ({"t": 1e300}, "t is no time"),
    ({"t": 15.0}, "time does not go on"),
    ({"t": -15.0}, "time does not go on"),
    ({"req": -1}, "counts that cannot be"),
    ({"err": 301}, "counts that cannot be"),
    ({"req": 1e15}, "counts that cannot be"),
    ({"err": True}, "counts that cannot be"),
    ({"hist": [1, 2]}, "a histogram that cannot be"),
    ({"hist": [-1] * 12}, "a histogram that cannot be"),
    ({"hist": "x"}, "a histogram that cannot be"),
    ({"probe_fail": -1}, "probe counts that cannot be"),
    ({"control_fail": 1e9}, "probe counts that cannot be"),
    ({"scrape": "yes"}, "scrape is neither true nor false"),
    ({"probe_ok": 0.5, "probe_fail": 0.5}, "probe counts that cannot be"),
    ({"control_fail": 4}, "more control probes failed than there were"),
    ({"hist": [0] * 11 + [1e9]}, "more times than requests"),
    ({"hist": None}, "no histogram"),
    ({"t": 86400.0 * 3}, "time goes on by more than a day"),
    ({"t": -1.7e9}, "t is no time"),
    ({"t": math.nan}, "t is no time"),
    ({"run": "other"}, "a run that was not started"),
]


@pytest.mark.parametrize("wrong, why", HOSTILE)
def test_what_cannot_be_is_a_gap_with_its_reason_and_no_evidence(wrong: dict[str, Any], why: str) -> None:
    lines = [start(), sample(0.0), release(1.0), sample(15.0), sample(30.0) | wrong, sample(45.0)]
    found = replies(lines)
    assert len(found) == 4
    assert why in found[2]["gap"]
    assert found[2]["verdict"] in {"ok", "learning"}
    assert "gap" not in found[3]


def test_a_release_that_returns_is_said() -> None:
    lines = [start(), sample(0.0), release(1.0), sample(15.0), release(16.0, version="v3"), release(20.0), sample(30.0)]
    assert "returned" in replies(lines)[-1]["gap"]


def test_a_layout_that_changes_is_evidence_of_nothing() -> None:
    """Everything moves into other buckets because there are others: that is no slowness."""
    bad = start(le_ms=[5, 3, 1])
    assert replies([bad, sample(0.0)])[0]["gap"] == "a run that was not started"


def caught(lines: list[dict[str, Any]]) -> float | None:
    return first("rollback", replies(lines))


def test_one_absurd_time_does_not_end_a_run() -> None:
    sound = list(app(120.0, err=150))
    where = sound.index(release()) + 1
    assert caught([*sound[:where], sample(1e8), *sound[where:]]) == caught(sound) is not None


def test_a_release_told_of_early_begins_when_its_time_comes() -> None:
    sound = [line for line in app(120.0, err=150) if line != release()]
    early = [*sound[:470], release(), *sound[470:]]
    found = replies(early)
    assert {r["verdict"] for r in found if r["t"] < 0} == {"learning"}
    assert "still to come" in next(r["gap"] for r in found if r["t"] == -15.0)
    assert caught(early) == caught(list(app(120.0, err=150)))


def test_an_absurd_release_hides_no_real_one() -> None:
    sound = list(app(120.0, err=150))
    where = sound.index(release())
    found = replies([*sound[:where], release(1e8, version="v9"), *sound[where:]])
    assert first("rollback", found) == caught(sound)
    assert "too far ahead" in next(r["gap"] for r in found if "gap" in r)


@pytest.mark.parametrize("wrong", [{"protocol": 2}, {"dt": 5e-324}, {"dt": 0}, {"dt": math.inf}, {"dt": None}])
def test_a_start_that_cannot_be_starts_nothing(wrong: dict[str, Any]) -> None:
    assert replies([start(**wrong), sample(0.0)])[0]["gap"] == "a run that was not started"


def test_a_number_of_five_thousand_digits_has_a_reply_like_any_other() -> None:
    runs = Runs(DEFAULT)
    runs.answer(json.dumps(start()))
    reply = runs.answer(json.dumps(sample(0.0)).replace("300", "9" * 5000))
    assert reply is not None
    assert "counts that cannot be" in json.loads(reply)["gap"]


def test_replies_are_json_whatever_number_was_said() -> None:
    runs = Runs(DEFAULT)
    reply = runs.answer(json.dumps(sample(math.nan)))
    assert reply is not None
    assert json.loads(reply, parse_constant=pytest.fail)["t"] is None


numbers = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=3), st.lists(st.integers()))


@settings(max_examples=150, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(sorted(sample(0.0))), numbers, max_size=4), max_size=12))
def test_whatever_a_sample_says_there_is_one_reply_and_never_a_rollback_of_nothing(wrong: list[dict[str, Any]]) -> None:
    runs = Runs(DEFAULT)
    lines = [start(), sample(0.0), release(1.0)]
    for number, some in enumerate(wrong):
        lines.append(sample(15.0 * (number + 1)) | {k: v for k, v in some.items() if k not in {"type", "run"}})
    said = [runs.answer(json.dumps(line)) for line in lines]
    found = [json.loads(reply) for reply in said if reply is not None]
    assert len(found) == len(lines) - 2
    assert all(r["verdict"] in {"ok", "learning", "no_data", "page", "rollback"} for r in found)


@pytest.mark.parametrize("line", ["", "x", "[]", "3", '{"type": ', "[" * 100_000])
def test_what_is_no_json_object_is_nobodys_to_reply_to(line: str) -> None:
    with pytest.raises(NotJson):
        Runs(DEFAULT).answer(line)


@pytest.mark.parametrize("line", ['{"type": "other"}', "{}", '{"type": 3}', '{"type": "end"}', '{"type": "release"}'])
def test_lines_that_ask_nothing_are_not_replied_to(line: str) -> None:
    assert Runs(DEFAULT).answer(line) is None


# -- an app without a histogram ----------------------------------------------------------------------------------------


def bare(lines: Iterator[dict[str, Any]], after_ms: float) -> list[dict[str, Any]]:
    """What an app that gives its own P95 only is answered."""
    told = (line | {"hist": None} | ({"p95_ms": after_ms} if line.get("t", -1) > 0 else {}) for line in lines)
    return replies(told)


@pytest.mark.parametrize("after_ms, verdict", [(170.0, "ok"), (220.0, "page"), (640.0, "rollback")])
def test_where_there_is_no_histogram_the_p95_is_compared(after_ms: float, verdict: str) -> None:
    found = bare(app(), after_ms)
    after = [r for r in found if r["t"] > 0]
    assert {"ok": 0, "page": 1, "rollback": 2}[verdict] == max(
        {"page": 1, "rollback": 2}.get(r["verdict"], 0) for r in after
    )
    assert {r["signal"] for r in after if r["verdict"] in ("page", "rollback")} <= {"latency"}


def test_where_there_is_a_histogram_the_p95_counts_for_nothing() -> None:
    assert {r["verdict"] for r in replies(app(p95_ms=9000.0)) if r["t"] > 0} == {"ok"}


@pytest.mark.parametrize("p95_ms", [-1.0, 0.0, 1e300, "fast", True, [1.0], {}])
def test_a_p95_that_cannot_be_rolls_nothing_back(p95_ms: Any) -> None:
    lines = [line | {"hist": None} | ({"p95_ms": p95_ms} if line.get("t", -1) > 0 else {}) for line in app()]
    assert "rollback" not in {r["verdict"] for r in replies(lines)}


# -- policies ----------------------------------------------------------------------------------------------------------


def test_of_the_production_policy_what_can_be_fed_is_judged_and_the_rest_is_named() -> None:
    fed = feed(load_policy(ROOT / "config/hotdash-production.yaml", {}), DT)
    names = {rule.name for rule in fed.policy.rules}
    assert {"not-responding", "errors-blatant", "slower-by-half", "more-errors"} <= names
    assert any("crash-loop" in why for why in fed.left_out)
    runs = Runs(load_policy(ROOT / "config/hotdash-production.yaml", {}))
    said = [runs.answer(json.dumps(line)) for line in app(120.0, err=150)]
    assert any('"rollback"' in reply for reply in said if reply)


# -- the command -------------------------------------------------------------------------------------------------------


def test_each_reply_comes_without_waiting_for_more() -> None:
    command = [sys.executable, "-m", "rollguard", "judge"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(start()) + "\n")
        for t in (0.0, 15.0, 30.0):
            process.stdin.write(json.dumps(sample(t)) + "\n")
            process.stdin.flush()
            assert json.loads(process.stdout.readline())["t"] == t
        process.stdin.close()
        assert process.wait(20) == 0


def test_a_line_that_is_no_json_is_said_and_the_others_are_answered() -> None:
    text = "\n".join(["nonsense", json.dumps(start()), json.dumps(sample(0.0)), "", json.dumps(sample(15.0))])
    command = [sys.executable, "-m", "rollguard", "judge"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "not JSON" in done.stderr
    assert len(done.stdout.splitlines()) == 2


def test_the_end_of_a_line_too_long_to_read_is_no_line_of_its_own() -> None:
    text = "\n".join([json.dumps(start()), "x" * (2 << 20) + json.dumps(sample(0.0)), json.dumps(sample(15.0))])
    command = [sys.executable, "-m", "rollguard", "judge"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert [json.loads(line)["t"] for line in done.stdout.splitlines()] == [15.0]


def test_a_policy_of_which_nothing_can_be_judged_is_refused(tmp_path: Path) -> None:
    """Else it would say ok for ever."""
    path = tmp_path / "policy.yaml"
    path.write_text(
        "version: 1\ntarget: {name: app, platform: fly, app: app, token_env: FLY_API_TOKEN}\nmode: enforce\n"
        "signals:\n  machines: {platform: {}, every: 15s}\n"
        "rules:\n  - {name: crash, signal: machines, crashed: 2 in 5m, then: rollback}\n"
    )
    command = [sys.executable, "-m", "rollguard", "judge", str(path)]
    done = subprocess.run(command, input="", capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "rule crash" in done.stderr


def test_equal_lines_get_equal_replies() -> None:
    dice = random.Random(4)
    lines = [start(), *(sample(15.0 * n, err=dice.randrange(9)) for n in range(40))]
    assert replies(lines) == replies(lines)
