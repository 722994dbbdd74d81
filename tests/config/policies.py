"""A small sound policy, and what the loader says of texts."""

from __future__ import annotations

from collections.abc import Mapping

from rollguard.config.loader import parse_policy
from rollguard.core.policy import Policy
from rollguard.errors import PolicyError

GOOD = """\
version: 1
target: {name: shop, platform: fly, app: shop, token_env: FLY_API_TOKEN}
signals:
  health:
    http: {url: https://shop.example/health, timeout: 2s}
    every: 5s
  numbers:
    json:
      url: https://shop.example/numbers
      values:
        p95: {path: route.p95, unit: ms}
        uptime: {path: uptime, unit: percent}
        alerts: {path: alerts}
    every: 15s
  traffic:
    scrape:
      url: https://shop.example/metrics
      counters:
        errors: responses{status=~"5.."}
        requests: responses
      histograms:
        latency: seconds_bucket
    every: 15s
  machines: {platform: {}, every: 10s}
rules:
  - name: down
    signal: health
    failing: 3 in a row
    then: rollback
  - name: errors
    ratio: traffic.errors / traffic.requests
    over: 1m
    above: 5%
    min_requests: 50
    then: rollback
  - name: slow
    value: numbers.p95
    above: 3000ms
    for: 2m
    then: page
  - name: slow-tail
    quantile: {of: traffic.latency, q: 95%}
    over: 1m
    above: 3000ms
    min_requests: 50
    then: page
  - name: crashes
    signal: machines
    crashed: 2 in 5m
    then: rollback
  - name: leak
    report: [security]
    then: rollback
verify:
  require: [health]
  limits:
    - {value: numbers.uptime, below: 99%}
notify:
  page: [pagerduty: {routing_key_env: KEY}]
"""


def edited(old: str, new: str) -> str:
    """``GOOD`` with its first ``old`` replaced."""
    assert old in GOOD, old
    return GOOD.replace(old, new, 1)


def load(text: str, **environ: str) -> Policy:
    """The policy of a text, called ``p.yaml`` in messages."""
    return parse_policy(text, "p.yaml", environ)


def complaints(text: str, environ: Mapping[str, str] | None = None) -> list[str]:
    """What the loader has against a text, line by line of its whole message; nothing when it is sound."""
    try:
        parse_policy(text, "p.yaml", environ or {})
    except PolicyError as error:
        return [line for problem in error.problems for line in problem.split("\n")]
    return []
