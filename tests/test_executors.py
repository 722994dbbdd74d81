"""A target and whoever rolls back for it: built from its policy, exchanged with it, let go in the end."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from pathlib import Path

import pytest

from rollguard.adapters.executors.github import GitHubDelegate
from rollguard.adapters.executors.process import ProcessDelegate
from rollguard.adapters.http import AiohttpTransport
from rollguard.app.preflight import missing_secrets, unable
from rollguard.app.target import Target
from rollguard.core.executors import Command, Executor, Flyctl, Machines, Workflow
from rollguard.core.order import Begun, Work
from rollguard.core.policy import Policy, Rollback
from rollguard.core.signals import SecretRef
from tests.adapters.programs import ORDER, is_alive, program, until
from tests.builders import a_policy
from tests.test_app import a_target

WORKFLOW = Workflow(repo="acme/shop", workflow="rollback.yml", token=SecretRef(env="GITHUB_TOKEN"))


def by(executor: Executor) -> Policy:
    return a_policy(rollback=Rollback(executor=executor))


def kind(target: Target) -> type:
    return type(target.guard.respond.delegate)


@pytest.mark.parametrize(
    "executor, expected",
    [
        (Machines(), type(None)),
        (Flyctl(), ProcessDelegate),
        (Command(run=("./rollback.sh",)), ProcessDelegate),
        (WORKFLOW, GitHubDelegate),
    ],
)
async def test_a_policy_says_who_rolls_back(tmp_path: Path, executor: Executor, expected: type) -> None:
    async with a_target(tmp_path, rollback=Rollback(executor=executor)) as target:
        assert kind(target) is expected
        delegate = target.guard.respond.delegate
        assert delegate is None or delegate.name == executor.name


async def test_another_policy_is_another_executor_and_what_is_at_work_goes_on_until_the_guard_ends(
    tmp_path: Path,
) -> None:
    run = program(tmp_path, "print(os.getpid(), flush=True)\nwhile True: time.sleep(60)\n")
    async with a_target(tmp_path / "data", rollback=Rollback(executor=Command(run=(run,)))) as target:
        delegate = target.guard.respond.delegate
        assert isinstance(delegate, ProcessDelegate)
        begun = await delegate.begin(ORDER)
        await target.obey(by(Machines()))
        assert target.guard.respond.delegate is None
        assert (await delegate.progress(begun)).work is Work.RUNNING
        await until(lambda: bool((delegate.root / ORDER.id / "output.txt").read_text()))
        child = int(await delegate.printed(Begun(ORDER.id)))
        await target.obey(by(WORKFLOW))
        assert kind(target) is GitHubDelegate
    await until(lambda: not is_alive(child))


async def test_what_programs_print_is_kept_in_the_data_folder_by_target(tmp_path: Path) -> None:
    async with a_target(tmp_path, rollback=Rollback(executor=Flyctl())) as target:
        delegate = target.guard.respond.delegate
        assert isinstance(delegate, ProcessDelegate)
        assert delegate.root == tmp_path / "executors" / target.name


def test_a_workflows_token_must_be_there_at_the_start() -> None:
    policy = by(WORKFLOW)
    known = {"FLY_API_TOKEN": "x"}
    [why] = [one for one in missing_secrets([policy], known) if "GITHUB_TOKEN" in one]
    assert "github workflow rollback.yml of acme/shop" in why
    assert not [one for one in missing_secrets([policy], known | {"GITHUB_TOKEN": "x"}) if "GITHUB_TOKEN" in one]


async def test_what_is_asked_over_the_wire_is_asked_only_by_a_live_check(tmp_path: Path) -> None:
    transport = AiohttpTransport()
    environ = {"GITHUB_TOKEN": "x", "PATH": os.environ["PATH"]}
    offline = replace(WORKFLOW, url="http://127.0.0.1:9")
    try:
        assert await unable(by(offline), transport, environ, tmp_path, asking=False) == []
        [why] = await unable(by(offline), transport, environ, tmp_path, asking=True)
        assert "rollback.executor github workflow rollback.yml of acme/shop: " in why
        missing = by(Command(run=("./none.sh",)))
        assert await unable(missing, transport, environ, tmp_path, asking=True) == []
        [why] = await unable(missing, transport, environ, tmp_path, asking=False)
        assert "./none.sh is not there" in why
        assert await unable(by(Machines()), transport, environ, tmp_path, asking=False) == []
    finally:
        await transport.close()
    await asyncio.sleep(0)
