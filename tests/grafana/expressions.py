"""What the dashboard and the rules ask Prometheus, and what the guard has to answer with."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from prometheus_client import CollectorRegistry

from rollguard.telemetry import labels
from rollguard.telemetry.instruments import Instruments

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "grafana" / "dashboards" / "rollguard.json"
ALERTS = ROOT / "grafana" / "alerts"
RULES = ALERTS / "rollguard-rules.yaml"

Json = dict[str, Any]

FROM_PROMETHEUS = {"job", "instance"}
LABEL_VALUES = {"true", "false"} | {value for name in dir(labels) if name.isupper() for value in getattr(labels, name)}
_SELECTOR = re.compile(r"\b([a-z_]+)(?:\{([^}]*)\}|(?=\s|\)|\[|$))")
_MATCHER = re.compile(r'(\w+)(=~|!~|!=|=)"([^"]*)"')
_GROUPING = re.compile(r"\b(?:by|on)\s*\(([^)]*)\)")


@dataclass(frozen=True, slots=True)
class Query:
    """One expression, where it stands, and what its series are called."""

    where: str
    expr: str
    legend: str = ""
    instant: bool = False

    def filled_in(self, values: Mapping[str, str]) -> str:
        """With a value for each of the dashboard's variables, the longest name first."""
        expr = self.expr
        for name in sorted(values, key=len, reverse=True):
            expr = expr.replace(f"${name}", values[name])
        assert "$" not in expr, f"{self.where}: a variable that nobody knows: {expr}"
        return expr

    @property
    def metrics(self) -> list[tuple[str, list[tuple[str, str, str]]]]:
        """The guard's metrics it names, each with its matchers ``(label, operator, value)``."""
        return [
            (name, [(label, operator, value) for label, operator, value in _MATCHER.findall(inside)])
            for name, inside in _SELECTOR.findall(self.expr)
            if name.startswith("rollguard_")
        ]

    @property
    def grouped(self) -> set[str]:
        """The labels it groups or joins by."""
        return {label.strip() for inside in _GROUPING.findall(self.expr) for label in inside.split(",")}

    @property
    def in_legend(self) -> set[str]:
        """The labels its legend shows."""
        return set(re.findall(r"\{\{\s*(\w+)\s*\}\}", self.legend))


def dashboard() -> Json:
    """The one that is checked in."""
    return dict(json.loads(DASHBOARD.read_text(encoding="utf-8")))


def panels() -> list[Json]:
    """All that ask something, without the rows."""
    return [panel for panel in dashboard()["panels"] if panel["type"] != "row"]


def panel_queries() -> list[Query]:
    """Every query of every panel."""
    return [
        Query(f"{panel['title']} / {target['refId']}", target["expr"], target["legendFormat"], target["instant"])
        for panel in panels()
        for target in panel["targets"]
    ]


def mark_queries() -> list[Query]:
    """Every annotation that asks Prometheus; its text and title are its legend."""
    return [
        Query(mark["name"], mark["expr"], mark["textFormat"] + mark["titleFormat"])
        for mark in dashboard()["annotations"]["list"]
        if "expr" in mark
    ]


def alerts() -> list[Json]:
    """Every alert rule."""
    read = yaml.safe_load(RULES.read_text(encoding="utf-8"))
    return [rule for group in read["groups"] for rule in group["rules"]]


def alert_queries() -> list[Query]:
    """What every alert asks; its annotations are its legend."""
    return [
        Query(rule["alert"], rule["expr"], re.sub(r"\$labels\.", "", " ".join(rule["annotations"].values())))
        for rule in alerts()
    ]


def series_of_the_guard() -> dict[str, set[str]]:
    """The name of every series that the guard can have, with its labels."""
    return dict(_series())


def _series() -> Iterator[tuple[str, set[str]]]:
    for instrument in vars(Instruments(CollectorRegistry())).values():
        (family,) = instrument.describe()
        names = set(instrument._labelnames)
        match family.type:
            case "counter":
                yield f"{family.name}_total", names
            case "histogram":
                yield from ((f"{family.name}_{end}", names) for end in ("sum", "count"))
                yield f"{family.name}_bucket", names | {"le"}
            case _:
                yield family.name, names
