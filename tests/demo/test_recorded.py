"""The recording of v1 that the demo compares with.

It was made once, by ``python -m rollguard.demo.recorded config/examples/demo-baseline.jsonl``: the stage of the demo
with v1 and its users, and the real ``rollguard record``. Make it again when a test here says that it no longer fits.
"""

from __future__ import annotations

import pytest

from rollguard.adapters.recording import read_recording
from rollguard.config.loader import load_policy
from rollguard.core.baseline import Baseline, compared, measure_of
from rollguard.core.policy import Policy, Quantile
from rollguard.core.ratios import quantile
from rollguard.core.recording import Recorded, recorded
from rollguard.core.relative.bounds_of import REQUESTS_MIN
from rollguard.demo.recorded import is_kept
from rollguard.demo.scenario import GOOD
from rollguard.demo.scenarios import P95_S
from rollguard.demo.stage import BASELINE, POLICY, find, image
from rollguard.engine.learn import baseline_blocks

BYTES_MAX = 200_000


@pytest.fixture(scope="module")
def policy() -> Policy:
    return load_policy(find(POLICY), {})


@pytest.fixture(scope="module")
def known(policy: Policy) -> Recorded:
    return recorded(read_recording(find(BASELINE)), policy)


def test_it_is_of_the_image_that_v1_is_and_small(known: Recorded) -> None:
    assert list(known.blocks) == [image("v1", GOOD).digest]
    assert find(BASELINE).stat().st_size < BYTES_MAX


def test_every_comparison_of_the_demo_s_policy_finds_its_baseline(known: Recorded, policy: Policy) -> None:
    digest = image("v1", GOOD).digest
    baseline = Baseline(digest, tuple(baseline_blocks(known, digest, policy)))
    measures = {measure_of(of, policy) for of in compared(policy)}
    assert len(measures) == 2, "latency and errors"
    assert all(baseline.requests(measure) > 10 * REQUESTS_MIN for measure in measures)


def test_the_probes_that_were_counted_with_the_users_are_in_it(known: Recorded) -> None:
    """Without them nobody could tell how many of the fast answers were the guard's own."""
    for block in known.of(image("v1", GOOD).digest):
        assert all(0 < times.own < times.total for times in block.times.values())


def test_its_p95_is_the_one_that_the_scenarios_build_on(known: Recorded, policy: Policy) -> None:
    of = next(of for of in compared(policy) if isinstance(of, Quantile))
    blocks = known.of(image("v1", GOOD).digest)
    histograms = [dict(block.times[measure_of(of, policy)].buckets) for block in blocks]
    merged = [(bound, sum(h[bound] for h in histograms)) for bound in sorted(histograms[0])]
    assert quantile(0.95, merged) == pytest.approx(P95_S, rel=0.15)


def test_what_no_comparison_needs_is_left_out() -> None:
    kept = ['{"rollguard": "recording"}', '{"at": 1, "machines": {}}', '{"key": "traffic.latency"}', '{"key": "home"}']
    assert all(map(is_kept, kept))
    assert not any(map(is_kept, ['{"key": "logs.lines"}', '{"key": "monitoring.uptime"}', '{"key": "edge.errors"}']))
    assert all(map(is_kept, find(BASELINE).read_text().splitlines()))
