"""A user's journey through the local platform's app, and that platform's log, as the guard would read Fly's."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from rollguard.adapters.signals.journey import JourneySource
from rollguard.adapters.signals.logs import LogsSource
from rollguard.core.model import EDGE, Reading
from rollguard.core.policy import Target
from rollguard.core.signals import Capture, Expect, JourneySignal, LogsSignal, Scope, SecretRef, Step, Where
from rollguard.localfly.apps import App
from rollguard.localfly.messages import ApiRequest
from rollguard.localfly.simulated_app import SimulatedApp
from rollguard.ports import Fleet, HttpAnswer
from tests.localfly.simulated import APP, Fly, first, image, live, settled
from tests.loop_clock import LoopClock
from tests.virtual_time import wall_clock

SITE = f"https://{APP}.fly.dev"
SIGN_IN = JourneySignal(
    name="sign-in",
    every_s=30.0,
    scopes=frozenset(Scope),
    timeout_s=10.0,
    steps=(
        Step(
            name="form", url=f"{SITE}/login", capture=(Capture("action", Where.TEXT, r'<form method="post" (action)='),)
        ),
        Step(
            name="login",
            url=f"{SITE}/login?from={{action}}",
            method="POST",
            form={"email": "guard@example.com", "password": "not shown"},
            expect=Expect(status=frozenset({302}), headers={"Location": "^/dashboard$"}),
        ),
        Step(name="dashboard", url=f"{SITE}/dashboard", expect=Expect(texts=("Sales today",))),
        Step(
            name="products",
            url=f"{SITE}/api/products",
            expect=Expect(json=((("products", "0", "id"), 1.0), (("products", "0", "title"), "Trail jacket"))),
        ),
    ),
)
ERRORS = LogsSignal(name="errors", every_s=15.0, timeout_s=5.0, match=("^error: ",))


class InProcess:
    """``ports.Transport`` straight into the local platform: its app for users, its API for everything else."""

    def __init__(self, fly: Fly, app: SimulatedApp) -> None:
        self._fly, self._app = fly, app

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
        async with asyncio.timeout(timeout_s):
            if url.startswith(SITE):
                return HttpAnswer(*await self._app.answer(method, url, headers, body or b""))
            answer = await self._fly.api.handle(ApiRequest.of(method, url, headers, body or b""))
        return HttpAnswer(answer.status, {name.lower(): text for name, text in answer.headers.items()}, answer.body)


def transport(fly: Fly) -> InProcess:
    return InProcess(fly, SimulatedApp(fly.world, fly.host, APP, wall_clock, rps=0.0))


def started(app: App) -> Fleet:
    return Fleet(tuple(sorted(app.machines)))


def told(readings: Sequence[Reading]) -> dict[str, tuple[float | None, str]]:
    return {r.subject: (r.value, r.detail) for r in readings if r.key == "sign-in"}


def test_a_good_release_lets_users_sign_in_on_every_machine() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(3)
        await settled(app)
        readings = await JourneySource(SIGN_IN, transport(fly)).read(started(app), LoopClock())
        assert told(readings) == dict.fromkeys((*sorted(app.machines), EDGE), (1.0, "HTTP 200"))
        times = [r for r in readings if r.key == "sign-in.dashboard"]
        assert len(times) == 4
        assert all(0.0 < (r.value or 0.0) < 3.0 for r in times)

    live(story)


@pytest.mark.parametrize(
    "broken_page, detail",
    [
        ("/login", "HTTP 500 at step 1 (form)"),
        ("/dashboard", "HTTP 500 at step 3 (dashboard)"),
        ("/api/products", "HTTP 500 at step 4 (products)"),
    ],
)
def test_a_broken_page_is_found_on_the_machine_that_has_it(broken_page: str, detail: str) -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(2)
        await settled(app)
        fly.world.images.push(broken := image("BROKEN", broken_page=broken_page))
        await fly.update(first(app), broken)
        await settled(app)
        readings = told(await JourneySource(SIGN_IN, transport(fly)).read(started(app), LoopClock()))
        assert readings.pop(first(app).id) == (0.0, detail)
        readings.pop(EDGE)
        assert list(readings.values()) == [(1.0, "HTTP 200")]

    live(story)


def test_the_error_lines_of_the_local_platforms_log_are_counted_on_the_machine_that_wrote_them() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(2)
        await settled(app)
        wire, clock = transport(fly), LoopClock()
        target = Target(name="shop", app=APP, token=SecretRef(env="T"))
        logs = LogsSource(ERRORS, target, wire, {"T": "guard-token"})
        assert await logs.read(started(app), clock) == []
        bad = first(app).id
        for _ in range(3):
            fly.world.logged(APP, bad, "error: boom", wall_clock())
            await asyncio.sleep(4)
        fly.world.logged(APP, bad, "info: fine", wall_clock())
        readings = await logs.read(started(app), clock)
        assert {r.key for r in readings} == {"errors.lines"}
        lines = [r for r in readings if r.value]
        assert [(r.subject, r.value, r.detail) for r in lines] == [(bad, 1.0, "error: boom")] * 3
        assert {r.subject for r in readings if r.value == 0.0} == set(app.machines)
        assert all(r.value == 0.0 for r in await logs.read(started(app), clock))

    live(story)
