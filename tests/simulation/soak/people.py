"""Other people at the same app: deployers, hands on machines, and those who tell the guard what to do."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rollguard.errors import GuardError
from rollguard.localfly.images import Image
from rollguard.localfly.machines import Machine
from rollguard.localfly.messages import ApiRequest
from tests.simulation.soak.drawn import FINE, Trouble
from tests.simulation.soak.truth import now
from tests.simulation.stage import APP, GOOD, GUARD

if TYPE_CHECKING:
    from tests.simulation.soak.world import Soak

BASE = f"/v1/apps/{APP}/machines"
PATIENCE_S = 60.0


class Person:
    """Somebody with a token of their own, who sends requests and takes no for an answer."""

    def __init__(self, soak: Soak) -> None:
        self._soak = soak

    async def ask(self, method: str, path: str, body: Any = None, nonce: str = "") -> Any:
        """The answer to one request, or None where it was refused."""
        headers = {"authorization": "Bearer ci-token"} | ({"fly-machine-lease-nonce": nonce} if nonce else {})
        content = b"" if body is None else json.dumps(body).encode()
        answer = await self._soak.api.handle(ApiRequest.of(method, f"https://fly{path}", headers, content))
        return json.loads(answer.body or b"{}") if answer.status < 300 else None

    async def insist(self, method: str, path: str, body: Any = None) -> Any:
        """The same, again and again for a while."""
        give_up_at = now() + PATIENCE_S
        while (answer := await self.ask(method, path, body)) is None and now() < give_up_at:
            await asyncio.sleep(1.0)
        return answer

    async def row(self, image: Image, status: str = "running") -> Any:
        """A release row of theirs."""
        wanted = {"app_name": APP, "build_id": 0, "definition": {"app": APP}, "image": image.ref, "strategy": "ROLLING"}
        row = (await self.ask("POST", "/api/v1/releases", wanted))["release"]
        await self.mark(row, status)
        return row

    async def mark(self, row: Any, status: str) -> None:
        await self.ask("PATCH", f"/api/v1/releases/{row['id']}", {"status": status, "metadata": None})

    async def install(self, machine: Machine, image: Image, row: Any = None, nonce: str = "") -> bool:
        """Another image on one machine."""
        marks = {"fly_release_id": row["id"], "fly_release_version": str(row["version"])} if row else {}
        config = dict(machine.config) | {"image": image.ref, "metadata": dict(machine.metadata) | marks}
        asleep = {"skip_launch": True} if machine.state in {"stopped", "suspended", "created"} else {}
        return await self.ask("POST", f"{BASE}/{machine.id}", {"config": config} | asleep, nonce) is not None


class Deployer(Person):
    """``fly deploy``: a row, leases on all machines, one machine after the other, the row's end."""

    async def deploy(self, image: Image, *, step_s: float, dies_after: int | None = None) -> None:
        row = await self.row(image)
        nonces: dict[str, str] = {}
        keeper = asyncio.ensure_future(self._keep(nonces))
        ended = "failed"
        try:
            machines = [m for m in self._soak.truth.managed if m.host_status == "ok"]
            for machine in machines:
                lease = await self.insist("POST", f"{BASE}/{machine.id}/lease?ttl=13", {})
                if lease is None:
                    return
                nonces[machine.id] = lease["data"]["nonce"]
            for number, machine in enumerate(machines):
                if number == dies_after:
                    ended = ""
                    return
                give_up_at = now() + PATIENCE_S
                while not await self.install(machine, image, row, nonces[machine.id]):
                    if now() >= give_up_at:
                        return
                    await asyncio.sleep(2.0)
                await asyncio.sleep(step_s)
            ended = "complete"
        finally:
            keeper.cancel()
            if ended:
                for machine_id, nonce in list(nonces.items()):
                    await self.ask("DELETE", f"{BASE}/{machine_id}/lease", nonce=nonce)
                await self.mark(row, ended)

    async def at_once(self, image: Image) -> None:
        """A deploy without leases, all machines at the same time."""
        row = await self.row(image)
        for machine in self._soak.truth.managed:
            await self.install(machine, image, row)
        await self.mark(row, "complete")

    async def _keep(self, nonces: dict[str, str]) -> None:
        while True:
            await asyncio.sleep(4.0)
            for machine, nonce in list(nonces.items()):
                await self.ask("POST", f"{BASE}/{machine}/lease?ttl=13", {}, nonce)


# -- what people do, by name -------------------------------------------------------------------------------------------


async def competing_deploy(soak: Soak, trouble: Trouble) -> None:
    """Somebody deploys, whatever the guard does: a fix, the same again, or what was there before."""
    image = (FINE, FINE, soak.drawn.image, GOOD)[int(trouble.share * 4)]
    await Deployer(soak).deploy(image, step_s=3.0 + 5 * trouble.share)


