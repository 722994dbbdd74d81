"""Which reports a target takes: new ones, not too many, while its policy and its journal can have them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rollguard.adapters.http import AiohttpTransport
from rollguard.app.preflight import missing_secrets
from rollguard.app.reporting import MOST, WITHIN_S, ReportDesk, must_be_new, must_not_be_too_many
from rollguard.app.target import Shared
from rollguard.app.target import Target as Guarded
from rollguard.core import events as ev
from rollguard.core.lifecycle import REPORTS_MAX
from rollguard.core.policy import Policy, Reports, Target
from rollguard.core.signals import SecretRef
from rollguard.core.signing import TOLERANCE_S
from rollguard.errors import Conflict, JournalError, Refused, Unavailable
from rollguard.web.report_forms import Report
from rollguard.web.reports import TooMany
from tests.builders import BAD, NOON, a_policy, a_snapshot

SECRET = "a-secret-of-enough-length"
NAME = "shop-production"


def earlier(count: int, *, since: float = NOON, every_s: float = 1.0, name: str = "m") -> list[ev.Reported]:
    """``count`` reports, one after the other."""
    return [
        ev.Reported(
            at=since + i * every_s,
            kind="bug",
            digest=BAD,
            version=42,
            by="ann",
            reason="x",
            id=f"{name}{i}" if name else "",
        )
        for i in range(count)
    ]


def a_report(report_id: str = "msg_1", **but: Any) -> Report:
    settings = {"kind": "bug", "by": "ann", "reason": "x", "version": 42, "sent_at": NOON}
    return Report(id=report_id, **settings | but)  # type: ignore[arg-type]


# -- new ones ----------------------------------------------------------------------------------------------------------


def test_an_id_counts_once_however_long_ago_it_was() -> None:
    must_be_new(a_report(), earlier(3))
    with pytest.raises(Conflict):
        must_be_new(a_report("m0", sent_at=NOON + 1e6), earlier(3))


def test_what_may_be_a_repeat_of_a_forgotten_report_is_not_taken() -> None:
    full = earlier(REPORTS_MAX, since=NOON)
    must_be_new(a_report(sent_at=NOON + TOLERANCE_S + 1), full)
    with pytest.raises(Conflict, match="sign it anew"):
        must_be_new(a_report(sent_at=NOON + TOLERANCE_S), full)
    must_be_new(a_report(sent_at=NOON), full[1:])
    must_be_new(a_report(sent_at=None), full)


# -- not too many ------------------------------------------------------------------------------------------------------


def test_the_next_report_is_taken_when_the_oldest_of_the_most_is_ten_minutes_old() -> None:
    taken = earlier(MOST)
    must_not_be_too_many(taken[1:], NOON + 60)
    with pytest.raises(TooMany, match="30 reports within 10 m are") as refused:
        must_not_be_too_many(taken, NOON + 60)
    assert refused.value.retry_after_s == WITHIN_S - 60
    must_not_be_too_many(taken, NOON + WITHIN_S)


def test_what_people_report_at_the_guard_s_host_does_not_count() -> None:
    must_not_be_too_many(earlier(MOST * 2, name=""), NOON + 60)


# -- a target ----------------------------------------------------------------------------------------------------------


@asynccontextmanager
async def a_desk(data: Path, environ: dict[str, str], **but: Any) -> AsyncIterator[tuple[ReportDesk, Guarded]]:
    """A desk for one target, whose journal is open and knows release v42, which runs everywhere."""
    transport = AiohttpTransport()
    settings = {"reports": Reports(token=SecretRef(env="REPORT_TOKEN"))} | but
    shared = Shared(transport=transport, environ={"FLY_API_TOKEN": "token"}, data=data)
    target = Guarded.on_disk(a_policy(**settings), shared)
    try:
        await target.open()
        now = target.clock.now()
        await target.record.add(ev.DigestSeen(at=now, digest=BAD, image_ref="shop:v42", version=42, labels={}))
        target.guard.watch.snapshot = a_snapshot(at=now)
        yield ReportDesk({NAME: target}, environ), target
    finally:
        await target.close()
        await transport.close()


async def test_the_secret_is_read_anew_each_time_and_one_that_is_gone_can_be_mended(tmp_path: Path) -> None:
    environ = {"REPORT_TOKEN": SECRET}
    async with a_desk(tmp_path, environ) as (desk, _):
        assert desk.secret(NAME) == SECRET
        assert desk.secret("nope") is None
        environ["REPORT_TOKEN"] = "another-one-of-some-length"
        assert desk.secret(NAME) == "another-one-of-some-length"
        del environ["REPORT_TOKEN"]
        with pytest.raises(Unavailable, match="REPORT_TOKEN is missing"):
            desk.secret(NAME)


async def test_a_target_whose_policy_has_no_reports_takes_none(tmp_path: Path) -> None:
    async with a_desk(tmp_path, {"REPORT_TOKEN": SECRET}, reports=None) as (desk, target):
        assert desk.secret(NAME) is None
        with pytest.raises(Refused, match="not taken any more"):
            await desk.take(NAME, a_report())
        assert target.record.state.reports == ()


async def test_what_is_taken_is_in_the_journal_with_its_id(tmp_path: Path) -> None:
    async with a_desk(tmp_path, {}) as (desk, target):
        said = await desk.take(NAME, a_report(by="eve\x1b[31m", reason="a \ud800\u202e b" + "x" * 9999))
        assert said.startswith("recorded against v42")
        last = (await target.record.open())[-1].event
        assert isinstance(last, ev.Reported)
        assert (last.id, last.digest, last.by) == ("msg_1", BAD, "eve [31m")
        assert last.reason.isprintable()
        assert len(last.reason) == 500
        with pytest.raises(Conflict):
            await desk.take(NAME, a_report())


async def test_a_report_is_taken_also_where_nothing_runs_any_more(tmp_path: Path) -> None:
    async with a_desk(tmp_path, {}) as (desk, target):
        stopped = [replace(machine, state="stopped") for machine in a_snapshot().machines]
        target.guard.watch.snapshot = a_snapshot(*stopped)
        assert (await desk.take(NAME, a_report())).startswith("recorded against v42")


async def test_a_journal_that_cannot_be_written_takes_nothing(tmp_path: Path) -> None:
    async with a_desk(tmp_path, {}) as (desk, target):
        await target.close()
        with pytest.raises(JournalError):
            await desk.take(NAME, a_report())
        assert target.record.state.reports == ()


@pytest.mark.parametrize(
    "token, why",
    [
        ("", "the secret in environment variable REPORT_TOKEN is missing or empty"),
        ("fifteen-letters", "it holds a key of less than 16 bytes: make one with `openssl rand -hex 32`"),
        ("whsec_no", "what follows whsec_ in it is not base64"),
    ],
)
def test_a_report_secret_that_is_missing_or_could_be_guessed_is_a_mistake_at_the_start(token: str, why: str) -> None:
    policy = a_policy(reports=Reports(token=SecretRef(env="REPORT_TOKEN")))
    assert missing_secrets([policy], {"FLY_API_TOKEN": "x", "REPORT_TOKEN": token}) == [f"?: reports: {why}"]
    assert missing_secrets([policy], {"FLY_API_TOKEN": "x", "REPORT_TOKEN": SECRET}) == []


def test_two_targets_have_no_report_secret_in_common_for_a_signature_names_no_target() -> None:
    def policy(name: str, variable: str) -> Policy:
        target = Target(name=name, app=name, token=SecretRef(env="FLY_API_TOKEN"))
        return a_policy(target=target, reports=Reports(token=SecretRef(env=variable)))

    both = [policy("shop", "ONE"), policy("shop-staging", "TWO")]
    other = "another-of-enough-length"
    assert missing_secrets(both, {"FLY_API_TOKEN": "x", "ONE": SECRET, "TWO": other}) == []
    complaint = "?: reports: it is that of target shop too: each target needs its own"
    assert missing_secrets(both, {"FLY_API_TOKEN": "x", "ONE": SECRET, "TWO": f"{other} {SECRET}"}) == [complaint]
