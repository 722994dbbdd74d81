"""The guard and flyctl on one app: each sees what the other did, and people win."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import pytest

from tests.conformance.conftest import Opener
from tests.conformance.fly import APP, GOOD, GUARD, GUARD_TOKEN, NEXT, USER, Fly, Ran, ended

POLICY = """
version: 1
target: {name: shop, platform: fly, app: shop, token_env: FLY_API_TOKEN}
mode: enforce
signals: {machines: {platform: {}, every: 1s}}
rules: [{name: crash-loop, signal: machines, crashed: 3 in 5m, on: {machines: 50%}, then: rollback}]
rollback: {max_unavailable: 25%, healthy_floor: 75%, stability: 2s, pause_between: 1s, wait_timeout: 60s, deadline: 5m}
verify: {settle: 2s}
"""


async def guard_begins(fly: Fly, home: Path) -> asyncio.subprocess.Process:
    """``rollguard rollback`` to release 1, by hand and without a daemon: the executor is the daemon's."""
    policy = home / "policy.yaml"
    policy.write_text(POLICY)
    words = ["rollback", "shop", "1", "--reason", "conformance", "--by", "alice", "--yes", "--config", str(policy)]
    held = ["--override", "target-not-proven", "--override", "migration"]
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "rollguard.cli.main", *words, *held, "--data", str(home / "data")),
        env=fly.environ(GUARD_TOKEN),
        cwd=home,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


def told(ran: Ran) -> str:
    return f"{ran.code}\n{ran.out}\n{ran.err}"


async def test_a_rollback_of_the_guard_looks_right_to_flyctl(open_fly: Opener, tmp_path: Path) -> None:
    async with open_fly(machines=4, rate_limits=True) as fly:
        assert (await fly.deploy(NEXT, "--strategy", "immediate")).code == 0
        await fly.until(lambda seen: all(m["routable"] for m in seen["machines"]))
        ran = await ended(await guard_begins(fly, tmp_path))
        assert ran.code == 0, told(ran)
        await asyncio.sleep(3)  # the platform's rate limits: flyctl does not wait for them
        row = (await fly.run("releases", "-a", APP, "--json", "--image")).json[0]
        assert (row["Version"], row["Status"], row["User"]["Email"]) == (3, "complete", GUARD)
        assert GOOD.digest in row["ImageRef"]
        status = await fly.run("status", "-a", APP)
        machines = [r for r in status.rows() if len(r) > 5 and r[4] == "started"]
        assert len(machines) == 4, status.out
        assert {(r[2], r[6]) for r in machines} == {("3", "1 total, 1 passing")}
        seen = await fly.seen()
        assert {m["digest"] for m in seen["machines"]} == {GOOD.digest}
        assert not [v for v in seen["floor_violations"] if v["owner"] == GUARD]
        await asyncio.sleep(3)
        again = await fly.deploy(NEXT)
        assert again.code == 0, "the next deploy goes on from there"


@pytest.mark.parametrize("retries", ["0", "1"])
async def test_a_deploy_in_the_middle_of_a_rollback_finds_the_guard_yielding(
    open_fly: Opener, tmp_path: Path, retries: str
) -> None:
    async with open_fly(machines=4) as fly:
        assert (await fly.deploy(NEXT, "--strategy", "immediate")).code == 0
        await fly.until(lambda seen: all(m["routable"] for m in seen["machines"]))
        guard = await guard_begins(fly, tmp_path)
        await fly.until(lambda seen: any(e["kind"] == "update" and e["owner"] == GUARD for e in seen["events"]))
        deploy = asyncio.ensure_future(fly.deploy(NEXT, "--deploy-retries", retries))
        ran, deployed = await ended(guard), await deploy
        assert ran.code == 1, told(ran)
        assert "ended (yielded): " in ran.out, told(ran)
        assert f"release v4 by {USER}" in ran.out + ran.err or "holds machine" in ran.out + ran.err, told(ran)
        assert deployed.code == 0, told(deployed)
        # What flyctl finds ``replacing`` it leaves stopped, with retries under a new ID: the daemon tells people.
        rests = ("started", "stopped")
        seen = await fly.until(lambda seen: all(m["state"] in rests for m in seen["machines"]), within_s=30)
        assert [m["digest"] for m in seen["machines"]] == [NEXT.digest] * 4, "people win, on every machine"
        (theirs, *_) = [e["at"] for e in reversed(seen["events"]) if e["detail"].startswith("v4 ")]
        late = [e for e in seen["events"] if e["kind"] == "update" and e["owner"] == GUARD and e["at"] > theirs]
        assert not late, "the guard began no machine after their release row"
        rows = {r["version"]: r["status"] for r in seen["releases"]}
        assert rows[3] == "failed"
        assert rows[4] == "complete"
