"""Journeys: steps in order, as one user makes them; a failure tells where and what, and never a secret."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, parse_qsl, unquote, urlsplit

import pytest

from rollguard.adapters.http import AiohttpTransport, Saturated, TooLarge
from rollguard.adapters.signals.journey import JourneySource
from rollguard.core.model import EDGE, GapKind, Reading
from rollguard.core.signals import Capture, Expect, JourneySignal, Scope, Step, Where
from rollguard.errors import BadAnswer, GuardError, Unavailable
from rollguard.ports import Fleet, HttpAnswer
from tests.adapters import hostile
from tests.adapters.scripted_transport import Asked, Script, ScriptedTransport, says
from tests.adapters.signals_of import NOON, HandClock, read
from tests.loop_clock import LoopClock
from tests.virtual_time import run

SHOP = "https://shop.test"
EDGE_ONLY = frozenset({Scope.EDGE})
SECRET = "s3cret-Value"


def journey(*steps: Step, **but: Any) -> JourneySignal:
    usual: dict[str, Any] = {"name": "sign-in", "every_s": 30.0, "scopes": EDGE_ONLY, "timeout_s": 10.0}
    return JourneySignal(steps=steps, **usual | but)


def step(name: str = "page", url: str = f"{SHOP}/page", **but: Any) -> Step:
    return Step(name=name, url=url, **but)


def walk(signal: JourneySignal, script: Script, *started: str) -> tuple[list[Reading], list[Asked]]:
    transport = ScriptedTransport(script)
    return read(JourneySource(signal, transport), HandClock(), *started), transport.asked


def end(signal: JourneySignal, script: Script) -> Reading:
    return walk(signal, script)[0][0]


SIGN_IN = journey(
    step("form", f"{SHOP}/login", capture=(Capture("csrf", Where.TEXT, 'name="csrf" value="([^"]+)"'),)),
    step(
        "login",
        f"{SHOP}/login",
        method="POST",
        form={"email": "guard@example.com", "password": SECRET, "csrf": "{csrf}"},
        expect=Expect(status=frozenset({302}), headers={"Location": "^/dashboard$"}),
    ),
    step("dashboard", f"{SHOP}/dashboard", expect=Expect(texts=("Sales",))),
)


def shop(asked: Asked) -> HttpAnswer:
    """An app with a sign-in."""
    if asked.path == "/dashboard":
        return says(b"<h1>Sales</h1>") if asked.headers.get("cookie") == "pre=1; sid=9" else says(b"Sign in", 302)
    if asked.method == "GET":
        return says(b'<input name="csrf" value="a&b+c">', set_cookie="pre=1; Path=/")
    good = parse_qs(asked.body.decode()) == {"email": ["guard@example.com"], "password": [SECRET], "csrf": ["a&b+c"]}
    return says(b"", 302 if good else 401, location="/dashboard", set_cookie="sid=9; Path=/\nother=1; Path=/api")


def test_a_user_signs_in_and_sees_the_dashboard() -> None:
    readings, asked = walk(SIGN_IN, shop)
    assert [(r.key, r.subject, r.at) for r in readings] == [
        ("sign-in", EDGE, NOON),
        ("sign-in.form", EDGE, NOON),
        ("sign-in.login", EDGE, NOON),
        ("sign-in.dashboard", EDGE, NOON),
    ]
    assert (readings[0].value, readings[0].gap, readings[0].detail) == (1.0, None, "HTTP 200")
    assert [(a.method, a.path) for a in asked] == [("GET", "/login"), ("POST", "/login"), ("GET", "/dashboard")]
    assert asked[1].headers["content-type"] == "application/x-www-form-urlencoded"
    assert all(a.headers["user-agent"].startswith("rollguard/") for a in asked)


def test_every_started_machine_is_asked_by_name_at_every_step_and_the_edge_without() -> None:
    signal = journey(*SIGN_IN.steps, scopes=frozenset(Scope))
    readings, asked = walk(signal, shop, "m1", "m2")
    assert [(r.subject, r.value) for r in readings if r.key == "sign-in"] == [("m1", 1.0), ("m2", 1.0), (EDGE, 1.0)]
    forced = [a.headers.get("fly-force-instance-id") for a in asked]
    assert sorted(forced, key=str) == [None] * 3 + ["m1"] * 3 + ["m2"] * 3
    assert walk(journey(*SIGN_IN.steps, scopes=frozenset({Scope.MACHINE})), shop) == ([], [])


def test_a_policys_own_header_does_not_send_a_machines_journey_elsewhere() -> None:
    signal = journey(step(headers={"Fly-Force-Instance-Id": "m9"}), scopes=frozenset({Scope.MACHINE}))
    _, asked = walk(signal, lambda asked: says({}), "m1")
    assert {name.lower(): value for name, value in asked[0].headers.items()}["fly-force-instance-id"] == "m1"
    assert len(asked[0].headers) == len({name.lower() for name in asked[0].headers})


@pytest.mark.parametrize(
    "answer, detail, unanswered",
    [
        (says({}, 500), "HTTP 500 at step 2 (second)", False),
        (says({}, 302), "HTTP 302 at step 2 (second)", False),
        (Unavailable("connection refused: GET shop.test/b"), "step 2 (second): connection refused", True),
        (Unavailable("timeout after 9.8765s: GET shop.test/b"), "step 2 (second): timeout after 9.8765s", True),
        (BadAnswer("not a proper HTTP answer: GET shop.test/b"), "step 2 (second): not a proper HTTP answer", True),
        (TooLarge("more than", HttpAnswer(503, {}, b"x")), "HTTP 503 at step 2 (second)", False),
    ],
)
def test_a_failed_journey_names_its_step_and_whether_it_was_answered(
    answer: HttpAnswer | GuardError, detail: str, unanswered: bool
) -> None:
    signal = journey(step("first", f"{SHOP}/a"), step("second", f"{SHOP}/b"), step("third", f"{SHOP}/c"))
    readings, asked = walk(signal, lambda asked: answer if asked.path == "/b" else says({}))
    assert (readings[0].value, readings[0].detail, readings[0].unanswered) == (0.0, detail, unanswered)
    assert [r.key for r in readings[1:]] == ["sign-in.first"] + ["sign-in.second"] * (not unanswered)
    assert [a.path for a in asked] == ["/a", "/b"]


def test_the_guards_own_lack_of_connections_is_a_gap() -> None:
    script: Script = lambda asked: says({}) if asked.path == "/a" else Saturated("the guard had no free connection: b")
    readings, _ = walk(journey(step("a", f"{SHOP}/a"), step("b", f"{SHOP}/b")), script)
    assert (readings[0].value, readings[0].gap) == (None, GapKind.NO_ANSWER)
    assert [r.key for r in readings[1:]] == ["sign-in.a"]


class Slow:
    """``ports.Transport`` that takes its time for every answer, by path."""

    def __init__(self, takes_s: Mapping[str, float], *, late_answers: bool) -> None:
        self.takes_s = takes_s
        self.late_answers = late_answers
        self.granted_s: list[float] = []

    async def request(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout_s: float = 10.0,
        max_bytes: int = 1 << 20,
    ) -> HttpAnswer:
        self.granted_s.append(timeout_s)
        try:
            async with asyncio.timeout(None if self.late_answers else timeout_s):
                await asyncio.sleep(self.takes_s[url.removeprefix(SHOP)])
        except TimeoutError:
            raise Unavailable(f"timeout after {timeout_s:g}s: {method}") from None
        return HttpAnswer(200, {}, b"")


def slow_walk(*, late_answers: bool = False, **takes_s: float) -> tuple[list[Reading], Slow, float]:
    transport = Slow({f"/{name}": seconds for name, seconds in takes_s.items()}, late_answers=late_answers)
    signal = journey(*(step(name, f"{SHOP}/{name}") for name in takes_s))

    async def scene() -> tuple[list[Reading], float]:
        readings = await JourneySource(signal, transport).read(Fleet(), LoopClock())
        return list(readings), asyncio.get_running_loop().time()

    readings, took_s = run(scene())
    return readings, transport, took_s


def test_each_steps_time_is_read_and_each_step_gets_what_is_left() -> None:
    readings, transport, _ = slow_walk(a=1.5, b=0.25, c=4.0)
    assert [r.key for r in readings] == ["sign-in", "sign-in.a", "sign-in.b", "sign-in.c"]
    assert [r.value for r in readings] == pytest.approx([1.0, 1.5, 0.25, 4.0])
    assert transport.granted_s == pytest.approx([10.0, 8.5, 8.25])


def test_the_timeout_is_for_the_whole_journey() -> None:
    readings, _, took_s = slow_walk(a=6.0, b=6.0, c=0.0)
    assert took_s == pytest.approx(10.0)
    assert readings[0].detail == "step 2 (b): timeout after 10s for all steps"
    assert readings[0].unanswered
    assert [r.key for r in readings[1:]] == ["sign-in.a"]


def test_without_time_left_the_next_step_is_not_sent() -> None:
    readings, transport, _ = slow_walk(a=10.0, b=0.0, late_answers=True)
    assert transport.granted_s == [10.0]
    assert (readings[0].value, readings[0].detail) == (0.0, "step 2 (b): timeout after 10s for all steps")


PAGE: dict[str, Any] = {"ok": True, "n": 3, "f": 2.0, "none": None, "who": SECRET, "list": [{"id": 7}], "o": {}}


@pytest.mark.parametrize(
    "expect, why",
    [
        (Expect(json=((("ok",), True), (("n",), 3.0), (("f",), 2), (("none",), None), (("list", "0", "id"), 7))), None),
        (Expect(json=((("who",), SECRET),)), None),
        (Expect(json=((("who",), "root"),)), "who is a string of 12 characters, not as expected"),
        (Expect(json=((("n",), 4),)), "n is a number, not as expected"),
        (Expect(json=((("n",), "3"),)), "n is a number, not as expected"),
        (Expect(json=((("ok",), 1),)), "ok is a boolean, not as expected"),
        (Expect(json=((("n",), True),)), "n is a number, not as expected"),
        (Expect(json=((("ok",), None),)), "ok is a boolean, not as expected"),
        (Expect(json=((("none",), "x"),)), "none is null, not as expected"),
        (Expect(json=((("list",), "x"),)), "list is a list of 1, not as expected"),
        (Expect(json=((("o",), "x"),)), "o is an object, not as expected"),
        (Expect(json=((("o", "x"), "x"),)), "no o.x in the answer"),
        (Expect(texts=("ok", "list")), None),
        (Expect(texts=("ok", "Sales\x1b")), "no text 'Sales'"),
        (Expect(headers={"X-Kind": "^te", "x-kind": "st$"}), None),
        (Expect(headers={"X-Kind": "^x"}), "header X-Kind is not as expected"),
        (Expect(headers={"X-Other": ""}), "no header X-Other"),
        (Expect(status=frozenset({200, 204})), None),
    ],
)
def test_an_expectation_that_is_not_met_is_named_without_what_was_found(expect: Expect, why: str | None) -> None:
    reading = end(journey(step(expect=expect)), lambda asked: says(PAGE, x_kind="test"))
    assert reading.value == (1.0 if why is None else 0.0)
    assert reading.detail == ("HTTP 200" if why is None else f"HTTP 200 at step 1 (page): {why}")


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"a": NaN}', b"[" * 100_000, b'{"a": ' + b"9" * 5000 + b"}"])
def test_a_page_that_is_no_json_fails_where_json_is_expected(body: bytes) -> None:
    reading = end(journey(step(expect=Expect(json=((("a",), 1),)))), lambda asked: says(body))
    assert reading.detail == "HTTP 200 at step 1 (page): not JSON, or nested too deep"


def test_of_a_page_of_megabytes_the_beginning_is_looked_at() -> None:
    script: Script = lambda asked: TooLarge("more than 1 MiB", HttpAnswer(200, {}, b"Sales" + b"x" * (1 << 20)))
    assert end(journey(step(expect=Expect(texts=("Sales",)))), script).value == 1.0
    text = end(journey(step(expect=Expect(texts=("Products",)))), script)
    assert text.detail == "HTTP 200 at step 1 (page): no text 'Products' in the first 1 MiB"
    document = end(journey(step(expect=Expect(json=((("a",), 1),)))), script)
    assert document.detail == "HTTP 200 at step 1 (page): more than 1 MiB of JSON"


def sent(second: Step, captured: Any) -> Asked:
    """The second step's request after the first one captured ``v``."""
    first = step("first", capture=(Capture("v", Where.JSON, "a.v"),))
    _, asked = walk(journey(first, second), lambda asked: says({"a": {"v": captured}}))
    assert len(asked) == 2
    return asked[1]


