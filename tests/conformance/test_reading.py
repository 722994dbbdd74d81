"""What flyctl reads of the platform."""

from __future__ import annotations

from tests.conformance.fly import APP, GOOD, USER, Fly


async def test_who_i_am(fly: Fly) -> None:
    assert (await fly.run("auth", "whoami")).out.strip() == USER


async def test_releases_are_listed_with_their_images(fly: Fly) -> None:
    listed = await fly.run("releases", "-a", APP)
    assert [row[0:2] for row in listed.rows()] == [["v1", "complete"]]
    (release,) = (await fly.run("releases", "-a", APP, "--json", "--image")).json
    assert release["Version"] == 1
    assert release["Status"] == "complete"
    assert release["ImageRef"] == GOOD.ref


async def test_status_shows_every_machine_and_its_checks(fly: Fly) -> None:
    status = await fly.run("status", "-a", APP)
    assert status.code == 0
    machines = [m["id"] for m in await fly.machines()]
    rows = {row[1]: row for row in status.rows() if len(row) > 5}
    assert [m for m in machines if m in rows] == machines
    assert {rows[m][4] for m in machines} == {"started"}
    assert {rows[m][6] for m in machines} == {"1 total, 1 passing"}
    told = (await fly.run("status", "-a", APP, "--json")).json
    assert {m["image_ref"]["digest"] for m in told["Machines"]} == {GOOD.digest}


async def test_machines_are_listed(fly: Fly) -> None:
    machines = [m["id"] for m in await fly.machines()]
    listed = await fly.run("machine", "list", "-a", APP)
    assert sorted(row[0] for row in listed.rows() if row[0] in machines) == machines
    assert sorted(m["id"] for m in (await fly.run("machine", "list", "-a", APP, "--json")).json) == machines


async def test_one_machine_is_shown_with_its_events(fly: Fly) -> None:
    machine = (await fly.machines())[0]["id"]
    shown = await fly.run("machine", "status", machine, "-a", APP)
    assert shown.code == 0
    assert "State: started" in shown.out
    assert GOOD.ref.rpartition(":")[2] in shown.out
    assert "launch" in shown.out


async def test_checks_are_listed(fly: Fly) -> None:
    listed = await fly.run("checks", "list", "-a", APP)
    assert listed.code == 0, listed.err
    names = [row for row in listed.rows() if "servicecheck-00-http-3000" in row[0]]
    assert len(names) == 3
    assert {row[1] for row in names} == {"passing"}
