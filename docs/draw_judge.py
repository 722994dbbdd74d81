"""Draws the pictures of docs/judge.md from the product's own judge: `python docs/draw_judge.py`.

Every picture is a simulated app (bench/decision/world.py) under the guard's own mind; the same seeds give the same
bytes.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "daemon")]

from bench.decision.watching import BLOCK_S, HISTORY_S, policy  # noqa: E402
from bench.decision.world import NEW, NOON, Change, Trouble, World  # noqa: E402
from rollguard.core.mind import Mind  # noqa: E402

WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 820, 300, 64, 24, 34, 44
GREY, GREEN, RED, BLUE = "#8a8f98", "#2e9e5b", "#cf4f5f", "#5b8dd6"
STYLE = (
    "text{font:12px sans-serif;fill:#57606a}.grid{stroke:#8c959f;stroke-opacity:.25}"
    "@media(prefers-color-scheme:dark){text{fill:#adbac7}}"
)
Line = Sequence[tuple[float, float]]


class Frame:
    """One diagram: seconds to the right, a quantity upwards, linear or by powers of ten."""

    def __init__(self, title: str, seconds: tuple[float, float], values: tuple[float, float], *, powers: bool) -> None:
        self._seconds, self._values, self._powers = seconds, values, powers
        self._body = [f'<text x="{LEFT}" y="{TOP - 14}" font-weight="bold">{title}</text>']

    def x(self, at: float) -> float:
        low, high = self._seconds
        return LEFT + (at - low) / (high - low) * (WIDTH - LEFT - RIGHT)

    def y(self, value: float) -> float:
        low, high = self._values
        if self._powers:
            value, low, high = (math.log10(max(v, 1e-12)) for v in (value, low, high))
        part = min(1.0, max(0.0, (value - low) / (high - low)))
        return HEIGHT - BOTTOM - part * (HEIGHT - TOP - BOTTOM)

    def grid(self, values: Sequence[tuple[float, str]], minutes: Sequence[int]) -> None:
        for value, name in values:
            y = self.y(value)
            self._body.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>')
            self._body.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{name}</text>')
        for minute in minutes:
            x = self.x(60.0 * minute)
            self._body.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{minute} min</text>')

    def line(self, points: Line, colour: str, name: str, place: int) -> None:
        way = " ".join(f"{self.x(at):.1f},{self.y(value):.1f}" for at, value in points)
        self._body.append(f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="2"/>')
        x = LEFT + 10 + 270 * place
        y = HEIGHT - 8
        self._body.append(
            f'<line x1="{x}" y1="{y - 4}" x2="{x + 18}" y2="{y - 4}" stroke="{colour}" stroke-width="3"/>'
        )
        self._body.append(f'<text x="{x + 24}" y="{y}">{name}</text>')

    def limit(self, value: float, name: str) -> None:
        y = self.y(value)
        dashes = 'stroke-dasharray="6 4" stroke-width="1.5"'
        self._body.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="{RED}" {dashes}/>')
        key = WIDTH - RIGHT - 300
        self._body.append(f'<line x1="{key}" y1="{TOP - 18}" x2="{key + 24}" y2="{TOP - 18}" stroke="{RED}" {dashes}/>')
        self._body.append(f'<text x="{key + 30}" y="{TOP - 14}">{name}</text>')

    def svg(self) -> str:
        head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img">'
        return "\n".join([head, f"<style>{STYLE}</style>", *self._body, "</svg>", ""])


class Watched:
    """An app under the guard's mind, scrape after scrape, every machine on the new image unless said otherwise."""

    def __init__(self, world: World, on_new: Sequence[int]) -> None:
        self.world, self.mind = world, Mind(policy(0.0), NOON - HISTORY_S)
        for block in range(int(HISTORY_S / BLOCK_S)):
            at = -HISTORY_S + (block + 1) * BLOCK_S
            self.mind.see(world.snapshot(at - 1.0))
            self.mind.read("traffic", world.scrape(at, BLOCK_S))
            self.mind.read("probe", world.probes(at))
            self.mind.decide(NOON + at)
        for machine in on_new:
            world.install(machine, NEW, 0.0)

    def scrapes(self, until_s: float) -> list[tuple[float, float, float]]:
        """Seconds since the release, the share of errors on the new machines, and the odds against the release."""
        found = []
        for n in range(1, int(until_s / 15.0) + 1):
            at = 15.0 * n
            self.mind.see(self.world.snapshot(at))
            read = self.world.scrape(at)
            self.mind.read("traffic", read)
            self.mind.decide(NOON + at)
            new = {node.name for node in self.world.nodes if node.digest == NEW}
            bad = sum(r.value or 0.0 for r in read if r.key == "traffic.errors" and r.subject in new)
            of = sum(r.value or 0.0 for r in read if r.key == "traffic.requests" and r.subject in new)
            finding = next(f for f in self.mind.findings if f.rule.name == "errors")
            found.append((at, bad / of if of else 0.0, max(1.0, finding.odds or 1.0)))
        return found


