"""Who is missing in a list is called by name; only who is said to be gone is gone."""

from __future__ import annotations

from typing import Any, cast

import pytest

from rollguard.core.model import Machine, Snapshot
from rollguard.engine.roll_call import RollCall
from rollguard.errors import Gone, Refused
from rollguard.ports import Platform
from tests.builders import a_machine, a_snapshot


class Lists:
    """A platform whose list leaves out ``m2``, and that answers so when it is asked for it by name."""

    def __init__(self, answer: Machine | Exception) -> None:
        self.answer = answer

    async def snapshot(self) -> Snapshot:
        return a_snapshot(a_machine("m1"))

    async def machine(self, machine: str) -> Machine:
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def seen(answer: Any) -> list[str]:
    snapshot = await RollCall(cast("Platform", Lists(answer))).snapshot({"m1", "m2"})
    return [machine.id for machine in snapshot.machines]


async def test_a_machine_that_the_list_leaves_out_is_there_if_it_answers_to_its_name() -> None:
    assert await seen(a_machine("m2")) == ["m1", "m2"]


async def test_a_machine_that_nobody_knows_is_gone() -> None:
    assert await seen(Gone("HTTP 404: machine not found")) == ["m1"]


async def test_a_machine_that_we_may_not_see_is_not_gone() -> None:
    with pytest.raises(Refused, match="403"):
        await seen(Refused("HTTP 403: unauthorized"))
