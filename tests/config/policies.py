"""A small sound policy, one that uses the rest of the format, one of many rules, and what the loader says of texts."""

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

FULL = """\
version: 1
target: {name: shop, platform: fly, app: shop, token_env: FLY_API_TOKEN}
signals:
  store:
    prometheus:
      url: https://metrics.example/prometheus/shop
      token_env: METRICS_TOKEN
      timeout: 10s
      machine_label: instance
      counts_probes: false
      max_age: 90s
      counters:
        errors: responses{status=~"5.."}
        requests: responses
      histograms:
        latency: seconds_bucket
      values:
        memory: {query: sum by (instance) (memory_bytes), unit: bytes}
        load: {query: max(load)}
    every: 15s
  checkout:
    journey:
      scope: [machine, edge]
      timeout: 8s
      steps:
        - get: https://shop.example/login
          capture:
            token: {text: 'name="csrf" value="(\\w+)"'}
        - name: login
          post: https://shop.example/login
          headers: {X-Csrf: "{token}"}
          form: {email: a@b.example, csrf: "{token}", remember: ""}
          expect: {status: [200, 302], header: {Location: ^/home}}
          capture: {session: {header: X-Session}}
        - name: cart
          put: https://shop.example/cart/{session}
          body: {items: [{sku: 1, note: "{session}"}], gift: false}
          expect: {status: 201, text: [cart, total], json: {ok: true, lines.0.sku: 1, state: open}}
          capture: {order: {json: order.id}}
        - name: forget
          delete: https://shop.example/cart/{order}
          expect: {status: 204}
    every: 30s
  lines:
    logs: {match: ["(?i)error", "ECONN"], timeout: 5s}
    every: 15s
rules:
  - name: checkout
    signal: checkout
    failing: 2 in a row
    then: rollback
  - name: slow-login
    value: checkout.login
    above: 900ms
    for: 1m
    then: page
  - name: memory
    value: store.memory
    above: 400MiB
    for: 2m
    then: page
  - name: slower
    quantile: {of: store.latency, q: 95%}
    over: 2m
    worse_than_baseline: {factor: 1.5}
    min_requests: 100
    for: 30s
    then: rollback
  - name: more-errors
    ratio: store.errors / store.requests
    over: 2m
    worse_than_baseline: {factor: 2, add: 1pp}
    min_requests: 100
    then: page
interlocks:
  watch: 2h
  control: [https://control.example, "${CONTROL:-}"]
  dependencies:
    - {name: database, http: https://database.example, timeout: 1s}
    - {name: search, http: "${SEARCH:-}"}
  look_every: 3s
  others_within: 0s
  status_feed: https://status.example/incidents
  freeze:
    - {name: sale, rollback: page, from: 2026-11-27T00:00Z, to: 2026-11-30T06:00+01:00}
    - {name: weekend, days: [fri, sat], at: "18:00", for: 14h, zone: Europe/Berlin}
  migration:
    label: schema
    allow: [none]
    probe: {url: https://shop.example/schema, path: db.version, timeout: 2s}
rollback:
  first: {machines: 2, wait: 45s, on_unclear: go_on}
  restart_sick: true
comparison: {block: 10m, blocks: 12, settle: 1m}
approval: {expires: 5m}
reports: {token_file: /run/secrets/reports}
verify:
  require: [checkout]
  otherwise: [page]
  limits:
    - {ratio: store.errors / store.requests, above: 1%}
notify:
  page: [pagerduty: {routing_key_env: KEY, change_url: ""}]
  tell: [slack: {token_env: SLACK, channel: "#engineering"}, slack: {token_env: SLACK, channel: "${CHAT:-}"}]
  record: [github_issue: {token_env: GITHUB, repo: acme/shop, labels: [production]}]
heartbeat: {url: https://beat.example}
"""

RULES = """\
version: 1
target: {name: shop, platform: fly, app: shop, token_env: FLY_API_TOKEN}
signals:
  health: {http: {url: https://shop.example/health}, every: 5s}
  machines: {platform: {}, every: 10s}
  traffic:
    scrape:
      url: https://shop.example/metrics
      counters:
        errors: responses{status=~"5.."}
        requests: responses
      histograms: {latency: seconds_bucket}
      split: {label: route, most: 10}
    every: 15s
  edge:
    scrape:
      url: https://shop.example/edge
      machine_label: none
      counters:
        errors: edge_responses{status=~"5.."}
        requests: edge_responses
    every: 30s
rules:
  - name: probes-worse
    signal: health
    worse_than_baseline: {}
    then: rollback
  - name: errors-worse
    ratio: traffic.errors / traffic.requests
    worse_than_baseline: {}
    then: rollback
  - name: slower
    quantile: {of: traffic.latency, q: 95%}
    worse_than_baseline: {factor: 1.5}
    then: rollback
  - name: budget
    burn:
      ratio: edge.errors / edge.requests
      objective: 99.9%
      windows:
        - {over: 1h, and: 5m, rate: 14.4}
        - {over: 3d, and: 6h, rate: 1}
    min_requests: 100
    then: page
  - name: in-a-region
    ratio: traffic.errors / traffic.requests
    over: 5m
    above: 10%
    min_requests: 50
    by: region
    then: rollback
  - name: slow-in-a-region
    quantile: {of: traffic.latency, q: 95%}
    over: 5m
    above: 3s
    min_requests: 60
    by: region
    then: page
  - name: on-a-route
    ratio: traffic.errors / traffic.requests
    over: 2m
    above: 25%
    min_requests: 40
    by: route
    then: rollback
comparison: {settle: auto, healthy_rolled_back: 1 in 5000}
"""


def edited(old: str, new: str, text: str = GOOD) -> str:
    """``text`` with its first ``old`` replaced."""
    assert old in text, old
    return text.replace(old, new, 1)


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
