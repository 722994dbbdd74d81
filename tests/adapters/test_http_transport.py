"""Whatever a server does, the guard gets an answer or a short sentence, in time and within its memory."""

from __future__ import annotations

import asyncio
import gzip
import time
from collections.abc import AsyncIterator
from urllib.parse import parse_qs, urlsplit

import pytest
from aioresponses import aioresponses
from hypothesis import given
from hypothesis import strategies as st

from rollguard.adapters.http import AiohttpTransport, Saturated, TooLarge, excerpt, place, retry_after_s, status_error
from rollguard.errors import BadAnswer, Conflict, GuardError, Refused, Unavailable
from rollguard.ports import HttpAnswer
from tests.adapters import hostile

OK = b"HTTP/1.1 200 OK\r\n"
ENDLESS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
BOMB = gzip.compress(bytes(50_000_000))


@pytest.fixture
async def transport() -> AsyncIterator[AiohttpTransport]:
    client = AiohttpTransport()
    yield client
    await client.close()


PACKED = OK + b"Content-Encoding: gzip\r\n\r\n"
PACKED_NOTHING, EMPTY_BLOCK = gzip.compress(b"")[:10], b"\x00\x00\x00\xff\xff"


def whole(body: bytes, *headers: str) -> bytes:
    head = "".join(f"{line}\r\n" for line in (*headers, f"Content-Length: {len(body)}"))
    return OK + head.encode() + b"\r\n" + body


async def test_an_answer_is_returned_whole_with_lower_case_header_names(transport: AiohttpTransport) -> None:
    async with hostile.server(hostile.sends(whole(b"hello", "X-Thing: 1"))) as url:
        answer = await transport.request("GET", url)
    assert (answer.status, answer.body, answer.headers["x-thing"]) == (200, b"hello", "1")


@pytest.mark.parametrize(
    "misbehave, kind, sentence",
    [
        (hostile.hangs_after(), Unavailable, "timeout after 0.3s"),
        (hostile.hangs_after(OK), Unavailable, "timeout after 0.3s"),
        (hostile.hangs_after(OK + b"Content-Length: 9\r\n\r\nabc"), Unavailable, "timeout after 0.3s"),
        (hostile.repeats(ENDLESS, b"1\r\nx\r\n", 0.02), Unavailable, "timeout after 0.3s"),
        (hostile.repeats(OK, b"X-Header: again\r\n", 0.001), BadAnswer, "not a proper HTTP answer"),
        (hostile.repeats(ENDLESS, b"1000\r\n" + b"x" * 4096 + b"\r\n"), TooLarge, "more than 1000 bytes"),
        (hostile.sends(whole(b"x" * 1001)), TooLarge, "more than 1000 bytes"),
        (hostile.sends(whole(BOMB, "Content-Encoding: gzip")), TooLarge, "more than 1000 bytes"),
        (hostile.repeats(PACKED + gzip.compress(b"{}"), b"x" * 500), BadAnswer, "more behind the end of a gzip body"),
        (hostile.repeats(PACKED + PACKED_NOTHING, EMPTY_BLOCK * 500), TooLarge, "more than 1000 bytes"),
        (hostile.sends(whole(b"not gzip", "Content-Encoding: gzip")), BadAnswer, "gzip body damaged"),
        (hostile.sends(whole(gzip.compress(b"abc")[:-9], "Content-Encoding: gzip")), BadAnswer, "gzip body cut short"),
        (hostile.sends(whole(b"abc", "Content-Encoding: br")), BadAnswer, "unknown content encoding br"),
        (hostile.sends(OK + b"Content-Length: 9\r\n\r\nabc"), Unavailable, "answer cut short"),
        (hostile.sends(ENDLESS + b"zz\r\nabc"), BadAnswer, "not a proper HTTP answer"),
        (hostile.sends(OK + b"X-Huge: " + b"a" * 100_000 + b"\r\n\r\n"), BadAnswer, "not a proper HTTP answer"),
        (hostile.sends(b"SSH-2.0-OpenSSH_9.2\r\n\r\n"), BadAnswer, "not a proper HTTP answer"),
        (hostile.sends(b"\x00\xff" * 500), BadAnswer, "not a proper HTTP answer"),
        (hostile.sends(), Unavailable, "connection closed without an answer"),
        (hostile.resets, Unavailable, "connection"),
    ],
)
async def test_a_hostile_server_costs_one_short_sentence(
    transport: AiohttpTransport, misbehave: hostile.Misbehaviour, kind: type[GuardError], sentence: str
) -> None:
    timeout_s = 0.3 if sentence.startswith("timeout") else 10.0
    async with hostile.server(misbehave) as url:
        started = time.monotonic()
        with pytest.raises(kind) as caught:
            await transport.request("GET", f"{url}/p?token=secret", timeout_s=timeout_s, max_bytes=1000)
    message = str(caught.value)
    assert message.startswith(sentence)
    assert message.endswith("/p")
    assert len(message) < 200
    assert "secret" not in message
    assert time.monotonic() - started < timeout_s + 3


