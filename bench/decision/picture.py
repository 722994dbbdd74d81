"""False rollbacks against delay, one line for each judge over its own knob, as SVG that reads on light and dark."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 860, 520
LEFT, RIGHT, TOP, BOTTOM = 70, 230, 40, 60
LABEL_WIDTH, LABEL_HEIGHT = 60.0, 12.0
COLOURS = ("#8a8f98", "#5b8dd6", "#c98a2b", "#a06cc5", "#4ba3a3", "#c0616b", "#2e9e5b")
SHARE_MIN, SHARE_MAX = 0.0003, 1.0
DELAY_MIN, DELAY_MAX = 20.0, 4000.0


@dataclass(frozen=True, slots=True)
class Point:
    """``false`` of ``healthy`` releases rolled back, and how long a regression took to be found."""

    false: int
    healthy: int
    delay_s: float
    label: str

    @property
    def share(self) -> float:
        return self.false / self.healthy


@dataclass(frozen=True, slots=True)
class Curve:
    """One judge's points, in the order of its knob."""

    name: str
    points: Sequence[Point]


def draw(curves: Sequence[Curve]) -> str:
    """The picture. None of so many is drawn at the left edge, as an open circle."""
    body = [*_axes()]
    labels: list[tuple[float, float]] = []
    for number, curve in enumerate(curves):
        body += _curve(curve, COLOURS[number % len(COLOURS)], bold=number == len(curves) - 1)
        body += _labels(curve, labels)
        y = TOP + 18 + 22 * number
        x = WIDTH - RIGHT + 24
        colour = COLOURS[number % len(COLOURS)]
        body.append(f'<line x1="{x}" y1="{y - 4}" x2="{x + 18}" y2="{y - 4}" stroke="{colour}" stroke-width="3"/>')
        weight = ' font-weight="bold"' if number == len(curves) - 1 else ""
        body.append(f'<text x="{x + 24}" y="{y}"{weight}>{escape(curve.name)}</text>')
    style = (
        "text{font:12px sans-serif;fill:#57606a}.knob{font-size:10px;fill-opacity:.85}"
        ".grid{stroke:#8c959f;stroke-opacity:.25}"
        "@media(prefers-color-scheme:dark){text{fill:#adbac7}}"
    )
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
    title = "<title>Healthy releases rolled back against the delay in finding a regression</title>"
    return "\n".join([head, title, f"<style>{style}</style>", *body, "</svg>", ""])


def _x(share: float) -> float:
    part = math.log(max(share, SHARE_MIN) / SHARE_MIN) / math.log(SHARE_MAX / SHARE_MIN)
    return LEFT + part * (WIDTH - LEFT - RIGHT)


def _y(delay_s: float) -> float:
    part = math.log(min(max(delay_s, DELAY_MIN), DELAY_MAX) / DELAY_MIN) / math.log(DELAY_MAX / DELAY_MIN)
    return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)


def _axes() -> list[str]:
    found = []
    for share, name in ((0.0003, "none seen"), (0.001, "0.1 %"), (0.01, "1 %"), (0.1, "10 %"), (1.0, "100 %")):
        x = _x(share)
        found.append(f'<line class="grid" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{HEIGHT - BOTTOM}"/>')
        found.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{name}</text>')
    for delay_s, name in (
        (30, "30 s"),
        (60, "1 min"),
        (120, "2 min"),
        (300, "5 min"),
        (600, "10 min"),
        (1800, "30 min"),
    ):
        y = _y(delay_s)
        found.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>')
        found.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{name}</text>')
    middle = (LEFT + WIDTH - RIGHT) / 2
    found.append(f'<text x="{middle:.0f}" y="{HEIGHT - 16}" text-anchor="middle">healthy releases rolled back</text>')
    found.append(f'<text x="{LEFT - 60}" y="{TOP - 16}">a regression is found after (mean of the medians)</text>')
    return found


def _curve(curve: Curve, colour: str, *, bold: bool) -> list[str]:
    places = [(_x(p.share), _y(p.delay_s), p) for p in curve.points]
    way = " ".join(f"{x:.1f},{y:.1f}" for x, y, _ in places)
    width = 3 if bold else 1.5
    found = [f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="{width}"/>']
    for x, y, point in places:
        fill = colour if point.false else "none"
        told = f"{curve.name} {point.label}: {point.false} of {point.healthy}, {point.delay_s:.0f} s"
        circle = f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{5 if bold else 3.5}" fill="{fill}" stroke="{colour}"'
        found.append(f'{circle} stroke-width="{width}"><title>{escape(told)}</title></circle>')
    return found


def _labels(curve: Curve, taken: list[tuple[float, float]]) -> list[str]:
    """The first and the last setting of the knob, each where no other label is yet."""
    found = []
    for point in dict.fromkeys((curve.points[0], curve.points[-1])):
        x, y = _x(point.share) + 7, _y(point.delay_s) - 7
        while any(abs(x - left) < LABEL_WIDTH and abs(y - base) < LABEL_HEIGHT for left, base in taken):
            y += LABEL_HEIGHT
        taken.append((x, y))
        found.append(f'<text class="knob" x="{x:.1f}" y="{y:.1f}">{escape(point.label)}</text>')
    return found
