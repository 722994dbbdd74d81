"""One run of one scenario, from an empty folder to a verdict."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rollguard.config.loader import load_policy
from rollguard.core.policy import Policy
from rollguard.demo.lookout import GivenUp, Lookout
from rollguard.demo.processes import Processes
from rollguard.demo.referee import rule
from rollguard.demo.scenario import Scenario
from rollguard.demo.seen import Seen, cause, failed
from rollguard.demo.stage import APP, DEPLOYER, GUARD, MACHINES, PERSON, RATE, Stage, set_up
from rollguard.demo.story import Story
from rollguard.demo.summary import summary
from rollguard.demo.tellers import FleetTeller, UsersTeller, of_ruling

ON_DUTY_S_MAX = 30.0
FAILURES = "failed-requests.jsonl"


async def run(scenario: Scenario, folder: Path, story: Story) -> dict[str, Any]:
    """Play a scenario and judge it; the summary, as it is printed. Raises ``StageError`` where it cannot be played."""
    async with Processes(folder) as processes:
        story.tell("stage", f"scenario {scenario.name}: {scenario.about}")
        show = Show(scenario, await set_up(scenario, processes), story)
        try:
            async with asyncio.timeout(scenario.ends_in_s):
                await show.play()
        except TimeoutError:
            show.lookout.give_up(f"all of it: not within {scenario.ends_in_s:g} s")
        await show.close()
    return show.judge()


class Show:
    """A scenario on its stage. Acts use ``stage`` and ``lookout``, and note here what only they know.

    ``fault_at``, ``yes_at`` and ``sick`` are as in ``Seen``.
    """

    def __init__(self, scenario: Scenario, stage: Stage, story: Story) -> None:
        self.scenario, self.stage, self.tell = scenario, stage, story.tell
        self.policy: Policy = load_policy(stage.policy, {})
        self.good = stage.images[scenario.ends_on].digest
        self.bad = stage.images[scenario.bad].digest if scenario.bad else None
        self.fault_at: float | None = None
        self.yes_at: float | None = None
        self.sick: str | None = None
        self._names = {image.digest: name for name, image in stage.images.items()}
        for digest, name in self._names.items():
            ref = stage.images[name].ref
            called = f"the image of {name}"
            for thing in (digest, ref.partition(":")[0] + "@" + called, ref):
                story.call(thing, called)
        owners = {GUARD: "the guard", DEPLOYER: "CI", PERSON: "a person"}
        self._on_stage: list[str] = ["platform", "edge", "pager"]
        self.lookout = Lookout(
            f"{stage.app_url}/watch",
            story,
            (FleetTeller(self._names, owners), UsersTeller(self.bad, rough=scenario.rough)),
            folder=stage.processes.folder,
            good=self.good,
            check=lambda: stage.processes.check(*self._on_stage),
        )

    async def play(self) -> None:
        """From the first user to the last act, or to the first that was given up."""
        await self._open()
        with contextlib.suppress(GivenUp):
            for act in self.scenario.acts:
                await act(self)

    async def _open(self) -> None:
        stage = self.stage
        self.tell("stage", f"{APP} on a local Fly.io: {MACHINES} machines serve v1, {RATE} users a second, CI, a pager")
        self.tell(
            "stage", f"every part is a process of its own; the guard is told URLs, a token and {stage.policy.name}"
        )
        await stage.start_users()
        await self.start_guard()
        self._on_stage.append("traffic")
        said = self.lookout.guard_said
        with contextlib.suppress(GivenUp):  # what follows shows what comes of it
            await self.lookout.until(lambda: said("DigestSeen") is not None, ON_DUTY_S_MAX, "the guard's first look")

    async def start_guard(self) -> None:
        """A life of the guard. From now on it is missed."""
        await self.stage.start_guard()
        self._on_stage.append("guard")

    async def kill_guard(self) -> None:
        """The end of a life, without warning."""
        self._on_stage.remove("guard")
        await self.stage.processes.kill("guard")

    def fault_begins(self) -> None:
        """From now on it is bad: what the guard does is timed from here."""
        self.fault_at = time.time()

    def person_agrees(self) -> None:
        """A person says yes now."""
        self.yes_at = time.time()

    async def close(self) -> None:
        """The users leave; the last look."""
        if "traffic" in self._on_stage:
            self._on_stage.remove("traffic")
            await self.stage.processes.end("traffic")
        await self.lookout.look()

    def is_proven(self) -> bool:
        """Whether the guard has seen enough of what runs to go back to it one day."""
        return self.lookout.guard_said("Proven", digest=self.good, how="observed") is not None

    def judge(self) -> dict[str, Any]:
        """The referee's ruling as the summary, told and with every failed request written down."""
        seen = self._seen()
        ruling = rule(seen, self.scenario.ending)
        for sentence in ruling.failures:
            if sentence not in seen.late:  # those were told when they happened
                self.tell("wrong", sentence)
        for sentence in of_ruling(ruling):
            self.tell("verdict", sentence)
        self._write_down(seen)
        journal_events, artifacts = self.lookout.journal_events(), self._artifacts()
        return summary(self.scenario, seen, ruling, journal_events=journal_events, artifacts=artifacts)

    def _seen(self) -> Seen:
        lookout = self.lookout
        return Seen(
            guard=GUARD,
            deployer=DEPLOYER,
            person=PERSON,
            good=self.good,
            bad=self.bad,
            names=self._names,
            view=lookout.view,
            events=lookout.events,
            visits=lookout.visits,
            pages=lookout.pages,
            limit_s=self.scenario.limit_s(self.policy),
            whole_at=lookout.whole_at,
            decided_at=lookout.decided_at(),
            fault_at=self.fault_at,
            yes_at=self.yes_at,
            sick=self.sick,
            proven=self.is_proven(),
            judged_first=lookout.guard_said("FirstJudged") is not None,
            late=tuple(lookout.late),
        )

    def _write_down(self, seen: Seen) -> None:
        """Every failed request with its cause."""
        with (self.stage.processes.folder / FAILURES).open("w", encoding="utf-8") as file:
            for visit in failed(seen.visits):
                file.write(json.dumps({**asdict(visit), "cause": cause(visit, seen.bad)}) + "\n")

    def _artifacts(self) -> list[str]:
        """The guard's record of the rollback, as files in the demo's folder."""
        folder = self.stage.processes.folder
        root = self.stage.data / self.policy.artifacts.dir
        return sorted(str(path.relative_to(folder)) for path in root.rglob("*") if path.is_file())
