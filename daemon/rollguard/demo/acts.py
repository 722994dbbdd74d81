"""What is done in a show, and what is waited for: each a step of a scenario, in the order in which it names them."""

from __future__ import annotations

from asyncio.subprocess import Process
from collections.abc import Mapping
from typing import Any

from rollguard.demo.lookout import call
from rollguard.demo.processes import StageError
from rollguard.demo.scenario import Act
from rollguard.demo.show import Show
from rollguard.demo.stage import APP, BASELINE, DEPLOYER, GUARD, MACHINES, PERSON, find

DEPLOY_S_MAX = 90.0
ROLLBACK_S_MAX = 150.0
PAGE_S_MAX = 150.0
SLACK_S = 30.0
DEAD_S = 2.0
MIDDLE = 2
"""So many machines written to are the middle of a rollback of four."""


# -- a person vouches for v1 -------------------------------------------------------------------------------------------


async def adopt(show: Show) -> None:
    """The guard is new and has seen nothing run clean: a person says that v1 may be gone back to."""
    show.tell("person", "a fresh guard has seen nothing run clean yet, so a person vouches for v1: rollguard adopt")
    show.tell("person", await show.stage.ask("adopt", reason="v1 has served for weeks; the guard is new"))
    await show.lookout.look()


async def adopt_as_recorded(show: Show) -> None:
    """The same, with a recording of what v1 did: something to compare v2 with."""
    show.tell("person", "a person vouches for v1 as it was recorded: rollguard adopt --baseline")
    recorded = str(find(BASELINE))
    said = await show.stage.ask("adopt", "--baseline", recorded, reason="v1 has served for weeks; the guard is new")
    show.tell("person", said)
    await show.lookout.look()


# -- deploys -----------------------------------------------------------------------------------------------------------


async def deploy(show: Show) -> None:
    """CI deploys v2, and it gets everywhere."""
    if (await _deploy(show)).returncode != 0:
        raise StageError(f"v2 could not be deployed: {show.stage.processes.last_words('deployer-v2')}")
    show.tell("deploy", "v2 is out on every machine; nobody watches any more but the guard")


async def deploy_as_far_as_it_gets(show: Show) -> None:
    """CI deploys v2; whether it succeeds is not asked: what crashes may stop its own deploy."""
    await _deploy(show)


def deploy_dies_after(machines: int) -> Act:
    """CI deploys v2 and is killed, without a chance to clean up, when so many machines are done."""

    async def act(show: Show) -> None:
        await _deploy(show, "--die-after", str(machines))
        show.tell(
            "deploy", f"CI was killed half-way: {machines} of {MACHINES} machines run v2, and nobody is coming back"
        )

    return act


async def _deploy(show: Show, *options: str) -> Process:
    show.tell("deploy", f"CI deploys v2, machine by machine: {show.scenario.about}")
    deployer = await show.stage.deploy("v2", DEPLOYER, *options)
    await show.lookout.until(lambda: deployer.returncode is not None, DEPLOY_S_MAX, "the deploy")
    return deployer


async def a_person_deploys(show: Show) -> None:
    """In the middle of the rollback, between two machines, a person ships a mended release, to its end."""
    await _until_the_middle(show)
    await show.lookout.until(show.lookout.all_serve, ROLLBACK_S_MAX, "a moment between two machines")
    show.tell("person", "a person does not wait for the guard and deploys v3, which is mended")
    deployer = await show.stage.deploy("v3", PERSON)
    await show.lookout.until(lambda: deployer.returncode is not None, DEPLOY_S_MAX, "the person's deploy")


# -- what goes wrong ---------------------------------------------------------------------------------------------------


async def it_counts_from_here(show: Show) -> None:
    """Where no user gets an error there is no first one: the seconds begin when v2 is out."""
    show.fault_begins()


async def the_database_goes_down(show: Show) -> None:
    """Whatever release runs, half of the pages fail."""
    show.tell("stage", "the database goes down: every page that reads from it fails, whatever the release")
    await call(f"{show.stage.database}/local/v1/down", "POST", {"how": "503"})
    show.fault_begins()


async def the_database_comes_back(show: Show) -> None:
    """The app gets well without anybody's doing."""
    await call(f"{show.stage.database}/local/v1/up", "POST")
    show.tell("stage", "the database is back")
    await show.lookout.watch(5.0)


async def one_machine_falls_sick(show: Show) -> None:
    """Every page of one machine is an error from now on; its checks stay green."""
    show.sick = sorted(machine["id"] for machine in show.lookout.view["machines"])[2]
    show.tell("stage", "machine 3 of 4 falls sick: every page it serves is a 500, and its checks stay green")
    await call(f"{show.stage.app_url}/machines/{show.sick}/mood", "POST", {"error_share": 1.0})
    show.fault_begins()


