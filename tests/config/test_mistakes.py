"""Every mistake is named at its place, in words that say what to write instead. The cases are in ``mistakes*.txt``."""

from __future__ import annotations

from pathlib import Path

import pytest

from rollguard.config.problems import PROBLEMS_MAX
from rollguard.config.quantity import duration_text
from tests.config.policies import FULL, GOOD, RULES, complaints, edited, load

ENVIRON = {"SET": "s3cret!", "URL": "gopher://s3cret"}


def _cases(file: str) -> list[tuple[str, str, list[str]]]:
    text = Path(__file__).with_name(file).read_text(encoding="utf-8")
    cases = []
    for block in text.strip("\n").split("\n\n")[1:]:
        lines = block.split("\n")
        old = "".join(f"{line[2:]}\n" for line in lines if line.startswith("- "))
        new = "".join(f"{line[2:]}\n" for line in lines if line.startswith("+ "))
        cases.append((old, new, [line for line in lines if not line.startswith(("- ", "+ "))]))
    return cases


FILES = ((GOOD, "mistakes.txt"), (FULL, "mistakes_full.txt"), (RULES, "mistakes_rules.txt"))
CASES = [(text, *case) for text, file in FILES for case in _cases(file)]


@pytest.mark.parametrize("text, old, new, message", CASES, ids=range(len(CASES)))
def test_a_mistake_is_shown_with_its_line_and_a_caret(text: str, old: str, new: str, message: list[str]) -> None:
    said = complaints(edited(old, new, text), ENVIRON)
    assert message, "a mistake must be complained about"
    assert said == message


def test_there_is_nothing_to_say_about_a_sound_policy() -> None:
    assert complaints(GOOD) == []
    assert complaints(FULL) == []
    assert complaints(RULES) == []
    assert len(CASES) > 250


def test_a_broken_journey_is_no_reason_to_complain_about_rules_that_use_it() -> None:
    said = complaints(FULL.replace("timeout: 8s", "timeout: 8"))
    assert said[0] == "p.yaml:24:16: 8 has no unit; write 8s, 8m or 1h"
    assert len(said) == 3


@pytest.mark.parametrize(
    "old, new, message",
    [
        (
            "comparison: {block: 10m, blocks: 12, settle: 1m}\n",
            "",
            "p.yaml:76:10: comparison.settle is as long as interlocks.watch: nothing would ever be compared",
        ),
        (
            "comparison: {block: 10m, blocks: 12, settle: 1m}\n",
            "comparison: {blocks: 12}\n",
            "p.yaml:76:10: comparison.settle is as long as interlocks.watch: nothing would ever be compared",
        ),
        (
            "settle: 1m",
            "settle: 20s",
            None,
        ),
    ],
)
def test_where_only_one_of_two_lengths_is_written_that_one_is_pointed_at(
    old: str, new: str, message: str | None
) -> None:
    said = complaints(edited(old, new, FULL.replace("watch: 2h", "watch: 30s")))
    assert said[:1] == ([] if message is None else [message])


def test_readings_come_more_often_than_blocks() -> None:
    rare = FULL.replace("every: 15s", "every: 6m", 1).replace("over: 2m", "over: 7m")
    rare = rare.replace("max_age: 90s", "max_age: 7m").replace("verify:\n", "verify:\n  settle: 7m\n")
    said = complaints(rare.replace("block: 10m, ", ""))
    assert said[0] == "p.yaml:20:12: comparison.block is shorter than the time between two readings of 'store'"
    assert complaints(rare) == []


def test_every_mistake_is_reported_at_once_in_the_order_of_the_file() -> None:
    text = GOOD.replace("every: 5s", "every: 5").replace("signal: health", "signal: helth")
    text = (
        text.replace("above: 5%", "above: 5").replace("then: page", "then: pge").replace("version: 1", "version: one")
    )
    assert [line for line in complaints(text) if line.startswith("p.yaml:")] == [
        "p.yaml:1:10: must be 1",
        "p.yaml:6:12: 5 has no unit; write 5s, 5m or 1h",
        "p.yaml:27:13: there is no signal 'helth'; did you mean 'health'?",
        "p.yaml:33:12: 5 has no unit; write 5%",
        "p.yaml:40:11: must be page or rollback; did you mean 'page'?",
        "p.yaml:46:11: must be page or rollback; did you mean 'page'?",
    ]


def test_a_broken_signal_is_no_reason_to_complain_about_rules_that_use_it() -> None:
    said = complaints(edited("every: 5s", "every: 5"))
    assert [line for line in said if line.startswith("p.yaml:")] == ["p.yaml:6:12: 5 has no unit; write 5s, 5m or 1h"]


EDGE_ONLY = edited("timeout: 2s", "scope: [edge]")


