"""flyctl decides by the list that it takes first: what becomes of a machine that somebody was changing just then."""

from __future__ import annotations

from tests.conformance.fly import APP, GUARD_TOKEN, NEXT, SLOW, USER, Fly, deploy_words, ended


async def deployed_meanwhile(fly: Fly, retries: str) -> str:
    """Deploy NEXT while somebody who holds its lease puts SLOW on a machine; that machine's ID."""
    machine = (await fly.machines())[0]
    lease = await fly.ask("POST", f"/{machine['id']}/lease?ttl=60", token=GUARD_TOKEN)
    nonce = str(lease["data"]["nonce"])
    body = {"config": machine["config"] | {"image": SLOW.ref}}
    await fly.ask("POST", f"/{machine['id']}", body, nonce, GUARD_TOKEN)
    deploying = await fly.begin(*deploy_words(NEXT, "--deploy-retries", retries))
    await fly.until(lambda seen: any(e["kind"] == "lease refused" and e["owner"] == USER for e in seen["events"]))
    await fly.until(lambda seen: all(m["state"] == "started" for m in seen["machines"]))
    await fly.ask("DELETE", f"/{machine['id']}/lease", None, nonce, GUARD_TOKEN)
    ran = await ended(deploying)
    assert ran.code == 0, ran.err
    return str(machine["id"])


async def test_it_waits_for_the_lease_then_changes_that_machine_without_starting_it(fly: Fly) -> None:
    concerned = await deployed_meanwhile(fly, "0")
    machines = {machine["id"]: machine for machine in (await fly.seen())["machines"]}
    assert {machine["digest"] for machine in machines.values()} == {NEXT.digest}
    assert machines[concerned]["state"] in ("replacing", "stopped")
    seen = await fly.until(lambda seen: all(m["state"] != "replacing" for m in seen["machines"]))
    assert [m["id"] for m in seen["machines"] if m["state"] == "stopped"] == [concerned]
    assert (await fly.run("releases", "-a", APP, "--json")).json[0]["Status"] == "complete"


async def test_with_retries_it_puts_a_new_machine_in_its_place_and_does_not_start_that(fly: Fly) -> None:
    before = {machine["id"] for machine in await fly.machines()}
    concerned = await deployed_meanwhile(fly, "1")
    after = {machine["id"]: machine for machine in (await fly.seen())["machines"]}
    assert before - set(after) == {concerned}, "destroyed"
    (made,) = set(after) - before
    assert after[made]["digest"] == NEXT.digest
    assert after[made]["state"] == "stopped"
    assert (await fly.run("releases", "-a", APP, "--json")).json[0]["Status"] == "complete"
