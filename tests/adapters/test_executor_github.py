"""A workflow of GitHub: dispatched once, found again by its title or by being the only one, followed to its end."""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlsplit

import pytest

from rollguard.adapters.executors.github import GitHubDelegate
from rollguard.adapters.executors.runs import SHOWS_S, Run, begun_by, run_of
from rollguard.core.executors import Workflow
from rollguard.core.order import Begun, Order, Work
from rollguard.core.signals import SecretRef
from rollguard.errors import BadAnswer, GuardError, Refused, Unavailable
from rollguard.localfly.http1 import Request
from rollguard.localfly.hub import TOKEN
from rollguard.localfly.stand_in import Notebook
from rollguard.localfly.workflows import Actions, Inputs
from rollguard.ports import HttpAnswer
from tests.adapters.programs import ORDER

SETTINGS = Workflow(repo="acme/shop", workflow="rollback.yml", token=SecretRef(env="GITHUB"), url="https://hub.test")
Instead = Callable[[str, str, Any], HttpAnswer | GuardError | None]


@dataclass
class Hub:
    """GitHub Actions behind ``ports.Transport``. ``instead`` of a real answer, or after it, another one may come."""

    titled: bool = True
    modern: bool = True
    instead: Instead = lambda method, path, body: None
    lost: bool = False
    """Of a dispatch: it arrives, and its answer does not."""
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    finish: asyncio.Event = field(default_factory=asyncio.Event)
    good: bool = True

    def __post_init__(self) -> None:
        self.actions = Actions(
            notebook=Notebook(io.StringIO()), work=self._work, titled=self.titled, modern=self.modern
        )

    async def _work(self, inputs: Inputs) -> bool:
        await self.finish.wait()
        return self.good

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
        parts = urlsplit(url)
        sent = json.loads(body) if body else None
        self.asked.append((method, url, sent))
        said = self.instead(method, parts.path, sent)
        if isinstance(said, GuardError):
            raise said
        if said is not None:
            return said
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        named = [("host", "hub.test"), *((k.lower(), v) for k, v in (headers or {}).items())]
        answer = await self.actions.answer(Request(method, target, named, body or b""))
        await asyncio.sleep(0)
        if self.lost and method == "POST":
            raise Unavailable("connection lost")
        return HttpAnswer(answer.status, dict(answer.headers), answer.body)

    def dispatches(self) -> int:
        return len(self.actions.runs)


class Watch:
    """``ports.Clock``."""

    def __init__(self, ahead_s: float = 0.0) -> None:
        self.ahead_s = ahead_s

    def now(self) -> float:
        import time

        return time.time() + self.ahead_s

    def drift_s(self) -> float:
        return 0.0

    def reanchor(self) -> None: ...


def now_order(clock: Watch, name: str = "1") -> Order:
    """An order of this moment."""
    identity = f"20260821T120000Z-{name}.{clock.now():.0f}"
    return replace(ORDER, id=identity, reason=f"rollguard {identity}: down, by rollguard", at=clock.now())


def delegate(hub: Hub, clock: Watch | None = None, token: str = TOKEN) -> GitHubDelegate:
    return GitHubDelegate(SETTINGS, hub, {"GITHUB": token}, clock or Watch())


async def ended(one: GitHubDelegate, begun: Begun) -> Any:
    async with asyncio.timeout(5):
        while (word := await one.progress(begun)).work is Work.RUNNING:
            await asyncio.sleep(0)
    return word


async def test_it_is_dispatched_with_the_version_and_a_reason_that_names_the_order_and_followed_to_success() -> None:
    hub = Hub()
    one, order = delegate(hub), now_order(Watch())
    begun = await one.begin(order)
    method, url, sent = hub.asked[0]
    assert (method, url) == ("POST", "https://hub.test/repos/acme/shop/actions/workflows/rollback.yml/dispatches")
    assert sent == {
        "ref": "main",
        "inputs": {"target_version": "41", "reason": order.reason},
        "return_run_details": True,
    }
    assert (await one.progress(begun)).work is Work.RUNNING
    hub.finish.set()
    word = await ended(one, begun)
    assert (word.work, word.sentence) == (Work.SUCCEEDED, "the run's conclusion is success")
    assert word.link == f"http://hub.test/acme/shop/actions/runs/{begun.id}"


async def test_a_failed_run_says_which_job_and_step() -> None:
    hub = Hub(good=False)
    hub.finish.set()
    one = delegate(hub)
    word = await ended(one, await one.begin(now_order(Watch())))
    assert word.work is Work.FAILED
    assert word.sentence == "the run's conclusion is failure, in job rollback, step Roll back"


@pytest.mark.parametrize("titled", [True, False])
async def test_where_a_server_does_not_say_which_run_it_began_the_run_is_looked_for(titled: bool) -> None:
    hub = Hub(modern=False, titled=titled)
    one, order = delegate(hub), now_order(Watch())
    begun = await one.begin(order)
    assert hub.dispatches() == 1, "a refusal of the unknown key began nothing"
    assert hub.actions.runs[int(begun.id)].inputs["reason"] == order.reason
    assert await one.find(order) == begun


