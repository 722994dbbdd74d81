"""What the platform sees by itself: who broke the floor, who wrote what."""

from __future__ import annotations

from rollguard.localfly.local_api import view
from tests.localfly.simulated import GOOD, NEXT, Fly, at, first, live, settled
from tests.virtual_time import wall_clock


def test_one_machine_of_four_at_a_time_keeps_the_floor() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(machines=4)
        await settled(app)
        for machine in list(app.machines.values()):
            await fly.update(machine)
            await settled(app)
        assert not app.ledger.violations
        assert {machine.image.digest for machine in app.present()} == {NEXT.digest}

    live(story)


def test_a_second_machine_down_before_the_first_is_healthy_again_breaks_the_floor() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(machines=4)
        await settled(app)
        one, two, *_ = app.machines.values()
        await fly.update(one)
        now = wall_clock()
        await fly.call("POST", at(two, "/stop"), {}, token="ci-token")
        assert [violation.to_json() for violation in app.ledger.violations] == [
            {"at": now, "owner": "ci@example.com", "machine": two.id, "remaining": 2, "floor": 3}
        ]

    live(story)


def test_a_machine_that_serves_nobody_may_go_down_at_any_time() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(machines=2)
        await settled(app)
        sick = first(app)
        fly.world.check_result(app.name, sick.id, "servicecheck-00-http-3000", "critical", "500", wall_clock())
        assert (await fly.update(sick)).status == 200
        assert not app.ledger.violations

    live(story)


def test_taking_a_machine_out_of_routing_counts_as_taking_it_down() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy(machines=4)
        await settled(app)
        other = list(app.machines.values())[1]
        await fly.call("POST", at(other, "/cordon"))
        assert not app.ledger.violations, "the floor of four machines at 75 % is three"
        await fly.call("POST", at(first(app), "/cordon"))
        assert len(app.ledger.violations) == 1
        assert not first(app).routable
        await fly.call("POST", at(first(app), "/uncordon"))
        assert first(app).routable

    live(story)


def test_writes_are_counted_by_owner_and_kind_and_reading_is_none() -> None:
    async def story(fly: Fly) -> None:
        app = fly.deploy()
        await settled(app)
        machine = first(app)
        for path in ("/v1/apps/hotdash/machines", at(machine), "/api/v1/apps/hotdash/releases"):
            await fly.get(path)
        assert view(app)["first_write_at"] == {"guard@example.com": None, "ci@example.com": None}
        now = wall_clock()
        await fly.update(machine)
        await fly.update(machine)  # refused: the first is still under way
        release = {"app_name": "hotdash", "image": GOOD.ref, "definition": {"app": "hotdash"}}
        await fly.call("POST", "/api/v1/releases", release, token="ci-token")
        assert view(app)["writes"] == {
            "guard@example.com": {"update": 1, "refused": 1},
            "ci@example.com": {"release_create": 1},
        }
        assert view(app)["first_write_at"]["guard@example.com"] == now

    live(story)
