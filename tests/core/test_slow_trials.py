"""Times of the first machine and of its peers are compared at the bucket bound that tells them apart."""

from __future__ import annotations

from rollguard.core.first import judge_first
from rollguard.core.model import Reading
from rollguard.core.policy import Quantile
from tests.builders import GOOD, NOON, a_policy, a_rule, a_tenure, a_view, bucketed, evidence

SLOW = a_rule(
    Quantile(key="traffic.latency", q=0.95, over_s=60.0, limit=0.25, above=True, min_count=100.0), name="slow"
)


def spread(subject: str, counts: dict[float, float]) -> list[Reading]:
    """The same in each of three scrapes."""
    row = dict.fromkeys((0.1, 0.2, 0.3), 0.0) | counts
    return [bucketed(row, subject=subject, at=NOON - 15.0 * n) for n in (2, 1, 0)]


def test_a_bound_that_most_of_the_new_release_exceeds_tells_more_than_one_that_few_do() -> None:
    """Above 200 ms are 64 % of the peers' answers and 3 % of the first machine's, above 300 ms 6 % and none."""
    first = spread("m4", {0.1: 130.0, 0.2: 87.0, 0.3: 7.0})
    peers = spread("m1", {0.1: 40.0, 0.2: 94.0, 0.3: 217.0, float("inf"): 21.0})
    view = a_view(1, others=[a_tenure("m4", GOOD)])
    seen = evidence(first, peers, view=view, policy=a_policy(SLOW))
    proof = judge_first(["slow"], seen, ("m4",), NOON - 45.0, NOON)
    assert proof is not None
    assert (proof.result, proof.sentence) == ("better", "slow: 21 of 672 on the old image, 714 of 1116 on the new one")
