"""The cost of a verdict, in what is the same on every machine: calls of functions."""

from __future__ import annotations

import random
import time

from bench.verdict import answered, calls, evidence_s, lines

CALLS_MAX = 1000
"""939 when this was written, some 0.2 ms; 1,107 before sentences were made only where somebody reads them."""


def test_a_verdict_costs_no_more_calls_than_it_did() -> None:
    said = list(lines(0, random.Random("cost")))
    assert 400 < calls(lambda: answered(said)) < CALLS_MAX


def test_every_sample_of_a_run_is_replied_to() -> None:
    assert answered(list(lines(0, random.Random("cost")))) == 720


def test_the_bets_are_a_small_part_of_it() -> None:
    said = list(lines(0, random.Random("cost")))
    began = time.process_time()
    answered(said)
    assert 0.0 < evidence_s(said) * 720 < (time.process_time() - began) / 2
