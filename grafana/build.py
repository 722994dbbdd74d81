"""Builders of Grafana's classic dashboard model (schema version 41): what a panel says, without the JSON around it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from string import ascii_uppercase
from typing import Any

Json = dict[str, Any]

COLUMNS = 24
GREEN, BLUE, YELLOW, ORANGE, RED, GREY = "green", "blue", "#EAB839", "orange", "red", "#8e8e8e"
DATASOURCE: Json = {"type": "prometheus", "uid": "${datasource}"}


@dataclass(frozen=True, slots=True)
class Query:
    """One expression, and how its series are called. ``instant``: only the value at the end of the time range."""

    expr: str
    legend: str
    instant: bool = False

    def to_json(self, ref: str) -> Json:
        """As a target of a panel."""
        return {
            "datasource": DATASOURCE,
            "editorMode": "code",
            "expr": self.expr,
            "instant": self.instant,
            "legendFormat": self.legend,
            "range": not self.instant,
            "refId": ref,
        }


@dataclass(frozen=True, slots=True)
class Said:
    """What stands for a number: a word and its colour."""

    text: str
    color: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """A panel, whatever it draws. ``words`` replace numbers; ``steps`` are ``(from this value on, colour)``.

    ``colors`` are by name of series; ``width`` is in columns of 24, ``height`` in units of 30 pixels.
    """

    title: str
    about: str
    queries: Sequence[Query]
    unit: str
    width: int
    height: int = 8
    decimals: int | None = None
    words: Mapping[int, Said] = field(default_factory=dict)
    steps: Sequence[tuple[float | None, str]] = ((None, GREEN),)
    colors: Mapping[str, str] = field(default_factory=dict)
    repeat: str = ""

    kind = ""

    def options(self) -> Json:
        """What only this kind of panel knows."""
        raise NotImplementedError

    def custom(self) -> Json:
        """How this kind of panel draws a field."""
        return {}

    def color(self) -> Json:
        """Where a field's colour comes from."""
        return {"mode": "thresholds"}

    def overrides(self) -> list[Json]:
        """Exceptions for some fields."""
        return [
            override("byName", name, {"color": {"mode": "fixed", "fixedColor": color}})
            for name, color in self.colors.items()
        ]

    def to_json(self, number: int, x: int, y: int) -> Json:
        """As Grafana keeps it, with its place."""
        defaults: Json = {
            "color": self.color(),
            "custom": self.custom(),
            "mappings": [mapping(self.words)] if self.words else [],
            "thresholds": {"mode": "absolute", "steps": [{"value": at, "color": color} for at, color in self.steps]},
            "unit": self.unit,
        }
        if self.decimals is not None:
            defaults["decimals"] = self.decimals
        repeated = {"repeat": self.repeat, "repeatDirection": "h", "maxPerRow": COLUMNS // self.width}
        return {
            "id": number,
            "type": self.kind,
            "title": self.title,
            "description": self.about,
            "datasource": DATASOURCE,
            "gridPos": {"x": x, "y": y, "w": self.width, "h": self.height},
            "targets": [query.to_json(ref) for ref, query in zip(ascii_uppercase, self.queries, strict=False)],
            "fieldConfig": {"defaults": defaults, "overrides": self.overrides()},
            "options": self.options(),
            **(repeated if self.repeat else {}),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Stat(Panel):
    """One big value, now. ``names``: show what the series is called instead of its value."""

    height: int = 4
    names: bool = False

    kind = "stat"

    def options(self) -> Json:
        return {
            "colorMode": "background" if self.words else "value",
            "graphMode": "none",
            "justifyMode": "auto",
            "orientation": "auto",
            "percentChangeColorMode": "standard",
            "reduceOptions": {"calcs": [], "fields": "", "values": False},
            "showPercentChange": False,
            "textMode": "name" if self.names else "auto",
            "wideLayout": True,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline(Panel):
    """Bands of colour: what state something was in, and when."""

    unit: str = "none"
    row_height: float = 0.85

    kind = "state-timeline"

    def options(self) -> Json:
        return {
            "alignValue": "left",
            "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": True},
            "mergeValues": True,
            "rowHeight": self.row_height,
            "showValue": "auto",
            "tooltip": {"mode": "single", "sort": "none"},
        }

    def custom(self) -> Json:
        return {"fillOpacity": 80, "lineWidth": 0}


@dataclass(frozen=True, slots=True, kw_only=True)
class Series(Panel):
    """Steps over time, stacked or not. ``dashed`` names series drawn over the stack; ``limits`` the query of limits."""

    stacked: bool = False
    from_zero: bool = True
    dashed: Sequence[str] = ()
    limits: str = ""

    kind = "timeseries"

    def options(self) -> Json:
        return {
            "legend": {"calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": True},
            "tooltip": {"mode": "multi", "sort": "desc"},
        }

    def color(self) -> Json:
        return {"mode": "palette-classic"}

    def custom(self) -> Json:
        return {
            **({"axisSoftMin": 0} if self.from_zero else {}),
            "drawStyle": "line",
            "fillOpacity": 60 if self.stacked else 8,
            "lineInterpolation": "stepAfter",
            "lineWidth": 1,
            "showPoints": "never",
            "spanNulls": False,
            "stacking": {"group": "A", "mode": "normal" if self.stacked else "none"},
        }

    def overrides(self) -> list[Json]:
        dashes = {"fill": "dash", "dash": [8, 6]}
        line = {
            "custom.drawStyle": "line",
            "custom.fillOpacity": 0,
            "custom.lineStyle": dashes,
            "custom.lineWidth": 2,
            "custom.stacking": {"group": "B", "mode": "none"},
        }
        limit = {**line, "color": {"mode": "fixed", "fixedColor": RED}}
        return [
            *Panel.overrides(self),
            *(override("byName", name, line) for name in self.dashed),
            *([override("byFrameRefID", self.limits, limit)] if self.limits else []),
        ]


@dataclass(frozen=True, slots=True)
class Row:
    """A question, and the panels that answer it, from left to right and on to the next line."""

    title: str
    panels: Sequence[Panel]


def override(matcher: str, which: str, properties: Mapping[str, Any]) -> Json:
    """Other properties for the fields that match."""
    return {
        "matcher": {"id": matcher, "options": which},
        "properties": [{"id": name, "value": value} for name, value in properties.items()],
    }


def mapping(words: Mapping[int, Said]) -> Json:
    """Words for numbers."""
    said = {
        str(number): {"index": index, "text": word.text, "color": word.color}
        for index, (number, word) in enumerate(words.items())
    }
    return {"type": "value", "options": said}


def placed(rows: Iterable[Row]) -> list[Json]:
    """The rows one below the other, each panel where there is room; ids count from 1."""
    made: list[Json] = []
    y = 0
    for row in rows:
        place = {"x": 0, "y": y, "w": COLUMNS, "h": 1}
        made.append(
            {
                "id": len(made) + 1,
                "type": "row",
                "title": row.title,
                "collapsed": False,
                "gridPos": place,
                "panels": [],
            }
        )
        x, y, tallest = 0, y + 1, 0
        for panel in row.panels:
            if x + panel.width > COLUMNS:
                x, y, tallest = 0, y + tallest, 0
            made.append(panel.to_json(len(made) + 1, x, y))
            x, tallest = x + panel.width, max(tallest, panel.height)
        y += tallest
    return made
