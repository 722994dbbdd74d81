"""The cost of a verdict, in what is the same on every machine: calls of functions."""

from __future__ import annotations

import random

from bench.verdict import answered, calls, lines

CALLS_MAX = 1250
"""1,107 when this was written, some 0.2 ms; 1,400 before what is the same for every scrape was made once."""


def test_a_verdict_costs_no_more_calls_than_it_did() -> None:
    said = list(lines(0, random.Random("cost")))
    assert 400 < calls(lambda: answered(said)) < CALLS_MAX


def test_every_sample_of_a_run_is_replied_to() -> None:
    assert answered(list(lines(0, random.Random("cost")))) == 720
