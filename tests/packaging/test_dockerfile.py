"""What the Dockerfile promises can be read off it, also where no image can be built."""

from __future__ import annotations

import json
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
LINES = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", " ").splitlines()
INSTRUCTIONS = [line.partition(" ")[::2] for line in LINES if line and not line.startswith("#")]
FINAL = INSTRUCTIONS[max(n for n, (word, _) in enumerate(INSTRUCTIONS) if word == "FROM") :]


def of(word: str, instructions: list[tuple[str, str]]) -> list[str]:
    return [rest.strip() for name, rest in instructions if name == word]


def test_the_base_can_be_another_debian_and_the_same_one_serves_both_stages() -> None:
    assert of("ARG", INSTRUCTIONS)[0] == "BASE=python:3.11-slim"
    assert of("FROM", INSTRUCTIONS) == ["${BASE} AS build", "${BASE} AS root", "scratch"]


def test_every_dependency_is_installed_by_its_hash_and_as_a_wheel() -> None:
    installs = [run for run in of("RUN", INSTRUCTIONS) if re.search(r"bin/pip .*install", run)]
    assert len(installs) == 1
    assert {"--require-hashes", "--only-binary", "-r"} <= set(installs[0].split())


def test_the_final_image_starts_from_nothing_and_runs_nothing_while_it_is_built() -> None:
    assert of("FROM", FINAL) == ["scratch"]
    assert of("RUN", FINAL) == []
    assert all(copy.startswith("--from=") for copy in of("COPY", FINAL))


def test_the_guard_itself_gets_the_signals() -> None:
    """In exec form there is no shell that would keep SIGTERM to itself."""
    (entrypoint,), (command,) = of("ENTRYPOINT", FINAL), of("CMD", FINAL)
    assert json.loads(entrypoint) == ["/usr/local/bin/rollguard"]
    assert json.loads(command)[0] == "run"


def test_the_user_is_a_number_and_not_zero() -> None:
    (user,) = of("USER", FINAL)
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", user)


def test_only_what_is_copied_is_sent_to_the_build() -> None:
    ignore = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert ignore[0] == "*"
    let_in = {line[1:] for line in ignore if line.startswith("!")}
    copied = {word for copy in of("COPY", INSTRUCTIONS) if "--from" not in copy for word in copy.split()[:-1]}
    assert let_in == {word.replace("${POLICY}", "*.yaml") for word in copied}
