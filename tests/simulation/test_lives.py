"""What one life of the guard leaves to the next besides a rollback."""

from __future__ import annotations

import asyncio

from rollguard.core import events as ev
from tests.simulation.stage import BAD, Stage
from tests.virtual_time import run


def test_a_rule_that_fired_when_the_guard_died_is_cleared_in_the_record_by_the_next_life() -> None:
    async def scene() -> list[ev.Event]:
        stage = Stage()
        async with stage.host:
            await asyncio.sleep(30)
            life, _guard, start = stage.born()
            task = start()
            await asyncio.sleep(15)
            await stage.deploy(BAD)  # nothing is proven: the guard pages and leaves it
            await asyncio.sleep(60)
            life.alive = False
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert (await stage.state()).rules == {"pages-fail": "firing"}
            await stage.deploy(stage.good)
            await asyncio.sleep(30)
            _life, _guard, start = stage.born()
            task = start()
            await asyncio.sleep(60)
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            assert (await stage.state()).rules == {"pages-fail": "clear"}
            return await stage.history()

    closed = [e for e in run(scene()) if isinstance(e, ev.IncidentClosed)]
    assert len(closed) == 1
