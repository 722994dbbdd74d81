"""What a seed draws: the app, the release, the guard's policy, and what goes wrong when. Nothing else is by chance."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass

from rollguard.core.model import Mode
from rollguard.localfly.images import Behaviour, Image
from tests.simulation.soak.catalogue import CATALOGUE, Kind
from tests.simulation.stage import APP, GOOD, NONE

BAD: Mapping[str, Behaviour] = {
    "5xx": Behaviour(error_share=1.0),
    "checks fail": Behaviour(health_fails=True, error_share=1.0),
    "crash loop": Behaviour(crash_after_s=8.0),
    "late crashes": Behaviour(leak_mb_per_s=4.0),
    "slow": Behaviour(latency_s=30.0),
    "half broken": Behaviour(broken_page="/"),
    "some errors": Behaviour(error_share=0.5),
}
"""How a bad candidate is bad."""
HEALTHY = "healthy"
FINE = Image.build(f"registry.fly.io/{APP}:deployment-FINE", Behaviour(latency_s=0.1), labels=NONE)
"""What other people deploy in between, and it is well."""
SURE, MORE_MAX = 3, 4
"""So many faults come true in each seed, and up to so many more may."""
QUIET_AFTER_S = (150.0, 420.0)
"""How long after the deploy things go wrong."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    """One thing that goes wrong: at ``at_s`` after the deploy, or at the first ``moment`` after ``skip`` of its kind,
    if that comes earlier; for ``for_s`` or ``times``, whichever its kind asks for. ``share`` picks a machine.
    """

    name: str
    at_s: float
    moment: str = ""
    skip: int = 0
    for_s: float = 0.0
    times: int = 1
    calls: str = ""
    share: float = 0.0

    def __str__(self) -> str:
        when = f"at {self.at_s:.0f} s" + (f" or {self.moment} {self.skip + 1}" if self.moment else "")
        calls = f" on {self.calls}" if self.calls else ""
        return f"{self.name}{calls}, {when}, for {self.for_s:.0f} s or {self.times}×"


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A seed's story before it is told."""

    seed: int
    machines: int
    workers: int
    extras: frozenset[str]
    check_every_s: int
    candidate: str
    deploy: str
    proven: bool
    mode: Mode
    lock: str
    traffic: bool
    control: bool
    go_on_unclear: bool
    restart_sick: bool
    quiet_after_s: float
    troubles: tuple[Trouble, ...]

    @property
    def image(self) -> Image:
        """The candidate."""
        behaviour = BAD.get(self.candidate, Behaviour(latency_s=0.11))
        labels = {} if self.lock == "migration" else NONE
        return Image.build(f"registry.fly.io/{APP}:deployment-NEW", behaviour, labels=labels)

    @property
    def bad(self) -> bool:
        """Whether the candidate is."""
        return self.candidate != HEALTHY

    def lines(self) -> list[str]:
        """For people."""
        extras = "".join(f", one {extra}" for extra in sorted(self.extras))
        policy = [
            f"mode {self.mode.name.lower()}",
            f"held by {self.lock}" if self.lock else "",
            "" if self.proven else "first sight",
            "traffic is scraped" if self.traffic else "",
            "control addresses" if self.control else "",
            "goes on when unclear" if self.go_on_unclear else "",
            "restarts the sick" if self.restart_sick else "",
        ]
        return [
            f"app: {self.machines} machines, {self.workers} workers{extras}; checks every {self.check_every_s} s",
            f"candidate: {self.candidate}, deployed {self.deploy}",
            f"policy: {', '.join(word for word in policy if word)}",
            f"trouble until {self.quiet_after_s:.0f} s after the deploy:",
            *(f"  {trouble}" for trouble in self.troubles),
        ]


def draw(seed: int) -> Drawn:
    """The same seed, the same story."""
    dice = random.Random(seed)
    bad = dice.random() < 0.85
    candidate = dice.choice(list(BAD)) if bad else HEALTHY
    extras = {"standby": 0.1, "stopped": 0.15, "unmanaged": 0.1, "cordoned": 0.08}
    quiet_after_s = dice.uniform(*QUIET_AFTER_S)
    return Drawn(
        seed=seed,
        machines=dice.choice((1, 2, 2, 3, 3, 4, 4, 4, 5, 6, 8, 10)),
        workers=dice.choice((0, 0, 0, 0, 1, 2)),
        extras=frozenset(name for name, chance in extras.items() if dice.random() < chance),
        check_every_s=dice.choice((5, 15, 15, 0)) if candidate != "checks fail" else dice.choice((5, 15)),
        candidate=candidate,
        deploy=dice.choice(("at once", "at once", "rolling", "rolling", "by one who dies")),
        proven=dice.random() < 0.92,
        mode=dice.choices((Mode.ENFORCE, Mode.PAGE, Mode.OBSERVE), (88, 6, 6))[0],
        lock=dice.choices(("", "migration", "pause", "hold"), (82, 6, 6, 6))[0],
        traffic=candidate == "some errors" or dice.random() < 0.05,
        control=dice.random() < 0.2,
        go_on_unclear=dice.random() < 0.4,
        restart_sick=dice.random() < 0.1,
        quiet_after_s=quiet_after_s,
        troubles=tuple(
            _trouble(dice, quiet_after_s, sure=number < SURE) for number in range(SURE + dice.randint(0, MORE_MAX))
        ),
    )


def _trouble(dice: random.Random, quiet_after_s: float, *, sure: bool) -> Trouble:
    kinds = {name: kind for name, kind in CATALOGUE.items() if kind.sure is sure}
    name = dice.choices(list(kinds), [kind.weight for kind in kinds.values()])[0]
    kind: Kind = kinds[name]
    return Trouble(
        name=name,
        at_s=dice.uniform(0.0, quiet_after_s * 0.7),
        moment=dice.choice(kind.moments) if kind.moments and dice.random() < 0.75 else "",
        skip=dice.choice((0, 0, 0, 1, 1, 2, 3)),
        for_s=dice.uniform(*kind.for_s),
        times=dice.choice(kind.times),
        calls=dice.choice(kind.calls) if kind.calls else "",
        share=dice.random(),
    )


assert GOOD.labels == NONE, "what is gone back to migrates nothing"
