"""Draws the pictures of docs/judge.md with the judge's own code: `python docs/draw_judge.py`.

Small simulated apps, counted scrape by scrape, under the judge's own bounds and bets. The same seeds give the same
bytes. Standard library only.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[1]
if str(ROOT / "daemon") not in sys.path:
    sys.path.insert(0, str(ROOT / "daemon"))

from rollguard.core.evidence.bets import Terms  # noqa: E402
from rollguard.core.evidence.bounds import error_bound, trimmed  # noqa: E402
from rollguard.core.evidence.live import Live, LiveTerms  # noqa: E402
from rollguard.core.evidence.machines import Levels  # noqa: E402
from rollguard.core.evidence.strata import Stratum, Tally, total  # noqa: E402
from rollguard.core.relative.bounds_of import SIZE_ERRORS  # noqa: E402
from rollguard.core.relative.wagers import Bound, Wager  # noqa: E402

SCRAPE_S, BLOCK_S, BLOCKS, WATCH_S = 15.0, 300.0, 24, 3600.0
ALPHA, ERRORS = 0.001, 0.4
"""1 in 1000 for all rules, and how much of that is for errors. On several machines half of it is for side by side."""
ENOUGH = 2.0 / (ALPHA * ERRORS)
USUAL, LIMIT = 0.001, 0.01
"""The share of requests that fails in a healthy app, and a plain limit that somebody might set."""
ODDS = (1e-3, 1e6)
POWERS = ((1e-3, "1 : 1000"), (1.0, "1 : 1"), (1e3, "1000 : 1"), (1e6, "10⁶ : 1"))

WIDTH = 820
GREY, GREEN, RED, BLUE = "#8a8f98", "#2e9e5b", "#cf4f5f", "#4f86d9"
STYLE = (
    "text{font:12px system-ui,sans-serif;fill:#57606a}.head{font-weight:600}.grid{stroke:#8c959f;stroke-opacity:.3}"
    "@media(prefers-color-scheme:dark){text{fill:#adbac7}}"
)
Points = Sequence[tuple[float, float]]
More = Mapping[str, float]
"""By machine, the share of requests that fails besides what usually does."""


# -- the apps ----------------------------------------------------------------------------------------------------------


class App:
    """Machines under one app's users. How much fails wanders by itself, for all machines together and for each."""

    def __init__(self, seed: str, machines: int, rps: float) -> None:
        self._dice, self._rps = random.Random(seed), rps / machines  # noqa: S311 seeded on purpose
        self._shared = self._dice.gauss(0.0, 0.35)
        self._own = {f"m{number}": self._dice.gauss(0.0, 0.12) for number in range(machines)}

    def count(self, span_s: float, more: More | None = None) -> list[Tally]:
        """What each machine counted in ``span_s``."""
        keep = math.exp(-span_s / 600.0)
        self._shared = keep * self._shared + self._dice.gauss(0.0, 0.35 * math.sqrt(1 - keep * keep))
        found = []
        for machine, own in self._own.items():
            of = self._poisson(self._rps * span_s)
            share = USUAL * math.exp(self._shared + own) + (more or {}).get(machine, 0.0)
            found.append(Tally(machine, min(of, self._poisson(of * share)), of))
        return found

    def _poisson(self, mean: float) -> int:
        if mean > 60.0:
            return max(0, round(self._dice.gauss(mean, math.sqrt(mean))))
        count, left = 0, self._dice.random()
        while left > math.exp(-mean):
            count, left = count + 1, left * self._dice.random()
        return count


def past(app: App) -> list[list[Tally]]:
    """Two hours of blocks."""
    return [app.count(BLOCK_S) for _ in range(BLOCKS)]


