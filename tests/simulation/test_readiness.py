"""Whether a rollback could happen is known before one is due; what is missing is told, and nothing is started."""

from __future__ import annotations

import asyncio
import itertools
import math
from dataclasses import replace
from typing import Any

from rollguard.core import events as ev
from rollguard.core.model import Mode
from rollguard.core.readiness import NAMES, Readiness, State
from rollguard.localfly.images import Image
from tests.simulation.siege import QUICK, Aftermath, Siege, besiege
from tests.simulation.stage import APP, BAD, FINE, GOOD, NONE, a_policy
from tests.simulation.trouble import WRITES

NEXT = Image.build(f"registry.fly.io/{APP}:deployment-NEXT", FINE.behaviour, labels=NONE)
IMAGES = (GOOD, BAD, FINE, NEXT)
PATIENCE_S = QUICK.rollback.not_ready_after_s


def ahead(story: Any, policy: Any = QUICK, **how: Any) -> Aftermath:
    """A siege whose guard looks ahead."""
    return besiege(story, policy, looks_ahead=True, images=IMAGES, **how)


async def serving(siege: Siege, image: Image = FINE) -> None:
    """A good release that is out everywhere, with the proven one before it; the guard has looked at that."""
    await siege.stage.deploy(image)
    await siege.until(lambda: siege.guard.watch.deploy is None and said(siege).of("target").state is State.OK, 300)


def said(siege: Siege) -> Readiness:
    assert siege.stage.ready is not None
    return siege.stage.ready.now


def changes(after: Aftermath) -> list[tuple[bool, tuple[str, ...]]]:
    return [(e.ready, e.reasons) for e in after.of(ev.ReadinessChanged)]


def told(after: Aftermath) -> list[ev.PageQueued]:
    return [e for e in after.of(ev.PageQueued) if e.about == "not ready"]


def test_a_sound_app_is_ready_for_a_rollback_in_every_respect() -> None:
    async def story(siege: Siege) -> None:
        await serving(siege)
        await asyncio.sleep(130)
        assert {check.name: check.state for check in said(siege).checks} == dict.fromkeys(NAMES, State.OK)

    after = ahead(story)
    assert changes(after) == [(True, ())]
    assert not told(after)


def test_a_guard_that_knows_only_one_release_is_learning_and_alarms_nobody() -> None:
    async def story(siege: Siege) -> None:
        await asyncio.sleep(PATIENCE_S * 3)
        assert said(siege).state is State.UNKNOWN
        assert "learning" in said(siege).of("target").sentence

    after = ahead(story)
    assert not changes(after)
    assert not told(after)


def test_an_image_that_is_gone_is_told_once_and_its_return_ends_the_alert() -> None:
    async def story(siege: Siege) -> None:
        await serving(siege)
        await asyncio.sleep(120)
        siege.stage.world.images.prune(GOOD.digest)
        await asyncio.sleep(PATIENCE_S - 60)
        assert not siege.guard.record.state.readiness.told
        await asyncio.sleep(PATIENCE_S * 2)
        siege.stage.world.images.push(GOOD)
        await asyncio.sleep(120)

    after = ahead(story)
    assert changes(after) == [(True, ()), (False, ("image",)), (False, ("image",)), (True, ())]
    page, resolve = told(after)
    assert "is gone from the registry" in page.summary
    assert "Build that commit again" in page.summary
    assert (page.severity, page.resolve) == ("error", False)
    assert (resolve.resolve, resolve.key) == (True, page.key)


def test_a_rollback_that_is_due_while_the_image_is_gone_starts_nothing() -> None:
    async def story(siege: Siege) -> None:
        await serving(siege)
        await siege.acts.adopt("alice", "it is fine", None)
        siege.stage.world.images.prune(FINE.digest)
        await siege.stage.deploy(BAD)
        await asyncio.sleep(180)

    after = ahead(story)
    assert not after.of(ev.GoalSet)
    assert not after.stage.updates("guard@example.com")
    assert any("is gone from the registry" in page for page in after.pages)