async def metrics_die(show: Show) -> None:
    """From now on nobody can read what the proxy counts."""
    show.tell("stage", "the metrics endpoint dies: 503, and it stays so")
    await call(f"{show.stage.edge}/local/v1/faults", "POST", {"faults": [{"do": "503", "times": None}]})


async def every_page_fails(show: Show) -> None:
    """Every page of v2 is an error from now on; a machine that gets another image is well again."""
    show.tell("stage", "now every page of v2 fails as well, and no counter can tell")
    for machine in show.lookout.view["machines"]:
        await call(f"{show.stage.app_url}/machines/{machine['id']}/mood", "POST", {"error_share": 1.0})
    show.fault_begins()


def whatever_runs(about: str, mood: Mapping[str, Any]) -> Act:
    """In the middle of the rollback it turns out that every release behaves so."""

    async def act(show: Show) -> None:
        await _until_the_middle(show)
        show.tell("stage", f"it was not v2 at all: {about}")
        await call(f"{show.stage.app_url}/mood", "POST", {"behaviour": mood})

    return act


async def the_guard_is_killed(show: Show) -> None:
    """SIGKILL in the middle of the rollback; up again on the same data."""
    lookout = show.lookout
    await _until_the_middle(show)
    await show.kill_guard()
    await lookout.look()
    done = lookout.writes(GUARD, "update")
    show.tell("stage", f"the guard is killed (SIGKILL) with {done} of {MACHINES} machines written to")
    if done >= MACHINES:
        lookout.give_up("the guard was killed too late to show anything")
    await lookout.watch(DEAD_S)
    show.tell("stage", "the guard is started again on the same data")
    await show.start_guard()


async def _until_the_middle(show: Show) -> None:
    lookout = show.lookout
    await lookout.until(lambda: lookout.writes(GUARD, "update") >= MIDDLE, ROLLBACK_S_MAX, "the middle of the rollback")


# -- what people tell the guard ----------------------------------------------------------------------------------------


def report(kind: str, reason: str) -> Act:
    """A person saw what no signal shows."""

    async def act(show: Show) -> None:
        show.tell("person", f"a person reports what no signal shows: rollguard report {APP} {kind}")
        show.fault_begins()
        show.tell("person", await show.stage.ask("report", kind, reason=reason))

    return act


async def approve(show: Show) -> None:
    """A person looks at the page, and says yes."""
    show.tell("person", f"a person looks at the page, and agrees: rollguard approve {APP}")
    show.person_agrees()
    show.tell("person", await show.stage.ask("approve", reason="customers would notice"))


# -- what is waited for ------------------------------------------------------------------------------------------------


def paged(words: str) -> Act:
    """A page has these words."""

    async def act(show: Show) -> None:
        await show.lookout.until(lambda: show.lookout.paged(words), PAGE_S_MAX, f"a page that says {words!r}")

    return act


def nothing_more_for(seconds: float) -> Act:
    """It stays as it is for a while."""

    async def act(show: Show) -> None:
        show.tell("stage", f"for {seconds:g} s more we watch whether it stays at that")
        await show.lookout.watch(seconds)

    return act


async def rolled_back(show: Show) -> None:
    """Every machine runs v1 again, and the guard's release row is closed."""
    lookout = show.lookout

    def is_back() -> bool:
        rows = lookout.rows(GUARD)
        return lookout.whole_at is not None and bool(rows) and rows[0]["status"] not in ("pending", "running")

    await lookout.until(is_back, ROLLBACK_S_MAX, "the rollback")
    show.tell("fleet", "every machine serves v1 again, and the release is closed")


async def verified(show: Show) -> None:
    """The guard has said how v1 does, and the pager has heard of it."""
    settle_s = show.policy.verify.settle_s
    show.tell("stage", f"the guard watches v1 for {settle_s:g} s before it believes it")
    lookout = show.lookout

    def is_verified() -> bool:
        said = lookout.guard_said("Verified")
        newest = {page["dedup_key"]: page["event_action"] for page in lookout.pages}
        return said is not None and (said["result"] != "restored" or set(newest.values()) == {"resolve"})

    await lookout.until(is_verified, settle_s + SLACK_S, "the end of the incident")


async def proven(show: Show) -> None:
    """The guard has seen v2 run clean for long enough."""
    enough_s = show.policy.interlocks.proven_after_s
    show.tell("stage", f"the guard wants to see v2 run clean for {enough_s:g} s")
    await show.lookout.until(show.is_proven, enough_s + SLACK_S, "the proof of v2")
