"""A guard that rehearses: v2 (FINE) serves and is proven, v1 (GOOD) is what a rollback would go to."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from typing import Any

from rollguard.core import events as ev
from rollguard.core.drill import Drill
from rollguard.core.pages import Severity
from rollguard.core.policy import Policy
from rollguard.core.rehearsal import Wish
from rollguard.core.signals import HttpSignal, Scope
from rollguard.engine.rehearse import Rehearsal, Rehearse
from rollguard.localfly.images import Behaviour, Image
from tests.simulation.siege import CHECK, QUICK, Aftermath, Siege
from tests.simulation.stage import APP, BAD, FINE, GOOD, GUARD, Stage
from tests.virtual_time import run, wall_clock

ONE, ALL = Wish(), Wish(whole=True)
BRISK = replace(QUICK, rollback=replace(QUICK.rollback, wait_timeout_s=40.0))
"""As in the siege, and a machine that does not get well is given up soon."""
NONE = {"rollguard.migration": "none"}
SICK = Image.build(f"registry.fly.io/{APP}:deployment-SICK", Behaviour(health_fails=True), labels=NONE)
SOUR = Image.build(f"registry.fly.io/{APP}:deployment-SOUR", Behaviour(error_share=1.0), labels=NONE)
DYING = Image.build(f"registry.fly.io/{APP}:deployment-DYING", Behaviour(crash_after_s=2.0), labels=NONE)
BY_MACHINE = replace(
    BRISK,
    signals=tuple(
        replace(s, scopes=frozenset({Scope.MACHINE})) if isinstance(s, HttpSignal) else s for s in BRISK.signals
    ),
)
"""Every machine is probed, and one that fails alone is paged as sick."""
Story = Callable[[Siege], Awaitable[object]]


async def drill(siege: Siege, wish: Wish = ONE, *, dry_run: bool = False) -> Rehearsal:
    """``rollguard drill``, as bob."""
    return await Rehearse(siege.guard, siege.acts, siege.guard.clock).drill("bob", "friday", wish, dry_run=dry_run)


async def begun(siege: Siege, wish: Wish = ONE) -> str:
    """A drill that nothing holds; the first machine that it takes."""
    answer = await drill(siege, wish)
    assert not answer.refusals, answer.refusals
    return answer.machines[0]


async def one(siege: Siege) -> None:
    await begun(siege)
    await over(siege)


def newest(siege: Siege) -> Drill | None:
    return siege.guard.record.state.drill


def way(siege: Siege) -> str:
    drilling = siege.guard.record.state.drilling
    return drilling.way if drilling else ""


async def over(siege: Siege, for_s: float = 3000) -> None:
    """Until the drill is over."""
    await siege.until(lambda: newest(siege) and not siege.guard.record.state.drilling, for_s)


async def there(siege: Siege, machine: str, image: Image = GOOD) -> None:
    """Until the machine runs the target."""
    await siege.until(lambda: siege.stage.app.machines[machine].image.digest == image.digest)


def mood(siege: Siege, **behaviour: Any) -> None:
    """All the app's code behaves so, whatever the image, also that which starts later."""
    siege.stage.world.set_mood(APP, behaviour, wall_clock())


def rehearsed(
    story: Story,
    policy: Policy = BRISK,
    *,
    machines: int = 4,
    images: Sequence[Image] = (GOOD, BAD, FINE),
    serving: Image = FINE,
    settle_s: float = 20.0,
    gap: bool = False,
    check: Any = CHECK,
) -> Aftermath:
    """People vouch for v1, v2 is shipped and vouched for; then the story; then a while of peace."""

    async def scene() -> Aftermath:
        stage = Stage(machines=machines, check=check, images=images)
        async with stage.host:
            await asyncio.sleep(20)
            life, guard, start = stage.born(policy)
            siege = Siege(stage, policy, guard, life, start())
            try:
                await proven_twice(siege, serving)
                await story(siege)
                await asyncio.sleep(settle_s)
            finally:
                await siege.end()
            return Aftermath(await stage.history(), await stage.state(), stage)

    after = run(scene())
    promises(after, gap=gap)
    return after


async def proven_twice(siege: Siege, serving: Image = FINE) -> None:
    """v1 was there before, v2 came; both have a person's word."""
    await asyncio.sleep(12)
    await siege.acts.adopt("alice", "runs since May", None)
    await siege.stage.deploy(serving)
    await asyncio.sleep(25)
    await siege.acts.adopt("alice", "looks well", None)


def promises(after: Aftermath, *, gap: bool = False) -> None:
    """What holds of every drill, whatever happens in it."""
    begins, ends = after.of(ev.DrillBegan), after.of(ev.DrillEnded)
    assert [e.drill for e in begins] == [e.drill for e in ends], "every drill ends, once"
    assert after.state.drilling is None
    assert gap or not [v for v in after.stage.app.ledger.violations if v.owner == GUARD], "the floor"
    _every_write_was_intended(after)
    if begins and not after.of(ev.GoalSet):
        _nobody_is_left_in_silence(after, begins, ends)
        moved = Counter(w["machine"] for w in after.writes("update"))
        assert not moved or max(moved.values()) <= 2 * len(begins), f"there and back, once each: {moved}"
    assert not [r for r in after.rows if r[1] in {"pending", "running"}], f"a row left open: {after.rows}"
    leases = [m.lease for m in after.stage.app.machines.values() if m.lease is not None]
    assert not [lease for lease in leases if lease.owner == GUARD and lease.expires_at > ends[-1].at + 15]
    assert len(after.pages) <= 3, after.pages


def _every_write_was_intended(after: Aftermath) -> None:
    intents, skewed = after.of(ev.StepIntended), after.stage.watches.skew_s != 0.0
    for write in after.writes("update"):
        mine = [i for i in intents if i.kind == "update" and i.machine == write["machine"]]
        assert any(skewed or i.at <= write["at"] for i in mine), f"an update of {write['machine']} without an intent"


def _nobody_is_left_in_silence(after: Aftermath, begins: Sequence[Any], ends: Sequence[Any]) -> None:
    on_target = {m.id for m in after.stage.app.present() if m.image.digest == begins[-1].target}
    left = on_target & set(begins[-1].machines)
    assert left <= set(ends[-1].left), f"left on the target, and not said: {left}"
    if left:
        alerts = [e for e in after.of(ev.PageQueued) if e.kind == "alert" and e.about == "drill"]
        assert any(e.severity == Severity.CRITICAL for e in alerts), after.pages


def results(after: Aftermath) -> list[str]:
    return [e.result for e in after.of(ev.DrillEnded)]


def last(after: Aftermath) -> ev.DrillEnded:
    ended = after.of(ev.DrillEnded)[-1]
    assert isinstance(ended, ev.DrillEnded)
    return ended
