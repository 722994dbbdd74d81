"""One event is one line: machines can read it, people understand it, nobody can forge it, no secret is in it."""

from __future__ import annotations

import dataclasses
import io
import json
import logging
import typing
from collections.abc import Iterator
from typing import Any

import pytest

from rollguard.core.event_json import EVENTS
from rollguard.core.events import (
    Decided,
    DigestSeen,
    Event,
    FullyDeployed,
    GoalEnded,
    GoalSet,
    IncidentClosed,
    PageFailed,
    PauseSet,
    Recorded,
    RuleChanged,
    StepDone,
    StepFailed,
    StepIntended,
)
from rollguard.telemetry.logs import LOGGER, log_event, set_up
from rollguard.telemetry.text import safe


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def logged(event: Event, environ: dict[str, str] | None = None, out: io.StringIO | None = None) -> str:
    out = io.StringIO() if out is None else out
    set_up(environ or {}, out)
    log_event(Recorded(12, event), "shop")
    return out.getvalue()


FIRING = RuleChanged(
    at=1.0,
    rule="server-errors",
    before="pending",
    after="firing",
    sentence="7 % of requests failed, limit 5 %",
    value=0.07,
    limit=float("inf"),
    machines=("m1", "m2"),
)


def any_event(kind: type[Event]) -> Event:
    """An event of a kind, with something plain in every field."""
    plain: dict[Any, Any] = {str: "x", int: 1, float: 1.0, bool: False}
    hints = typing.get_type_hints(kind)
    required = [f for f in dataclasses.fields(kind) if f.default is f.default_factory is dataclasses.MISSING]
    values: dict[str, Any] = {
        f.name: plain.get(hints[f.name], {} if "Mapping" in str(hints[f.name]) else None) for f in required
    }
    return kind(**values)


def test_an_event_is_one_line_of_json_with_its_sentence_and_its_fields() -> None:
    text = logged(FIRING)
    assert text.count("\n") == 1
    line = json.loads(text)
    assert line.pop("ts").endswith("Z")
    assert line == {
        "level": "warning",
        "event": "RuleChanged",
        "message": "server-errors is firing: 7 % of requests failed, limit 5 %",
        "target": "shop",
        "seq": 12,
        "rule": "server-errors",
        "before": "pending",
        "after": "firing",
        "value": 0.07,
        "limit": "inf",
        "scope": "release",
        "machines": ["m1", "m2"],
    }


def test_a_terminal_gets_a_sentence_first_and_then_key_value() -> None:
    text = logged(FIRING, out=Terminal())
    assert "Z WARNING server-errors is firing: 7 % of requests failed, limit 5 % event=RuleChanged target=shop" in text
    assert ' machines="[\\"m1\\", \\"m2\\"]"\n' in text


@pytest.mark.parametrize("form, is_json", [("json", True), ("text", False)])
def test_rollguard_log_decides_the_form(form: str, is_json: bool) -> None:
    for out in (io.StringIO(), Terminal()):
        assert logged(FIRING, {"ROLLGUARD_LOG": form}, out).startswith("{") is is_json


@pytest.mark.parametrize("kind", EVENTS.values(), ids=EVENTS)
def test_every_kind_of_event_has_a_sentence(kind: type[Event]) -> None:
    line = json.loads(logged(any_event(kind)))
    assert line["event"] == kind.__name__
    assert len(line["message"]) > 5


@pytest.mark.parametrize(
    "event, sentence",
    [
        (
            FullyDeployed(at=1.0, digest=f"sha256:{64 * 'a'}", version=41),
            "v41 (aaaaaaaaaaaa) runs on every managed machine",
        ),
        (
            IncidentClosed(at=1.0, incident="i-1", outcome="restored", sentence="restored: all well"),
            "incident i-1 is over: restored: all well",
        ),
        (
            IncidentClosed(at=1.0, incident="i-1", outcome="handed over", sentence="a newer release came"),
            "incident i-1 is over: handed over: a newer release came",
        ),
        (Decided(at=1.0, incident="i", decision="rollback", trigger="rule", sentence="s"), "decided to roll back: s"),
        (StepIntended(at=1.0, incident="i", kind="update", machine="m1"), "about to update machine m1"),
        (StepDone(at=1.0, incident="i", kind="release_create"), "done: make a release row"),
        (
            StepFailed(at=1.0, incident="i", kind="update", machine="m1", error="409"),
            "could not update machine m1: 409",
        ),
    ],
)
def test_a_sentence_has_no_digests_no_keywords_and_says_nothing_twice(event: Event, sentence: str) -> None:
    assert json.loads(logged(event))["message"] == sentence


