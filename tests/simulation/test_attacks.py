"""Attacks: whatever happens between a bad release and its end, the promises hold."""

from __future__ import annotations

import asyncio
import math

import pytest

from rollguard.core import events as ev
from tests.simulation.siege import Siege, besiege
from tests.simulation.stage import BAD, GOOD
from tests.simulation.trouble import KINDS, WRITES


@pytest.mark.parametrize("takes_effect", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("kind", KINDS)
def test_a_lost_answer_of_any_kind_changes_nothing_about_the_end(kind: str, times: int, takes_effect: bool) -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        siege.trouble.on(kind, times=times, lost=True, takes_effect=takes_effect)
        await siege.ended()

    after = besiege(story)
    assert after.stage.digests == {GOOD.digest}, after.pages
    assert after.outcomes == ["restored"]


@pytest.mark.parametrize("phase", [k for k in KINDS if k != "definition"])
@pytest.mark.parametrize("for_s", [60.0, 600.0])
def test_an_outage_that_begins_anywhere_ends_in_the_target_or_in_a_page(phase: str, for_s: float) -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(BAD)
        await siege.until(lambda: siege.guard.record.state.goal)

        async def begin() -> None:
            siege.trouble.outage(for_s)

        siege.trouble.on(phase, act=begin, lost=True, takes_effect=phase in WRITES)
        await siege.ended()

    after = besiege(story, settle_s=120)
    assert after.stage.digests == {GOOD.digest}, after.pages