@pytest.mark.parametrize(
    "answer, sentence",
    [
        (whole(b"x" * 1001, "Fly-Request-Id: 01J-ord"), "more than 1000 bytes"),
        (whole(b"not gzip", "Fly-Request-Id: 01J-ord", "Content-Encoding: gzip"), "gzip body damaged"),
        (whole(b"abc", "Fly-Request-Id: 01J-ord", "Content-Encoding: br"), "unknown content encoding br"),
    ],
)
async def test_an_answer_of_no_use_is_named_by_the_request_id_that_it_had(
    transport: AiohttpTransport, answer: bytes, sentence: str
) -> None:
    async with hostile.server(hostile.sends(answer)) as url:
        with pytest.raises(BadAnswer) as caught:
            await transport.request("GET", f"{url}/p", timeout_s=5.0, max_bytes=1000)
    assert str(caught.value).startswith(sentence)
    assert str(caught.value).endswith("/p (fly-request-id 01J-ord)")


@given(st.text(st.characters(), max_size=60) | st.text(" ab\t\n", max_size=30), st.integers(2, 40))
def test_foreign_text_is_one_short_printable_line_and_stays_so(text: str, limit: int) -> None:
    line = excerpt(text, limit)
    words = " ".join("".join(char if char.isprintable() else " " for char in text[: limit * 4]).split())
    assert line == (words if len(words) <= limit else words[: limit - 1] + "…")
    assert excerpt(line, limit) == line or line.endswith(" …")


async def test_a_refused_connection_says_so(transport: AiohttpTransport) -> None:
    with (
        hostile.closed_port() as port,
        pytest.raises(Unavailable, match=rf"^connection refused: GET 127\.0\.0\.1:{port}/x$"),
    ):
        await transport.request("GET", f"http://127.0.0.1:{port}/x")


@pytest.mark.parametrize("url", ["", "nonsense", "http://", "http://[::1", "ftp://host/", "http://bad host/"])
async def test_an_unusable_address_is_an_answer_nobody_can_use(transport: AiohttpTransport, url: str) -> None:
    with pytest.raises(Unavailable):
        await transport.request("GET", url)


async def test_what_was_read_of_an_answer_too_large_is_kept(transport: AiohttpTransport) -> None:
    async with hostile.server(hostile.sends(whole(b"x" * 5000))) as url:
        with pytest.raises(TooLarge) as caught:
            await transport.request("GET", url, max_bytes=100)
    assert caught.value.answer.status == 200
    assert caught.value.answer.body == b"x" * 100


async def test_gzip_is_unpacked_and_the_limit_counts_unpacked_bytes(transport: AiohttpTransport) -> None:
    page = b"metric 1\n" * 100
    async with hostile.server(hostile.sends(whole(gzip.compress(page), "Content-Encoding: gzip"))) as url:
        assert (await transport.request("GET", url, max_bytes=len(page))).body == page
        with pytest.raises(TooLarge):
            await transport.request("GET", url, max_bytes=len(page) - 1)


async def test_a_selector_in_a_query_arrives_as_it_was_written(transport: AiohttpTransport) -> None:
    selector = 'responses{app="shop",status=~"5.."}'

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(whole(seen[0]))

    seen: list[bytes] = []
    async with hostile.server(echo, seen) as url:
        answer = await transport.request("GET", f"{url}/federate?match[]={selector}")
    target = answer.body.split()[1].decode()
    assert parse_qs(urlsplit(target).query) == {"match[]": [selector]}


async def test_redirects_are_answers_not_orders(transport: AiohttpTransport) -> None:
    moved = b"HTTP/1.1 302 Found\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n"
    async with hostile.server(hostile.sends(moved)) as url:
        assert (await transport.request("GET", url)).status == 302


