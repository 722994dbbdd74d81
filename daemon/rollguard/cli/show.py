"""Putting things on a terminal: safe, aligned, coloured only where it is wanted."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from typing import Any

from rollguard.core import text
from rollguard.core.report import columns

_COLOURS = {"good": "32", "soon": "33", "bad": "31", "dim": "2"}


def as_json(value: Any) -> None:
    """One JSON document."""
    print(json.dumps(value, indent=2))


def as_line(value: Any) -> None:
    """One JSON document on one line."""
    print(json.dumps(value))


def line(words: str, kind: str = "") -> None:
    """One line of text; what an app or a person wrote in it can do nothing to the terminal."""
    safe = words if words.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in words)
    colour = _COLOURS.get(kind) if _colourful() else None
    print(f"\x1b[{colour}m{safe}\x1b[0m" if colour else safe)


def _colourful() -> bool:
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


_KINDS = {"True": "good", "False": "bad", "Unknown": "soon"}
_CALM = {"Acting", "Held"}  # conditions that are well when they are False
_RULES = {"clear": "good", "pending": "soon", "firing": "bad", "blind": "bad"}


def target(item: Mapping[str, Any]) -> None:
    """A target's object as people read it."""
    spec, status = item["spec"], item["status"]
    policy = spec.get("policy") or {}
    line(f"{item['metadata']['name']}  mode {status.get('mode') or spec.get('mode')}  policy {policy.get('path')}")
    if status["source"] == "journal":
        line(f"  (read from the journal: {status['sentence']})", "soon")
    elif status["sentence"] and status["sentence"] != (status["incident"] or {}).get("sentence"):
        line(f"  {status['sentence']}")
    if status.get("policyError"):
        line(f"  the policy file cannot be obeyed: {status['policyError']}", "bad")
    if status["incident"]:
        incident = status["incident"]
        line(f"  incident {incident['id']} ({incident['phase']}): {incident['sentence']}", "bad")
    if status.get("baseline"):
        line(f"  compared with {status['baseline']['sentence']}")
    if status.get("lastProven"):
        line(f"  {status['lastProven']['sentence']}")
    for condition in status["conditions"]:
        calm = condition["type"] in _CALM and condition["status"] == "False"
        kind = "good" if calm else "soon" if condition["type"] in _CALM else _KINDS[condition["status"]]
        line(f"  {condition['type']:<14}{condition['status']:<8}{condition['message']}", kind)
    _table("rules", [(r["name"], r["state"], r["sentence"]) for r in status["rules"]])
    _table(
        "releases",
        [
            (f"v{r['version']}" if r["version"] else "-", text.short(r["digest"]), ", ".join(r["marks"]), r["image"])
            for r in status["releases"]
        ],
    )
    _table(
        "machines",
        [
            (m["id"], m["group"], m["state"], text.short(m["digest"]), "healthy" if m["healthy"] else "not healthy")
            for m in status["machines"]
        ],
    )
    readiness = status.get("readiness") or {"checks": ()}
    _table("ready to roll back", [(c["name"], c["state"], c["sentence"]) for c in readiness["checks"]])
    standing = [lock for lock in status["interlocks"] if lock["standing"]]
    _table("holding now", [(lock["name"], lock["sentence"]) for lock in standing])


def _table(title: str, rows: list[tuple[str, ...]]) -> None:
    if rows:
        line(f"  {title}", "dim")
        for row in columns(rows):
            line(f"    {row}")
