"""The documents tell the truth: what they name exists, and what exists is named."""

from __future__ import annotations

import ast
import dataclasses
import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from rollguard.cli.main import VERBS, main
from rollguard.config.loader import load_policy
from rollguard.config.schema import json_schema
from rollguard.core.case import Refusal
from rollguard.core.event_json import EVENTS
from rollguard.core.events import Event
from rollguard.core.finding import Finding, RuleState, Trigger
from rollguard.core.interlocks import PRECONDITIONS, TABLE
from rollguard.core.lifecycle import DigestRecord
from rollguard.core.messages import OPERATIONS, page, section
from rollguard.demo.scenarios import SCENARIOS
from rollguard.telemetry.instruments import Instruments

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "daemon" / "rollguard"
DOCS = sorted((ROOT / "docs").rglob("*.md"))
READ = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *DOCS]

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`([^`\n]+)`")
_LINK = re.compile(r"\]\((?!https?://)([^)\s#]*)(?:#([^)\s]*))?\)")
_FILE = re.compile(
    r"[\w.-]+(?:/[\w.-]+)*\.(?:py|md|yaml|json|toml|txt|sql|svg|in)|(?:daemon|docs|tests|config|bench)(?:/[\w.-]+)+/?"
)
_MADE = re.compile(
    r"(?:pre|post)-rollback-\w+\.\w+|rollback-summary\.txt|executor-output\.txt|rollback\.yml|incident\.json|post-mortem\.md"
    r"|my-app\.yaml|policy\.schema\.json"
)
"""What a rollback writes, what a reader writes, and a name relative to another file."""


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def prose_of(path: Path) -> str:
    """Without fenced blocks."""
    return _FENCE.sub("", text_of(path))


def rows_of(path: Path, heading: str) -> list[list[str]]:
    """The cells of the tables under a heading, without their head and rule, up to the next heading."""
    _, _, rest = text_of(path).partition(f"{heading}\n")
    assert rest, f"{path.name} has no {heading!r}"
    under = re.split(r"^#", rest, maxsplit=1, flags=re.MULTILINE)[0]
    return tables_in(under)


def tables_in(text: str, head: str = "|") -> list[list[str]]:
    """The cells of every table that begins with ``head``, without its head and rule."""
    rows = []
    for table in re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE):
        lines = table.strip().split("\n")[2:] if table.startswith(head) else []
        rows += [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    return rows


def anchors_of(path: Path) -> set[str]:
    """As GitHub makes them from headings."""
    heads = re.findall(r"^#+ (.+)$", prose_of(path), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


# -- files and links ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", READ, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_file_a_document_names_exists(path: Path) -> None:
    named = {word for word in _INLINE.findall(prose_of(path)) if _FILE.fullmatch(word) and not _MADE.fullmatch(word)}
    missing = [word for word in sorted(named) if not any((base / word).exists() for base in (ROOT, PACKAGE))]
    assert not missing


@pytest.mark.parametrize("path", READ, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_inside_the_project_leads_somewhere(path: Path) -> None:
    for target, anchor in _LINK.findall(prose_of(path)):
        place = (path.parent / target).resolve() if target else path
        assert place.exists(), target
        assert not anchor or anchor in anchors_of(place), f"{target}#{anchor}"


# -- commands -------------------------------------------------------------------------------------------------------


def commands_of(path: Path) -> Iterator[list[str]]:
    """What a reader is told to type: console blocks and inline code, comments and continuation lines taken care of."""
    blocks = [body.replace("\\\n", " ") for kind, body in _FENCE.findall(text_of(path)) if kind == "console"]
    lines = itertools.chain(*(body.split("\n") for body in blocks), _INLINE.findall(prose_of(path).replace("\n", " ")))
    for line in lines:
        words = re.sub(r"\s#.*", "", line).removeprefix("$ ").removeprefix(".venv/bin/").split()
        if len(words) > 1 and words[0] in {"rollguard", "make"}:
            yield words


@pytest.fixture(scope="module")
def helps() -> dict[str, str]:
    """What each verb says of itself."""
    said = {}
    with pytest.MonkeyPatch.context() as patch:
        for verb in VERBS:
            heard: list[str] = []
            patch.setattr(
                "argparse.ArgumentParser._print_message", lambda _, text, file=None, to=heard: to.append(text)
            )
            with pytest.raises(SystemExit):
                main([verb, "--help"])
            said[verb] = "".join(heard)
    return said


@pytest.mark.parametrize("path", READ, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_command_a_document_shows_is_one(path: Path, helps: dict[str, str]) -> None:
    targets = set(re.findall(r"^([.\w-]+):", text_of(ROOT / "Makefile"), re.MULTILINE))
    for command, verb, *rest in commands_of(path):
        if command == "make":
            assert verb in targets, f"make {verb}"
            continue
        assert verb in VERBS or verb in {"VERB", "--help", "--version"}, f"rollguard {verb}"
        for option in (word for word in rest if re.fullmatch(r"--[a-z-]+", word)):
            assert re.search(rf"{option}\b", helps[verb]), f"rollguard {verb} {option}"
        if verb == "demo":
            assert {word for word in rest if word.isalpha() and word.islower()} <= set(SCENARIOS), rest


def test_overrides_are_shown_under_the_names_that_the_command_takes() -> None:
    able = {lock.name.replace(" ", "-") for lock in TABLE if "H*" in lock.effects}
    shown = re.findall(r"--override ([a-z-]+)", text_of(ROOT / "docs" / "operations.md"))
    assert set(shown) == able


# -- docs/policy.md -------------------------------------------------------------------------------------------------


def keys_of(schema: dict[str, Any], whole: dict[str, Any], path: str = "", needed: bool = True) -> dict[str, str]:
    """Every key of the schema that holds a value, with its default as the document writes it."""
    if "$ref" in schema:
        schema = {**whole["$defs"][schema["$ref"].rpartition("/")[2]], **schema}
    if props := schema.get("properties"):
        needs = schema.get("required", ())
        inner = (keys_of(one, whole, f"{path}.{key}" if path else key, key in needs) for key, one in props.items())
        return {key: default for found in inner for key, default in found.items()}
    if schema.get("type") == "array" and "$ref" in schema["items"]:
        return keys_of(schema["items"], whole, f"{path}[]", needed)
    if isinstance(patterns := schema.get("patternProperties"), dict):
        (one,) = patterns.values()
        path = f"{path}.{'NAME' if path == 'signals' else 'KEY'}"
        return keys_of(one, whole, path, needed) if "$ref" in one else {path: "–"}
    return {path: "required" if needed else _default(schema.get("default"))}


def _default(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, list):
        return f"`[{', '.join(map(str, value))}]`" if value else "none"
    return f"`{value}`"


def test_every_key_of_a_policy_is_documented_with_its_default() -> None:
    schema = json_schema()
    rows = tables_in(text_of(ROOT / "docs" / "policy.md"), head="| key | meaning | form | default |")
    # The three groups of channels are told apart by whom they reach, not by what they hold.
    keys = {k: v for k, v in keys_of(schema, schema).items() if not k.startswith(("notify.tell[]", "notify.record[]"))}
    assert len(keys) > 140
    assert {key.strip("`"): default for key, *_, default in rows} == keys
    assert len(rows) == len(keys), "a key is there twice"


