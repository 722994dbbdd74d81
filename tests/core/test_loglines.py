"""Log lines by digest: a line belongs to what its machine ran when it was written."""

from __future__ import annotations

from rollguard.core.fleet import Tenure, View
from rollguard.core.loglines import BEFORE, by_digest, sentence
from rollguard.core.model import GapKind, Reading
from rollguard.core.window import Windows

NOON = 1_787_313_600.0
NEW, OLD = "sha256:" + "1" * 64, "sha256:" + "2" * 64


def tenure(machine: str, digest: str, digest_since: float) -> Tenure:
    return Tenure(
        machine=machine,
        instance_id="i",
        digest=digest,
        since=digest_since,
        digest_since=digest_since,
        started=True,
        started_at=digest_since,
    )


def read(machine: str, since: float, until: float) -> Reading:
    return Reading("errors.lines", machine, NOON, value=0.0, since=NOON + since, until=NOON + until)


def wrote(machine: str, lines: int, at: float, words: str = "error: boom") -> Reading:
    return Reading(
        "errors.lines", machine, NOON, value=float(lines), since=NOON + at, until=NOON + at + 0.5, detail=words
    )


VIEW = View(
    candidate=NEW,
    cohort=(tenure("m1", NEW, NOON - 120), tenure("m2", NEW, NOON - 60)),
    others=(tenure("m3", OLD, NOON - 9000),),
    whole=False,
)


def windows(*readings: Reading) -> Windows:
    filled = Windows(3600.0)
    filled.add(readings)
    return filled


def test_a_line_from_before_the_machines_update_is_not_the_new_images() -> None:
    seen = windows(
        wrote("m1", 30, -100, "error: new"),
        wrote("m1", 7, -121, "error: as it went down"),
        wrote("m2", 12, -59.5, "error: newest"),
        wrote("m3", 1, -30, "error: old"),
        wrote("m3", 99, -301, "error: too long ago"),
        *(read(machine, -300, 0) for machine in ("m1", "m2", "m3")),
    )
    new, old, before = by_digest(seen, VIEW, "errors", NOON, 300.0)
    assert (new.digest, new.machines, new.lines, new.newest) == (NEW, 2, 42, "error: newest")
    assert (old.digest, old.machines, old.lines, old.newest) == (OLD, 1, 1, "error: old")
    assert (before.digest, before.machines, before.lines) == (BEFORE, 2, 7)
    assert new.per_machine_minute == 42 / 3
    assert old.per_machine_minute == 1 / 5
    assert sentence((new, old, before), VIEW, "errors", 300.0) == (
        "errors lines in 5 m: 42 on the new image (2 machines, 14 a minute each), 1 on the old one (1 machine, "
        "0.2 a minute each), 7 before the machines' updates; newest: 'error: newest'"
    )


def test_the_newest_line_quoted_is_one_of_the_new_image_if_it_wrote_any() -> None:
    both = by_digest(windows(wrote("m1", 1, -50, "new"), wrote("m3", 1, -1, "old")), VIEW, "errors", NOON, 300.0)
    assert sentence(both, VIEW, "errors", 300.0).endswith("newest: 'new'")
    one = by_digest(windows(wrote("m3", 1, -1, "old")), VIEW, "errors", NOON, 300.0)
    assert sentence(one, VIEW, "errors", 300.0) == (
        "errors lines in 5 m: 0 on the new image (2 machines), 1 on the old one (1 machine); newest: 'old'"
    )


def test_no_line_in_a_log_that_was_read_is_news_and_a_log_not_read_is_none() -> None:
    quiet = by_digest(windows(read("m1", -90, 0)), VIEW, "errors", NOON, 300.0)
    assert quiet[0].per_machine_minute == 0.0
    assert sentence(quiet, VIEW, "errors", 300.0) == (
        "errors lines in 5 m: 0 on the new image (2 machines), 0 on the old one (1 machine)"
    )
    gap = Reading("errors.lines", "m1", NOON, gap=GapKind.NO_ANSWER, detail="HTTP 503")
    blind = by_digest(windows(gap), VIEW, "errors", NOON, 300.0)
    assert [(d.lines, d.per_machine_minute) for d in blind] == [(0, None), (0, None)]
    assert sentence(blind, VIEW, "errors", 300.0) == ""


def test_a_fleet_on_one_image_has_no_new_one() -> None:
    view = View(candidate=NEW, cohort=(tenure("m1", NEW, NOON - 9000),))
    some = by_digest(windows(wrote("m1", 1, -1, "x\x1b[2J\ny")), view, "errors", NOON, 60.0)
    assert sentence(some, view, "errors", 60.0) == "errors lines in 1 m: 1 on the image (1 machine); newest: 'x [2J y'"


def test_several_old_images_are_told_apart_by_their_digests() -> None:
    view = View(candidate=NEW, cohort=(), others=(tenure("m1", OLD, 0.0), tenure("m2", "sha256:" + "3" * 64, 0.0)))
    some = by_digest(windows(wrote("m1", 2, -1), wrote("m2", 1, -2)), view, "errors", NOON, 60.0)
    assert sentence(some, view, "errors", 60.0) == (
        "errors lines in 1 m: 2 on 222222222222 (1 machine), 1 on 333333333333 (1 machine); newest: 'error: boom'"
    )
