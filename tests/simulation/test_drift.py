"""What changed beside the image is seen before a rollback, written down after it, and never with a secret's value."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from rollguard.app.view import View
from rollguard.core import events as ev
from rollguard.core.incident_json import Salt, incident_object
from rollguard.core.incident_record import chronicle
from rollguard.core.report import summary_text
from rollguard.core.support import Known, bundle_files
from rollguard.engine.drift import NAME
from rollguard.localfly.images import Image
from rollguard.telemetry.metrics import Metrics
from rollguard.telemetry.sentences import said
from tests.simulation.siege import QUICK, Aftermath, Siege, besiege
from tests.simulation.stage import APP, BAD, FINE, GOOD

CANARY = "canary-7f3a9c"


def ahead(story: Any, policy: Any = QUICK, **how: Any) -> Aftermath:
    return besiege(story, policy, looks_ahead=True, **how)


async def release(siege: Siege, image: Image, **but: Any) -> None:
    """A deploy that also replaces keys of every machine's config; its row, as flyctl leaves it."""
    wanted = {"app_name": APP, "build_id": 0, "definition": {"app": APP}, "image": image.ref, "strategy": "ROLLING"}
    row = (await siege.call("POST", "/api/v1/releases", wanted))["release"]
    for machine in list(siege.stage.app.machines.values()):
        marks = {"fly_release_id": row["id"], "fly_release_version": str(row["version"])}
        config = dict(machine.config) | {"image": image.ref} | but
        config["metadata"] = dict(config["metadata"]) | marks
        assert await siege.call("POST", f"/v1/apps/{APP}/machines/{machine.id}", {"config": config})
    await siege.call("PATCH", f"/api/v1/releases/{row['id']}", {"status": "complete", "metadata": None})


def env(siege: Siege, **values: str) -> dict[str, str]:
    return dict(next(iter(siege.stage.app.machines.values())).config.get("env", {})) | values


async def known(siege: Siege) -> None:
    """The guard has read and kept what the good release is configured with, and a person vouches for it."""
    await siege.until(lambda: NAME in siege.stage.disk.kept and '"proven":true' in siege.stage.disk.kept[NAME], 30)


def warnings(after: Aftermath) -> str:
    return " ".join(warning for decided in after.of(ev.Decided) for warning in decided.warnings)


def test_what_changed_with_the_bad_release_is_in_its_decision_and_compared_after_the_rollback() -> None:
    async def story(siege: Siege) -> None:
        await known(siege)
        guest = {"cpu_kind": "shared", "cpus": 1, "memory_mb": 4096}
        await release(siege, BAD, env=env(siege, API_URL=CANARY), guest=guest)
        await siege.ended()

    after = ahead(story)
    assert after.outcomes == ["restored"]
    assert "config since v1" in warnings(after)
    assert "env.API_URL added" in warnings(after)
    assert "the rollback changes the image only" in warnings(after)
    (compared,) = after.of(ev.ConfigCompared)
    assert compared.incident == after.of(ev.GoalSet)[0].incident
    assert compared.at >= after.of(ev.GoalEnded)[0].at
    assert (compared.known, compared.digest, compared.added) == (True, GOOD.digest, ("env.API_URL",))
    (memory,) = [line for line in (*compared.changed, *compared.added) if line.startswith("guest.memory_mb")]
    assert memory == "guest.memory_mb 512 → 4096"


def test_where_nothing_but_the_image_changed_nothing_is_said_of_the_config() -> None:
    async def story(siege: Siege) -> None:
        await known(siege)
        await release(siege, BAD)
        await siege.ended()

    after = ahead(story)
    assert "config" not in warnings(after)
    (compared,) = after.of(ev.ConfigCompared)
    assert compared.sentence.endswith("nothing changed")