def test_the_interlock_table_of_the_document_is_the_one_of_the_code() -> None:
    law = {lock.name: [str(lock.effect(trigger)) for trigger in Trigger] for lock in TABLE}
    text = text_of(ROOT / "docs" / "policy.md")
    rows = tables_in(text, head="| interlock | comparison | rule |")
    assert {name: [cell.replace("\\", "").replace("–", "-") for cell in cells] for name, *cells in rows} == law


def runbook_rows() -> list[list[str]]:
    return rows_of(ROOT / "docs" / "policy.md", "## The runbook, line by line")


def test_every_line_of_the_runbook_names_what_defends_it() -> None:
    rows = runbook_rows()
    assert len(rows) > 40
    for line, _, _, defended in rows:
        assert _defends(defended), f"{line}: {defended}"


def _defends(cell: str) -> bool:
    if scenario := re.fullmatch(r"scenario `([\w-]+)`", cell):
        return scenario[1] in SCENARIOS
    file, _, name = cell.strip("`").partition("::")
    return (ROOT / file).is_file() and re.search(rf"def {re.escape(name)}\(", text_of(ROOT / file)) is not None


def test_every_rule_of_the_shipped_policy_stands_in_the_runbook_table_and_no_other() -> None:
    policy = load_policy(ROOT / "config" / "hotdash-production.yaml", {})
    cells = [row[2] for row in runbook_rows() if row[2].startswith("rule")]
    named = {word for cell in cells for word in _INLINE.findall(cell) if not word.startswith("rollguard")}
    assert named == {rule.name for rule in policy.rules}


# -- docs/events.md, docs/metrics.md --------------------------------------------------------------------------------


def test_every_event_is_documented_with_all_its_fields() -> None:
    path = ROOT / "docs" / "events.md"
    assert set(re.findall(r"^### (\w+)$", text_of(path), re.MULTILINE)) == set(EVENTS)
    common = {field.name for field in dataclasses.fields(Event)}
    for name, kind in EVENTS.items():
        documented = [row[0].strip("`") for row in rows_of(path, f"### {name}")]
        assert documented == [f.name for f in dataclasses.fields(kind) if f.name not in common], name


