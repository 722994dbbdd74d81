"""Whose hands roll back, as a policy file says it, and the core settings that come of it."""

from __future__ import annotations

import re
from typing import Any

from pydantic import ConfigDict, model_validator

from rollguard.config.complaints import Complaints
from rollguard.config.problems import Wrong, did_you_mean, listed, shown
from rollguard.config.scalars import EnvName, Positive, RepoOrOff, Text, Url
from rollguard.config.section import Section, doc, need
from rollguard.config.signals import secret
from rollguard.config.yamltext import Path
from rollguard.core import executors as core

WORDS_MAX = 64
_WORKFLOW = re.compile(r"[A-Za-z0-9._-]{1,200}\.ya?ml|[1-9]\d{0,15}", re.ASCII)
_REF = re.compile(r"[A-Za-z0-9._/-]{1,200}", re.ASCII)


class Flyctl(Section):
    """The platform's own command line, which deploys the old image by its digest."""

    binary: Text = doc("Its name, looked for in PATH, or where it is.", default="flyctl")
    timeout: Positive = doc("Longest time it may take; then it is stopped.", default="15m")


class GitHub(Section):
    """A workflow of a GitHub repository, with the inputs `target_version` and `reason`."""

    repo: RepoOrOff = need("Repository, `owner/name`.")
    workflow: Text = need("File name of the workflow, such as `rollback.yml`.")
    ref: Text = doc("Branch or tag on which it runs.", default="main")
    token_env: EnvName | None = doc(
        "Environment variable that holds a token that may write to the repository's actions."
    )
    token_file: Text | None = doc("File that holds the token.")
    url: Url = doc("GitHub's REST API.", default="https://api.github.com")
    timeout: Positive = doc("Longest time it may take; then it is cancelled.", default="15m")


class Command(Section):
    """The team's own program. No shell reads its words, and nobody answers it."""

    run: tuple[Text, ...] = need(
        "The program and its words; `{app}`, `{version}`, `{image}`, `{digest}`, `{incident}` and `{reason}` stand for "
        "what to go back to.",
        min_length=1,
        max_length=WORDS_MAX,
    )
    env: tuple[EnvName, ...] = doc("Environment variables of the guard that it may see, such as its token.", default=())
    timeout: Positive = doc("Longest time it may take; then it is stopped.", default="15m")


class Executor(Section):
    """Who rolls back: `machines` (the guard itself), or one of `flyctl`, `github` and `command`."""

    model_config = ConfigDict(json_schema_extra={"type": ["object", "string"], "pattern": "^(machines|flyctl)$"})

    flyctl: Flyctl | None = doc("flyctl deploys the old image.")
    github: GitHub | None = doc("A workflow of a GitHub repository is dispatched and followed.")
    command: Command | None = doc("A program of the team is run.")

    @model_validator(mode="before")
    @classmethod
    def _by_name(cls, written: Any) -> Any:
        """``machines`` stands for itself, and ``flyctl`` for ``flyctl: {}``."""
        if written == "machines":
            return {}
        if written == "flyctl":
            return {"flyctl": {}}
        if isinstance(written, str):
            able = ("machines", *OTHERS)
            raise Wrong(f"must be {listed(able)}{did_you_mean(written, able)}", wanted=listed(able))
        if written == {}:
            raise Wrong(f"is empty; write machines, or one of {listed(OTHERS)}")
        return written


OTHERS = ("flyctl", "github", "command")


def to_executor(written: Executor, deadline_s: float, complaints: Complaints) -> core.Executor:
    """The core settings; mistakes between keys are among the complaints."""
    path: Path = ("rollback", "executor")
    given = [name for name in OTHERS if getattr(written, name) is not None]
    if len(given) > 1:
        complaints.value(path, f"an executor is only one of {listed(('machines', *OTHERS))}")
        return core.Machines()
    if not given:
        return core.Machines()
    path = (*path, given[0])
    chosen: Flyctl | GitHub | Command = getattr(written, given[0])
    if chosen.timeout > deadline_s:
        message = "timeout is longer than rollback.deadline"
        complaints.value((*path, "timeout"), Wrong(message, wanted="as short as deadline"))
    match chosen:
        case Flyctl():
            return core.Flyctl(binary=chosen.binary, timeout_s=chosen.timeout)
        case GitHub():
            return _workflow(chosen, path, complaints)
        case Command():
            _check_words(chosen, path, complaints)
            return core.Command(run=chosen.run, env=chosen.env, timeout_s=chosen.timeout)


def _workflow(written: GitHub, path: Path, complaints: Complaints) -> core.Executor:
    if not written.repo:
        complaints.value((*path, "repo"), Wrong("must be a repository such as owner/name", wanted="a repository"))
    for key, pattern, wanted in (
        ("workflow", _WORKFLOW, "the file name of a workflow, such as rollback.yml"),
        ("ref", _REF, "a branch or a tag"),
    ):
        if not pattern.fullmatch(getattr(written, key)):
            complaints.value((*path, key), Wrong(f"must be {wanted}", wanted=wanted))
    token = secret("token", written.token_env, written.token_file, path, complaints)
    if token is None:
        return core.Machines()
    return core.Workflow(
        repo=written.repo,
        workflow=written.workflow,
        token=token,
        ref=written.ref,
        url=written.url,
        timeout_s=written.timeout,
    )


def _check_words(written: Command, path: Path, complaints: Complaints) -> None:
    """A placeholder that nobody fills would reach the program as it stands."""
    for index, word in enumerate(written.run):
        for at, name in core.placeholders(word):
            if name in core.PLACEHOLDERS:
                continue
            hint = did_you_mean(name, core.PLACEHOLDERS)
            able = listed((f"{{{known}}}" for known in core.PLACEHOLDERS), "and")
            message = f"unknown placeholder {shown(f'{{{name}}}')}{hint or f'; known are {able}'}"
            complaints.value((*path, "run", index), Wrong(message, wanted="a known placeholder", offset=at))
