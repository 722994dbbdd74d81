"""Reports over HTTP, through the server's own handlers, to what follows from them under the shipped policy."""

from __future__ import annotations

import asyncio
import json
import math
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import Mock

from aiohttp import web
from aiohttp.streams import StreamReader
from aiohttp.test_utils import make_mocked_request

from rollguard.app.reporting import ReportDesk
from rollguard.core import events as ev
from rollguard.core.policy import Reports
from rollguard.core.signals import SecretRef
from rollguard.core.signing import sign
from rollguard.web.server import Views, build
from tests.simulation.shop import FINE, NEXT, POLICY, Shop, open_shop
from tests.simulation.stage import APP, GOOD

SECRET = "the-secret-of-the-shop-s-reports"
ENVIRON = {"REPORT_TOKEN": SECRET}
TAKES_REPORTS = replace(POLICY, reports=Reports(token=SecretRef(env="REPORT_TOKEN")))


@dataclass
class Target:
    """Of a shop what a ``ReportDesk`` asks for, in whichever life its guard is."""

    shop: Shop

    @property
    def guard(self) -> Any:
        return self.shop.guard

    @property
    def acts(self) -> Any:
        return self.shop.acts

    @property
    def clock(self) -> Any:
        return self.shop.guard.clock


def server_of(shop: Shop) -> web.Application:
    """One for each life of the guard."""
    app: web.Application | None = getattr(shop.guard, "server", None)
    if app is None:
        views = Views(metrics=lambda accept: (b"", ""), unhealthy=lambda: None, unready=lambda: None)
        app = shop.guard.server = build(views, ReportDesk({APP: Target(shop)}, ENVIRON))  # type: ignore
        app.freeze()
    return app


async def post(shop: Shop, path: str, body: bytes, headers: dict[str, str]) -> tuple[int, str]:
    """What the server makes of a request: its status and its sentence. No socket works in virtual time."""
    app = server_of(shop)
    payload = StreamReader(Mock(_reading_paused=False), 1 << 16, loop=asyncio.get_running_loop())
    payload.feed_data(body)
    payload.feed_eof()
    answer = await app._handle(make_mocked_request("POST", path, headers=headers, payload=payload, app=app))
    form = json.loads(answer.body)  # type: ignore[attr-defined]
    return answer.status, form["say"] if answer.status == 202 else form["detail"]


async def report(shop: Shop, message: str = "msg_1", kind: str = "data-corruption", **but: Any) -> tuple[int, str]:
    """A signed report on the newest release that the guard knows, or as ``but`` says."""
    form = {"kind": kind, "reason": "orders lose lines", "by": "order checker"}
    named = but if "digest" in but else {"version": max(d.version or 0 for d in shop.guard.record.state.digests)} | but
    body, now = json.dumps(form | named).encode(), int(shop.guard.clock.now())
    headers = {
        "webhook-id": message,
        "webhook-timestamp": str(now),
        "webhook-signature": sign(SECRET.encode(), message, now, body),
    }
    return await post(shop, f"/api/v1/targets/{APP}/reports", body, headers)


def test_a_corruption_that_is_reported_while_all_signals_are_green_is_rolled_back() -> None:
    async def story(shop: Shop) -> None:
        await shop.flyctl(FINE)
        await shop.wait(3)
        status, said = await report(shop)
        assert (status, said.partition(": ")[2]) == (202, "rule corruption asks for rollback")
        await shop.wait(8)

    books = open_shop(story, policy=TAKES_REPORTS)
    books.takes_back(FINE)
    assert books.fired == {"corruption"}
    assert [e.trigger for e in books.of(ev.GoalSet)] == ["report"]
    assert [(e.id, e.by, e.reason) for e in books.of(ev.Reported)] == [("msg_1", "order checker", "orders lose lines")]
    assert books.outcomes == ["restored"]


def test_the_second_report_of_a_day_is_paged_and_held_by_the_report_budget() -> None:
    async def story(shop: Shop) -> None:
        await shop.flyctl(FINE)
        await shop.wait(3)
        assert (await report(shop))[0] == 202
        await shop.wait(9)  # restored, and the cooldown is over
        await shop.flyctl(NEXT)
        await shop.wait(3)
        assert (await report(shop, "msg_2"))[0] == 202
        await shop.wait(5)

    soon = replace(TAKES_REPORTS, interlocks=replace(POLICY.interlocks, cooldown_s=300.0))
    books = open_shop(story, policy=soon, rps=2.0)
    assert books.rolled_back == [FINE.digest]
    assert books.stage.digests == {NEXT.digest}
    held = [e for e in books.of(ev.PageQueued) if "held by report budget" in e.about.split("|")]
    assert len(held) == 1, books.pages
    assert "one rollback by a report within 24 h" in held[0].summary


def test_a_report_against_a_release_that_serves_no_longer_is_recorded_and_nothing_else() -> None:
    async def story(shop: Shop) -> None:
        await shop.flyctl(FINE)
        await shop.wait(2)
        assert await report(shop, "a", version=1) == (202, await nothing_follows(shop, GOOD.digest))
        assert await report(shop, "b", digest=GOOD.digest) == (202, await nothing_follows(shop, GOOD.digest))
        await shop.wait(5)

    books = open_shop(story, policy=TAKES_REPORTS)
    books.leaves_alone()
    assert [e.digest for e in books.of(ev.Reported)] == [GOOD.digest] * 2
    assert books.stage.digests == {FINE.digest}