async def test_a_dispatch_whose_answer_is_lost_may_have_begun_and_is_found() -> None:
    hub = Hub(lost=True)
    one, order = delegate(hub), now_order(Watch())
    with pytest.raises(Unavailable):
        await one.begin(order)
    begun = await one.find(order)
    assert begun is not None
    assert hub.dispatches() == 1


async def test_of_several_runs_the_one_that_names_the_order_is_it() -> None:
    hub = Hub()
    one, clock = delegate(hub), Watch()
    orders = [now_order(clock, str(number)) for number in range(3)]
    begun = [await one.begin(order) for order in orders]
    assert [await one.find(order) for order in orders] == begun


async def test_of_several_runs_that_name_nothing_it_cannot_be_told() -> None:
    hub = Hub(titled=False)
    one, clock = delegate(hub), Watch()
    order = now_order(clock)
    await one.begin(order)
    await one.begin(now_order(clock, "2"))
    assert await one.find(order) is None


async def test_a_clock_that_is_wrong_does_not_hide_the_run() -> None:
    hub = Hub(titled=False)
    clock = Watch(ahead_s=400.0)
    one, order = delegate(hub, clock), now_order(clock)
    hub.instead = lambda method, path, body: None
    begun = await one.begin(order)
    real = hub.request

    async def dated(method: str, url: str, **more: Any) -> HttpAnswer:
        from email.utils import formatdate

        answer = await real(method, url, **more)
        return replace(answer, headers={**answer.headers, "date": formatdate(usegmt=True)})

    hub.request = dated  # type: ignore[method-assign]
    assert await one.find(order) == begun


async def test_a_run_is_cancelled_and_one_that_is_over_cannot_be_which_is_as_well() -> None:
    hub = Hub()
    one = delegate(hub)
    begun = await one.begin(now_order(Watch()))
    await one.cancel(begun)
    word = await ended(one, begun)
    assert word.work is Work.FAILED
    assert word.sentence.startswith("the run's conclusion is cancelled")
    await one.cancel(begun)


async def test_without_a_release_number_nothing_is_dispatched() -> None:
    hub = Hub()
    with pytest.raises(Refused, match="release number"):
        await delegate(hub).begin(replace(ORDER, version=None))
    assert not hub.asked, "an empty input means the previous release to many a workflow: the bad one"


@pytest.mark.parametrize(
    "answer, error, says",
    [
        (HttpAnswer(401, {}, b'{"message": "Bad credentials"}'), Refused, "is the token valid"),
        (HttpAnswer(403, {}, b'{"message": "Resource not accessible"}'), Refused, "may the token write to actions"),
        (HttpAnswer(404, {}, b'{"message": "Not Found"}'), Refused, "such a repository and workflow"),
        (HttpAnswer(422, {}, b'{"message": "No ref found for: main"}'), Refused, "No ref found"),
        (HttpAnswer(403, {"x-ratelimit-remaining": "0"}, b"{}"), Unavailable, "HTTP 403"),
        (HttpAnswer(429, {"retry-after": "7"}, b"{}"), Unavailable, "HTTP 429"),
        (HttpAnswer(502, {}, b"<html>"), Unavailable, "HTTP 502"),
        (Unavailable("timeout"), Unavailable, "timeout"),
    ],
    ids=lambda value: str(getattr(value, "status", ""))[:3],
)
async def test_a_refusal_began_nothing_and_trouble_may_have(
    answer: HttpAnswer | GuardError, error: type[GuardError], says: str
) -> None:
    hub = Hub(instead=lambda method, path, body: answer)
    with pytest.raises(error, match=says):
        await delegate(hub).begin(ORDER)
    assert len(hub.asked) == 1, "never sent twice"


async def test_once_dispatched_no_refusal_to_list_runs_makes_it_not_begun() -> None:
    hub = Hub(modern=False)
    hub.instead = lambda method, path, body: HttpAnswer(403, {}, b"{}") if method == "GET" else None
    with pytest.raises(Unavailable, match="cannot be looked for"):
        await delegate(hub).begin(ORDER)


async def test_a_wrong_token_is_refused_and_never_said() -> None:
    with pytest.raises(Refused) as caught:
        await delegate(Hub(), token="ghp_wrong").begin(ORDER)
    assert "ghp_wrong" not in str(caught.value)


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"workflow_runs": 3}', b"\xff\xfe", b"[" * 5000], ids=range(6))
async def test_a_list_outside_the_known_shape_is_no_guess(body: bytes) -> None:
    hub = Hub(instead=lambda method, path, sent: HttpAnswer(200, {}, body))
    with pytest.raises(BadAnswer):
        await delegate(hub).find(ORDER)