def test_a_captured_value_stays_a_value_wherever_it_is_put() -> None:
    nasty = 'a/b?c=1&d#%"\\}{ü'
    encoded = "a%2Fb%3Fc%3D1%26d%23%25%22%5C%7D%7B%C3%BC"
    url = sent(step(url=f"{SHOP}/x/{{v}}?q={{v}}&other={{w}}#frag{{v}}"), nasty).url
    assert url == f"{SHOP}/x/{encoded}?q={encoded}&other={{w}}"
    assert parse_qs(sent(step(form={"f": "<{v}>"}), nasty).body.decode()) == {"f": [f"<{nasty}>"]}
    assert sent(step(body='{"a": "<{v}>", "b": {v}, "\\"c": [1]}'), nasty).json == {
        "a": f"<{nasty}>",
        "b": nasty,
        '"c': [1],
    }
    assert sent(step(headers={"X-Token": "Bearer {v}"}), nasty).headers["x-token"] == f"Bearer {nasty}"


def test_numbers_and_booleans_keep_their_kind_in_json() -> None:
    body = step(body='{"id": {v}, "text": "{v}"}')
    assert sent(body, 7).json == {"id": 7, "text": "7"}
    assert sent(body, True).json == {"id": True, "text": "true"}
    assert sent(body, '1, "admin": true').json == {"id": '1, "admin": true', "text": '1, "admin": true'}
    assert sent(body, 7).headers["content-type"] == "application/json"
    assert sent(step(body="{}", headers={"Content-Type": "application/x+json"}), 7).headers["content-type"] == (
        "application/x+json"
    )