async def nothing_follows(shop: Shop, digest: str) -> str:
    version = shop.guard.record.state.record(digest).version  # type: ignore[union-attr]
    return f"recorded against v{version} ({digest[7:19]}), which serves no longer: nothing follows"


def test_a_replayed_report_is_refused_in_this_life_and_in_the_next() -> None:
    async def story(shop: Shop) -> None:
        await shop.flyctl(FINE)
        await shop.wait(2)
        assert (await report(shop, kind="bug"))[0] == 202
        assert (await report(shop, kind="bug"))[0] == 409
        await shop.die_and_rise()
        await shop.wait(0.5)
        assert (await report(shop, kind="bug"))[0] == 409
        assert (await report(shop, "msg_2", kind="bug"))[0] == 202

    books = open_shop(story, policy=TAKES_REPORTS)
    assert [e.id for e in books.of(ev.Reported)] == ["msg_1", "msg_2"]


def test_of_the_same_report_sent_twenty_times_at_once_one_is_taken() -> None:
    async def story(shop: Shop) -> None:
        answers = await asyncio.gather(*(report(shop, kind="bug") for _ in range(20)))
        assert sorted(status for status, _ in answers) == [202] + [409] * 19

    assert len(open_shop(story, policy=TAKES_REPORTS).of(ev.Reported)) == 1


def test_a_target_takes_thirty_reports_in_ten_minutes_also_across_a_restart() -> None:
    async def story(shop: Shop) -> None:
        began = shop.guard.clock.now()
        for number in range(30):
            assert (await report(shop, f"m{number}", kind="note"))[0] == 202
        assert (await report(shop, "more", kind="note"))[0] == 429
        assert (await report(shop, "m7", kind="note"))[0] == 409, "a repeat is no more of them"
        await shop.die_and_rise()
        await shop.wait(0.5)
        assert (await report(shop, "more", kind="note"))[0] == 429
        await asyncio.sleep(began + 601 - shop.guard.clock.now())
        assert (await report(shop, "more", kind="note"))[0] == 202

    assert len(open_shop(story, policy=TAKES_REPORTS, rps=2.0).of(ev.Reported)) == 31


def test_a_report_that_cannot_be_written_down_is_not_taken_and_may_come_again() -> None:
    async def story(shop: Shop) -> None:
        shop.stage.full.writes_left = 0
        assert (await report(shop, kind="note"))[0] == 503
        shop.stage.full.writes_left = math.inf
        assert (await report(shop, kind="note"))[0] == 202

    assert len(open_shop(story, policy=TAKES_REPORTS, rps=2.0).of(ev.Reported)) == 1


def test_a_release_that_nobody_knows_cannot_be_blamed() -> None:
    async def story(shop: Shop) -> None:
        assert (await report(shop, version=4711))[0] == 422
        assert (await report(shop, digest="sha256:" + "0" * 64)) == (422, f"no machine was seen on {'0' * 12}")
        assert (await report(shop, kind="Data Corruption"))[0] == 422

    assert open_shop(story, policy=TAKES_REPORTS, rps=2.0).of(ev.Reported) == []


def test_reports_are_closed_from_the_moment_the_policy_says_so() -> None:
    async def story(shop: Shop) -> None:
        assert (await report(shop, kind="note"))[0] == 202
        shop.guard.obey(POLICY)
        assert (await report(shop, "msg_2", kind="note"))[0] == 404

    assert len(open_shop(story, policy=TAKES_REPORTS, rps=2.0).of(ev.Reported)) == 1


def test_an_alert_of_alertmanager_rolls_back_once_however_often_it_is_sent() -> None:
    alert = {
        "status": "firing",
        "labels": {"alertname": "OrdersLoseLines", "rollguard_kind": "data-corruption", "digest": FINE.digest},
        "annotations": {"summary": "12 orders without lines"},
        "startsAt": "2026-08-21T09:58:12Z",
        "fingerprint": "c3d7b2a1f0e94857",
    }
    body = json.dumps({"version": "4", "status": "firing", "alerts": [alert]}).encode()

    async def send(shop: Shop) -> str:
        where, headers = f"/api/v1/targets/{APP}/reports/alertmanager", {"Authorization": f"Bearer {SECRET}"}
        status, said = await post(shop, where, body, headers)
        assert status == 202
        return said

    async def story(shop: Shop) -> None:
        await shop.flyctl(FINE)
        await shop.wait(2)
        assert await send(shop) == "1 taken, 0 taken before, 0 ignored, 0 refused"
        for _ in range(8):
            await shop.wait(1)
            assert (await send(shop)).startswith("0 taken, 1 taken before")

    books = open_shop(story, policy=TAKES_REPORTS)
    books.takes_back(FINE)
    assert [e.by for e in books.of(ev.Reported)] == ["alertmanager"]
