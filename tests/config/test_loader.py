"""What a policy file means once it is read, and where policies come from."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from rollguard.config.loader import load_policies, load_policy
from rollguard.core.channels import PagerDuty, Webhook
from rollguard.core.model import Mode
from rollguard.core.policy import Action, Crashed, Failing, Heartbeat, Quantile, Quorum, Ratio, Reported, Threshold
from rollguard.core.signals import HttpSignal, JsonValue, Scope, ScrapeSignal, SecretRef
from rollguard.errors import PolicyError
from tests.config.policies import GOOD, edited, load

PRODUCTION = Path(__file__).parents[2] / "config" / "hotdash-production.yaml"


def test_percent_and_milliseconds_exist_only_in_the_file() -> None:
    policy = load(GOOD)
    conditions = {rule.name: rule.condition for rule in policy.rules}
    assert conditions == {
        "down": Failing(signal="health", k=3),
        "errors": Ratio(
            bad="traffic.errors", total="traffic.requests", over_s=60, limit=0.05, above=True, min_count=50
        ),
        "slow": Threshold(key="numbers.p95", limit=3.0, above=True, for_s=120),
        "slow-tail": Quantile(key="traffic.latency", q=0.95, over_s=60, limit=3.0, above=True, min_count=50),
        "crashes": Crashed(signal="machines", k=2, within_s=300),
        "leak": Reported(kinds=("security",)),
    }
    assert policy.verify.limits == (Threshold(key="numbers.uptime", limit=0.99, above=False, for_s=0),)
    assert policy.signal("numbers").values == (  # type: ignore[union-attr]
        JsonValue(name="p95", path=("route", "p95"), scale=0.001),
        JsonValue(name="uptime", path=("uptime",), scale=0.01),
        JsonValue(name="alerts", path=("alerts",)),
    )


def test_a_probe_asks_machines_and_edge_unless_told_otherwise() -> None:
    health = load(GOOD).signal("health")
    assert health == HttpSignal(
        name="health",
        every_s=5,
        url="https://shop.example/health",
        scopes=frozenset({Scope.MACHINE, Scope.EDGE}),
        timeout_s=2,
        ok_status=frozenset({200}),
    )


@pytest.mark.parametrize(
    "on, quorum",
    [
        ("", Quorum(machines=0.5, or_edge=True)),
        ("    on: {machines: 30%}\n", Quorum(machines=0.3, or_edge=False)),
        ("    on: {machines: 30%, or: edge}\n", Quorum(machines=0.3, or_edge=True)),
        ("    on: {or: edge}\n", Quorum(machines=0.5, or_edge=True)),
    ],
)
def test_half_of_the_machines_or_the_edge_must_agree_unless_stated(on: str, quorum: Quorum) -> None:
    failing = "    failing: 3 in a row\n"
    assert load(edited(failing, failing + on)).rules[0].quorum == quorum


def test_the_edge_counts_by_default_only_where_the_signal_asks_it() -> None:
    quorums = {rule.name: rule.quorum.or_edge for rule in load(GOOD).rules}
    assert quorums == {
        "down": True, "errors": False, "slow": False, "slow-tail": False, "crashes": False, "leak": True
    }  # fmt: skip


def test_a_rule_says_where_it_stands_and_how_much_it_may_do() -> None:
    policy = load(edited("then: page", "then: page\n    mode: observe"))
    assert [rule.origin for rule in policy.rules][:3] == ["p.yaml:26", "p.yaml:30", "p.yaml:36"]
    assert [rule.mode for rule in policy.rules][:3] == [Mode.ENFORCE, Mode.ENFORCE, Mode.OBSERVE]
    assert policy.mode is Mode.OBSERVE


def test_k_of_n_is_another_way_to_fail() -> None:
    assert load(edited("3 in a row", "3 of 5")).rules[0].condition == Failing(signal="health", k=3, of=5)


def test_secrets_are_named_never_held() -> None:
    hook = "[webhook: {url: 'https://hooks.example/x', secret_file: /run/secrets/hook}]"
    policy = load(edited("[pagerduty: {routing_key_env: KEY}]", hook), FLY_API_TOKEN="s3cret")
    assert policy.target.token == SecretRef(env="FLY_API_TOKEN")
    assert policy.page == (Webhook(url="https://hooks.example/x", secret=SecretRef(file="/run/secrets/hook")),)
    assert "s3cret" not in repr(policy)


@pytest.mark.parametrize(
    "environ, heartbeat",
    [({}, None), ({"BEAT": ""}, None), ({"BEAT": "https://b.example"}, Heartbeat(url="https://b.example", every_s=60))],
)
def test_an_empty_heartbeat_address_means_off(environ: dict[str, str], heartbeat: Heartbeat | None) -> None:
    assert load(GOOD + 'heartbeat: {url: "${BEAT:-}"}\n', **environ).heartbeat == heartbeat


def test_a_link_for_people_may_lead_to_a_section() -> None:
    assert load(GOOD + "runbook: https://wiki.example/runbook#rollback\n").runbook.endswith("#rollback")


def test_words_of_old_yaml_are_text_and_keys_stay_what_was_written() -> None:
    allow = "[yes, off, 2026-01-01, 12:30:45]"
    policy = load(GOOD + f"interlocks: {{migration: {{label: 1.2.3, allow: {allow}, unknown: allow}}}}\n")
    assert policy.interlocks.migration is not None
    assert policy.interlocks.migration.allow == ("yes", "off", "2026-01-01", "12:30:45")
    assert not policy.interlocks.migration.unknown_blocks


def test_the_production_policy_is_the_runbook() -> None:
    policy = load_policy(PRODUCTION, {})
    assert policy.mode is Mode.PAGE
    assert policy.target.name == "hotdash-production"
    assert {rule.name for rule in policy.rules if rule.then is Action.ROLLBACK} == {
        "not-responding", "pages-fail", "crash-loop", "errors-blatant", "users-see-errors", "slower-by-half",
        "critical-function", "corruption"
    }  # fmt: skip
    edge = policy.signal("edge")
    assert isinstance(edge, ScrapeSignal)
    assert edge.machine_label is None
    assert edge.token == SecretRef(env="FLY_METRICS_TOKEN")
    assert policy.platform_every_s == 10
    assert policy.verify.limits[0] == Ratio(
        bad="traffic.errors", total="traffic.requests", over_s=300, limit=0.01, above=True, min_count=20
    )
    assert policy.page == (PagerDuty(routing_key=SecretRef(env="PAGERDUTY_KEY")),)
    assert policy.hash == hashlib.sha256(PRODUCTION.read_bytes()).hexdigest()


def test_the_environment_says_how_far_the_production_policy_goes_and_where_the_app_is() -> None:
    environ = {"HOTDASH_MODE": "enforce", "HOTDASH_URL": "http://127.0.0.1:8080"}
    policy = load_policy(PRODUCTION, environ)
    assert policy.mode is Mode.ENFORCE
    assert policy.signal("home").url == "http://127.0.0.1:8080/"  # type: ignore[union-attr]
    with pytest.raises(PolicyError, match=r"with \$\{HOTDASH_MODE\} filled in, this is not observe, page or enforce"):
        load_policy(PRODUCTION, {"HOTDASH_MODE": "yolo"})


def test_a_folder_is_read_in_the_order_of_its_names(tmp_path: Path) -> None:
    for name in ("b.yaml", "a.yaml", "c.yml", ".hidden.yaml"):
        (tmp_path / name).write_text(edited("name: shop", f"name: {name[0].replace('.', 'h')}"), encoding="utf-8")
    assert [policy.target.name for policy in load_policies(tmp_path, {})] == ["a", "b"]
    assert [policy.target.name for policy in load_policies(tmp_path / "b.yaml", {})] == ["b"]


def test_two_files_must_not_guard_one_target_and_the_mistakes_of_all_files_are_told(tmp_path: Path) -> None:
    for name, text in {"a": GOOD, "b": GOOD, "c": edited("every: 5s", "every: 5")}.items():
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(PolicyError) as caught:
        load_policies(tmp_path, {})
    assert [problem.split("\n")[0] for problem in caught.value.problems] == [
        f"{tmp_path}/b.yaml:2:16: 'shop' is guarded by {tmp_path}/a.yaml:2 already",
        f"{tmp_path}/c.yaml:6:12: 5 has no unit; write 5s, 5m or 1h",
    ]


def test_what_cannot_be_read_is_refused_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "junk").write_bytes(b"version: 1\nname: \xff\xfe\x00")
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "empty").mkdir()
    for name, sentence in {
        "absent": "{}: there is no such file",
        "pipe": "{}: is not a regular file",
        "junk": "{}:2:7: not text in UTF-8 (byte 0xff)",
    }.items():
        with pytest.raises(PolicyError) as caught:
            load_policies(tmp_path / name, {})
        assert str(caught.value) == sentence.format(tmp_path / name)
    with pytest.raises(PolicyError, match=r"no \*\.yaml file in this folder"):
        load_policies(tmp_path / "empty", {})


def test_a_byte_order_mark_and_dos_line_ends_change_nothing(tmp_path: Path) -> None:
    file = tmp_path / "p.yaml"
    file.write_bytes(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode())
    assert load_policy(file, {}).rules[1].origin == f"{file}:30"
