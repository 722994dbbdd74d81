"""A deploy that begins while the guard changes a machine leaves that machine stopped; somebody must be told.

The real flyctl decides by its list which machines run, before it waits for the guard's lease.
"""

from __future__ import annotations

from tests.simulation.siege import Siege, besiege
from tests.simulation.stage import BAD, FINE


def test_a_machine_that_a_deploy_took_for_a_sleeper_in_the_guards_hands_is_named_with_how_to_start_it() -> None:
    left: list[str] = []

    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: siege.updated)
        await siege.until(lambda: siege.stage.app.machines[next(iter(siege.updated))].state == "replacing")
        await siege.flyctl(FINE)
        left.extend(m.id for m in siege.stage.app.present() if m.state == "stopped")

    after = besiege(story, settle_s=90.0)
    assert after.outcomes == ["yielded"]
    assert len(left) == 1, "flyctl does so"
    (page,) = [page for page in after.pages if "left it stopped" in page]
    assert f"flyctl machine start {left[0]}" in page


def test_a_machine_that_a_deploy_made_in_its_place_and_did_not_start_is_named_too() -> None:
    made: list[str] = []

    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: siege.updated)
        concerned = next(iter(siege.updated))
        await siege.until(lambda: siege.stage.app.machines[concerned].state == "replacing")
        await siege.flyctl(FINE)
        config = dict(siege.stage.app.machines[concerned].config)
        machines = "/v1/apps/hotdash-production/machines"
        await siege.call("DELETE", f"{machines}/{concerned}?kill=true")
        machine = await siege.call("POST", machines, {"config": config, "region": "ord", "skip_launch": True})
        made.extend([concerned, machine["id"]])

    after = besiege(story, settle_s=90.0)
    assert after.outcomes == ["yielded"]
    gone, new = made
    (page,) = [page for page in after.pages if "left it stopped" in page]
    assert f"machine {gone} served before; somebody's deploy made {new} in its place" in page
    assert f"flyctl machine start {new}" in page


def test_a_machine_that_went_to_sleep_by_itself_is_nobodys_doing() -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        await siege.ended()
        await siege.machine(siege.machines[0], "stop")

    after = besiege(story, settle_s=90.0)
    assert after.outcomes == ["restored"]
    assert not [page for page in after.pages if "left it" in page]
