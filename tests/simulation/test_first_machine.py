"""First one, then the rest: what the first machine must show, and what happens when it does not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from rollguard.core import events as ev
from rollguard.core.policy import Policy, Rollback
from rollguard.core.signals import HttpSignal, Scope
from rollguard.localfly.messages import ApiRequest, ApiResponse
from tests.simulation.shop import BAD, FINE, PART, POLICY, Books, Shop, image, open_shop
from tests.simulation.stage import CHECK, GOOD, GUARD

FLAKY = image("FLAKY", error_share=0.3)


def results(books: Books) -> list[str]:
    return [e.result for e in books.of(ev.FirstJudged)]


def outcomes(books: Books) -> list[str]:
    return [e.outcome for e in books.of(ev.GoalEnded)]


def edge_only(policy: Policy = POLICY, **rollback: object) -> Policy:
    """No signal tells one machine from another."""
    edge = frozenset({Scope.EDGE})
    signals = tuple(replace(s, scopes=edge) if isinstance(s, HttpSignal) else s for s in policy.signals)
    rules = tuple(r for r in policy.rules if r.name in {"users-see-errors", "corruption"})
    settings = replace(policy.rollback, **rollback)  # type: ignore[arg-type]
    return replace(policy, signals=signals, rules=rules, rollback=settings)


def test_a_share_of_errors_is_proven_on_the_first_machine_before_the_rest_goes_back() -> None:
    async def story(shop: Shop) -> None:
        await shop.flyctl(FLAKY)
        await shop.wait(5)

    books = open_shop(story, images=(GOOD, FLAKY))
    books.takes_back(FLAKY)
    assert results(books) == ["better"]
    judged = books.of(ev.FirstJudged)[0]
    healthy = [e for e in books.of(ev.StepDone) if e.phase == "healthy"]
    assert [e.machine for e in healthy if e.at <= judged.at] == list(judged.machines), "nobody else before the proof"


def test_where_nobody_is_served_health_is_proof_enough() -> None:
    async def story(shop: Shop) -> None:
        await shop.flyctl(BAD)
        await shop.wait(4)

    books = open_shop(story)
    books.takes_back(BAD)
    assert results(books) == []


def test_crash_loops_and_reports_need_no_proof() -> None:
    crashing = image("CRASHING", crash_after_s=8.0)

    async def crash(shop: Shop) -> None:
        await shop.flyctl(crashing)
        await shop.wait(6)

    async def report(shop: Shop) -> None:
        await shop.flyctl(FINE)
        await shop.wait(2)
        await shop.acts.report("ann", "orders are gone", "data-corruption", None)
        await shop.wait(4)

    for story, candidate, images in ((crash, crashing, (GOOD, crashing)), (report, FINE, (GOOD, FINE))):
        books = open_shop(story, images=images)
        books.takes_back(candidate)
        assert results(books) == []


def outage(then: Callable[[Shop], object]) -> Callable[[Shop], object]:
    """Everything fails alike from a while after the deploy on, whatever image runs: it was never the release."""

    async def story(shop: Shop) -> None:
        await shop.flyctl(FINE)
        await shop.wait(2)
        await then(shop)  # type: ignore[misc]

    return story


def test_an_outage_that_the_old_image_does_not_mend_stops_at_the_first_machine() -> None:
    async def everything_fails(shop: Shop) -> None:
        for _ in range(200):
            for machine in shop.machines:
                if shop.stage.host.app_of(machine) is not None:
                    shop.town.mood(machine, error_share=0.6)
            await asyncio.sleep(2)

    books = open_shop(outage(everything_fails))  # type: ignore[arg-type]
    assert results(books) == ["no better"], books.pages
    assert outcomes(books) == ["unproven"]
    assert len(books.wrote) == 1, "one machine, and it stays on the old image"
    last = books.pages[-1]
    assert "not improved by the old image while the rest run the new one" in last
    assert "not the cause" not in last


_count = 0


def _sometimes(path: str) -> tuple[int, dict[str, str], bytes] | None:
    global _count
    _count += 1
    return (500, {}, b"no database") if _count % 5 else None


def test_a_blip_that_is_over_before_the_rest_went_back_leaves_the_rest_alone() -> None:
    async def blip(shop: Shop) -> None:
        shop.town.app_answer = lambda path, machine: None if path.startswith("/health") else _sometimes(path)
        await shop.wait(0.6)
        shop.town.app_answer = lambda path, machine: None
        await shop.wait(6)

    books = open_shop(outage(blip))  # type: ignore[arg-type]
    assert results(books) in (["recovered"], ["cannot tell"], []), books.pages
    assert len(books.wrote) <= 1


# -- cannot tell -------------------------------------------------------------------------------------------------------


async def flaky_then_silent(shop: Shop) -> None:
    """A bad release whose metrics fall silent once the first machine is back: nothing can be told any more."""
    await shop.flyctl(FLAKY)
    await until(shop, lambda: bool(shop.stage.updates(GUARD)))
    shop.town.lie = lambda page: None
    await shop.wait(5)


async def until(shop: Shop, happened: Callable[[], bool]) -> None:
    for _ in range(600):
        if happened():
            return
        await asyncio.sleep(1)
    raise AssertionError(shop.stage.updates(GUARD))


def test_what_cannot_be_told_is_held_and_asked_and_a_yes_takes_the_rest_back() -> None:
    async def story(shop: Shop) -> None:
        await flaky_then_silent(shop)
        assert len(shop.stage.updates(GUARD)) == 1
        shop.town.lie = None
        await shop.consent.approve("ann", "I looked: it is the release")
        await shop.wait(4)

    books = open_shop(story, images=(GOOD, FLAKY))
    assert results(books) == ["cannot tell"]
    assert outcomes(books) == ["unclear", "restored"]
    assert books.stage.digests == {GOOD.digest}
    assert [e.trigger for e in books.of(ev.GoalSet)] == ["absolute rule", "approved"]


def test_go_on_when_unclear_is_the_teams_choice() -> None:
    policy = replace(POLICY, rollback=replace(POLICY.rollback, go_on_unclear=True))
    books = open_shop(flaky_then_silent, policy=policy, images=(GOOD, FLAKY))
    books.takes_back(FLAKY)
    assert results(books) == ["cannot tell"]


# -- planned beforehand ------------------------------------------------------------------------------------------------

HALF = image("HALF", error_share=0.5)


def test_where_nothing_could_be_told_nobody_is_restarted_and_a_yes_takes_all_back() -> None:
    async def story(shop: Shop) -> None:
        await shop.flyctl(HALF)
        await shop.wait(3)
        assert not shop.stage.updates(GUARD)
        await shop.consent.approve("ann", "I looked: it is the release")
        await shop.wait(4)

    books = open_shop(story, policy=edge_only(), images=(GOOD, HALF))
    books.takes_back(HALF)
    assert results(books) == []
    asked = books.of(ev.Decided)[0]
    assert asked.decision == "page"
    assert [r.partition(":")[0] for r in asked.refusals] == ["first machine"]
    assert "no rule that fails tells one machine from another" in asked.sentence
    assert len([e for e in books.of(ev.Decided) if e.decision == "page"]) == 1, "it is said once"


def test_who_goes_on_when_unclear_goes_on_without_an_experiment_that_could_tell_nothing() -> None:
    async def story(shop: Shop) -> None:
        await shop.flyctl(HALF)
        await shop.wait(5)

    books = open_shop(story, policy=edge_only(go_on_unclear=True), images=(GOOD, HALF))
    books.takes_back(HALF)
    assert results(books) == []
    assert not books.of(ev.GoalSet)[0].prove
    assert any("no machine goes first to prove it" in w for e in books.of(ev.Decided) for w in e.warnings)


def test_a_guard_that_holds_for_the_plan_asks_the_platform_no_more_often_than_before() -> None:
    looks: list[int] = []

    async def story(shop: Shop) -> None:
        handle = shop.stage.api.handle

        async def counted(request: ApiRequest) -> ApiResponse:
            looks[-1] += request.method == "GET" and request.path.endswith("/machines")
            return await handle(request)

        shop.stage.api.handle = counted  # type: ignore[method-assign]
        looks.append(0)
        await shop.wait(2)
        looks.append(0)
        await shop.flyctl(HALF)
        await shop.wait(2)
        looks.append(0)
        await shop.wait(2)

    books = open_shop(story, policy=edge_only(), images=(GOOD, HALF), calm_s=0.0)
    assert not books.rolled_back
    calm, _, held = looks
    assert 0 < held <= calm + 1


def test_thin_traffic_stretches_the_wait_and_the_journal_says_to_what() -> None:
    async def story(shop: Shop) -> None:
        await shop.flyctl(FLAKY)
        await shop.wait(8)

    policy = replace(POLICY, rollback=replace(POLICY.rollback, first_wait_auto=True))
    books = open_shop(story, policy=policy, images=(GOOD, FLAKY), rps=3.0)
    books.takes_back(FLAKY)
    assert results(books) == ["better"]
    wait_s = books.of(ev.GoalSet)[0].first_wait_s
    assert wait_s is not None
    assert 90.0 < wait_s <= 240.0


def _is_healthy(event: ev.Event) -> bool:
    return isinstance(event, ev.StepDone) and event.phase == "healthy"


# -- worse, recovered --------------------------------------------------------------------------------------------------


def test_an_old_image_that_is_unhealthy_beside_the_new_one_is_worse_and_stops() -> None:
    async def story(shop: Shop) -> None:
        await shop.flyctl(FLAKY)
        await until(shop, lambda: any(_is_healthy(e.event) for e in shop.guard.record.recent))
        (first,) = shop.stage.updates(GUARD)
        shop.town.mood(first, broken_page="/products")
        await shop.wait(6)

    books = open_shop(story, images=(GOOD, FLAKY), check=CHECK | {"path": "/products", "interval": "5s"})
    assert results(books) == ["worse"], books.pages
    assert outcomes(books) == ["unproven"]
    assert len(books.wrote) == 1


def test_peers_that_got_well_by_themselves_while_one_was_away_stop_the_rollback() -> None:
    async def over_at_the_first_machine(shop: Shop) -> None:
        well = False
        while not well:
            well = bool(shop.stage.updates(GUARD))
            for machine in shop.machines:
                if shop.stage.host.app_of(machine) is not None:
                    shop.town.mood(machine, error_share=0.0 if well else 0.4)
            await asyncio.sleep(1)
        await shop.wait(6)

    books = open_shop(outage(over_at_the_first_machine))  # type: ignore[arg-type]
    assert results(books) == ["recovered"], books.pages
    assert outcomes(books) == ["unproven"]
    assert len(books.wrote) == 1
    assert "got well by themselves" in books.pages[-1]


def test_a_page_that_only_machines_show_broken_is_proven_by_them() -> None:
    async def story(shop: Shop) -> None:
        await shop.flyctl(PART)
        await shop.wait(5)

    books = open_shop(story)
    books.takes_back(PART)
    assert results(books) == ["better"]


def test_the_defaults_are_those_of_the_law() -> None:
    settings = Rollback()
    assert (settings.first, settings.first_wait_s, settings.go_on_unclear) == (1, 90.0, False)