def test_a_value_is_captured_from_a_header_a_text_and_json() -> None:
    captures = (
        Capture("h", Where.HEADER, "X-Next"),
        Capture("t", Where.TEXT, '"token": "(.*?)"'),
        Capture("j", Where.JSON, "items.1"),
    )
    second = step(url=f"{SHOP}/{{h}}/{{t}}/{{j}}")
    script: Script = lambda asked: says({"token": "tok", "items": [1, 2]}, x_next="n")
    assert walk(journey(step(capture=captures), second), script)[1][1].path == "/n/tok/2"


@pytest.mark.parametrize(
    "value, why",
    [
        (None, "nothing to capture as v"),
        ("", "nothing to capture as v"),
        ([1], "v is a list of 1, nothing to capture"),
        ({}, "v is an object, nothing to capture"),
        ("x" * 2001, "v is longer than 2000 characters"),
        ("a\r\nHost: evil", "v has characters that cannot be sent on"),
        ("\x1b[2J", "v has characters that cannot be sent on"),
        ("\ud800", "v has characters that cannot be sent on"),
        ("..", "v has characters that cannot be sent on"),
    ],
)
def test_what_cannot_be_captured_fails_the_step(value: Any, why: str) -> None:
    first = step(capture=(Capture("v", Where.JSON, "v"),))
    readings, asked = walk(journey(first, step("next", f"{SHOP}/{{v}}")), lambda asked: says({"v": value}))
    assert readings[0].detail == f"HTTP 200 at step 1 (page): {why}"
    assert len(asked) == 1