def test_a_token_that_lost_its_rights_is_told_with_what_it_may_not_and_nothing_is_started() -> None:
    async def story(siege: Siege) -> None:
        await serving(siege)
        await asyncio.sleep(90)
        siege.trouble.on("other", "list", "get", "lease", "lease get", "rows", "image", times=math.inf, status=401)
        await asyncio.sleep(PATIENCE_S + 200)
        assert "the token may not" in said(siege).of("rights").sentence
        siege.trouble.faults.clear()
        await asyncio.sleep(150)

    after = ahead(story)
    assert (False, ("image", "rights")) in changes(after)
    assert changes(after)[-1] == (True, ())
    assert any("the token may not" in page.summary or "could not be looked up" in page.summary for page in told(after))
    assert not after.of(ev.GoalSet)


def test_a_bad_release_under_a_lost_token_starts_nothing_and_pages() -> None:
    async def story(siege: Siege) -> None:
        await serving(siege)
        await siege.acts.adopt("alice", "it is fine", None)
        siege.trouble.on("other", "list", "get", "lease", "lease get", "rows", "image", times=math.inf, status=401)
        await siege.stage.deploy(BAD)
        await asyncio.sleep(400)

    after = ahead(story)
    assert not after.of(ev.GoalSet)
    assert any("platform has not answered" in page for page in after.pages)


def test_a_host_that_cannot_be_reached_is_told_and_named() -> None:
    async def story(siege: Siege) -> None:
        await serving(siege)
        lost = siege.stage.app.machines[siege.machines[0]]
        lost.host_status = "unreachable"
        lost.touch(siege.guard.clock.now())
        await asyncio.sleep(PATIENCE_S + 130)
        lost.host_status = "ok"
        lost.touch(siege.guard.clock.now())
        await asyncio.sleep(130)

    after = ahead(story)
    page, resolve = told(after)
    assert min(after.stage.app.machines) in page.summary
    assert "cannot be reached" in page.summary
    assert resolve.resolve


def test_a_machine_that_somebody_holds_without_deploying_is_told() -> None:
    async def story(siege: Siege) -> None:
        await serving(siege)
        machine = siege.machines[0]
        answer = await siege.call("POST", f"/v1/apps/{APP}/machines/{machine}/lease?ttl=3000", {})
        await asyncio.sleep(PATIENCE_S + 130)
        await siege.call("DELETE", f"/v1/apps/{APP}/machines/{machine}/lease", nonce=answer["data"]["nonce"])
        await asyncio.sleep(130)

    after = ahead(story)
    page, resolve = told(after)
    assert "ci@example.com holds machine" in page.summary
    assert "flyctl machine leases clear" in page.summary
    assert resolve.resolve


def test_a_deploy_however_long_is_no_drop() -> None:
    async def story(siege: Siege) -> None:
        await serving(siege)
        await siege.acts.adopt("alice", "it is fine", None)
        await siege.flyctl(NEXT, step_s=PATIENCE_S / 2)
        await asyncio.sleep(130)

    after = ahead(story)
    assert not told(after)
    assert changes(after)[-1] == (True, ())


def test_in_mode_observe_nothing_is_held_to_try_it_and_nobody_is_told() -> None:
    async def story(siege: Siege) -> None:
        await serving(siege)
        await asyncio.sleep(120)
        assert "was not tried" in said(siege).of("rights").sentence
        siege.stage.world.images.prune(GOOD.digest)
        await asyncio.sleep(PATIENCE_S * 2)
        assert not [kind for _, kind in siege.trouble.seen if kind in WRITES]

    after = ahead(story, replace(QUICK, mode=Mode.OBSERVE))
    assert (False, ("image",)) in changes(after)
    assert not told(after)


def test_in_mode_page_what_is_missing_informs_and_wakes_nobody() -> None:
    async def story(siege: Siege) -> None:
        await serving(siege)
        siege.stage.world.images.prune(GOOD.digest)
        await asyncio.sleep(PATIENCE_S + 130)

    (page,) = told(ahead(story, replace(QUICK, mode=Mode.PAGE)))
    assert page.severity == "warning"


