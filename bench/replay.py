"""What a restart of the guard costs: CPU time to replay a journal, from the file to the state of the target.

    .venv/bin/python bench/replay.py [--events 10000] [--rounds 5]

Writes a journal of releases, incidents and rollbacks as they come in a year, with all that happens around them, and
replays it several times. Prints one JSON line with the best round and its parts; ``ratio`` is the whole to a bare
``json.loads`` of the same rows one by one.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sqlite3
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

from rollguard.adapters.journal.sqlite import SqliteJournal
from rollguard.core import events as ev
from rollguard.core.lifecycle import replay

TARGET = "hotdash-production"
MACHINES = 4
RULES = ("not-responding", "pages-fail", "error-rate", "p95-over-target", "health-degraded", "slower-by-half")
SENTENCE = "traffic.errors / traffic.requests 2.4 % of 1312 in 5 min, above 1.0 % since 03:12:45 UTC"


def a_year() -> Iterator[ev.Event]:
    """Events without end, in the order and mix of a guard's life."""
    at, number = 1_750_000_000.0, 0
    yield ev.GuardStarted(at=at, life="life-0", version="1.0", mode="enforce")
    while True:
        number += 1
        at += 6 * 3600
        yield from _release(number, at)
        for noise in range(6):
            at += 900
            yield from _rule(RULES[(number + noise) % len(RULES)], at)
        if number % 4 == 0:
            at += 600
            yield from _incident(number, at)
        if number % 7 == 0:
            yield ev.TickFailed(at=at, error="HTTP 503: GET /v1/apps/hotdash-production/machines", failures=1)
            yield ev.GuardStarted(at=at + 5, life=f"life-{number}", version="1.0", mode="enforce")
            yield ev.PolicyLoaded(at=at + 5, hash="sha256:" + "ab" * 32, path="/etc/rollguard/p.yaml", mode="enforce")


def _digest(number: int) -> str:
    return f"sha256:{number:064x}"


def _ref(number: int) -> str:
    return f"registry.fly.io/{TARGET}:deployment-{number:026}"


def _release(number: int, at: float) -> Iterator[ev.Event]:
    digest = _digest(number)
    yield ev.DeployBegan(at=at, owner="ci@example.com", sign=f"release v{number} is running")
    labels = {"rollguard.migration": "none", "org.opencontainers.image.revision": "0" * 40}
    yield ev.DigestSeen(at=at + 10, digest=digest, image_ref=_ref(number), version=number, labels=labels)
    yield ev.FullyDeployed(at=at + 80, digest=digest, version=number)
    yield ev.DeployEnded(at=at + 85, owner="ci@example.com")
    yield ev.Proven(at=at + 700, digest=digest, image_ref=_ref(number), version=number, how="observed")


def _rule(rule: str, at: float) -> Iterator[ev.Event]:
    for before, after in (("clear", "pending"), ("pending", "firing"), ("firing", "clear")):
        yield ev.RuleChanged(
            at=at, rule=rule, before=before, after=after, sentence=SENTENCE, value=0.024, limit=0.01, since=at - 30
        )


def _incident(number: int, at: float) -> Iterator[ev.Event]:
    """A rollback of four machines, from its first page to the verdict on what was restored."""
    name, bad, good = f"i-{number}", _digest(number), _digest(number - 1)
    machines = [f"{number:06x}{place:08x}" for place in range(MACHINES)]
    yield ev.IncidentOpened(at=at, incident=name, candidate=bad, sentence=SENTENCE)
    yield ev.Decided(
        at=at,
        incident=name,
        decision="rollback",
        trigger="absolute rule",
        sentence=SENTENCE,
        candidate=bad,
        target=good,
        findings=(f"error-rate: {SENTENCE}",) * 3,
    )
    yield ev.GoalSet(
        at=at,
        incident=name,
        candidate=bad,
        target=good,
        target_ref=_ref(number - 1),
        target_version=number - 1,
        after_version=number,
        trigger="absolute rule",
        by="rollguard",
        reason="policy",
        deadline_at=at + 900,
        instances={m: f"01K{m}" for m in machines},
        rules=("error-rate",),
        prove=True,
    )
    yield from _page(name, at, "rollback")
    yield ev.StepIntended(at=at, incident=name, kind="release_create")
    yield ev.StepDone(at=at + 1, incident=name, kind="release_create", result="rel_1", version=number + 1)
    for place, machine in enumerate(machines):
        since = at + 2 + 60 * place
        yield ev.StepIntended(at=since, incident=name, kind="update", machine=machine, instance_id=f"01K{machine}")
        for phase in ("accepted", "healthy"):
            yield ev.StepDone(
                at=since + 30, incident=name, kind="update", machine=machine, result=f"01M{machine}", phase=phase
            )
    yield ev.FirstJudged(at=at + 90, incident=name, result="better", sentence=SENTENCE, machines=(machines[0],))
    yield ev.StepIntended(at=at + 300, incident=name, kind="release_complete")
    yield ev.StepDone(at=at + 301, incident=name, kind="release_complete", result="rel_1")
    yield ev.GoalEnded(at=at + 302, incident=name, outcome="restored", sentence="all 4 machines run the target")
    yield from _page(name, at + 302, "restored")
    yield ev.FullyDeployed(at=at + 305, digest=good, version=number + 1)
    yield ev.Verified(at=at + 600, incident=name, result="restored", sentence="clean for 5 min")
    yield from _page(name, at + 600, "verified")
    yield ev.IncidentClosed(at=at + 600, incident=name, outcome="restored")


def _page(incident: str, at: float, about: str) -> Iterator[ev.Event]:
    yield ev.PageQueued(
        at=at, key=f"{TARGET}/{incident}", summary=SENTENCE, severity="critical", resolve=False, about=about
    )
    for channel in ("pagerduty", "slack", "github_issue"):
        yield ev.PageSent(at=at + 2, key=f"{TARGET}/{incident}", channel=channel, attempts=1)


async def write(path: Path, count: int) -> Counter[str]:
    """A journal of so many events, and of which kinds they are."""
    journal, life = SqliteJournal.open(path, TARGET), a_year()
    events = [next(life) for _ in range(count)]
    await journal.append(events)
    await journal.close()
    return Counter(type(event).__name__ for event in events)


async def measure(path: Path, rounds: int) -> dict[str, float]:
    """The best CPU seconds of reading, of working out the state, and of the yardstick."""
    journal = SqliteJournal.open(path, TARGET)
    with closing(sqlite3.connect(path)) as db:
        texts = [text for (text,) in db.execute("SELECT body FROM event ORDER BY seq")]
    best: dict[str, float] = {}

    def keep(name: str, spent_s: float) -> None:
        best[name] = min(spent_s, best.get(name, spent_s))

    try:
        for _ in range(rounds):
            began = time.process_time()
            recorded = await journal.replay()
            read_s = time.process_time() - began
            keep("read", read_s)
            apply_s = _spent(partial(replay, recorded))
            keep("apply", apply_s)
            keep("whole", read_s + apply_s)
            keep("json", _spent(lambda: [json.loads(text) for text in texts]))
    finally:
        await journal.close()
    return best


def _spent(work: Callable[[], Any]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "journal.db"
        kinds = asyncio.run(write(path, options.events))
        best = asyncio.run(measure(path, options.rounds))
    figures = {f"{name}_ms": round(1e3 * seconds, 1) for name, seconds in best.items()}
    ratio = round(best["whole"] / best["json"], 2)
    print(json.dumps({"events": options.events, "kinds": len(kinds), **figures, "ratio": ratio}))


if __name__ == "__main__":
    main()
