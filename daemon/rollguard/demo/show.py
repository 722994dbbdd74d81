"""One run of one scenario, from an empty folder to a verdict."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rollguard.config.loader import load_policy
from rollguard.core.policy import Policy
from rollguard.demo.lookout import Lookout
from rollguard.demo.processes import Processes, StageError
from rollguard.demo.referee import Ruling, floor_violations, rule
from rollguard.demo.scenarios import Scenario
from rollguard.demo.seen import Seen, cause, failed, on_bad_image
from rollguard.demo.stage import APP, DEPLOYER, GUARD, MACHINES, RATE, Stage, set_up
from rollguard.demo.story import Story
from rollguard.demo.tellers import FleetTeller, UsersTeller, of_ruling

ON_DUTY_S_MAX = 30.0
DEPLOY_S_MAX = 90.0
ROLLBACK_S_MAX = 90.0
VERDICT_SLACK_S = 30.0
DEAD_S = 2.0
KILLED_AT_UPDATE = 2
FAILURES = "failed-requests.jsonl"


async def run(scenario: Scenario, folder: Path, story: Story) -> dict[str, Any]:
    """Play a scenario and judge it; the summary, as it is printed. Raises ``StageError`` where it cannot be played."""
    async with Processes(folder) as processes:
        story.tell("stage", f"scenario {scenario.name}: {scenario.about}")
        stage = await set_up(scenario, processes)
        show = Show(scenario, stage, story)
        try:
            async with asyncio.timeout(scenario.ends_in_s):
                await show.play()
        except TimeoutError:
            show.lookout.give_up(f"all of it: not within {scenario.ends_in_s:g} s")
            await show.lookout.look()
    return show.judge()


class Show:
    """A scenario on its stage."""

    def __init__(self, scenario: Scenario, stage: Stage, story: Story) -> None:
        self._scenario, self._stage, self._story = scenario, stage, story
        self._policy: Policy = load_policy(stage.policy, {})
        self._good = stage.old if scenario.is_bad else stage.new
        self._bad = stage.new.digest if scenario.is_bad else None
        names = {stage.old.digest: "v1", stage.new.digest: "v2"}
        for image in (stage.old, stage.new):
            name = names[image.digest]
            story.call(image.digest, f"the image of {name}")
            story.call(image.ref.partition(":")[0] + "@" + f"the image of {name}", f"the image of {name}")
            story.call(image.ref, f"the image of {name}")
        self._tellers = (FleetTeller(names, {GUARD: "the guard", DEPLOYER: "CI"}), UsersTeller(self._bad))
        self._on_stage: list[str] = ["platform", "edge", "pager"]
        self.lookout = Lookout(
            stage.watch_url,
            story,
            self._tellers,
            folder=stage.processes.folder,
            good=self._good.digest,
            check=lambda: stage.processes.check(*self._on_stage),
        )

    async def play(self) -> None:
        """From the first user to the last word."""
        await self._open()
        await self._deploy()
        if self._scenario.is_bad:
            await self._rollback()
        else:
            await self._proof()
        self._on_stage.remove("traffic")
        await self._stage.processes.end("traffic")
        await self.lookout.look()

    async def _open(self) -> None:
        tell, stage, lookout = self._story.tell, self._stage, self.lookout
        tell("stage", f"{APP} on a local Fly.io: {MACHINES} machines serve v1, {RATE} users a second, CI, a pager")
        tell("stage", f"every part is a process of its own; the guard is told URLs, a token and {stage.policy.name}")
        await stage.start_users()
        await stage.start_guard()
        self._on_stage += ["traffic", "guard"]
        await lookout.until(
            lambda: lookout.guard_said("DigestSeen") is not None, ON_DUTY_S_MAX, "the guard's first look"
        )
        if not self._scenario.is_bad:
            return
        tell("person", "a fresh guard has seen nothing run clean yet, so a person vouches for v1: rollguard adopt")
        said = await stage.adopt("v1 has served for weeks; the guard is new")
        tell("person", said)
        await lookout.look()

    async def _deploy(self) -> None:
        stage = self._stage
        self._story.tell("deploy", f"CI deploys v2, machine by machine: {self._scenario.about}")
        where = ("--platform", stage.platform, "--token", "fo1_ci", "--app", APP, "--image", stage.new.ref)
        deployer = await stage.processes.start("deployer", "-m", "rollguard.localfly.deployer", *where)
        await self.lookout.until(lambda: deployer.returncode is not None, DEPLOY_S_MAX, "the deploy")
        if deployer.returncode != 0:
            raise StageError(f"v2 could not be deployed: {stage.processes.last_words('deployer')}")
        self._story.tell("deploy", "v2 is out on every machine; nobody watches any more but the guard")

    async def _rollback(self) -> None:
        lookout = self.lookout
        if self._scenario.kills_guard:
            await self._kill_the_guard()
        if not await lookout.until(self._is_back, ROLLBACK_S_MAX, "the rollback"):
            return
        self._story.tell("fleet", "every machine serves v1 again, and the release is closed")
        if self._scenario.waits_for_verdict:
            self._story.tell(
                "stage", f"the guard watches v1 for {self._policy.verify.settle_s:g} s before it believes it"
            )
            within_s = self._policy.verify.settle_s + VERDICT_SLACK_S
            await lookout.until(self._is_verified, within_s, "the end of the incident")

    async def _kill_the_guard(self) -> None:
        """SIGKILL after the second machine was written to and before the third; up again on the same data."""
        lookout, processes = self.lookout, self._stage.processes

        def in_the_middle() -> bool:
            return lookout.writes(GUARD, "update") >= KILLED_AT_UPDATE

        if not await lookout.until(in_the_middle, ROLLBACK_S_MAX, "the middle of the rollback"):
            return
        self._on_stage.remove("guard")
        await processes.kill("guard")
        await lookout.look()
        done = lookout.writes(GUARD, "update")
        self._story.tell("stage", f"the guard is killed (SIGKILL) with {done} of {MACHINES} machines written to")
        if done >= MACHINES:
            lookout.give_up("the guard was killed too late to show anything")
        await lookout.until(_after(DEAD_S), 2 * DEAD_S, "two seconds")
        self._story.tell("stage", "the guard is started again on the same data")
        await self._stage.start_guard()
        self._on_stage.append("guard")

    def _is_back(self) -> bool:
        rows = self.lookout.rows(GUARD)
        return self.lookout.whole_at is not None and bool(rows) and rows[0]["status"] not in ("pending", "running")

    def _is_verified(self) -> bool:
        """The guard has said how v1 does, and the pager has heard of it."""
        verified = self.lookout.guard_said("Verified")
        if verified is None:
            return False
        newest = {page["dedup_key"]: page["event_action"] for page in self.lookout.pages}
        return verified["result"] != "restored" or set(newest.values()) == {"resolve"}

    async def _proof(self) -> None:
        within_s = self._policy.interlocks.proven_after_s + VERDICT_SLACK_S
        self._story.tell(
            "stage", f"the guard wants to see v2 run clean for {self._policy.interlocks.proven_after_s:g} s"
        )
        await self.lookout.until(self._is_proven, within_s, "the proof of v2")

    def _is_proven(self) -> bool:
        return self.lookout.guard_said("Proven", digest=self._good.digest, how="observed") is not None

    # -- the end -----------------------------------------------------------------------------------------------------

    def judge(self) -> dict[str, Any]:
        """The referee's ruling as the summary, told and with every failed request written down."""
        lookout = self.lookout
        seen = Seen(
            expected=self._scenario.expected,
            guard=GUARD,
            deployer=DEPLOYER,
            good=self._good.digest,
            bad=self._bad,
            view=lookout.view,
            events=lookout.events,
            visits=lookout.visits,
            pages=lookout.pages,
            limit_s=self._scenario.limit_s(self._policy),
            whole_at=lookout.whole_at,
            decided_at=lookout.decided_at(),
            proven=self._is_proven(),
            late=tuple(lookout.late),
            awaited=self._scenario.waits_for_verdict,
        )
        ruling = rule(seen)
        for sentence in ruling.failures:
            if sentence not in lookout.late:  # those were told when they happened
                self._story.tell("wrong", sentence)
        for sentence in of_ruling(ruling):
            self._story.tell("verdict", sentence)
        self._write_down(seen)
        return self._summary(seen, ruling)

    def _summary(self, seen: Seen, ruling: Ruling) -> dict[str, Any]:
        wrong = failed(seen.visits)
        on_bad = sum(on_bad_image(visit, seen.bad) for visit in wrong)
        return {
            "scenario": self._scenario.name,
            "outcome": ruling.outcome,
            "expected": seen.expected,
            "ok": ruling.ok,
            "seconds": asdict(ruling.figures),
            "requests": {
                "total": len(seen.visits),
                "failed_on_bad_image": on_bad,
                "failed_otherwise": len(wrong) - on_bad,
            },
            "writes": dict(sorted(seen.writes.items())),
            "floor_violations": len(floor_violations(seen)),
            "journal_events": self.lookout.journal_events(),
            "artifacts": self._artifacts(),
        }

    def _write_down(self, seen: Seen) -> None:
        """Every failed request with its cause."""
        with (self._stage.processes.folder / FAILURES).open("w", encoding="utf-8") as file:
            for visit in failed(seen.visits):
                file.write(json.dumps({**asdict(visit), "cause": cause(visit, seen.bad)}) + "\n")

    def _artifacts(self) -> list[str]:
        """The guard's record of the rollback, as files in the demo's folder."""
        folder = self._stage.processes.folder
        root = folder / "data" / self._policy.artifacts.dir
        return sorted(str(path.relative_to(folder)) for path in root.rglob("*") if path.is_file())


def _after(wait_s: float) -> Callable[[], bool]:
    """A condition that comes true after so many seconds."""
    loop = asyncio.get_running_loop()
    due = loop.time() + wait_s
    return lambda: loop.time() >= due
