"""Whose word it is, and that it is of now."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rollguard.core.signing import KEYS_MAX, SIGNATURES_MAX, envelope, is_bearer, keys_of, sign, verify
from rollguard.errors import Refused

KEY = b"sixteen bytes or more"
NOW = 1_787_306_400
BODY = b'{"kind": "bug"}'


def test_the_published_example_of_standard_webhooks_is_signed_as_published() -> None:
    (key,) = keys_of("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_a_signature_holds_for_its_id_its_time_and_its_body_alone() -> None:
    signature = sign(KEY, "msg_1", NOW, BODY)
    assert verify([KEY], "msg_1", NOW, BODY, signature)
    assert not verify([KEY], "msg_2", NOW, BODY, signature)
    assert not verify([KEY], "msg_1", NOW + 1, BODY, signature)
    assert not verify([KEY], "msg_1", NOW, BODY[:-1], signature)
    assert not verify([b"another key of its own"], "msg_1", NOW, BODY, signature)
    assert not verify([], "msg_1", NOW, BODY, signature)


def test_any_key_may_have_made_any_of_the_signatures() -> None:
    old, new = b"the key of yesterday", b"the key of tomorrow"
    both = f"v1,AAAA v1a,whatever {sign(new, 'm', NOW, BODY)}"
    assert verify([old, new], "m", NOW, BODY, both)
    assert not verify([old], "m", NOW, BODY, both)


def test_so_many_signatures_are_looked_at_and_no_more() -> None:
    right = sign(KEY, "m", NOW, BODY)
    assert verify([KEY], "m", NOW, BODY, " ".join(["v1,no"] * (SIGNATURES_MAX - 1) + [right]))
    assert not verify([KEY], "m", NOW, BODY, " ".join(["v1,no"] * SIGNATURES_MAX + [right]))


@given(st.text(max_size=60))
def test_whatever_stands_for_a_signature_is_none(words: str) -> None:
    assert not verify([KEY], "m", NOW, BODY, words)
    assert not verify([KEY], "m", NOW, BODY, words + "\udcff")


@pytest.mark.parametrize(
    "message, timestamp",
    [
        ("", str(NOW)),
        ("a.b", str(NOW)),
        ("a b", str(NOW)),
        ("é", str(NOW)),
        ("a\n", str(NOW)),
        ("a" * 129, str(NOW)),
        ("a", ""),
        ("a", "-1"),
        ("a", "1e9"),
        ("a", f"{NOW}.0"),
        ("a", f" {NOW}"),
        ("a", "١٧٨٧٣٠٦٤٠٠"),
        ("a", "9" * 13),
        ("a", str(NOW - 301)),
        ("a", str(NOW + 301)),
    ],
)
def test_what_is_no_id_or_not_of_now_is_nothing(message: str, timestamp: str) -> None:
    assert envelope(message, timestamp, NOW) is None


def test_clocks_may_be_five_minutes_apart() -> None:
    for seconds in (NOW - 300, NOW, NOW + 300):
        assert envelope("msg_a-1", str(seconds), NOW) == ("msg_a-1", seconds)


def test_a_secret_is_base64_after_its_prefix_and_else_the_key_as_it_stands() -> None:
    plain, coded = "0123456789abcdef", "whsec_" + base64.b64encode(KEY).decode()
    assert keys_of(f" {plain}  {coded} ") == (plain.encode(), KEY)


@pytest.mark.parametrize(
    "secret, why",
    [
        ("", "holds 0 keys"),
        (" ".join(["0123456789abcdef"] * (KEYS_MAX + 1)), "holds 5 keys"),
        ("0123456789abcde", "less than 16 bytes"),
        ("0123456789abcdef short", "less than 16 bytes"),
        ("whsec_c2hvcnQ=", "less than 16 bytes"),
        ("whsec_!!", "not base64"),
        ("whsec_", "less than 16 bytes"),
    ],
)
def test_a_secret_that_is_none_or_could_be_guessed_is_refused_without_showing_it(secret: str, why: str) -> None:
    with pytest.raises(Refused) as refused:
        keys_of(secret)
    assert why in str(refused.value)
    assert not secret or secret not in str(refused.value)


def test_a_bearer_token_is_one_of_the_secret_s_parts_and_the_whole_of_it() -> None:
    secret = "0123456789abcdef fedcba9876543210"
    assert is_bearer(secret, "0123456789abcdef")
    assert is_bearer(secret, "fedcba9876543210")
    for wrong in ("", "0123456789abcde", secret, "0123456789abcdef ", "é" * 16, "\udcff"):
        assert not is_bearer(secret, wrong)