@pytest.mark.parametrize(
    "steps, why",
    [
        ((), "a journey without steps"),
        ((step(), step("to", "{v}")), "step 2 (to) cannot be used: an address needs http(s)://host"),
        ((step("to", f"{SHOP}{{v}}/x"),), "step 1 (to) cannot be used: an address needs"),
        ((step("to", "file:///etc/passwd"),), "step 1 (to) cannot be used: an address needs"),
        ((step("to", "https://[shop"),), "step 1 (to) cannot be used: an address needs"),
        ((step(expect=Expect(headers={"a": "(a+)+"})),), "step 1 (page) cannot be used: a group that is repeated"),
        ((step(capture=(Capture("v", Where.TEXT, "(.*)"),)),), "step 1 (page) cannot be used: a pattern to capture"),
    ],
)
def test_a_journey_that_cannot_be_made_is_a_gap_and_no_failure_of_the_app(steps: tuple[Step, ...], why: str) -> None:
    readings, asked = walk(journey(*steps), lambda asked: says({}))
    assert (readings[0].value, readings[0].gap) == (None, GapKind.BAD_ANSWER)
    assert readings[0].detail.startswith(why)
    assert asked == []


def in_turn(*answers: HttpAnswer | GuardError) -> Script:
    rest = iter(answers)
    return lambda asked: next(rest)


