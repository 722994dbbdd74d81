"""A person's yes: bound to what was asked, for one use and a short time."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rollguard.core import events as ev
from rollguard.core.model import Mode
from rollguard.errors import Refused
from tests.simulation.shop import BAD, FINE, NEXT, POLICY, Books, Shop, open_shop
from tests.simulation.stage import GOOD

PAGING = replace(POLICY, mode=Mode.PAGE)


async def bad_release(shop: Shop) -> None:
    await shop.flyctl(BAD)
    await shop.wait(1.5)


def ends(books: Books) -> list[str]:
    return [e.outcome for e in books.of(ev.ApprovalEnded)]


def test_a_guard_that_may_only_page_asks_and_a_yes_rolls_back_once() -> None:
    async def story(shop: Shop) -> None:
        await bad_release(shop)
        assert not shop.stage.updates("guard@example.com")
        await shop.consent.approve("ann", "agreed")
        await shop.wait(3)
        with pytest.raises(Refused, match="nothing waits for an approval"):
            await shop.consent.approve("ann", "again")

    books = open_shop(story, policy=PAGING)
    books.takes_back(BAD)
    assert ends(books) == ["approved"]
    assert books.of(ev.GoalSet)[0].by == "ann"


def test_nobody_answers_and_nothing_happens_and_a_second_page_says_so() -> None:
    async def story(shop: Shop) -> None:
        await bad_release(shop)
        await shop.wait(16)

    books = open_shop(story, policy=PAGING)
    assert ends(books) == ["expired"]
    assert not books.wrote
    assert "nobody answered in time" in books.pages[-1]


def test_after_the_time_a_yes_is_too_late() -> None:
    async def story(shop: Shop) -> None:
        await bad_release(shop)
        await shop.wait(15.5)
        with pytest.raises(Refused):
            await shop.consent.approve("ann", "better late than never")

    assert not open_shop(story, policy=PAGING).wrote


def test_a_no_is_told_and_nothing_is_asked_again() -> None:
    async def story(shop: Shop) -> None:
        await bad_release(shop)
        await shop.consent.veto("ann", "a hotfix is on its way")
        await shop.wait(5)
        with pytest.raises(Refused):
            await shop.consent.approve("bob", "no, do it")

    books = open_shop(story, policy=PAGING)
    assert ends(books) == ["vetoed"]
    assert not books.wrote
    assert len(books.of(ev.ApprovalAsked)) == 1


def test_another_release_makes_the_question_void() -> None:
    async def story(shop: Shop) -> None:
        await bad_release(shop)
        await shop.flyctl(NEXT)
        with pytest.raises(Refused):
            await shop.consent.approve("ann", "agreed")
        await shop.wait(3)

    books = open_shop(story, policy=PAGING)
    assert not books.wrote
    assert books.stage.digests == {NEXT.digest}


def test_a_recovery_makes_the_question_void() -> None:
    async def story(shop: Shop) -> None:
        await shop.flyctl(FINE)
        await shop.wait(1)
        shop.town.app_answer = lambda path, machine: (500, {}, b"")
        await shop.wait(1)
        shop.town.app_answer = lambda path, machine: None
        await shop.wait(3)
        with pytest.raises(Refused, match=r"recovered|nothing waits"):
            await shop.consent.approve("ann", "agreed")

    books = open_shop(story, policy=PAGING)
    assert ends(books) == ["void"]
    assert not books.wrote


def test_another_policy_makes_the_question_void() -> None:
    async def story(shop: Shop) -> None:
        await bad_release(shop)
        shop.guard.obey(replace(PAGING, hash="another"))
        with pytest.raises(Refused, match="another policy"):
            await shop.consent.approve("ann", "agreed")
        await shop.wait(1)

    books = open_shop(story, policy=PAGING)
    assert "void" in ends(books)
    assert not books.wrote


def test_on_use_the_interlocks_are_asked_anew_and_the_question_stays_open() -> None:
    async def story(shop: Shop) -> None:
        await bad_release(shop)
        await shop.acts.pause("bob", "maintenance")
        with pytest.raises(Refused, match="paused by bob"):
            await shop.consent.approve("ann", "agreed")
        await shop.acts.resume("bob", "done")
        await shop.consent.approve("ann", "agreed")
        await shop.wait(3)

    open_shop(story, policy=PAGING).takes_back(BAD)


def test_an_observing_guard_asks_nobody() -> None:
    books = open_shop(bad_release, policy=replace(POLICY, mode=Mode.OBSERVE))
    assert not books.of(ev.ApprovalAsked)
    assert not books.pages


def test_the_page_says_how_to_say_yes_and_until_when() -> None:
    books = open_shop(bad_release, policy=PAGING)
    (asked,) = books.of(ev.ApprovalAsked)
    assert asked.target == GOOD.digest
    assert asked.until - asked.at == PAGING.approval_s
