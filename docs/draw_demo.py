"""Draws one run of the demo as an SVG: what users got, what each machine served, what the guard did and when.

    .venv/bin/rollguard demo errors --keep run && python3 docs/draw_demo.py run/errors > docs/demo.svg

Everything in the picture is read from the run: the users' requests and the guard's log. Standard library only.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

WIDTH, LEFT, RIGHT = 960, 120, 24
BARS_TOP, BARS_HEIGHT = 128, 120
LANES_TOP, LANE, LANE_GAP = 284, 18, 7
STEP_S = 1.0
COLOURS = {"ok": "#3f8f5f", "bad": "#c8452f", "old": "#5b87b5", "new": "#d9963a", "line": "#555", "text": "#222"}
STYLE = """text{font:13px system-ui,sans-serif;fill:#222}.small{font-size:11px;fill:#555}
.head{font-size:15px;font-weight:600}
@media (prefers-color-scheme:dark){text{fill:#ddd}.small{fill:#aaa}.paper{fill:#16181c}}"""
TOLD = {
    "page": ("page: bad, a deploy is under way", 0),
    "rollback": ("decided: roll back", 1),
    "restored": ("all machines back", 2),
    "verified": ("verified", 3),
}

Json = Mapping[str, Any]


def lines(path: Path) -> Iterable[Json]:
    for line in path.read_text().splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            continue
        if isinstance(entry, dict):
            yield entry


def moments(log: Iterable[Json]) -> dict[str, float]:
    """When the guard paged, decided, was done and believed it (epoch seconds)."""
    found: dict[str, float] = {}
    for entry in log:
        at = datetime.fromisoformat(entry["ts"]).timestamp() if "ts" in entry else 0.0
        match entry.get("event"):
            case "Decided":
                found.setdefault(str(entry.get("decision")), at)
            case "GoalEnded":
                found.setdefault("restored", at)
            case "Verified":
                found.setdefault("verified", at)
    return found


def tenures(visits: list[Json], end: float) -> dict[str, list[tuple[float, float, str]]]:
    """Per machine: from when to when users got answers of which image."""
    seen: dict[str, list[tuple[float, float, str]]] = {}
    for visit in sorted(visits, key=lambda v: v["at"]):
        if not visit["machine"] or not visit["image"]:
            continue
        runs = seen.setdefault(visit["machine"], [])
        if runs and runs[-1][2] == visit["image"] and visit["at"] - runs[-1][1] < 1.5:
            runs[-1] = (runs[-1][0], visit["at"], visit["image"])
        else:
            runs.append((visit["at"], visit["at"], visit["image"]))
    return {machine: [(a, min(b + 0.1, end), image) for a, b, image in runs] for machine, runs in sorted(seen.items())}


def draw(folder: Path) -> str:
    visits = list(lines(folder / "users.jsonl"))
    told = moments(lines(folder / "guard.log"))
    start, end = min(v["at"] for v in visits), max(v["at"] for v in visits)
    old = min(visits, key=lambda v: v["at"])["image"]
    across = lambda at: LEFT + (at - start) / (end - start) * (WIDTH - LEFT - RIGHT)
    machines = tenures(visits, end)
    bottom = LANES_TOP + len(machines) * (LANE + LANE_GAP)
    about = "A run of the demo: errors begin with the deploy of v2 and end when the guard has put v1 back"
    title = 'One run of "rollguard demo errors": 30 % of the new release\'s answers are 500'
    size = f'viewBox="0 0 {WIDTH} {bottom + 44}"'
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{about}">',
        f"<style>{STYLE}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{bottom + 44}" fill="#fff"/>',
        f'<text class="head" x="16" y="26">{escape(title)}</text>',
        '<text class="small" x="16" y="46">four machines, 40 requests a second; all times in seconds</text>',
    ]
    out += bars(visits, start, end, across)
    for number, runs in enumerate(machines.values()):
        top = LANES_TOP + number * (LANE + LANE_GAP)
        out.append(f'<text x="16" y="{top + 14}">machine {number + 1}</text>')
        for begin, stop, image in runs:
            colour = COLOURS["old"] if image == old else COLOURS["new"]
            width = max(1.0, across(stop) - across(begin))
            out.append(f'<rect x="{across(begin):.1f}" y="{top}" width="{width:.1f}" height="{LANE}" fill="{colour}"/>')
    out += marks(told, start, across, bottom)
    for second in range(0, int(end - start) + 1, 10):
        place = f'x="{across(start + second):.1f}" y="{bottom + 16}"'
        out.append(f'<text class="small" {place} text-anchor="middle">{second}</text>')
    out += legend(bottom + 34)
    return "\n".join([*out, "</svg>", ""])


def bars(visits: list[Json], start: float, end: float, across: Any) -> list[str]:
    """Requests per second: answered well below, failed on top."""
    count = int((end - start) / STEP_S)
    good, bad = [0] * count, [0] * count
    for visit in visits:
        slot = int((visit["at"] - start) / STEP_S)
        if slot < count:
            failed = visit["error"] is not None or visit["status"] >= 500
            (bad if failed else good)[slot] += 1
    most = max(g + b for g, b in zip(good, bad, strict=True))
    scale = BARS_HEIGHT / most
    out = [
        f'<text x="16" y="{BARS_TOP + 60}">requests</text>',
        f'<text x="16" y="{BARS_TOP + 76}" class="small">per second</text>',
        f'<text class="small" x="{LEFT - 8}" y="{BARS_TOP + 8}" text-anchor="end">{most}</text>',
        f'<text class="small" x="{LEFT - 8}" y="{BARS_TOP + BARS_HEIGHT}" text-anchor="end">0</text>',
    ]
    width = (across(end) - across(start)) / count
    for slot in range(count):
        x, floor = across(start + slot * STEP_S), BARS_TOP + BARS_HEIGHT
        for amount, base, colour in ((good[slot], 0, COLOURS["ok"]), (bad[slot], good[slot], COLOURS["bad"])):
            if amount:
                top = floor - (base + amount) * scale
                out.append(rectangle(x, top, width - 1, amount * scale, colour))
    return out


def marks(told: Mapping[str, float], start: float, across: Any, bottom: float) -> list[str]:
    out = []
    for name, (words, row) in TOLD.items():
        if name in told:
            x, y = across(told[name]), 66 + 15 * row
            line = f'<line x1="{x:.1f}" y1="{y}" x2="{x:.1f}" y2="{bottom}" stroke="{COLOURS["line"]}"'
            out.append(f'{line} stroke-dasharray="3 3"/>')
            label = f"{told[name] - start:.1f} s {escape(words)}"
            side = (x - 5, "end") if x > WIDTH * 0.8 else (x + 5, "start")
            out.append(f'<text x="{side[0]:.1f}" y="{y + 6}" text-anchor="{side[1]}">{label}</text>')
    return out


def rectangle(x: float, y: float, width: float, height: float, colour: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"/>'


def legend(y: float) -> list[str]:
    out, x = [], LEFT
    for colour, words in (
        ("ok", "answered"),
        ("bad", "failed"),
        ("old", "serves v1"),
        ("new", "serves v2, the bad release"),
    ):
        out.append(f'<rect x="{x}" y="{y - 10}" width="11" height="11" fill="{COLOURS[colour]}"/>')
        out.append(f'<text class="small" x="{x + 16}" y="{y}">{words}</text>')
        x += 40 + 7 * len(words)
    return out


if __name__ == "__main__":
    sys.stdout.write(draw(Path(sys.argv[1])))