async def deploy_that_dies(soak: Soak, trouble: Trouble) -> None:
    """A deployer is killed after some machines: a row that stays open, leases that expire."""
    await Deployer(soak).deploy(FINE, step_s=4.0, dies_after=trouble.times)


async def ship_again(soak: Soak, trouble: Trouble) -> None:
    """The pipeline ships the same candidate once more."""
    await asyncio.sleep(trouble.for_s)
    await Deployer(soak).deploy(soak.drawn.image, step_s=3.0)


async def orphan_row(soak: Soak, trouble: Trouble) -> None:
    """A release row without a deploy behind it."""
    await Person(soak).row(FINE)


async def change_one(soak: Soak, trouble: Trouble) -> None:
    """``fly machine update``, on one machine, with whatever lease is in the way cleared."""
    if machine := soak.some(trouble.share):
        _clear(soak, machine)
        await Person(soak).install(machine, FINE)


async def clear_lease(soak: Soak, trouble: Trouble) -> None:
    """``fly machine leases clear``, at the machine that the guard holds."""
    held = next((m for m in soak.truth.managed if m.lease is not None and m.lease.owner == GUARD), None)
    if held is not None:
        soak.happened(trouble.name)
        _clear(soak, held)


def _clear(soak: Soak, machine: Machine) -> None:
    if machine.lease is not None and machine.lease.owner == GUARD:
        machine.lease = None
        soak.truth.cleared[machine.id] = now()


async def hold_machine(soak: Soak, trouble: Trouble) -> None:
    """Somebody holds a machine for a while, as a script of theirs would."""
    if machine := soak.some(trouble.share):
        await Person(soak).insist("POST", f"{BASE}/{machine.id}/lease?ttl={5 + int(trouble.for_s)}", {})


async def stop_machine(soak: Soak, trouble: Trouble) -> None:
    """Stopped, and started again later."""
    if machine := soak.some(trouble.share):
        person = Person(soak)
        await person.ask("POST", f"{BASE}/{machine.id}/stop", {})
        await asyncio.sleep(trouble.for_s)
        await person.insist("POST", f"{BASE}/{machine.id}/start", {})


async def restart_machine(soak: Soak, trouble: Trouble) -> None:
    if machine := soak.some(trouble.share):
        await Person(soak).ask("POST", f"{BASE}/{machine.id}/restart", {})


async def destroy_machine(soak: Soak, trouble: Trouble) -> None:
    """Gone for good, where it is not the only one."""
    machine = soak.some(trouble.share)
    if machine is not None and len(soak.truth.managed) > 1:
        soak.happened(trouble.name)
        _clear(soak, machine)
        await Person(soak).ask("DELETE", f"{BASE}/{machine.id}?kill=true")


async def create_machine(soak: Soak, trouble: Trouble) -> None:
    """One more of what runs."""
    if machine := soak.some(trouble.share):
        await Person(soak).ask("POST", BASE, {"config": dict(machine.config)})


async def cordon_machine(soak: Soak, trouble: Trouble) -> None:
    """Out of routing for a while."""
    if machine := soak.some(trouble.share):
        person = Person(soak)
        await person.insist("POST", f"{BASE}/{machine.id}/cordon", {})
        try:
            await asyncio.sleep(trouble.for_s)
        finally:
            machine.cordoned = False
            soak.world._shown(machine, soak.wall())


async def pause_guard(soak: Soak, trouble: Trouble) -> None:
    """Paused, and resumed later."""
    with _refusals():
        await soak.acts.pause("bob", "let me look")
    try:
        await asyncio.sleep(trouble.for_s)
    finally:
        with _refusals():
            await soak.acts.resume("bob", "seen")


async def hold_guard(soak: Soak, trouble: Trouble) -> None:
    with _refusals():
        await soak.acts.hold("bob", "hotfix", trouble.for_s + 1.0)


async def roll_back_by_hand(soak: Soak, trouble: Trouble) -> None:
    with _refusals():
        await soak.acts.rollback("alice", "by hand", None, (), dry_run=False)


async def answer_question(soak: Soak, trouble: Trouble) -> None:
    """A yes, or a no, to what the guard asks."""
    with _refusals():
        await asyncio.sleep(trouble.for_s / 10)
        if trouble.share < 0.7:
            await soak.consent.approve("ann", "looks right")
        else:
            await soak.consent.veto("ann", "no")
        soak.happened(trouble.name)


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """The guard may say no, be blind, or be dead."""
    with contextlib.suppress(GuardError):
        yield
