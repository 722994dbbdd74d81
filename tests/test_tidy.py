"""The whole tree keeps to its own rules."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "daemon" / "rollguard"
LINES_MAX = 350
LONGER: dict[str, int] = {}
"""Files of the package that may be longer, with their length. There are none."""

_OPEN_ENDS = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|X" r"XX)\b")
_WORKPLACE = re.compile(r"/wo" r"rk/|\.\./sha" r"red|\bhelper-(?:\d|N\b)|/tmp/br" r"ief", re.IGNORECASE)
_SESSION = re.compile(r"\bsess" r"ions?\b", re.IGNORECASE)
_SPEAKS_OF_HTTP = {"daemon/rollguard/adapters/http.py", "daemon/rollguard/localfly/hotdash.py"}
"""Where the word means a client's connections, or a customer's login."""


def ours() -> Iterator[Path]:
    """Every text of the project that a person wrote."""
    for folder in ("daemon", "tests", "bench", "config", "docs", "grafana", ".ci"):
        yield from (p for p in sorted((ROOT / folder).rglob("*")) if p.is_file() and _is_text(p))
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "Makefile", "pyproject.toml"):
        yield ROOT / name


def _is_text(path: Path) -> bool:
    return "__pycache__" not in path.parts and (
        path.suffix in {".py", ".md", ".yaml", ".sql"} or path.parent.name == ".ci"
    )


def sources(*folders: str) -> list[Path]:
    """The Python files of some folders of the package."""
    return sorted(p for folder in folders for p in (PACKAGE / folder).rglob("*.py"))


def lines_with(pattern: re.Pattern[str], path: Path) -> list[str]:
    name, lines = path.relative_to(ROOT), path.read_text(encoding="utf-8").split("\n")
    return [f"{name}:{number}: {line.strip()}" for number, line in enumerate(lines, 1) if pattern.search(line)]


def test_nothing_is_left_to_be_done_later() -> None:
    assert [line for path in ours() for line in lines_with(_OPEN_ENDS, path)] == []


def test_the_project_speaks_of_itself_and_not_of_where_it_was_made() -> None:
    assert [line for path in ours() for line in lines_with(_WORKPLACE, path)] == []
    written = (p for p in ours() if str(p.relative_to(ROOT)) not in _SPEAKS_OF_HTTP and "tests" not in p.parts)
    assert [line for path in written for line in lines_with(_SESSION, path)] == []


def test_no_file_of_the_package_is_too_long_to_read() -> None:
    counted = {str(p.relative_to(ROOT)): len(p.read_text(encoding="utf-8").splitlines()) for p in sources("")}
    assert {name: count for name, count in counted.items() if count > LONGER.get(name, LINES_MAX)} == {}
    assert all(name in counted and counted[name] > LINES_MAX for name in LONGER), "an exception is no longer needed"


@pytest.mark.parametrize("path", sources("core", "engine"), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_everything_public_in_core_and_engine_promises_something(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert ast.get_docstring(tree), "the module"
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    public = [node for node in tree.body if isinstance(node, kinds) and not node.name.startswith("_")]
    assert [node.name for node in public if not ast.get_docstring(node)] == []


def test_everybody_imports_only_whom_they_may() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as run; run()", "--no-cache"]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "0 broken" in found.stdout
