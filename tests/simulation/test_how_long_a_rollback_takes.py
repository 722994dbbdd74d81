"""How long a rollback takes at the shipped values: hardly longer than the waits it is told to keep."""

from __future__ import annotations

import pytest

from rollguard.core import events as ev
from tests.simulation.shop import POLICY, Books, Shop, image, open_shop
from tests.simulation.stage import GOOD

ROLLBACK = POLICY.rollback
OVERHEAD = 1.15
PROMISED_S = 300.0
"""The runbook: back within five minutes."""

DEAD = image("DEAD", error_share=1.0)
ILL = image("ILL", error_share=0.4)


def taken_back(candidate: object, machines: int) -> Books:
    async def story(shop: Shop) -> None:
        await shop.stage.deploy(candidate)  # type: ignore[arg-type]
        await shop.ended()

    return open_shop(story, machines=machines, images=(GOOD, DEAD, ILL), rps=60.0)


def detected_at(books: Books) -> float:
    return float(books.of(ev.IncidentOpened)[0].at)


def restored_at(books: Books) -> float:
    """When the last machine was well for as long as it must be."""
    return max(float(e.at) for e in books.of(ev.StepDone) if e.phase == "healthy")


def waves(books: Books) -> list[list[str]]:
    """Machines that were in flight together, in order."""
    found: list[list[str]] = []
    in_flight: set[str] = set()
    for step in books.of(ev.StepDone):
        if step.phase == "accepted":
            found = found if in_flight else [*found, []]
            found[-1].append(step.machine)
            in_flight.add(step.machine)
        elif step.phase == "healthy":
            in_flight.discard(step.machine)
    return found


def down_s(books: Books, machine: str) -> float:
    """Stop, boot and health by the platform's own record: from the update until every check passes."""
    (update,) = [w["at"] for w in books.writes("update") if w["machine"] == machine]
    passing = min(c.updated_at for c in books.stage.app.machines[machine].checks.values())
    return float(passing - update)


def least_s(books: Books) -> float:
    """What the policy and the platform demand together: per wave the slowest machine, stability and pause."""
    per_wave = [max(down_s(books, m) for m in wave) + ROLLBACK.stability_s for wave in waves(books)]
    proof = ROLLBACK.first_wait_s if books.of(ev.FirstJudged) else 0.0
    return sum(per_wave) + ROLLBACK.pause_between_s * (len(per_wave) - 1) + proof


@pytest.mark.parametrize("machines", [4, 10])
@pytest.mark.parametrize("candidate", [DEAD, ILL], ids=["dead", "ill"])
def test_from_detection_until_all_are_restored_less_than_five_minutes_pass(candidate: object, machines: int) -> None:
    books = taken_back(candidate, machines)
    assert books.stage.digests == {GOOD.digest}
    assert len(books.of(ev.FirstJudged)) == (candidate is ILL)
    assert restored_at(books) - detected_at(books) < PROMISED_S


@pytest.mark.parametrize("candidate", [DEAD, ILL], ids=["dead", "ill"])
def test_ten_machines_take_hardly_longer_than_their_waits(candidate: object) -> None:
    books = taken_back(candidate, 10)
    assert [len(wave) for wave in waves(books)] == [1, 2, 2, 2, 2, 1]
    assert restored_at(books) - books.of(ev.GoalSet)[0].at <= OVERHEAD * least_s(books)
