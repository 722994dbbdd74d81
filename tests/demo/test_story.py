"""The story is told in lines that a person can follow."""

from __future__ import annotations

import io
from typing import Any

from rollguard.demo.story import Story, wants_colour
from rollguard.demo.tellers import FleetTeller, UsersTeller, of_guard, of_page
from rollguard.localfly.traffic import Visit


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Clock:
    def __init__(self) -> None:
        self.now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


def told(what: str, *, colour: bool = False) -> str:
    stream, clock = io.StringIO(), Clock()
    story = Story(stream, colour=colour, clock=clock)
    story.call("sha256:abc", "the image of v1")
    clock.now_s += 74.26
    story.tell("guard", what)
    return stream.getvalue()


def test_a_line_has_the_seconds_since_the_start_and_who_tells() -> None:
    assert told("all is well") == "01:14.3  guard    all is well\n"


def test_digests_get_names_and_controls_do_not_reach_the_terminal() -> None:
    assert told("back on sha256:abc\x1b[2J\n!").endswith("back on the image of v1 [2J !\n")


def test_a_line_is_bounded() -> None:
    assert len(told("x" * 10_000)) < 300


def test_colour_is_only_for_a_terminal_that_wants_it() -> None:
    assert wants_colour(Terminal(), {})
    assert not wants_colour(Terminal(), {"NO_COLOR": "1"})
    assert not wants_colour(Terminal(), {"TERM": "dumb"})
    assert not wants_colour(io.StringIO(), {})
    assert told("x", colour=True).startswith("\x1b[33m01:14.3")


def machine(name: str, digest: str, routable: bool = True) -> dict[str, Any]:
    return {"id": name, "digest": digest, "routable": routable}


def fleet(machines: list[dict[str, Any]], rows: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"machines": machines, "releases": rows or [], "floor_violations": []}


def test_a_machine_is_told_once_it_serves_another_image() -> None:
    teller = FleetTeller({"old": "v1", "new": "v2"}, {})
    assert list(teller.tell(fleet([machine("a", "old"), machine("b", "old")]))) == []
    assert list(teller.tell(fleet([machine("a", "old"), machine("b", "new", routable=False)]))) == []
    assert list(teller.tell(fleet([machine("a", "old"), machine("b", "new")]))) == [
        ("fleet", "machine 2 of 2 now serves v2 (1 on v1, 1 on v2)")
    ]
    assert list(teller.tell(fleet([machine("a", "old"), machine("b", "new")]))) == []


def test_releases_are_told_as_they_begin_and_end_but_for_the_one_that_was_there() -> None:
    teller = FleetTeller({}, {"ci@x": "CI"})
    first = {"version": 1, "status": "complete", "user": "x", "image_ref": "a:1"}
    second = {"version": 2, "status": "running", "user": "ci@x", "image_ref": "a:2"}
    assert list(teller.tell(fleet([], [second, first]))) == [("deploy", "release v2 begins: CI rolls out a:2")]
    assert list(teller.tell(fleet([], [{**second, "status": "complete"}, first]))) == [
        ("deploy", "release v2 is complete")
    ]


def visit(status: int = 200, image: str = "old", error: str | None = None) -> Visit:
    return Visit(at=1.0, path="/", status=status, latency_s=0.1, machine="a", image=image, error=error)


def test_users_are_summed_up_every_five_seconds() -> None:
    teller = UsersTeller("new")
    assert list(teller.tell([visit()], 10.0)) == []
    assert list(teller.tell([visit(500, "new")], 12.0)) == [
        ("users", "the first user gets an error page from the new release")
    ]
    assert list(teller.tell([visit(), visit()], 15.0)) == [
        ("users", "4 requests in 5.0 s, 1 failed (25%): 1 × 500 in a body served by the bad image")
    ]
    assert list(teller.tell([visit()], 20.5)) == [("users", "1 requests in 5.5 s, none failed")]


def test_a_request_that_fails_other_than_by_the_bad_image_is_told_at_once() -> None:
    (line,) = UsersTeller("new").tell([visit(502, "", "proxy:reset")], 10.0)
    assert line == ("wrong", "GET / failed: 502 made by the proxy (reset), machine a")


def test_a_rough_show_tells_failed_requests_in_sums_only() -> None:
    assert list(UsersTeller("new", rough=True).tell([visit(502, "", "proxy:reset")], 10.0)) == []


def test_pages_and_the_guard_s_decisions_are_part_of_the_story() -> None:
    page = {"event_action": "trigger", "payload": {"source": "shop", "severity": "critical", "summary": "shop: bad"}}
    assert of_page(page) == ("page", "PagerDuty (critical): bad")
    assert of_page({"event_action": "resolve"}) == ("page", "PagerDuty: the incident is resolved")
    assert of_page({"event_action": "acknowledge"}) == ("page", "PagerDuty: the incident is acknowledged")
    assert of_guard({"event": "Decided", "message": "decided to hold"}) == ("guard", "decided to hold")
    assert of_guard({"event": "RuleChanged", "after": "pending", "message": "…"}) is None
    assert of_guard({"event": "StepIntended", "message": "…"}) is None