def threshold() -> str:
    """A healthy app looked at every 15 seconds against a plain limit."""
    world = World("restless", machines=4, rps=3.0)
    read = Watched(world, range(4)).scrapes(3600.0)
    most = max(share for _, share, _ in read)
    frame = Frame("Errors of a healthy release, scrape by scrape", (0, 3600), (0, max(0.012, most)), powers=False)
    frame.grid([(0.0, "0 %"), (0.005, "0.5 %"), (0.01, "1 %")], range(0, 61, 10))
    frame.limit(0.005, "a limit of 0.5 %, looked at every 15 s")
    frame.line([(at, share) for at, share, _ in read], BLUE, "share of failed requests", 0)
    return frame.svg()


def evidence() -> str:
    """What a bet grows to against a healthy release, one with a blip, and a bad one."""
    blip = Trouble(begins_s=900.0, ends_s=945.0, errors=0.1)
    worlds = [
        (World("one", rps=5.0), GREY, "healthy"),
        (World("two", rps=5.0, troubles=(blip,)), BLUE, "healthy, 45 s of trouble at minute 15"),
        (World("three", rps=5.0, change=Change(errors=0.05, since_s=300.0)), RED, "5 % fail from minute 5 on"),
    ]
    frame = Frame("The odds against a release", (0, 1800), (1.0, 1e6), powers=True)
    frame.grid([(1.0, "1"), (100.0, "100"), (1e4, "10 000"), (1e6, "10⁶")], range(0, 31, 5))
    frame.limit(1 / (0.001 * 0.4 / 2), "enough to act on")
    for place, (world, colour, name) in enumerate(worlds):
        read = Watched(world, range(4)).scrapes(1800.0)
        frame.line([(at, min(1e6, odds)) for at, _, odds in read], colour, name, place)
    return frame.svg()


def beside() -> str:
    """One new machine of four: under a bad release, and in an outage that hits old and new alike."""
    outage = Trouble(begins_s=60.0, ends_s=600.0, errors=0.05)
    worlds = [
        (World("outage", rps=20.0, troubles=(outage,)), BLUE, "an outage of old and new alike"),
        (World("bad", rps=20.0, change=Change(errors=0.05)), RED, "only the new machine fails, 5 %"),
    ]
    frame = Frame("The odds that it is the release, by machines side by side", (0, 300), (1.0, 1e6), powers=True)
    frame.grid([(1.0, "1"), (100.0, "100"), (1e4, "10 000"), (1e6, "10⁶")], range(6))
    frame.limit(1 / (0.001 * 0.4 / 2), "enough to act on")
    for place, (world, colour, name) in enumerate(worlds):
        watched, points = Watched(world, [0]), [(0.0, 1.0)]
        for n in range(1, 21):
            at = 15.0 * n
            watched.mind.see(world.snapshot(at))
            watched.mind.read("traffic", world.scrape(at))
            watched.mind.decide(NOON + at)
            comparison = watched.mind.relatives.comparison("errors")
            live = comparison.wagers[0].live if comparison is not None and comparison.wagers else None
            odds = math.exp(min(live.log_evidence, 27.0)) if live is not None and live.log_evidence > 0 else 1.0
            points.append((at, min(1e6, odds)))
        frame.line(points, colour, name, place)
    return frame.svg()


PICTURES = {"judge-threshold.svg": threshold, "judge-evidence.svg": evidence, "judge-beside.svg": beside}

if __name__ == "__main__":
    for name, make in PICTURES.items():
        (ROOT / "docs" / name).write_text(make())
