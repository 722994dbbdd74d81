"""The dashboard keeps to Grafana's model, to its house rules, and to metrics that exist."""

from __future__ import annotations

import itertools
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from grafana import generate
from tests.grafana.expressions import (
    DASHBOARD,
    FROM_PROMETHEUS,
    LABEL_VALUES,
    ROOT,
    Json,
    Query,
    alert_queries,
    dashboard,
    mark_queries,
    panel_queries,
    panels,
    series_of_the_guard,
)

MODEL = ROOT.parent / "shared" / "contracts" / "grafana"
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
VALUES = {"target": "shop", "rule": "slow", "__rate_interval": "1m", "__range": "1h"}
KINDS = {"timeseries": "timeseries", "stat": "stat", "state-timeline": "statetimeline"}
ALL = [*panel_queries(), *mark_queries(), *alert_queries()]

described = pytest.mark.skipif(not MODEL.is_dir(), reason="Grafana's description of its model is not here")


def where(query: Query) -> str:
    return query.where


def test_the_dashboard_is_what_its_code_makes() -> None:
    assert DASHBOARD.read_text(encoding="utf-8") == generate.text(), "run python -m grafana.generate"


# -- Grafana's own model ----------------------------------------------------------------------------------------------


def model(name: str) -> Any:
    whole = json.loads((MODEL / f"{name}.jsonschema.json").read_text(encoding="utf-8"))
    if name == "dashboard":  # "any value" became "object" there: matchers and properties have texts and numbers too
        for definition, field in (("MatcherConfig", "options"), ("DynamicConfigValue", "value")):
            whole["definitions"][definition]["properties"][field].pop("type")
    return whole


def part(name: str, definition: str) -> Any:
    """One definition of a file, closed: what it does not know is an error."""
    whole = model(name)
    return {"$ref": f"#/definitions/{definition}", "definitions": whole["definitions"]}


@described
def test_the_whole_has_the_shape_that_grafana_describes() -> None:
    jsonschema.validate(dashboard(), model("dashboard"))


@described
@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_every_panel_has_the_shape_of_its_kind(panel: Json) -> None:
    described_in = KINDS[panel["type"]]
    jsonschema.validate(panel["options"], part(described_in, "Options"))
    jsonschema.validate(panel, part("dashboard", "Panel"))
    for target in panel["targets"]:
        jsonschema.validate(target, model("prometheus"))
    custom = panel["fieldConfig"]["defaults"]["custom"]
    if custom:
        fields = part(described_in, "GraphFieldConfig" if described_in == "timeseries" else "FieldConfig")
        jsonschema.validate(custom, fields)


@described
def test_variables_and_annotations_have_their_shapes() -> None:
    for variable in dashboard()["templating"]["list"]:
        jsonschema.validate(variable, part("dashboard", "VariableModel"))
    for mark in dashboard()["annotations"]["list"]:
        jsonschema.validate(mark, part("dashboard", "AnnotationQuery"))


# -- house rules ------------------------------------------------------------------------------------------------------


def test_the_whole_is_one_that_can_be_provisioned_again_and_again() -> None:
    whole = dashboard()
    assert (whole["uid"], whole["schemaVersion"], whole["editable"]) == ("rollguard", 41, False)
    assert "id" not in whole, "a number that each Grafana gives by itself"
    assert [row["title"] for row in whole["panels"] if row["type"] == "row"] == [
        "Is it safe?",
        "What did it do?",
        "Is the guard itself well?",
    ]


def test_every_panel_says_what_it_shows_and_in_which_unit() -> None:
    for panel in panels():
        assert panel["title"], panel
        assert panel["description"].endswith((".", "?")), panel["title"]
        assert panel["fieldConfig"]["defaults"]["unit"], panel["title"]
        assert panel["targets"], panel["title"]


def test_ids_titles_and_references_are_unique() -> None:
    everything = dashboard()["panels"]
    for key in ("id", "title"):
        found = [panel[key] for panel in everything]
        assert len(set(found)) == len(found), key
    for panel in panels():
        references = [target["refId"] for target in panel["targets"]]
        assert len(set(references)) == len(references), panel["title"]


def test_every_panel_and_target_asks_the_source_that_the_reader_chose() -> None:
    for panel in panels():
        assert panel["datasource"] == SOURCE, panel["title"]
        assert all(target["datasource"] == SOURCE for target in panel["targets"]), panel["title"]
    assert {str(mark["datasource"]["uid"]) for mark in dashboard()["annotations"]["list"]} == {
        "${datasource}",
        "-- Grafana --",
    }