@pytest.mark.parametrize(
    "event, level",
    [
        (FIRING, "warning"),
        (dataclasses.replace(FIRING, after="clear"), "info"),
        (Decided(at=1.0, incident="i", decision="rollback", trigger="rule", sentence="s"), "warning"),
        (Decided(at=1.0, incident="i", decision="would-rollback", trigger="rule", sentence="s"), "info"),
        (GoalEnded(at=1.0, incident="i", outcome="restored", sentence="s"), "info"),
        (GoalEnded(at=1.0, incident="i", outcome="failed", sentence="s"), "error"),
        (PageFailed(at=1.0, key="k", channel="c", error="e", attempts=1), "warning"),
        (PageFailed(at=1.0, key="k", channel="c", error="e", attempts=1, final=True), "error"),
        (StepDone(at=1.0, incident="i", kind="update", machine="m1", phase="healthy"), "info"),
    ],
)
def test_an_event_is_as_loud_as_it_matters(event: Event, level: str) -> None:
    assert json.loads(logged(event))["level"] == level


@pytest.mark.parametrize("form", ["json", "text"])
def test_what_an_app_says_can_neither_forge_a_line_nor_move_the_cursor_nor_turn_the_writing(form: str) -> None:
    evil = 'x\n{"level":"info"}\r\x1b[2J\x9b31m\u202e\u2028\ud800'
    text = logged(PauseSet(at=1.0, by=evil, reason="r"), {"ROLLGUARD_LOG": form})
    assert text.count("\n") == 1
    assert text[:-1].isprintable()
    text.encode()


def test_long_texts_and_lists_are_bounded() -> None:
    event = GoalSet(
        at=1.0,
        incident="i",
        candidate="c",
        target="t",
        target_ref="r",
        target_version=1,
        after_version=2,
        trigger="rule",
        by="guard",
        reason="x" * 100_000,
        deadline_at=2.0,
    )
    assert len(logged(event)) < 2000
    assert len(logged(dataclasses.replace(FIRING, machines=("m" * 1000,) * 1000))) < 12_000


def test_values_of_image_labels_are_not_logged() -> None:
    seen = DigestSeen(at=1.0, digest="d", image_ref="r", version=1, labels={"build.token": "hunter2"})
    text = logged(seen)
    assert "hunter2" not in text
    assert json.loads(text)["labels"] == ["build.token"]


@pytest.mark.parametrize(
    "said",
    [
        "Authorization: Bearer abcdef0123456789",
        "token FlyV1 fm2_lJPECAAAAAAA/x+y=,fm2_other==",
        "fo1_abcdefghijkl",
        "secret whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw",
        "https://ada:abcdefgh@example.test/x",
    ],
)
def test_what_looks_like_a_secret_is_not_logged(said: str) -> None:
    shown = safe(f"failed: {said} at once")
    assert "<secret>" in shown
    assert not any(part in shown for part in ("abcdef", "lJPEC", "other", "MfKQ9"))
    assert shown.endswith("at once")


def test_other_loggers_and_exceptions_take_the_same_way_out() -> None:
    out = io.StringIO()
    set_up({}, out)
    try:
        int("boom\n\x1b")
    except ValueError:
        logging.getLogger("aiohttp.server").exception("Error %s", "x")
    line = json.loads(out.getvalue())
    assert line["level"] == "error"
    assert line["event"] == "log"
    assert line["logger"] == "aiohttp.server"
    assert "ValueError: invalid literal" in line["error"]
    assert "\x1b" not in line["error"]


def test_setting_up_twice_does_not_log_twice() -> None:
    out = io.StringIO()
    set_up({}, out)
    set_up({}, out)
    LOGGER.info("once")
    assert out.getvalue().count("once") == 1