async def test_proxies_of_the_environment_are_not_used(
    transport: AiohttpTransport, monkeypatch: pytest.MonkeyPatch
) -> None:
    with hostile.closed_port() as port:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{port}")
        async with hostile.server(hostile.sends(whole(b"direct"))) as url:
            assert (await transport.request("GET", url)).body == b"direct"


async def test_without_a_free_connection_nothing_is_said_about_the_other_side() -> None:
    transport = AiohttpTransport(connections=1)
    async with hostile.server(hostile.hangs_after()) as url:
        slow = asyncio.create_task(transport.request("GET", url, timeout_s=0.5))
        await asyncio.sleep(0)
        with pytest.raises(Saturated, match="no free connection"):
            await transport.request("GET", url, timeout_s=0.05)
        with pytest.raises(Unavailable, match="timeout"):
            await slow
    await transport.close()


async def test_a_connection_is_kept_and_used_again(transport: AiohttpTransport) -> None:
    connections = 0

    async def polite(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while True:
            writer.write(whole(b"ok"))
            await reader.readuntil(b"\r\n\r\n")

    async with hostile.server(polite) as url:
        for _ in range(5):
            await transport.request("GET", url)
    assert connections == 1


async def test_a_request_carries_method_body_and_headers(transport: AiohttpTransport) -> None:
    with aioresponses() as fake:
        fake.post("https://api.test/x", status=201, body=b"{}")
        answer = await transport.request("POST", "https://api.test/x", headers={"A": "b"}, body=b"payload")
        ((_, calls),) = fake.requests.items()
    assert answer.status == 201
    assert calls[0].kwargs["data"] == b"payload"
    assert calls[0].kwargs["headers"]["A"] == "b"
    assert calls[0].kwargs["headers"]["User-Agent"].startswith("rollguard/")


async def test_any_status_is_an_answer(transport: AiohttpTransport) -> None:
    with aioresponses() as fake:
        fake.get("https://api.test/", status=599, body=b"broken")
        assert (await transport.request("GET", "https://api.test/")).status == 599


@pytest.mark.parametrize(
    "statuses, kind",
    [
        ((408, 425, 429, 500, 502, 503, 504, 599), Unavailable),
        ((409, 412), Conflict),
        ((400, 401, 403, 404, 410, 422), Refused),
        ((301, 304, 402, 418), BadAnswer),
    ],
)
def test_a_status_says_what_the_catcher_should_do(statuses: tuple[int, ...], kind: type[GuardError]) -> None:
    for status in statuses:
        assert type(status_error(HttpAnswer(status, {}, b""), "GET /x")) is kind


def test_a_status_error_names_the_request_the_text_and_the_request_id() -> None:
    answer = HttpAnswer(429, {"retry-after": "7", "fly-request-id": "01J\n-ord"}, b"")
    error = status_error(answer, "POST /v1/x", "slow\x1b[31m down\n" + "x" * 900)
    assert isinstance(error, Unavailable)
    assert error.retry_after_s == 7.0
    assert str(error).startswith("HTTP 429: POST /v1/x: slow [31m down xxx")
    assert str(error).endswith("… (fly-request-id 01J -ord)")
    assert len(str(error)) < 300


@pytest.mark.parametrize(
    "value, seconds",
    [
        ("7", 7.0),
        ("0", 0.0),
        ("99999999999999999999", 3600.0),
        ("-1", None),
        ("soon", None),
        ("1e9", None),
        ("٣", None),
        ("", None),
        ("Fri, 21 Aug 2026 12:00:30 GMT", 30.0),
        ("Fri, 21 Aug 2026 11:59:00 GMT", 0.0),
        ("Sat, 22 Aug 2026 12:00:00 GMT", 3600.0),
        ("Fri, 99 Aug 2026 12:00:30 GMT", None),
    ],
)
def test_retry_after_is_seconds_or_a_date_by_the_server_s_clock_or_nothing(value: str, seconds: float | None) -> None:
    assert retry_after_s({"retry-after": value, "date": "Fri, 21 Aug 2026 12:00:00 GMT"}) == seconds


def test_foreign_text_is_one_bounded_printable_line() -> None:
    assert excerpt("a\x00b\r\n\tc\u202ed\ud800e") == "a b c d e"
    assert len(excerpt("y" * 10_000, 50)) == 50


def test_an_address_is_shown_without_query_and_credentials() -> None:
    assert place("https://user:pass@host.test:8443/p/q?key=secret#f") == "host.test:8443/p/q"