def test_panels_fit_on_the_page_and_none_covers_another() -> None:
    taken: dict[tuple[int, int], str] = {}
    for panel in dashboard()["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24, panel["title"]
        columns, rows = range(place["x"], place["x"] + place["w"]), range(place["y"], place["y"] + place["h"])
        for cell in itertools.product(columns, rows):
            assert cell not in taken, f"{panel['title']} covers {taken[cell]}"
            taken[cell] = panel["title"]
    assert all(panel["gridPos"]["x"] == 0 for panel in panels() if "repeat" in panel), "a repeated one begins a line"


def test_variables_follow_the_time_range_and_offer_all() -> None:
    source, *others = dashboard()["templating"]["list"]
    assert (source["name"], source["type"], source["query"]) == ("datasource", "datasource", "prometheus")
    assert [v["name"] for v in others] == ["target", "rule"]
    known = series_of_the_guard()
    for variable in others:
        assert variable["datasource"] == SOURCE
        assert (variable["multi"], variable["includeAll"], variable["refresh"]) == (True, True, 2)
        asked = re.fullmatch(r"label_values\((\w+)(?:\{.*\})?, (\w+)\)", variable["query"])
        assert asked is not None
        assert asked[2] in known[asked[1]]


# -- expressions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("query", [*panel_queries(), *mark_queries()], ids=where)
def test_every_metric_with_a_target_is_asked_for_the_chosen_ones(query: Query) -> None:
    known = series_of_the_guard()
    for name, matchers in query.metrics:
        if "target" in known[name]:
            assert ("target", "=~", "$target") in matchers, name


@pytest.mark.parametrize("query", ALL, ids=where)
def test_every_metric_and_label_is_one_that_the_guard_has(query: Query) -> None:
    known = series_of_the_guard()
    for name, matchers in query.metrics:
        assert name in known
        for label, operator, value in matchers:
            assert label in known[name] | FROM_PROMETHEUS, f"{name} has no {label}"
            values = value.split("|") if "~" in operator else [value]
            assert all(one in LABEL_VALUES or one.startswith("$") for one in values), f"{name}: {label}={value}"
    has = FROM_PROMETHEUS.union(*(known[name] for name, _ in query.metrics))
    assert query.grouped <= has
    assert query.in_legend <= ({*query.grouped} if " by (" in query.expr else has)


@pytest.mark.parametrize("query", ALL, ids=where)
def test_counters_are_asked_for_what_was_added_and_by_the_interval_that_fits(query: Query) -> None:
    for name, _ in query.metrics:
        if name.endswith(("_total", "_bucket")):
            assert re.search(rf"(?:rate|increase)\({name}(?:\{{[^}}]*\}})?\[", query.expr), name
    if query in alert_queries():
        return
    for interval in re.findall(r"\[([^]]*)\]", query.expr):
        assert interval == ("$__range" if query.instant else "$__rate_interval")


def test_every_metric_of_the_guard_is_on_the_dashboard() -> None:
    shown = {name for query in panel_queries() for name, _ in query.metrics}
    only_marks = {"rollguard_deploying"}
    parts = {"rollguard_tick_duration_seconds_sum", "rollguard_tick_duration_seconds_count"}
    assert set(series_of_the_guard()) - shown == only_marks | parts


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_can_read_every_expression(tmp_path: Path) -> None:
    rules = [
        {"record": f"query:n{number}", "expr": query.filled_in(VALUES), "labels": {"panel": query.where}}
        for number, query in enumerate([*panel_queries(), *mark_queries()])
    ]
    file = tmp_path / "queries.yaml"
    file.write_text(yaml.safe_dump({"groups": [{"name": "all", "rules": rules}]}), encoding="utf-8")
    done = subprocess.run(["promtool", "check", "rules", str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


# -- provisioning -----------------------------------------------------------------------------------------------------


def test_what_grafana_reads_at_its_start_fits_the_dashboard() -> None:
    def read(path: str) -> Any:
        return yaml.safe_load((ROOT / "grafana" / "provisioning" / path).read_text(encoding="utf-8"))

    (source,) = read("datasources/prometheus.yaml")["datasources"]
    assert (source["type"], source["access"], source["url"]) == ("prometheus", "proxy", "$PROMETHEUS_URL")
    (provider,) = read("dashboards/rollguard.yaml")["providers"]
    assert provider["type"] == "file"
    assert provider["allowUiUpdates"] is dashboard()["editable"]
    assert provider["options"]["path"] in (ROOT / "grafana" / "README.md").read_text(encoding="utf-8")
