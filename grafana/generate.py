"""The dashboard, as code: ``python -m grafana.generate`` writes dashboards/rollguard.json."""

from __future__ import annotations

import json
from pathlib import Path

from grafana.build import BLUE, DATASOURCE, RED, YELLOW, Json, Row, placed
from grafana.queries import TARGET

from grafana import done, safe, well

OUT = Path(__file__).parent / "dashboards" / "rollguard.json"
ANNOTATION_STEP = "15s"
ROWS = (
    Row("Is it safe?", safe.PANELS),
    Row("What did it do?", done.PANELS),
    Row("Is the guard itself well?", well.PANELS),
)


def dashboard() -> Json:
    """The whole dashboard. The same on every run: it is checked in, and a test compares."""
    return {
        "uid": "rollguard",
        "title": "Rollguard",
        "description": "What guards the releases: is it safe, what did it do, is the guard itself well?",
        "tags": ["rollguard"],
        "schemaVersion": 41,
        "version": 1,
        "editable": False,
        "graphTooltip": 1,
        "timezone": "browser",
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "timepicker": {"refresh_intervals": ["5s", "10s", "30s", "1m", "5m"]},
        "links": [],
        "templating": {"list": variables()},
        "annotations": {"list": marks()},
        "panels": placed(ROWS),
    }


def variables() -> list[Json]:
    """Which Prometheus, which targets, which rules."""
    source: Json = {
        "type": "datasource",
        "name": "datasource",
        "label": "Data source",
        "query": "prometheus",
        "regex": "",
        "hide": 0,
        "refresh": 1,
        "multi": False,
        "includeAll": False,
        "options": [],
    }
    return [
        source,
        by_label("target", "Target", "label_values(rollguard_mode, target)"),
        by_label("rule", "Rule", f"label_values(rollguard_rule_limit{{{TARGET}}}, rule)"),
    ]


def by_label(name: str, label: str, query: str) -> Json:
    """A variable of the values that a label has now: several at once, all of them at first."""
    return {
        "type": "query",
        "name": name,
        "label": label,
        "datasource": DATASOURCE,
        "definition": query,
        "query": query,
        "regex": "",
        "hide": 0,
        "refresh": 2,  # whenever the time range changes
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
        "options": [],
    }


def marks() -> list[Json]:
    """What happened, over every panel: deploys and rollbacks from beginning to end, and how those ended."""
    builtin: Json = {
        "name": "Annotations & Alerts",
        "builtIn": 1,
        "datasource": {"type": "grafana", "uid": "-- Grafana --"},
        "enable": True,
        "hide": True,
        "iconColor": "rgba(0, 211, 255, 1)",
        "type": "dashboard",
    }
    deploys = f"max by (target) (rollguard_deploying{{{TARGET}}}) == 1"
    rollbacks = f'max by (target) (rollguard_incident_phase{{{TARGET},phase="acting"}}) == 1'
    endings = f"sum by (target, outcome) (increase(rollguard_rollbacks_total{{{TARGET}}}[$__rate_interval])) > 0"
    return [
        builtin,
        mark("Deploys", deploys, BLUE, title="Deploy", text="{{target}}: somebody else deploys"),
        mark("Rollbacks", rollbacks, RED, title="Rollback", text="{{target}}: machines go back"),
        mark("Rollbacks ended", endings, YELLOW, title="Rollback ended", text="{{target}}: {{outcome}}"),
    ]


def mark(name: str, expr: str, color: str, *, title: str, text: str) -> Json:
    """A mark wherever the expression has a value; one that goes on is a region."""
    return {
        "name": name,
        "datasource": DATASOURCE,
        "enable": True,
        "expr": expr,
        "iconColor": color,
        "step": ANNOTATION_STEP,
        "tagKeys": "target",
        "textFormat": text,
        "titleFormat": title,
    }


def text() -> str:
    """The file, as it is checked in."""
    return json.dumps(dashboard(), indent=2, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    OUT.write_text(text(), encoding="utf-8")
