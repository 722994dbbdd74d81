"""Every channel says the whole page, within its limits, and knows "later" from "never"."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from dataclasses import replace
from typing import Any

import pytest

from rollguard.adapters.notify.pagerduty import dedup_key, event_of
from rollguard.adapters.notify.registry import build_notifiers, channel_kinds, channel_names
from rollguard.adapters.notify.webhook import WebhookNotifier, body_of, message_id, signing_keys
from rollguard.core.channels import Channel, GitHubIssue, PagerDuty, Slack, Webhook
from rollguard.core.pages import Kind, Page, Severity
from rollguard.core.policy import Policy, Target
from rollguard.core.signals import SecretRef
from rollguard.core.signing import sign
from rollguard.errors import Refused, Unavailable
from rollguard.ports import HttpAnswer, Notifier
from tests.adapters.recorded_transport import RecordedTransport

NOON = 1_787_313_600.25
KEY = b"a key of the receiver's own"
ENVIRON = {"PD_KEY": "0123456789abcdef0123456789abcdef", "HOOK_KEY": f"whsec_{base64.b64encode(KEY).decode()}"}
PAGER = PagerDuty(
    routing_key=SecretRef(env="PD_KEY"),
    url="https://pd.test/v2/enqueue",
    change_url="https://pd.test/v2/change/enqueue",
)
SLACK = Slack(token=SecretRef(env="SLACK"), channel="#engineering")
GITHUB = GitHubIssue(token=SecretRef(env="GITHUB"), repo="acme/shop")
HOOK = Webhook(url="https://hook.test/in", secret=SecretRef(env="HOOK_KEY"))
PAGE = Page(
    key="shop/1a2b",
    target="shop",
    summary="rolling back shop to v41: 7 % of requests fail",
    severity=Severity.ERROR,
    at=NOON,
    details=(("rule", "server-errors"), ("value", "7 %"), ("rule", "hard-down")),
    link="https://runbook.test/rollback",
)


def policy(*channels: Channel) -> Policy:
    target = Target(name="shop", app="shop", token=SecretRef(env="TOKEN"))
    return Policy(target=target, signals=(), rules=(), page=channels)


def notifier(channel: Channel, transport: RecordedTransport, environ: dict[str, str] = ENVIRON) -> Notifier:
    [only] = build_notifiers(policy(channel), transport, environ, now=lambda: NOON + 60.9).values()
    return only


def test_channels_are_named_by_their_kind_and_numbered_from_the_second_on() -> None:
    several = policy(PAGER, HOOK, HOOK, PAGER, HOOK)
    names = ("pagerduty", "webhook", "webhook-2", "pagerduty-2", "webhook-3")
    assert channel_names(several) == names
    built = build_notifiers(several, RecordedTransport(), {})
    assert [(name, n.name) for name, n in built.items()] == [(name, name) for name in names]


async def test_pagerduty_is_told_everything_the_page_says() -> None:
    transport = RecordedTransport()
    await notifier(PAGER, transport).send(PAGE)
    [asked] = transport.asked
    assert (asked.method, asked.url) == ("POST", "https://pd.test/v2/enqueue")
    assert asked.headers["Content-Type"] == "application/json"
    assert json.loads(asked.body) == {
        "routing_key": ENVIRON["PD_KEY"],
        "event_action": "trigger",
        "dedup_key": "shop/1a2b",
        "client": "rollguard",
        "client_url": "https://runbook.test/rollback",
        "links": [{"href": "https://runbook.test/rollback", "text": "What to do"}],
        "payload": {
            "summary": "rolling back shop to v41: 7 % of requests fail",
            "source": "shop",
            "severity": "error",
            "class": "release",
            "timestamp": "2026-08-21T12:00:00.250+00:00",
            "custom_details": {"rule": "server-errors\nhard-down", "value": "7 %"},
        },
    }


async def test_pagerduty_closes_what_it_opened_by_the_same_key() -> None:
    transport = RecordedTransport()
    await notifier(PAGER, transport).send(replace(PAGE, resolve=True))
    assert json.loads(transport.asked[0].body) == {
        "routing_key": ENVIRON["PD_KEY"],
        "event_action": "resolve",
        "dedup_key": "shop/1a2b",
    }


async def test_pagerduty_hears_that_a_person_is_at_it() -> None:
    transport = RecordedTransport()
    await notifier(PAGER, transport).send(replace(PAGE, kind=Kind.ACKNOWLEDGE))
    assert json.loads(transport.asked[0].body) == {
        "routing_key": ENVIRON["PD_KEY"],
        "event_action": "acknowledge",
        "dedup_key": "shop/1a2b",
    }


async def test_what_was_deployed_or_rolled_back_is_a_change_event_and_wakes_nobody() -> None:
    transport = RecordedTransport()
    await notifier(PAGER, transport).send(replace(PAGE, kind=Kind.CHANGE, summary="shop: v42 is out everywhere"))
    [asked] = transport.asked
    assert asked.url == "https://pd.test/v2/change/enqueue"
    assert json.loads(asked.body) == {
        "routing_key": ENVIRON["PD_KEY"],
        "links": [{"href": "https://runbook.test/rollback", "text": "What to do"}],
        "payload": {
            "summary": "shop: v42 is out everywhere",
            "source": "shop",
            "timestamp": "2026-08-21T12:00:00.250+00:00",
            "custom_details": {"rule": "server-errors\nhard-down", "value": "7 %"},
        },
    }


async def test_without_an_address_for_changes_none_are_queued_and_none_are_sent() -> None:
    quiet = replace(PAGER, change_url="")
    assert channel_kinds(policy(PAGER, quiet)) == {
        "pagerduty": {Kind.ALERT, Kind.ACKNOWLEDGE, Kind.CHANGE},
        "pagerduty-2": {Kind.ALERT, Kind.ACKNOWLEDGE},
    }
    transport = RecordedTransport()
    with pytest.raises(Refused):
        await notifier(quiet, transport).send(replace(PAGE, kind=Kind.CHANGE))
    assert not transport.asked


def test_channels_take_the_kinds_that_they_have_a_form_for_and_say_the_same_themselves() -> None:
    everyone = replace(policy(PAGER), tell=(SLACK,), record=(GITHUB, HOOK))
    kinds = channel_kinds(everyone)
    assert list(kinds) == ["pagerduty", "slack", "github", "webhook"]
    assert {name: n.kinds for name, n in build_notifiers(everyone, RecordedTransport(), {}).items()} == kinds
    follow_ups = [name for name, takes in kinds.items() if Kind.FOLLOW_UP in takes]
    assert follow_ups == ["slack", "github", "webhook"]


def test_a_page_of_any_size_fits_what_pagerduty_takes() -> None:
    huge = replace(
        PAGE,
        key="k" * 300,
        summary="🔥" * 2000,
        details=tuple((f"{n}" + "n" * 500, "🔥" * 5000) for n in range(500)),
        link="https://" + "x" * 5000,
    )
    event = event_of(huge, "key")
    assert len(event["dedup_key"]) == 255
    assert len(event["payload"]["summary"]) == 1024
    assert event["payload"]["summary"].endswith("…")
    assert len(json.dumps(event)) < 512_000
    assert "links" not in event


def test_keys_too_long_for_pagerduty_stay_different() -> None:
    assert dedup_key("k" * 255) == "k" * 255
    assert dedup_key("k" * 300) != dedup_key("k" * 301)


def test_a_link_that_is_not_for_a_browser_is_left_out() -> None:
    assert "links" not in event_of(replace(PAGE, link="javascript:alert(1)"), "key")


async def test_a_webhook_is_told_everything_in_a_versioned_body() -> None:
    transport = RecordedTransport(status=204)
    await notifier(HOOK, transport).send(PAGE)
    [asked] = transport.asked
    assert (asked.method, asked.url) == ("POST", "https://hook.test/in")
    assert json.loads(asked.body) == {
        "version": 1,
        "type": "page.opened",
        "timestamp": "2026-08-21T12:00:00.250+00:00",
        "data": {
            "key": "shop/1a2b",
            "target": "shop",
            "summary": "rolling back shop to v41: 7 % of requests fail",
            "severity": "error",
            "details": [
                {"name": "rule", "text": "server-errors"},
                {"name": "value", "text": "7 %"},
                {"name": "rule", "text": "hard-down"},
            ],
            "link": "https://runbook.test/rollback",
        },
    }


@pytest.mark.parametrize(
    "change, name",
    [
        ({}, "page.opened"),
        ({"resolve": True}, "page.resolved"),
        ({"kind": Kind.ACKNOWLEDGE}, "page.acknowledged"),
        ({"kind": Kind.CHANGE}, "change.recorded"),
        ({"kind": Kind.FOLLOW_UP, "text": "# Post-mortem", "due_at": NOON + 86400}, "follow_up.opened"),
    ],
)
def test_a_webhook_s_body_says_what_kind_of_message_it_is(change: dict[str, Any], name: str) -> None:
    body = json.loads(body_of(replace(PAGE, **change)))
    assert body["type"] == name
    assert body["data"].get("text", "") == change.get("text", "")
    assert body["data"].get("due") == ("2026-08-22T12:00:00.250+00:00" if "due_at" in change else None)


def test_the_ids_of_messages_are_those_of_earlier_versions() -> None:
    assert message_id(PAGE) == "msg_dfba2a26c8c7037b11ab5e3a83a00a78"
    assert len({message_id(replace(PAGE, kind=kind)) for kind in Kind}) == len(Kind)


async def test_a_webhook_proves_who_sent_it_and_when() -> None:
    transport = RecordedTransport(status=200)
    await notifier(HOOK, transport).send(PAGE)
    [asked] = transport.asked
    moment = str(int(NOON + 60.9))  # of this attempt, not of the page: receivers refuse old ones
    signed = f"{asked.headers['webhook-id']}.{moment}.".encode() + asked.body
    expected = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    assert asked.headers["webhook-timestamp"] == moment
    assert asked.headers["webhook-signature"] == f"v1,{expected}"


def test_the_signature_is_the_one_computed_by_hand() -> None:
    # printf 'msg_1.1700000000.{"a":1}' | openssl dgst -sha256 -hmac 'sesame' -binary | base64
    assert sign(b"sesame", "msg_1", 1_700_000_000, b'{"a":1}') == "v1,7H4Ov+VY223gk/c6gMDJSFabVdKAsZCnHekLlO24KVg="


def test_while_a_secret_is_rotated_both_sign() -> None:
    assert signing_keys("whsec_b2xk  whsec_bmV3") == [b"old", b"new"]


async def test_a_repeat_of_a_page_carries_the_same_id_and_another_page_does_not() -> None:
    transport = RecordedTransport(status=200)
    for _ in range(2):
        await notifier(HOOK, transport).send(PAGE)
    assert len({asked.headers["webhook-id"] for asked in transport.asked}) == 1
    others = [replace(PAGE, resolve=True), replace(PAGE, at=NOON + 1), replace(PAGE, key="shop/2")]
    assert len({message_id(page) for page in [PAGE, *others]}) == 4


@pytest.mark.parametrize("channel", [PAGER, HOOK])
@pytest.mark.parametrize(
    "status, error",
    [
        *((status, Refused) for status in (400, 401, 403, 404, 409, 410, 422)),
        *((status, Unavailable) for status in (301, 408, 429, 500, 503)),
    ],
)
async def test_an_answer_that_is_not_a_yes_says_whether_to_try_again(
    channel: Channel, status: int, error: type[Exception]
) -> None:
    with pytest.raises(error, match=rf"HTTP {status}: (pagerduty|webhook): it is so"):
        await notifier(channel, RecordedTransport(status, body=b"it is\nso")).send(PAGE)


async def test_pagerduty_is_believed_only_when_it_accepts() -> None:
    with pytest.raises(Unavailable):
        await notifier(PAGER, RecordedTransport(200)).send(PAGE)


@pytest.mark.parametrize("channel", [PAGER, HOOK])
async def test_the_wait_that_a_channel_asks_for_is_passed_on(channel: Channel) -> None:
    with pytest.raises(Unavailable) as told:
        await notifier(channel, RecordedTransport(429, {"retry-after": "17"})).send(PAGE)
    assert told.value.retry_after_s == 17.0


@pytest.mark.parametrize(
    "channel, environ", [(PAGER, {}), (HOOK, {}), (HOOK, {"HOOK_KEY": "not base64!"}), (HOOK, {"HOOK_KEY": "whsec_"})]
)
async def test_a_secret_that_is_not_right_yet_keeps_the_page_waiting_and_is_not_shown(
    channel: Channel, environ: dict[str, str]
) -> None:
    transport = RecordedTransport()
    with pytest.raises(Unavailable) as told:
        await notifier(channel, transport, environ).send(PAGE)
    assert not transport.asked
    assert "not base64!" not in str(told.value)


async def test_a_rotated_secret_is_used_at_once() -> None:
    transport, environ = RecordedTransport(), dict(ENVIRON)
    pager = notifier(PAGER, transport, environ)
    await pager.send(PAGE)
    environ["PD_KEY"] = "new"
    await pager.send(PAGE)
    keys: list[Any] = [json.loads(asked.body)["routing_key"] for asked in transport.asked]
    assert keys == [ENVIRON["PD_KEY"], "new"]


async def test_a_webhook_that_cannot_be_reached_does_not_show_its_path_which_may_be_a_secret() -> None:
    class Broken:
        async def request(self, method: str, url: str, **rest: object) -> HttpAnswer:
            raise Unavailable(f"connection refused: {method} {url}")

    settings = Webhook(url="https://hooks.example.com/T0/very-secret", secret=SecretRef(env="S"))
    notifier = WebhookNotifier("webhook", settings, Broken(), {"S": "whsec_c2VjcmV0"})
    with pytest.raises(Unavailable, match=r"^connection refused: webhook$"):
        await notifier.send(Page(key="k", target="t", summary="s"))