def test_every_metric_is_documented_with_its_labels() -> None:
    found = {}
    for instrument in vars(Instruments(CollectorRegistry())).values():
        (family,) = instrument.describe()
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = ", ".join(f"`{label}`" for label in instrument._labelnames) or "–"
        found[f"`{name}`"] = (family.type, labels, family.documentation)
    rows = tables_in(text_of(ROOT / "docs" / "metrics.md"), head="| metric | type |")
    assert {name: tuple(rest) for name, *rest in rows} == found
    known = {name.strip("`") for name in found}
    assert set(re.findall(r"\brollguard_\w+", text_of(ROOT / "docs" / "metrics.md"))) <= known


# -- docs/operations.md ---------------------------------------------------------------------------------------------


def reasons() -> set[str]:
    """Every reason of a page that stands in the engine's code: ``about=…``, and the notices'.

    A new way to make one must be taught here; what rules and interlocks make of it is in the tests below.
    """
    found: set[str] = set()
    passed_on = {"about", "p.about", "verdict.result", "'|'.join(sorted(about))"}
    for file in sorted((PACKAGE / "engine").glob("*.py")):
        for call in (node for node in ast.walk(ast.parse(text_of(file))) if isinstance(node, ast.Call)):
            given = [keyword.value for keyword in call.keywords if keyword.arg == "about"]
            if isinstance(call.func, ast.Attribute) and call.func.attr == "notice":
                given.append(call.args[1])
            for value in given:
                if isinstance(value, ast.Constant):
                    found.add(str(value.value))
                elif isinstance(value, ast.JoinedStr) and isinstance(value.values[0], ast.Constant):
                    found.add(str(value.values[0].value))
                else:
                    assert ast.unparse(value) in passed_on, f"{file.name}: about={ast.unparse(value)}"
    return found


def verdicts() -> set[str]:
    tree = ast.parse(text_of(PACKAGE / "core" / "verify.py"))
    calls = [n for n in ast.walk(tree) if isinstance(n, ast.Call) and ast.unparse(n.func) == "Verdict"]
    return {str(ast.literal_eval(call.args[0])) for call in calls}


def findings(state: RuleState) -> tuple[Finding, ...]:
    rule = load_policy(ROOT / "config" / "hotdash-production.yaml", {}).rules[0]
    return (Finding(rule=rule, state=state, said="so it is"),)


def sections() -> dict[str, str]:
    """For every reason a page can have, the section it links to."""
    firing, blind = findings(RuleState.FIRING), findings(RuleState.BLIND)
    found = {reason: section(reason) for reason in reasons() | verdicts()}
    for name in [lock.name for lock in TABLE] + [name for name, _ in PRECONDITIONS]:
        about = f"held by {name}|rule not-responding"
        found[about] = section(about, firing, (Refusal(name, "because"),))
    found["rule not-responding|would roll back"] = section("rule not-responding|would roll back", firing)
    found["rule not-responding"] = section("rule not-responding", firing)
    found["rule not-responding, blind"] = section("rule not-responding", blind)
    return found


def test_every_page_links_to_a_section_of_the_operations_page() -> None:
    anchors = anchors_of(ROOT / "docs" / "operations.md")
    found = sections()
    assert {"rolling back", "clock", "pause", "hold", "mixed", "recovered", "superseded"} <= set(found)
    assert {"restored", "not better", "cannot tell"} <= set(found)
    assert {reason: link for reason, link in found.items() if link not in anchors} == {}


def test_every_section_about_a_page_is_one_that_some_page_links_to() -> None:
    _, _, rest = text_of(ROOT / "docs" / "operations.md").partition("# When Rollguard pages you\n")
    heads = re.findall(r"^## (.+)$", rest.partition("# Running it\n")[0], re.MULTILINE)
    assert sorted(head.lower().replace(" ", "-") for head in heads) == sorted(set(sections().values()))


def test_a_page_ends_with_the_command_that_works_by_hand() -> None:
    policy = load_policy(ROOT / "config" / "hotdash-production.yaml", {})
    good = DigestRecord(
        digest="sha256:9a", image_ref="registry.fly.io/hotdash-production:v41", version=41, first_seen_at=0.0
    )
    found = page(policy, "i", "bad", 0.0, about="would roll back", target=good)
    command = "flyctl deploy --app hotdash-production --image registry.fly.io/hotdash-production@sha256:9a"
    assert dict(found.details)["by hand"] == f"{command} --skip-release-command"
    assert dict(found.details)["runbook"] == policy.runbook
    assert found.link == f"{OPERATIONS}#would-roll-back"
    nowhere = page(policy, "i", "bad", 0.0, about="would roll back")
    assert dict(nowhere.details)["by hand"] == "flyctl releases --image --app hotdash-production"
    assert "by hand" not in dict(page(policy, "i", "well", 0.0, about="recovered", resolve=True).details)