def wager(blocks: Sequence[Sequence[Tally]]) -> Wager:
    """The bets that the daemon makes about errors, for an app that was like this."""
    trials = [total(block) for block in blocks]
    known = error_bound(trials, trials[-2:], add=0.001)
    bound = Bound(bound_s=None, limit=known.limit, baseline=known.baseline)
    levels = Levels.learnt([{tally.machine: (tally.bad, tally.of) for tally in block} for block in blocks])
    several = len(blocks[0]) > 1
    alpha = ALPHA * ERRORS / 2 if several else ALPHA * ERRORS
    live = Live(LiveTerms.errors(alpha=ALPHA / 2)) if several else None
    return Wager(bound=bound, terms=Terms(limit=bound.limit, alpha=alpha, size=SIZE_ERRORS), levels=levels, live=live)


def scrapes(
    app: App, bets: Wager, until_s: float, more_at: Mapping[tuple[float, float], More], new: set[str]
) -> Iterator[tuple[float, Stratum]]:
    """The watch of a release that runs on ``new``. ``more_at``: from when until when how much more fails on whom."""
    for number in range(1, round(until_s / SCRAPE_S) + 1):
        at = number * SCRAPE_S
        more = next((who for (begins, ends), who in more_at.items() if begins < at <= ends), {})
        counts = app.count(SCRAPE_S, more)
        mine = tuple(tally for tally in counts if tally.machine in new)
        others = tuple(tally for tally in counts if tally.machine not in new)
        stratum = Stratum(at=at, dt_s=SCRAPE_S, gap=1.0, new=mine, old=others)
        bets.take(stratum, [stratum], WATCH_S, frozen=False)
        yield at, stratum


def share(tallies: Sequence[Tally]) -> float:
    bad, of = total(tallies)
    return bad / of if of else 0.0


def odds(log_evidence: float) -> float:
    """As far as the picture shows them."""
    low, high = ODDS
    return min(high, max(low, math.exp(min(log_evidence, 30.0))))


# -- drawing -----------------------------------------------------------------------------------------------------------


class Panel:
    """One diagram: seconds to the right, a quantity upwards, linear or by powers of ten."""

    def __init__(
        self,
        place: tuple[float, float, float, float],
        seconds: tuple[float, float],
        values: tuple[float, float],
        *,
        powers: bool = False,
    ) -> None:
        self._left, self._top, self._width, self._height = place
        self._seconds, self._values, self._powers = seconds, values, powers
        self.body: list[str] = []

    def x(self, at: float) -> float:
        low, high = self._seconds
        return self._left + (at - low) / (high - low) * self._width

    def y(self, value: float) -> float:
        low, high = self._values
        if self._powers:
            value, low, high = (math.log10(max(v, 1e-12)) for v in (value, low, high))
        return self._top + (1.0 - min(1.0, max(0.0, (value - low) / (high - low)))) * self._height

    def text(
        self, x: float, y: float, words: str, *, anchor: str = "start", colour: str = "", head: bool = False
    ) -> None:
        kind = ' class="head"' if head else ""
        fill = f' style="fill:{colour}"' if colour else ""
        self.body.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{kind}{fill}>{words}</text>')

    def head(self, words: str) -> None:
        self.text(self._left, self._top - 12, words, head=True)

    def grid(self, values: Iterable[tuple[float, str]]) -> None:
        right = self._left + self._width
        for value, name in values:
            y = self.y(value)
            self.body.append(f'<line class="grid" x1="{self._left}" y1="{y:.1f}" x2="{right:.1f}" y2="{y:.1f}"/>')
            self.text(self._left - 6, y + 4, name, anchor="end")

    def minutes(self, every: Sequence[int], about: str) -> None:
        y = self._top + self._height + 18
        for minute in every:
            self.text(self.x(60.0 * minute), y, f"{minute}", anchor="middle")
        self.text(self._left + self._width / 2, y + 18, about, anchor="middle")

    def line(self, points: Points, colour: str, *, dashes: str = "") -> None:
        way = " ".join(f"{self.x(at):.1f},{self.y(value):.1f}" for at, value in points)
        dashed = f' stroke-dasharray="{dashes}"' if dashes else ""
        self.body.append(f'<polyline points="{way}" fill="none" stroke="{colour}" stroke-width="2"{dashed}/>')

    def level(self, value: float, colour: str, words: str = "") -> None:
        self.line([(self._seconds[0], value), (self._seconds[1], value)], colour, dashes="6 4")
        if words:
            self.text(self._left + self._width - 4, self.y(value) - 6, words, anchor="end", colour=colour)

    def bar(self, begins: float, ends: float, value: float, colour: str, opacity: float) -> None:
        x, y = self.x(begins) + 1.5, self.y(value)
        width, height = self.x(ends) - x - 1.5, self._top + self._height - y
        size = f'width="{width:.1f}" height="{height:.1f}"'
        self.body.append(f'<rect x="{x:.1f}" y="{y:.1f}" {size} fill="{colour}" fill-opacity="{opacity}"/>')

    def dot(self, at: float, value: float, radius: float, colour: str) -> None:
        self.body.append(f'<circle cx="{self.x(at):.1f}" cy="{self.y(value):.1f}" r="{radius}" fill="{colour}"/>')