def test_no_detail_holds_what_was_sent_captured_or_read() -> None:
    hostile_page = json.dumps({"v": SECRET, "x": SECRET}).encode() + b"\x1b[2J\x00" * 1000
    answers: list[HttpAnswer | GuardError] = [
        says(hostile_page, status, x_a=SECRET, set_cookie=f"a={SECRET}; Path=/", location=SECRET)
        for status in (200, 302, 500)
    ]
    answers += [Unavailable(f"timeout after 1s: GET {SECRET}"), TooLarge("x", HttpAnswer(200, {}, hostile_page))]
    expectations = [
        Expect(texts=("never",)),
        Expect(headers={"x-a": "never"}),
        Expect(json=((("v",), "never"),)),
        Expect(status=frozenset({201})),
    ]
    first = step("first", f"{SHOP}/first", capture=(Capture("v", Where.JSON, "v"),))
    for answer in answers:
        for expect in expectations:
            second = step(url=f"{SHOP}/{{v}}", form={"password": SECRET}, headers={"x": SECRET}, expect=expect)
            readings, asked = walk(journey(first, second), in_turn(says({"v": SECRET}), answer))
            assert len(asked) == 2
            assert readings[0].value == 0.0
            assert all(SECRET not in r.detail and r.detail.isprintable() and len(r.detail) < 200 for r in readings)


def test_a_step_with_a_strange_name_is_shown_on_one_short_line() -> None:
    reading = end(journey(step("x\n\x1b[2J" * 40)), lambda asked: says({}, 500))
    assert reading.detail.isprintable()
    assert len(reading.detail) < 80


async def real_walk(signal_of: Any, misbehave: hostile.Misbehaviour, heads: list[bytes] | None = None) -> list[Reading]:
    transport = AiohttpTransport()
    async with hostile.server(misbehave, heads) as url:
        readings = await JourneySource(signal_of(url), transport).read(Fleet(), HandClock())
    await transport.close()
    return list(readings)


async def test_on_a_real_wire_every_cookie_is_kept_and_a_captured_value_stays_in_its_place() -> None:
    answer = (
        b"HTTP/1.1 200 OK\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=2; Path=/; Expires=Wed, 01 Jan 2070 00:00:00 GMT"
        b"\r\nX-Next: x/../y?z&q=1+1\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    )
    heads: list[bytes] = []
    capture = (Capture("next", Where.HEADER, "x-next"),)
    signal = lambda url: journey(step(url=f"{url}/one", capture=capture), step("two", f"{url}/{{next}}?q={{next}}"))
    readings = await real_walk(signal, hostile.sends(answer), heads)
    assert readings[0].detail == "HTTP 200"
    target = heads[1].decode().split(" ")[1]
    assert unquote(urlsplit(target).path) == "/x/../y?z&q=1+1"
    assert urlsplit(target).path.count("/") == 1
    assert parse_qsl(urlsplit(target).query) == [("q", "x/../y?z&q=1+1")]
    assert b"a=1; b=2" in heads[1]


@pytest.mark.parametrize(
    "misbehave, detail",
    [
        (hostile.hangs_after(), "step 1 (page): timeout after 0.5s for all steps"),
        (
            hostile.repeats(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", b"1\r\nx\r\n", 0.02),
            "step 1 (page): timeout after 0.5s for all steps",
        ),
        (
            hostile.repeats(b"HTTP/1.1 200 OK\r\nContent-Length: 900000000\r\n\r\n", b"x" * 65536),
            "HTTP 200 at step 1 (page): no text 'Sales' in the first 1 MiB",
        ),
        (hostile.repeats(b"HTTP/1.1 200 OK\r\n", b"Set-Cookie: a=1\r\n"), "step 1 (page): not a proper HTTP answer"),
        (hostile.resets, None),
    ],
)
async def test_a_hostile_server_ends_a_journey_in_time(misbehave: hostile.Misbehaviour, detail: str | None) -> None:
    signal = lambda url: journey(step(url=url, expect=Expect(texts=("Sales",))), timeout_s=0.5)
    async with asyncio.timeout(5):
        (reading, *_) = await real_walk(signal, misbehave)
    assert reading.value == 0.0
    assert detail is None or reading.detail == detail
