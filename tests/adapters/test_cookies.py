"""The cookie jar of one journey: small, and loyal to the host that filled it."""

from __future__ import annotations

import pytest

from rollguard.adapters.signals.cookies import CHARS_MAX, COOKIES_MAX, CookieJar
from tests.adapters.signals_of import NOON

LOGIN = "https://shop.test/account/login"


def jar(*lines: str, at: str = LOGIN) -> CookieJar:
    filled = CookieJar()
    filled.take(at, "\n".join(lines), NOON)
    return filled


def test_a_cookie_goes_back_to_its_own_host_only() -> None:
    filled = jar("sid=abc; Path=/; HttpOnly; SameSite=Lax")
    assert filled.header("https://SHOP.test/dashboard") == "sid=abc"
    assert filled.header("https://other.test/") == ""
    assert filled.header("https://sub.shop.test/") == ""
    assert jar("sid=abc; Path=/; Domain=evil.test").header("https://evil.test/") == ""


@pytest.mark.parametrize(
    "line, url, sent",
    [
        ("a=1", "https://shop.test/account", "a=1"),
        ("a=1", "https://shop.test/account/x", "a=1"),
        ("a=1", "https://shop.test/accounts", ""),
        ("a=1", "https://shop.test/", ""),
        ("a=1; Path=/api", "https://shop.test/api/v1", "a=1"),
        ("a=1; Path=/api", "https://shop.test/apis", ""),
        ("a=1; Path=nonsense", "https://shop.test/account", "a=1"),
        ("a=1; Path=/", "https://shop.test", "a=1"),
        ("a=1; Path=/; Secure", "https://shop.test/", "a=1"),
        ("a=1; Path=/; Secure", "http://shop.test/", ""),
        ("a=x=y; Path=/", "https://shop.test/", "a=x=y"),
        ('a={"k":1}; Path=/', "https://shop.test/", 'a={"k":1}'),
        ("a=1; Path=/; Priority=High; Partitioned", "https://shop.test/", "a=1"),
        ("bare; Path=/", "https://shop.test/", "bare"),
        ("a=1; Path=/; Max-Age=0; Expires=Wed, 01 Jan 2070 00:00:00 GMT", "https://shop.test/", ""),
        ("a=1; Path=/; Max-Age=60; Expires=Wed, 01 Jan 2020 00:00:00 GMT", "https://shop.test/", "a=1"),
        ("a=1; Path=/; Max-Age=-1", "https://shop.test/", ""),
        ("a=1; Path=/; Expires=Wed, 01 Jan 2020 00:00:00 GMT", "https://shop.test/", ""),
        ("a=1; Path=/; Expires=Wed, 01 Jan 2070 00:00:00 GMT", "https://shop.test/", "a=1"),
        ("a=1; Path=/; Expires=some day; Max-Age=soon", "https://shop.test/", "a=1"),
    ],
)
def test_attributes_are_heeded(line: str, url: str, sent: str) -> None:
    assert jar(line).header(url) == sent


def test_a_cookie_is_replaced_and_deleted_by_its_name_and_path() -> None:
    filled = jar("a=1; Path=/", "b=2; Path=/", "a=3; Path=/", "b=; Path=/; Max-Age=0", "a=4; Path=/account")
    assert filled.header(LOGIN) == "a=4; a=3"


def test_hostile_cookies_are_bounded_and_never_break_a_header() -> None:
    many = jar(*(f"c{n}={n}; Path=/" for n in range(100_000)))
    assert many.header(LOGIN).count(";") == COOKIES_MAX - 1
    big = jar(*(f"c{n}={'x' * 4000}; Path=/" for n in range(50)))
    assert 4000 < len(big.header(LOGIN)) <= CHARS_MAX + 2 * COOKIES_MAX
    assert jar("a=" + "x" * 5000, "b=\x1b[2J", "c=\r", "d=\udcff", "=", "", ";").header(LOGIN) == ""
    update = jar(*(f"c{n}=1; Path=/" for n in range(COOKIES_MAX)))
    update.take(LOGIN, "c0=2; Path=/", NOON)
    assert "c0=2" in update.header(LOGIN)