def svg(height: int, panels: Iterable[Panel]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img">'
    return "\n".join(
        [head, f"<style>{STYLE}</style>", *(part for panel in panels for part in panel.body), "</svg>", ""]
    )


# -- the pictures ------------------------------------------------------------------------------------------------------


def threshold() -> str:
    """Twenty healthy releases of as many apps, each looked at 240 times."""
    apps = 20
    panel = Panel((64, 58, 732, 260), (0, WATCH_S), (0, apps))
    crossed = convicted = 0
    for row in range(apps):
        app = App(f"healthy {row}", 1, 20.0)
        bets, over = wager(past(app)), []
        for at, stratum in scrapes(app, bets, WATCH_S, {}, {"m0"}):
            convicted += bets.strength >= 0.0
            if share(stratum.new) > LIMIT:
                over.append(at)
        place = apps - row - 0.5
        panel.line([(0.0, place), (over[0] if over else WATCH_S, place)], GREEN)
        if over:
            panel.line([(over[0], place), (WATCH_S, place)], GREY, dashes="1 5")
        for at in over:
            panel.dot(at, place, 4.5 if at == over[0] else 2.5, RED)
        crossed += bool(over)
    assert convicted == 0, "the picture says that none is blamed"
    panel.text(14, 20, f"{apps} healthy releases: one line each, 20 requests a second, 0.1 % of them fail", head=True)
    told = f"● more than 1 % failed in one scrape: a limit at every look rolls back {crossed} of {apps}"
    panel.text(14, 40, told, colour=RED)
    panel.text(590, 40, "the bets described here: none", colour=GREEN)
    panel.minutes(range(0, 61, 10), "minutes since the release")
    return svg(370, [panel])


def evidence() -> str:
    """What a bet grows to against a healthy release, one with a blip, and a bad one."""
    every = {f"m{number}" for number in range(4)}
    cases: list[tuple[str, str, dict[tuple[float, float], More]]] = [
        ("healthy", GREEN, {}),
        ("healthy, 45 s of 10 % errors at minute 10", BLUE, {(600.0, 645.0): dict.fromkeys(every, 0.1)}),
        ("2 % fail from minute 5 on", RED, {(300.0, 1e9): dict.fromkeys(every, 0.02)}),
    ]
    panel = Panel((84, 52, 712, 230), (0, 1200), ODDS, powers=True)
    panel.head("The odds against a release, after every scrape")
    panel.grid(POWERS)
    panel.level(ENOUGH, RED, f"{ENOUGH:,.0f} : 1 is enough to act on")
    panel.minutes(range(0, 21, 5), "minutes since the release")
    for name, colour, more in cases:
        app = App(f"odds {name}", 4, 20.0)
        bets = wager(past(app))
        points = [(at, odds(bets.log_evidence)) for at, _ in scrapes(app, bets, 1200.0, more, every)]
        panel.line(points, colour)
    for place, (name, colour, _) in zip((84, 180, 480), cases, strict=True):
        panel.text(place, 344, f"— {name}", colour=colour)
    return svg(356, [panel])


def tolerated() -> str:
    """The blocks before a release, those that are left out, and what is tolerated."""
    app, span_s = App("blocks 1", 4, 20.0), BLOCKS * BLOCK_S
    hiccup = dict.fromkeys((f"m{number}" for number in range(4)), 0.006)
    blocks = [app.count(BLOCK_S, hiccup if number in (6, 15) else {}) for number in range(BLOCKS)]
    trials = [total(block) for block in blocks]
    kept = trimmed(trials)
    bound = error_bound(trials, trials[-2:], add=0.001)
    steps = math.ceil(max(bad / of for bad, of in trials) / 0.002)
    panel = Panel((64, 40, 620, 220), (-span_s, 0.0), (0.0, steps * 0.002))
    panel.head("Requests that failed under the proven release, in blocks of five minutes")
    panel.grid([(n * 0.002, f"{n * 0.2:.1f} %") for n in range(steps + 1)])
    for number, (bad, of) in enumerate(trials):
        out = (bad, of) not in kept
        begins = number * BLOCK_S - span_s
        panel.bar(begins, begins + BLOCK_S, bad / of, GREY if out else BLUE, 0.5 if out else 0.9)
        if out:
            panel.text(panel.x(begins + BLOCK_S) + 4, panel.y(bad / of) + 12, "left out: worst tenth", colour=GREY)
    for name, value, colour in (("tolerated", bound.limit, RED), ("baseline", bound.baseline, GREEN)):
        panel.level(value, colour)
        panel.text(panel.x(0.0) + 8, panel.y(value) + 4, f"{name} {100 * value:.2f} %", colour=colour)
    panel.minutes(range(-120, 1, 20), "minutes, until the next release begins")
    return svg(312, [panel])


def beside() -> str:
    """One new machine of four: in an outage that hits all, and under a release that is bad itself."""
    every = {f"m{number}" for number in range(4)}
    cases: list[tuple[str, float, More]] = [
        ("Everything fails: an outage", 84, dict.fromkeys(every, 0.05)),
        ("Only the new machine fails: the release", 476, {"m0": 0.05}),
    ]
    panels = []
    for title, left, more in cases:
        app = App(f"beside {title}", 4, 80.0)
        bets, new, old, won = wager(past(app)), [], [], [(0.0, 1.0)]
        for at, stratum in scrapes(app, bets, 300.0, {(60.0, 1e9): more}, {"m0"}):
            new.append((at, share(stratum.new)))
            old.append((at, share(stratum.old)))
            assert bets.live is not None, "there are several machines"
            won.append((at, odds(bets.live.log_evidence)))
        above = Panel((left, 52, 320, 110), (0, 300), (0, 0.08))
        above.head(title)
        above.grid([(0.0, "0 %"), (0.04, "4 %"), (0.08, "8 %")])
        above.line(old, BLUE)
        above.line(new, RED, dashes="7 3")
        below = Panel((left, 196, 320, 170), (0, 300), ODDS, powers=True)
        below.head("Odds that it is the release, side by side")
        below.grid(POWERS)
        below.level(ENOUGH, RED, "enough to act on")
        below.line(won, GREY)
        below.minutes(range(6), "minutes since the new machine came")
        panels += [above, below]
    panels[0].text(84, 20, "Share of failed requests:")
    panels[0].text(250, 20, "— three old machines", colour=BLUE)
    panels[0].text(400, 20, "- - one new machine", colour=RED)
    return svg(416, panels)


PICTURES = {
    "judge-threshold.svg": threshold,
    "judge-evidence.svg": evidence,
    "judge-tolerated.svg": tolerated,
    "judge-beside.svg": beside,
}

if __name__ == "__main__":
    for name, make in PICTURES.items():
        (ROOT / "docs" / name).write_text(make(), encoding="utf-8")