@pytest.mark.parametrize(
    "text, message",
    [
        (
            EDGE_ONLY.replace("failing: 3 in a row", "failing: 3 in a row\n    on: {machines: 50%}"),
            "p.yaml:29:20: the signal asks only the edge, so no machine can agree",
        ),
        (
            GOOD.replace("  machines:", "  edge:\n    scrape: {url: 'https://a.example', machine_label: none, "
            "counters: {all: x}}\n    every: 15s\n  machines:").replace("/ traffic.requests", "/ edge.all"),
            "p.yaml:34:12: one counter is of the machines, the other of the edge",
        ),
    ],
)  # fmt: skip
def test_machines_and_the_edge_are_not_mixed_up(text: str, message: str) -> None:
    assert complaints(text)[0] == message


@pytest.mark.parametrize(
    "text, message",
    [
        ("", ["p.yaml:1:1: the file is empty"]),
        ("# only a comment\n", ["p.yaml:1:1: the file is empty", "# only a comment", "^"]),
        ("rules", ["p.yaml:1:1: a policy is a mapping: version, target, signals, rules, …", "rules", "^"]),
        ("- a\n", ["p.yaml:1:1: a policy is a mapping: version, target, signals, rules, …", "- a", "^"]),
        ("null", ["p.yaml:1:1: a policy is a mapping: version, target, signals, rules, …", "null", "^"]),
        ("a: \x00b", ["p.yaml:1:4: character U+0000 is not allowed in YAML", "a:  b", "   ^"]),
        ("a: \x1b[31m", ["p.yaml:1:4: character U+001B is not allowed in YAML", "a:  [31m", "   ^"]),
        ("a: '\ud800'", ["p.yaml:1:5: character U+D800 is not allowed in YAML", "a: ' '", "    ^"]),
        ("a: " + "[" * 20, ["p.yaml:1:20: more than 10000 values or 16 levels", "a: " + "[" * 20, " " * 19 + "^"]),
        ("[" * 250_000, ["p.yaml:1:18: more than 10000 values or 16 levels", "[" * 160, " " * 17 + "^"]),
        ("x" * 300_000, ["p.yaml:1:1: is larger than 256 KiB", "x" * 160, "^"]),
        ("a: [" + "1," * 30_000 + "]", None),
    ],
)
def test_a_file_that_is_no_policy_is_refused_in_bounded_words(text: str, message: list[str] | None) -> None:
    said = complaints(text)
    assert message is None or said == message
    assert said
    assert sum(map(len, said)) < 1000


def test_columns_are_counted_in_characters_and_the_caret_stays_in_view() -> None:
    long = "é" * 400
    said = complaints(f"a: [{long}, 'ü']\nversion: 1: 2\n")
    assert said[0].startswith("p.yaml:2:11: not YAML: mapping values are not allowed")
    said = complaints(edited("{value: numbers.uptime", f"{{value: {long}, value: numbers.uptime"))
    assert said[3] == "p.yaml:57:417: duplicate key 'value' (first used on line 57)"
    assert len(said[4]) <= 160
    assert said[4][said[5].index("^") :].startswith("value: numbers.uptime, below: 99%")


def test_a_flood_of_mistakes_is_cut_short() -> None:
    said = complaints("".join(f"k{n}: 1\n" for n in range(500)))
    assert said[-1].startswith("p.yaml: ")
    assert said[-1].endswith(" more problems are not shown")
    assert len([line for line in said if "unknown key" in line]) <= PROBLEMS_MAX


def test_what_a_variable_stands_for_is_never_printed() -> None:
    for key in ("every: 5s", "url: https://shop.example/health", "then: page", "name: leak", "above: 5%"):
        name = key.partition(":")[0]
        said = "\n".join(complaints(edited(key, f'{name}: "${{SET}}"'), ENVIRON))
        assert "with ${SET} filled in, this is not" in said
        assert "s3cret" not in said


def test_a_secret_in_the_file_is_not_printed_whatever_else_is_wrong_on_its_line() -> None:
    line = "target: {name: Bad Name, token: fo1_s3cret, paltform: fly, app: shop}"
    said = "\n".join(complaints(GOOD.replace(GOOD.split("\n")[1], line)))
    assert "a secret must not stand in this file" in said
    assert "unknown key 'paltform'; did you mean 'platform'?" in said
    assert "s3cret" not in said


def test_variables_are_filled_in_after_parsing_so_that_they_cannot_change_the_document() -> None:
    policy = load(edited("name: leak", "name: leak\n    cite: 'see ${A:-none} for $$5'"), A="x: {y} # z")
    assert policy.rules[-1].cite == "see x: {y} # z for $5"


def test_the_restored_release_is_watched_for_longer_than_one_reading_takes() -> None:
    ratio = "  settle: 5s\n  limits:\n    - {ratio: traffic.errors / traffic.requests, above: 1%}"
    assert complaints(edited("  limits:", ratio)) == [
        "p.yaml:56:11: settle is shorter than the time between two readings (the signal's every)",
        "  settle: 5s",
        "          ^",
    ]


def test_defaults_shown_to_people_are_the_defaults_used() -> None:
    assert duration_text(load(GOOD).interlocks.release_age_s) == "1d"
