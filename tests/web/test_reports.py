"""Reports over HTTP, attacked: forged, replayed, cut, huge, slow; what is taken is taken once."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import logging
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from rollguard.core.signing import TOLERANCE_S, keys_of, sign
from rollguard.errors import Conflict, GuardError, JournalError, Refused, Unavailable
from rollguard.web import reports
from rollguard.web.report_forms import Report, read_alerts, read_report
from rollguard.web.reports import TooMany
from rollguard.web.server import Views, WebServer

SECRET = "a secret-of-enough-length".replace(" ", "-")
NOW = 1_787_306_400
PATH = "/api/v1/targets/shop/reports"
DIGEST = "sha256:" + "ab" * 32
FORM = {"kind": "data-corruption", "version": 42, "reason": "orders lose lines", "by": "order checker"}


@dataclass
class Inbox:
    """A ``Reception`` that keeps what it takes. ``fails`` is raised instead."""

    secrets: dict[str, str] = field(default_factory=lambda: {"shop": SECRET})
    taken: list[Report] = field(default_factory=list)
    fails: GuardError | None = None
    asked: int = 0

    def secret(self, target: str) -> str | None:
        self.asked += 1
        return self.secrets.get(target)

    def now(self, target: str) -> float:
        return float(NOW)

    async def take(self, target: str, report: Report) -> str:
        if self.fails is not None:
            raise self.fails
        if any(one.id == report.id for one in self.taken):
            raise Conflict("a report of this ID was taken before")
        self.taken.append(report)
        return "recorded"


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
async def server(inbox: Inbox) -> AsyncIterator[WebServer]:
    views = Views(metrics=lambda accept: (b"", "text/plain"), unhealthy=lambda: None, unready=lambda: None)
    server = await WebServer.start(views, "127.0.0.1:0", inbox)
    yield server
    await server.close()


@dataclass
class Answer:
    status: int
    form: dict[str, Any]
    headers: Any


@dataclass
class Sender:
    """Posts to the server; what it signs, it signs right unless told otherwise."""

    session: aiohttp.ClientSession

    async def post(self, body: bytes, headers: Any, path: str = PATH) -> Answer:
        async with self.session.post(path, data=body, headers=headers) as answer:
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.content_type == ("application/json" if answer.ok else "application/problem+json")
            form = await answer.json()
            assert answer.ok or form["status"] == answer.status
            return Answer(answer.status, form, answer.headers)

    async def signed(self, form: Any = None, message: str = "msg_1", at: int = NOW, **but: Any) -> Answer:
        body = form if isinstance(form, bytes) else json.dumps(FORM if form is None else form).encode()
        return await self.post(body, signature(body, message, at) | but.pop("headers", {}), **but)

    async def alerts(self, *alerts: Any, token: str = SECRET, **but: Any) -> Answer:
        body = json.dumps({"version": "4", "status": "firing", "alerts": alerts} | but).encode()
        return await self.post(body, {"Authorization": f"Bearer {token}"}, f"{PATH}/alertmanager")


@pytest.fixture
async def sender(server: WebServer) -> AsyncIterator[Sender]:
    async with aiohttp.ClientSession(f"http://{server.address}") as session:
        yield Sender(session)


def signature(body: bytes, message: str = "msg_1", at: int = NOW, secret: str = SECRET) -> dict[str, str]:
    (key,) = keys_of(secret)
    return {"webhook-id": message, "webhook-timestamp": str(at), "webhook-signature": sign(key, message, at, body)}


def an_alert(number: int = 1, **but: Any) -> dict[str, Any]:
    return {
        "status": "firing",
        "labels": {"alertname": "OrdersLoseLines", "rollguard_kind": "data-corruption", "version": "42"},
        "annotations": {"summary": "12 orders without lines"},
        "startsAt": "2026-08-21T09:58:12.345678901+02:00",
        "endsAt": "0001-01-01T00:00:00Z",
        "generatorURL": "http://prometheus/graph",
        "fingerprint": f"{number:016x}",
    } | but


async def test_a_signed_report_is_taken_and_answered_with_what_follows(sender: Sender, inbox: Inbox) -> None:
    answer = await sender.signed()
    assert (answer.status, answer.form) == (202, {"say": "recorded"})
    assert inbox.taken == [
        Report(
            id="msg_1",
            kind="data-corruption",
            by="order checker",
            reason="orders lose lines",
            version=42,
            sent_at=float(NOW),
        )
    ]


async def test_a_report_may_name_the_digest(sender: Sender, inbox: Inbox) -> None:
    answer = await sender.signed({"kind": "bug", "digest": DIGEST, "reason": "off by one"})
    assert answer.status == 202
    assert (inbox.taken[0].version, inbox.taken[0].digest, inbox.taken[0].by) == (None, DIGEST, "somebody")


# -- who may -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/api/v1/targets/nope/reports", "/api/v1/targets/nope/reports/alertmanager"])
async def test_where_the_policy_has_no_reports_there_is_nothing(sender: Sender, path: str) -> None:
    answer = await sender.signed(path=path)
    assert answer.status == 404
    assert answer.form["detail"] == "no target of this name takes reports: its policy needs `reports:`"


@pytest.mark.parametrize("name", ["shop%2Freports", "..%2Fshop", "%00", "shop%0d%0aX:%20y", "%C3%A9", "x" * 4000])
async def test_a_strange_name_is_no_target(sender: Sender, inbox: Inbox, name: str) -> None:
    body = json.dumps(FORM).encode()
    url = f"/api/v1/targets/{name}/reports"
    async with sender.session.post(URL(url, encoded=True), data=body, headers=signature(body)) as answer:
        assert answer.status == 404
        assert answer.content_type == "application/problem+json"
        assert "X" not in answer.headers
    assert inbox.taken == []


async def refused(sender: Sender, inbox: Inbox, body: bytes, headers: Any) -> None:
    """Refused, in the one sentence that says nothing about what was wrong."""
    answer = await sender.post(body, headers)
    assert answer.status == 401
    assert answer.form["detail"] == "this is not signed with the target's token, or not within five minutes of now"
    assert answer.headers["WWW-Authenticate"] == "Webhook-Signature"
    assert inbox.taken == []


async def test_forged_and_altered_reports_are_refused_without_saying_what_was_wrong(
    sender: Sender, inbox: Inbox
) -> None:
    body = json.dumps(FORM).encode()
    right = signature(body)
    for wrong in (
        {},
        {"webhook-id": "msg_2"},
        {"webhook-id": "msg.1"},
        {"webhook-id": "msg_é"},
        {"webhook-id": ""},
        {"webhook-timestamp": str(NOW + 1)},
        {"webhook-timestamp": "NaN"},
        {"webhook-timestamp": "1e9"},
        {"webhook-timestamp": "9" * 400},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": right["webhook-signature"][:-2]},
        {"webhook-signature": right["webhook-signature"].replace("v1", "v2")},
        {"webhook-signature": "\udcff\udcfe"},
        signature(body, secret="another-secret-of-that-length"),
    ):
        await refused(sender, inbox, body, right | wrong if wrong else {})
    for other in (body[:-1], body + b" ", body.replace(b"42", b"41"), b""):
        await refused(sender, inbox, other, right)
    for missing in right:
        await refused(sender, inbox, body, {name: value for name, value in right.items() if name != missing})


async def test_a_body_cannot_be_cut_from_its_id_in_another_place(sender: Sender, inbox: Inbox) -> None:
    signed = b'1.{"kind": "bug"}'
    (key,) = keys_of(SECRET)
    other = {"webhook-id": f"a.{NOW}", "webhook-timestamp": "1", "webhook-signature": sign(key, "a", NOW, signed)}
    await refused(sender, inbox, b'{"kind": "bug"}', other)


async def test_a_header_that_is_there_twice_means_nothing(sender: Sender, inbox: Inbox) -> None:
    body = json.dumps(FORM).encode()
    right = signature(body)
    for name in right:
        await refused(sender, inbox, body, [*right.items(), (name, right[name])])
        await refused(sender, inbox, body, [(name, "x"), *right.items()])


@pytest.mark.parametrize("late_s, status", [(-301, 401), (-300, 202), (300, 202), (301, 401)])
async def test_a_signature_is_good_for_five_minutes_either_way(sender: Sender, late_s: int, status: int) -> None:
    assert TOLERANCE_S == 300.0
    assert (await sender.signed(at=NOW + late_s)).status == status


async def test_a_thousand_signatures_are_no_way_in(sender: Sender, inbox: Inbox) -> None:
    body = json.dumps(FORM).encode()
    right = signature(body)
    await refused(sender, inbox, body, right | {"webhook-signature": " ".join(["v1,a"] * 1000)})
    crowd = " ".join([*["v1,a"] * 1000, right["webhook-signature"]])
    await refused(sender, inbox, body, right | {"webhook-signature": crowd})


async def test_while_rotating_either_secret_signs(sender: Sender, inbox: Inbox) -> None:
    new = "whsec_" + "bmV3LWFuZC1sb25nLWVub3VnaC10b28="
    inbox.secrets["shop"] = f"{SECRET} {new}"
    body = json.dumps(FORM).encode()
    assert (await sender.post(body, signature(body, "a"))).status == 202
    assert (await sender.post(body, signature(body, "b", secret=new))).status == 202
    inbox.secrets["shop"] = new
    assert (await sender.post(body, signature(body, "c"))).status == 401


async def test_a_secret_that_cannot_be_used_lets_nobody_in_and_stays_in_the_log(
    sender: Sender, inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    inbox.secrets["shop"] = "short"
    body = json.dumps(FORM).encode()
    for path in (PATH, f"{PATH}/alertmanager"):
        answer = await sender.post(body, signature(body) | {"Authorization": "Bearer short"}, path)
        assert answer.status == 503
        assert "16 bytes" not in answer.form["detail"]
    assert inbox.taken == []
    assert "less than 16 bytes" in caplog.text


async def test_the_log_tells_of_strangers_but_not_of_each(
    sender: Sender, inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(20):
            assert (await sender.signed(headers={"webhook-signature": "v1,AAAA"})).status == 401
    assert [r.message for r in caplog.records] == [
        "a report on shop was refused: not signed with its token, or not now"
    ]


async def test_a_token_that_the_policy_takes_away_while_the_body_comes_is_not_used(
    server: WebServer, inbox: Inbox
) -> None:
    body = json.dumps(FORM).encode()
    async with Raw(server) as raw:
        await raw.send(head(len(body), signature(body)) + body[:10])
        await until(lambda: inbox.asked >= 1)
        inbox.secrets.clear()
        await raw.send(body[10:])
        assert await raw.status() == 404
    assert inbox.taken == []


# -- what it says ------------------------------------------------------------------------------------------------------

DEEP = b"[" * 15_000
WORDS = ["kind", "version", "digest", "reason", "by", "alerts", "status", "labels", "rollguard_kind", "annotations"]


@pytest.mark.parametrize(
    "body, status, detail",
    [
        (b"", 400, "not JSON"),
        (b"kind=bug", 400, "not JSON"),
        (b"\xff\xfe", 400, "not JSON"),
        (DEEP, 400, "not JSON"),
        (json.dumps(FORM).encode() + b"{}", 400, "not JSON"),
        (b'{"kind": "bug", "reason": "x", "version": NaN}', 400, "not JSON"),
        (b'{"kind": "bug", "reason": "x", "version": Infinity}', 400, "not JSON"),
        (b'{"kind": "bug", "reason": "x", "version": ' + b"9" * 5000 + b"}", 400, "not JSON"),
        (b'{"kind": "bug", "reason": "x", "version": ' + b"9" * 40 + b"}", 422, "number of a release"),
        (b"[]", 422, "an object"),
        (b'"x"', 422, "an object"),
        (b"null", 422, "an object"),
        (b"{}", 422, "names the release"),
        (b'{"kind": "bug", "reason": "x"}', 422, "names the release"),
        (b'{"kind": "bug", "reason": "x", "version": null}', 422, "names the release"),
        ({**FORM, "digest": DIGEST}, 422, "not both"),
        ({**FORM, "version": True}, 422, "number of a release"),
        ({**FORM, "version": 42.0}, 422, "number of a release"),
        ({**FORM, "version": "42"}, 422, "number of a release"),
        ({**FORM, "version": 0}, 422, "number of a release"),
        ({**FORM, "version": -1}, 422, "number of a release"),
        ({**FORM, "version": 1 << 31}, 422, "number of a release"),
        ({**FORM, "version": [42]}, 422, "number of a release"),
        ({"kind": "bug", "reason": "x", "digest": "latest"}, 422, "sha256:"),
        ({"kind": "bug", "reason": "x", "digest": DIGEST.upper()}, 422, "sha256:"),
        ({"kind": "bug", "reason": "x", "digest": DIGEST + "\n"}, 422, "sha256:"),
        ({**FORM, "kind": None}, 422, "kind is missing"),
        ({**FORM, "kind": ["bug"]}, 422, "kind is missing"),
        ({**FORM, "reason": " "}, 422, "reason is missing"),
        ({**FORM, "reason": {"a": 1}}, 422, "reason is missing"),
        ({**FORM, "by": 7}, 422, "by is missing"),
    ],
)
async def test_what_is_no_report_is_refused_with_a_sentence(
    sender: Sender, inbox: Inbox, body: Any, status: int, detail: str
) -> None:
    answer = await sender.signed(body)
    assert (answer.status, inbox.taken) == (status, [])
    assert detail in answer.form["detail"]


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_beyond_16_kib_is_not_read(sender: Sender, inbox: Inbox, chunked: bool) -> None:
    def a_body(size: int) -> bytes:
        frame = json.dumps(FORM | {"reason": ""}).encode()
        return json.dumps(FORM | {"reason": "x" * (size - len(frame))}).encode()

    async def parts(body: bytes) -> AsyncIterator[bytes]:
        for start in range(0, len(body), 4096):
            yield body[start : start + 4096]

    for size, status in ((16 << 10, 202), ((16 << 10) + 1, 413), (1 << 20, 413)):
        body = a_body(size)
        assert len(body) == size
        data = parts(body) if chunked else body
        try:
            async with sender.session.post(PATH, data=data, headers=signature(body, f"m{size}")) as answer:
                assert answer.status == status
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
            assert size == 1 << 20  # it hung up on us in the middle of it
    assert len(inbox.taken) == 1


async def test_a_compressed_body_is_not_opened(sender: Sender, inbox: Inbox) -> None:
    bomb = gzip.compress(b" " * (8 << 20))
    assert len(bomb) < 16 << 10
    answer = await sender.signed(bomb, headers={"Content-Encoding": "gzip"})
    assert (answer.status, inbox.taken) == (400, [])


@pytest.mark.parametrize(
    "error, status, retry",
    [
        (Conflict("a report of this ID was taken before"), 409, None),
        (Refused("there is no release v42"), 422, None),
        (TooMany("30 reports are the most", retry_after_s=12.4), 429, "13"),
        (TooMany("30 reports are the most", retry_after_s=0.01), 429, "1"),
    ],
)
async def test_what_the_guard_does_not_take_says_why(
    sender: Sender, inbox: Inbox, error: GuardError, status: int, retry: str | None
) -> None:
    inbox.fails = error
    answer = await sender.signed()
    assert (answer.status, answer.form["detail"], answer.headers.get("Retry-After")) == (status, str(error), retry)


@pytest.mark.parametrize("error", [JournalError("/data/shop.db: disk full"), Unavailable("GET https://api/x: timeout")])
async def test_what_the_guard_cannot_take_now_may_be_sent_again(
    sender: Sender, inbox: Inbox, error: GuardError, caplog: pytest.LogCaptureFixture
) -> None:
    inbox.fails = error
    answer = await sender.signed()
    assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
    assert str(error) not in answer.form["detail"]
    assert str(error) in caplog.text
    inbox.fails = None
    assert (await sender.signed()).status == 202


async def test_a_fault_of_the_guard_is_a_problem_too_and_ends_nothing(
    sender: Sender, inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    inbox.taken = None  # type: ignore[assignment]
    answer = await sender.signed()
    assert (answer.status, answer.form["detail"]) == (500, "a fault of the guard; its log has it")
    assert "failed by a fault of the guard" in caplog.text


async def test_nothing_but_posts_is_served(sender: Sender) -> None:
    for method in ("GET", "PUT", "DELETE"):
        async with sender.session.request(method, PATH) as answer:
            assert (answer.status, answer.headers["Allow"]) == (405, "POST")


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(WORDS) | st.text(max_size=9), inner),
    max_leaves=20,
)


@given(_JSON)
def test_whatever_is_sent_is_a_report_or_refused(form: Any) -> None:
    for body in (
        form,
        {"version": "4", "alerts": [form]},
        {"version": "4", "alerts": form},
        an_alert() | {"labels": form},
    ):
        text = json.dumps(body).encode()
        for read in (lambda text: read_report(text, "m", 0.0), read_alerts):
            with contextlib.suppress(Refused):
                read(text)


# -- wires -------------------------------------------------------------------------------------------------------------


class Raw:
    """A connection on which anything can be said."""

    def __init__(self, server: WebServer) -> None:
        self._host, _, port = server.address.rpartition(":")
        self._port = int(port)

    async def __aenter__(self) -> Raw:
        self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        return self

    async def __aexit__(self, *error: object) -> None:
        self._writer.close()
        await self._writer.wait_closed()

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def status(self) -> int:
        async with asyncio.timeout(10.0):
            return int((await self._reader.readuntil(b"\r\n")).split()[1])

    async def closed(self) -> bool:
        async with asyncio.timeout(10.0):
            await self._reader.read()
        return self._reader.at_eof()


def head(length: int, headers: dict[str, str]) -> bytes:
    lines = [f"POST {PATH} HTTP/1.1", "Host: guard", f"Content-Length: {length}"]
    return "\r\n".join([*lines, *(f"{n}: {v}" for n, v in headers.items()), "", ""]).encode()


async def until(true: Any) -> None:
    async with asyncio.timeout(10.0):
        while not true():
            await asyncio.sleep(0.005)


async def test_a_body_that_ends_too_early_is_no_report(server: WebServer, inbox: Inbox, sender: Sender) -> None:
    body = json.dumps(FORM).encode()
    async with Raw(server) as raw:
        await raw.send(head(len(body) + 1, signature(body)) + body)
        await until(lambda: inbox.asked)
    assert (await sender.signed()).status == 202  # and the server is there for others
    assert len(inbox.taken) == 1


async def test_a_broken_chunk_is_no_report(server: WebServer, inbox: Inbox) -> None:
    body = json.dumps(FORM).encode()
    start = head(0, signature(body)).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
    async with Raw(server) as raw:
        await raw.send(start + b"5\r\n" + body[:5] + b"\r\nZZ\r\n")
        assert await raw.status() == 400
    assert inbox.taken == []


@pytest.mark.parametrize(
    "more",
    [
        {"webhook-extra": "x" * 9000},
        {f"x-{number}": "y" for number in range(200)},
        {"Transfer-Encoding": "chunked"},
        {"Content-Length": "1"},
    ],
    ids=["a huge header", "many headers", "two lengths", "another length"],
)
async def test_a_head_that_is_not_http_is_refused(
    server: WebServer, inbox: Inbox, more: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    body = json.dumps(FORM).encode()
    async with Raw(server) as raw:
        await raw.send(head(len(body), signature(body) | more) + body)
        assert await raw.status() == 400
    assert (inbox.taken, caplog.text) == ([], ""), "whoever can reach the port could fill the log"


async def test_who_is_slow_is_let_go_and_holds_up_nobody(
    server: WebServer, sender: Sender, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "READ_S", 0.2)
    body = json.dumps(FORM).encode()
    async with Raw(server) as slow, Raw(server) as silent:
        await silent.send(b"POST ")
        await slow.send(head(len(body), signature(body)) + body[:10])
        await until(lambda: inbox.asked)
        assert (await sender.signed(message="quick")).status == 202
        assert await slow.status() == 408
    assert [report.id for report in inbox.taken] == ["quick"]


async def test_only_so_many_are_read_at_once(
    server: WebServer, sender: Sender, inbox: Inbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reports, "BUSY_MAX", 1)
    body = json.dumps(FORM).encode()
    async with Raw(server) as first:
        await first.send(head(len(body), signature(body)) + body[:10])
        await until(lambda: inbox.asked)
        answer = await sender.signed(message="second")
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        await first.send(body[10:])
        assert await first.status() == 202
    assert (await sender.signed(message="third")).status == 202


# -- Alertmanager ------------------------------------------------------------------------------------------------------


async def test_firing_alerts_that_blame_a_release_are_reports(sender: Sender, inbox: Inbox) -> None:
    by_digest = {"alertname": "Hole", "rollguard_kind": "security", "digest": DIGEST, "version": "1.2.3"}
    answer = await sender.alerts(
        an_alert(1),
        an_alert(2, labels=by_digest, annotations={}),
        an_alert(3, status="resolved"),
        an_alert(4, labels={"alertname": "Slow", "version": "42"}),
        an_alert(5, labels={"alertname": "Slow", "rollguard_kind": "bug"}),
        "nonsense",
        {"labels": None, "status": "firing"},
    )
    assert (answer.status, answer.form) == (
        202,
        {
            "say": "2 taken, 0 taken before, 5 ignored, 0 refused",
            "taken": ["recorded", "recorded"],
            "again": 0,
            "ignored": 5,
            "refused": [],
        },
    )
    first, second = inbox.taken
    assert (first.by, first.kind, first.version) == ("alertmanager", "data-corruption", 42)
    assert first.reason == "OrdersLoseLines: 12 orders without lines"
    assert first.id == "0000000000000001@2026-08-21T09:58:12.345678901+02:00"
    assert (second.digest, second.version, second.reason) == (DIGEST, None, "Hole")


async def test_an_alert_that_is_sent_again_counts_once_and_one_that_fires_anew_counts(
    sender: Sender, inbox: Inbox
) -> None:
    assert (await sender.alerts(an_alert())).form["again"] == 0
    assert (await sender.alerts(an_alert())).form["again"] == 1
    assert len(inbox.taken) == 1
    await sender.alerts(an_alert(startsAt="2026-08-21T12:00:00Z"))
    assert len(inbox.taken) == 2


@pytest.mark.parametrize("token", ["", "wrong", SECRET + "x", SECRET[:-1], f"{SECRET} {SECRET}"])
async def test_alertmanager_needs_the_token(sender: Sender, inbox: Inbox, token: str) -> None:
    answer = await sender.alerts(an_alert(), token=token)
    assert (answer.status, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert inbox.taken == []


async def test_a_token_is_no_signature_and_a_signature_no_token(sender: Sender, inbox: Inbox) -> None:
    body = json.dumps(FORM).encode()
    assert (await sender.post(body, {"Authorization": f"Bearer {SECRET}"})).status == 401
    assert (await sender.post(body, signature(body), f"{PATH}/alertmanager")).status == 401
    twice = [("Authorization", f"Bearer {SECRET}"), ("Authorization", "Bearer x")]
    assert (await sender.post(body, twice, f"{PATH}/alertmanager")).status == 401
    basic = {"Authorization": f"Basic {SECRET}"}
    assert (await sender.post(body, basic, f"{PATH}/alertmanager")).status == 401


async def test_an_alert_that_cannot_be_read_leaves_the_others(sender: Sender, inbox: Inbox) -> None:
    labels = an_alert()["labels"]
    answer = await sender.alerts(
        an_alert(1, labels=labels | {"version": "1.2.3"}),
        an_alert(2, fingerprint="../../x"),
        an_alert(3, startsAt="yesterday"),
        an_alert(4, startsAt=None),
        an_alert(5, labels=labels | {"version": "v41"}),
        an_alert(6, labels=labels | {"digest": "latest"}),
    )
    assert (answer.status, answer.form["say"]) == (202, "1 taken, 0 taken before, 0 ignored, 5 refused")
    assert [report.version for report in inbox.taken] == [41]
    alone = await sender.alerts(an_alert(1, labels=labels | {"version": "1.2.3"}))
    assert alone.status == 422
    assert "version is the number of a release" in alone.form["detail"]


async def test_so_many_alerts_at_once_and_no_more(sender: Sender, inbox: Inbox) -> None:
    assert (await sender.alerts(*map(an_alert, range(65)))).status == 422
    assert inbox.taken == []
    assert (await sender.alerts(*map(an_alert, range(64)))).status == 202
    assert len(inbox.taken) == 64
    assert (await sender.alerts(an_alert(99, annotations={"summary": "x" * (256 << 10)}))).status == 413


@pytest.mark.parametrize("but", [{"version": "3"}, {"version": 4}, {"alerts": None}, {"alerts": {}}])
async def test_what_is_not_alertmanagers_is_refused(sender: Sender, inbox: Inbox, but: dict[str, Any]) -> None:
    answer = await sender.alerts(an_alert(), **but)
    assert (answer.status, inbox.taken) == (422, [])


async def test_alerts_that_come_in_the_middle_of_a_failure_may_come_again(sender: Sender, inbox: Inbox) -> None:
    await sender.alerts(an_alert(1))
    inbox.fails = JournalError("disk full")
    assert (await sender.alerts(an_alert(1), an_alert(2))).status == 503
    inbox.fails = None
    assert (await sender.alerts(an_alert(1), an_alert(2))).form["say"].startswith("1 taken, 1 taken before")