@pytest.mark.parametrize(
    "found",
    [
        None,
        [],
        "x",
        {},
        {"id": True, "created_at": "2026-08-21T12:00:00Z"},
        {"id": 1, "created_at": "soon"},
        {"id": "1"},
    ],
)
def test_what_is_no_run_is_none(found: Any) -> None:
    assert run_of(found) is None


def test_a_link_that_is_none_is_left_out() -> None:
    base = {"id": 1, "created_at": "2026-08-21T12:00:00Z"}
    assert run_of({**base, "html_url": "javascript:alert(1)"}).link == ""  # type: ignore[union-attr]
    assert run_of({**base, "html_url": 7}).link == ""  # type: ignore[union-attr]


async def test_a_run_that_is_gone_is_lost() -> None:
    word = await delegate(Hub()).progress(Begun("12345"))
    assert word.work is Work.LOST


@pytest.mark.parametrize("identity", ["", "x", "../1", "-1", "１"])
async def test_only_a_number_is_asked_for(identity: str) -> None:
    hub = Hub()
    with pytest.raises(Refused):
        await delegate(hub).progress(Begun(identity))
    assert not hub.asked


@pytest.mark.parametrize(
    "status, conclusion, work",
    [
        ("queued", None, Work.RUNNING),
        ("waiting", None, Work.RUNNING),
        ("in_progress", None, Work.RUNNING),
        ("a status of tomorrow", None, Work.RUNNING),
        ("completed", "success", Work.SUCCEEDED),
        *(
            ("completed", word, Work.FAILED)
            for word in ("failure", "cancelled", "timed_out", "skipped", "neutral", None)
        ),
    ],
)
def test_only_success_is_success(status: str, conclusion: str | None, work: Work) -> None:
    run = run_of({"id": 1, "created_at": "2026-08-21T12:00:00Z", "status": status, "conclusion": conclusion})
    assert run is not None
    assert run.work is work
    assert status == "in_progress" or run.sentence


def a_run(number: int, title: str, at: float) -> Run:
    return Run(id=number, title=title, created_at=at, status="queued", conclusion="", link="")


def test_a_run_made_before_the_order_or_long_after_it_is_somebody_elses() -> None:
    since = ORDER.at
    assert begun_by(ORDER, [a_run(1, "", since - 1)], since, "main") is None
    assert begun_by(ORDER, [a_run(1, "", since + SHOWS_S + 1)], since, "main") is None
    mine = a_run(1, "", since + 1)
    assert begun_by(ORDER, [mine, a_run(2, "", since - 60)], since, "main") == mine


def test_a_run_that_names_another_order_is_never_this_one() -> None:
    other = a_run(1, f"rollguard {ORDER.id}0: down", ORDER.at + 1)
    assert begun_by(ORDER, [other], ORDER.at, "main") is None
    mine = a_run(2, f"Rollback to 41: rollguard {ORDER.id}: down", ORDER.at + 9000)
    assert begun_by(ORDER, [other, mine, a_run(3, "", ORDER.at + 1)], ORDER.at, "main") == mine


def test_a_run_of_another_branch_or_of_another_event_is_somebody_elses() -> None:
    other = replace(a_run(1, "", ORDER.at + 1), branch="hotfix")
    pushed = replace(a_run(2, "", ORDER.at + 1), branch="main", event="push")
    mine = replace(a_run(3, "", ORDER.at + 1), branch="main", event="workflow_dispatch")
    assert begun_by(ORDER, [other, pushed], ORDER.at, "main") is None, "never followed, never cancelled"
    assert begun_by(ORDER, [other, pushed, mine], ORDER.at, "main") == mine
    assert begun_by(ORDER, [mine], ORDER.at, "refs/heads/main") == mine


@pytest.mark.parametrize("created", ["0001-01-01T00:00:00", "9999-12-31T23:59:59-23:00", "0001-01-01T00:00:00+23:59"])
def test_an_impossible_date_is_never_an_error_of_ours(created: str) -> None:
    run = run_of({"id": 1, "created_at": created})
    assert run is None or isinstance(run.created_at, float)


async def test_an_answer_about_another_run_is_none() -> None:
    hub = Hub()
    other = json.dumps({"id": 1, "created_at": "2026-08-21T12:00:00Z", "status": "completed", "conclusion": "success"})
    hub.instead = lambda method, path, body: HttpAnswer(200, {}, other.encode())
    with pytest.raises(BadAnswer, match="not the run that was asked for"):
        await delegate(hub).progress(Begun("17"))


async def test_its_trial_reads_the_workflow_and_changes_nothing() -> None:
    hub = Hub()
    assert await delegate(hub).trial() == ""
    assert [method for method, *_ in hub.asked] == ["GET"]
    hub.instead = lambda *_: HttpAnswer(200, {}, b'{"state": "disabled_manually"}')
    assert await delegate(hub).trial() == "the workflow is disabled_manually"
    hub.instead = lambda *_: HttpAnswer(404, {}, b'{"message": "Not Found"}')
    assert "such a repository and workflow" in await delegate(hub).trial()