def test_a_machine_is_held_for_a_moment_at_the_start_and_once_an_hour() -> None:
    async def story(siege: Siege) -> None:
        await serving(siege)
        await asyncio.sleep(3 * 3600)
        leases = [at for at, kind in siege.trouble.seen if kind == "lease"]
        assert 3 <= len(leases) <= 5
        assert [kind for _, kind in siege.trouble.seen].count("lease release") == len(leases)
        assert all(b - a >= 3600 for a, b in itertools.pairwise(leases))

    after = ahead(story)
    assert {k for k in ("update", "release_create") if after.writes(k)} == set()


def test_a_token_that_may_hold_no_machine_is_told_and_a_better_one_is_noticed_within_minutes() -> None:
    async def story(siege: Siege) -> None:
        siege.trouble.on("lease", times=math.inf, status=403)
        await siege.die_and_rise()  # at its start it tries
        await serving(siege)
        await asyncio.sleep(PATIENCE_S * 2)
        siege.trouble.faults.clear()
        await asyncio.sleep(200)

    after = ahead(story)
    page, resolve = told(after)
    assert "the token may not hold a machine" in page.summary
    assert "flyctl tokens create deploy" in page.summary
    assert resolve.resolve


def test_a_machine_that_was_not_given_back_keeps_no_rollback_from_its_end() -> None:
    """The guard asks whether it may hold a machine, and the answer to its giving back is lost as a rule fires."""

    async def story(siege: Siege) -> None:
        siege.trouble.on("lease release", lost=True)
        await serving(siege)
        await siege.acts.adopt("alice", "it is fine", None)
        await siege.stage.deploy(BAD)
        await siege.ended()

    after = ahead(story)
    assert after.outcomes == ["restored"]


def test_nothing_is_asked_while_a_rollback_is_under_way() -> None:
    async def story(siege: Siege) -> None:
        await serving(siege)
        await siege.acts.adopt("alice", "it is fine", None)
        await siege.stage.deploy(BAD)
        await siege.until(lambda: siege.guard.record.state.goal)
        assert siege.stage.ready is not None
        asked = siege.stage.ready._round_at
        await siege.until(lambda: siege.guard.record.state.goal is None)
        assert siege.stage.ready._round_at == asked

    assert ahead(story).outcomes == ["restored"]


def test_an_open_alert_survives_the_guard_and_is_ended_by_the_next_life() -> None:
    async def story(siege: Siege) -> None:
        await serving(siege)
        await asyncio.sleep(70)
        siege.stage.world.images.prune(GOOD.digest)
        await asyncio.sleep(PATIENCE_S + 130)
        await siege.die_and_rise()
        await asyncio.sleep(PATIENCE_S + 130)
        siege.stage.world.images.push(GOOD)
        await asyncio.sleep(130)

    page, resolve = told(ahead(story))
    assert not page.resolve
    assert resolve.resolve


def test_two_releases_in_a_row_that_nobody_saw_proven_leave_nothing_to_go_back_to() -> None:
    async def story(siege: Siege) -> None:
        await serving(siege)
        await siege.stage.deploy(NEXT)
        await asyncio.sleep(PATIENCE_S + 130)

    (page, *_) = told(ahead(story))
    assert "no release to go back to" in page.summary
    assert f"rollguard adopt {APP} VERSION" in page.summary


def test_a_tag_that_was_moved_is_shown_and_nobody_is_told() -> None:
    async def story(siege: Siege) -> None:
        await serving(siege)
        siege.stage.world.images.push(replace(NEXT, ref=GOOD.ref))
        siege.stage.world.images.push(replace(GOOD, ref=f"registry.fly.io/{APP}:elsewhere"))
        await asyncio.sleep(PATIENCE_S + 130)
        assert said(siege).of("tag").state is State.NOT
        assert said(siege).state is State.OK

    assert not told(ahead(story))


def test_the_policy_says_how_long_is_too_long() -> None:
    quick = replace(QUICK, rollback=replace(QUICK.rollback, not_ready_after_s=60.0))

    async def story(siege: Siege) -> None:
        await serving(siege)
        siege.stage.world.images.prune(GOOD.digest)
        await asyncio.sleep(190)

    assert len(told(ahead(story, quick))) == 1
    assert a_policy().rollback.not_ready_after_s == 300.0