def test_a_bad_release_that_changed_only_the_config_is_paged_with_the_keys() -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(FINE)
        await asyncio.sleep(30)
        await siege.acts.adopt("alice", "it is fine", None)
        await known(siege)
        await release(siege, FINE, env=env(siege, API_URL=CANARY))
        await fail(siege)

    after = ahead(story)
    assert not after.of(ev.GoalSet)
    page = next(p for p in after.pages if "has the same image as" in p)
    assert (
        "changed configuration or secrets only, which an image cannot undo; config since then: env.API_URL added"
        in page
    )


def test_a_bad_release_that_changed_secrets_says_that_no_key_changed() -> None:
    async def story(siege: Siege) -> None:
        await siege.stage.deploy(FINE)
        await asyncio.sleep(30)
        await siege.acts.adopt("alice", "it is fine", None)
        await known(siege)
        await release(siege, FINE)
        await fail(siege)

    page = next(p for p in ahead(story).pages if "has the same image as" in p)
    assert "no key of the config changed: secrets, or a restart" in page


async def fail(siege: Siege) -> None:
    """The app answers with errors, whatever image it runs."""

    async def broken(*_: Any, **__: Any) -> tuple[int, dict[str, str], bytes]:
        return 500, {}, b"it is broken"

    siege.stage.users.answer = broken
    await asyncio.sleep(60)


def test_a_rehearsal_tells_what_changed() -> None:
    async def story(siege: Siege) -> None:
        await known(siege)
        await release(siege, FINE, env=env(siege, API_URL=CANARY))
        await asyncio.sleep(20)
        plan = await siege.acts.rollback("bob", "to see", None, (), dry_run=True)
        (warning,) = [w for w in plan.warnings if w.name == "config drift"]
        assert "env.API_URL added; the rollback changes the image only" in warning.sentence

    ahead(story)


def test_what_is_known_survives_the_guard() -> None:
    async def story(siege: Siege) -> None:
        await known(siege)
        await siege.die_and_rise()
        await release(siege, BAD, env=env(siege, API_URL=CANARY))
        await siege.ended()

    after = ahead(story)
    assert "env.API_URL added" in warnings(after)
    assert len(after.of(ev.ConfigCompared)) == 1


def test_no_value_of_the_environment_or_of_a_file_is_told_anywhere() -> None:
    told: list[str] = []

    async def story(siege: Siege) -> None:
        await known(siege)
        files = [{"guest_path": "/etc/key", "raw_value": CANARY}]
        await release(siege, BAD, env=env(siege, API_URL=CANARY, OTHER=f"x{CANARY}"), files=files)
        await siege.until(lambda: siege.guard.record.state.rollbacks)
        view = View(siege.guard, siege.guard.clock, siege.guard._vitals, siege.stage.ready)
        told.append(json.dumps(view.status()))
        told.append(json.dumps(view.explain(None)))
        goal = siege.guard.record.state.goal
        assert goal is not None
        await siege.ended()
        await asyncio.sleep(30)
        policy, entries = siege.guard.policy, tuple(siege.guard.record.recent)
        incident = next(e.event.incident for e in entries if isinstance(e.event, ev.GoalSet))
        of = chronicle(entries, APP, incident)
        incident_json = incident_object(policy, of, Salt("x"), version="1")
        parts = Known(
            entries=of.entries, incident=incident_json, status=view.status(), snapshot=siege.guard.watch.snapshot
        )
        told.extend(bundle_files(policy, parts, Salt("x")).values())
        metrics = Metrics.fresh("1")
        metrics.guard(policy, ())
        for entry in entries:
            metrics.observe(entry.event, APP)
        metrics.readiness(APP, siege.stage.ready.now if siege.stage.ready else None)
        told.append(metrics.render("")[0].decode())
        told.append(summary_text(policy, goal, entries))
        told.extend(said(entry.event)[1] for entry in entries)

    after = ahead(story)
    told.extend(after.stage.disk.events)
    told.extend(after.stage.disk.kept.values())
    told.extend(json.dumps(item.page.details) + item.page.summary for item in after.stage.disk.waiting.values())
    assert any("env.API_URL" in words for words in told)
    assert any("config since v1" in words for words in told[:4])
    assert not [words for words in told if CANARY in words]
