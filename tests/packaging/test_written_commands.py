"""What people are told to type at three in the morning are commands: in the runbook, and in how to run the guard.

``rollguard`` lines go through the real parser. ``flyctl`` lines are held against what flyctl 0.4 takes.
"""

from __future__ import annotations

import configparser
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from rollguard.cli.main import main
from rollguard.cli.parser import Parser
from rollguard.config.loader import load_policy

ROOT = Path(__file__).parents[2]
RUNBOOK = ROOT / "docs" / "runbook.md"
OPERATIONS = ROOT / "docs" / "operations.md"
APP, GUARD = "hotdash-production", "hotdash-guard"

FLYCTL: dict[str, set[str]] = {
    "apps create": {"--org"},
    "auth whoami": set(),
    "checks list": {"--app"},
    "config show": {"--app"},
    "config validate": {"--strict"},
    "deploy": {"--app", "--image", "--skip-release-command", "--ha", "--env", "--label", "--build-arg"}
    | {"--primary-region"},
    "logs": {"--app"},
    "machine destroy": {"--app", "--force"},
    "machine leases": {"--app"},
    "machine list": {"--app"},
    "machine restart": {"--app"},
    "machine status": {"--app"},
    "releases": {"--app", "--image"},
    "secrets import": {"--app", "--stage"},
    "secrets list": {"--app"},
    "secrets set": {"--app"},
    "ssh console": {"--app", "--command"},
    "ssh sftp": {"--app", "--recursive"},
    "status": {"--app"},
    "tokens create": {"--app", "--name", "--expiry"},
    "tokens list": {"--app"},
    "tokens revoke": set(),
    "volumes create": {"--app", "--region", "--size", "--snapshot-id"},
    "volumes destroy": set(),
    "volumes list": {"--app"},
    "volumes snapshots": set(),
}

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`]+)`")


def commands(path: Path, program: str) -> Iterator[list[str]]:
    """What a document tells people to type that begins with ``program``, also through a console on another machine."""
    text = path.read_text(encoding="utf-8")
    blocks = [body.replace("\\\n", " ").splitlines() for kind, body in _FENCE.findall(text) if kind == "console"]
    inline = [" ".join(code.split()) for code in _INLINE.findall(_FENCE.sub("", text))]
    for line in [*(line for block in blocks for line in block), *inline]:
        words = (
            shlex.split(line.removeprefix("sudo "), comments=True)
            if line.startswith((program, "flyctl", "sudo"))
            else []
        )
        if words[:1] == [program] and len(words) > 1 and words[1] != "…":
            yield words
        if "--command" in words and program != "flyctl":
            yield shlex.split(words[words.index("--command") + 1])


class Understood(Exception):
    """The parser took the line; nothing else is done with it."""


Complaint = Callable[[list[str]], str | None]


