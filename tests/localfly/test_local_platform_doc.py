"""The page about the local platform names every fault there is, and none that there is not."""

from __future__ import annotations

import re
from pathlib import Path

from rollguard.localfly import faults
from rollguard.localfly.fault_table import TABLE
from rollguard.localfly.faults import ACCEPTED, ALIASES, OTHERS

PAGE = Path(__file__).parents[2] / "docs/local-platform.md"


def documented() -> dict[str, set[str]]:
    """The table's faults with their values."""
    text = PAGE.read_text().partition("## Faults")[2].partition("## What may")[0]
    found: dict[str, set[str]] = {}
    name = ""
    for line in text.splitlines():
        if line.startswith(("| `", "| |")):
            first, second = (cell.strip() for cell in line.split("|")[1:3])
            name = first.strip("`") or name
            found.setdefault(name, set()).update(re.findall(r"`([^`]+)`", second))
    return found


def test_every_fault_and_value_is_documented_and_no_other() -> None:
    values = {**{kind: set(names) for kind, names in TABLE.items()}, **{kind: set(o) for kind, o in OTHERS.items()}}
    names = {ALIASES.get(name, name) for name in documented()}
    assert names == set(ACCEPTED)
    assert {kind: documented()[kind] for kind in values} == values


def test_the_modules_own_table_names_them_too() -> None:
    assert faults.__doc__ is not None
    for kind, names in {**TABLE, **OTHERS}.items():
        assert f"`{kind}`" in faults.__doc__
        assert all(f"`{name}`" in faults.__doc__ for name in names)