@pytest.fixture
def complaint(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Complaint:
    """What is wrong with the words after ``rollguard``, or None; nothing is done."""
    read = Parser.read

    def understood(self: Parser, argv: list[str]) -> None:
        read(self, argv)
        raise Understood

    def why_not(words: list[str]) -> str | None:
        try:
            code = main(words)
        except Understood:
            return None
        return f"rollguard {shlex.join(words)} ends with {code}: {capsys.readouterr().err}"

    monkeypatch.setattr(Parser, "read", understood)
    return why_not


@pytest.mark.parametrize("path", [RUNBOOK, OPERATIONS], ids=lambda path: path.name)
def test_every_rollguard_command_is_taken_by_its_parser(path: Path, complaint: Complaint) -> None:
    lines = [["41" if word == "VERSION" else word for word in words] for _, *words in commands(path, "rollguard")]
    if path == OPERATIONS:  # where sentences name verbs by themselves
        lines = [words for words in lines if any(word.startswith("--") for word in words)]
    assert len(lines) > 15
    assert [why for words in lines if (why := complaint(words))] == []


@pytest.mark.parametrize("path", [RUNBOOK, OPERATIONS], ids=lambda path: path.name)
def test_every_flyctl_command_is_one_that_flyctl_has(path: Path) -> None:
    seen = 0
    for _, *words in commands(path, "flyctl"):
        if words[:2] == ["releases", "rollback"] or words == ["logs", "--follow"]:
            continue  # named as what does not exist; the next test sees to that
        verb = next(" ".join(words[:n]) for n in (2, 1) if " ".join(words[:n]) in FLYCTL or n == 1)
        assert verb in FLYCTL, f"flyctl {verb}"
        options = {word.partition("=")[0] for word in words if word.startswith("--")}
        assert options <= FLYCTL[verb], f"flyctl {shlex.join(words)}"
        seen += 1
    assert seen > 10


def test_the_command_that_does_not_exist_is_named_only_where_that_is_said() -> None:
    said = 0
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]:
        text = re.sub(r"\s+", " ", re.sub(r"\n\n|\n\|", " ¶ ", path.read_text(encoding="utf-8")))
        for paragraph in text.split("¶"):
            if re.search(r"fly(ctl)? releases rollback", paragraph):
                assert "does not exist" in paragraph, f"{path.name}: {paragraph}"
                said += 1
    assert said >= 2


def test_the_way_back_without_the_guard_is_the_one_that_pages_show() -> None:
    lines = [shlex.join(words) for words in commands(RUNBOOK, "flyctl") if words[1] == "deploy" and "--image" in words]
    assert lines == [
        f"flyctl deploy --app {APP} --image registry.fly.io/{APP}:deployment-ID --skip-release-command",
    ]


def test_the_runbook_names_the_app_the_guard_and_the_artifacts_as_they_are() -> None:
    text = RUNBOOK.read_text(encoding="utf-8")
    policy = load_policy(ROOT / "config" / f"{APP}.yaml", {})
    assert policy.target.app == APP
    assert f'app = "{GUARD}"' in (ROOT / "fly.toml").read_text(encoding="utf-8")
    asked = [words for words in commands(RUNBOOK, "flyctl") if "--app" in words]
    assert {words[words.index("--app") + 1] for words in asked} == {APP, GUARD}
    folder = re.search(r"`([\w/]+)/\d{8}T\d{6}Z-(\S+)`", text)
    assert folder
    assert folder.groups() == (policy.artifacts.dir, policy.target.name)
    code = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "daemon" / "rollguard").rglob("*.py"))
    files = re.findall(r"^\| `([\w.-]+)` \|", text, re.MULTILINE)
    assert len(files) > 5
    assert [name for name in files if re.sub("^(pre|post)-rollback", "-rollback", name) not in code] == []


def test_the_runbook_asks_for_the_limits_that_the_policy_verifies_by() -> None:
    text = RUNBOOK.read_text(encoding="utf-8")
    limits = load_policy(ROOT / "config" / f"{APP}.yaml", {}).verify.limits
    for written in ("errors under 1 %", "P95 under 3000 ms", "uptime over 99 %", "no critical alert"):
        assert written in text
    assert {limit.limit for limit in limits} == {0.01, 3.0, 0.99, 0.0}


def test_the_unit_for_systemd_starts_the_guard_and_leaves_it_down_after_a_mistake(complaint: Complaint) -> None:
    (unit,) = (body for kind, body in _FENCE.findall(OPERATIONS.read_text(encoding="utf-8")) if kind == "ini")
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]
    parsed.read_string(unit)
    service = parsed["Service"]
    program, *words = shlex.split(service["ExecStart"])
    assert program.endswith("/rollguard")
    assert complaint(words) is None
    assert words[words.index("--data") + 1] == f"/var/lib/{service['StateDirectory']}"
    assert service["Restart"] == "on-failure"
    assert service["RestartPreventExitStatus"] == "2"
