"""What a policy file may hold: one frozen model per mapping, strict about keys. Descriptions are shown by editors.

What the values mean together (which rule may use which signal, which limit needs which unit) is in ``rules``,
``signals`` and ``convert``. ``python -m rollguard.config`` prints the JSON Schema.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import WithJsonSchema
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from rollguard.config.channels import Notify
from rollguard.config.executors import Executor
from rollguard.config.interlocks import Interlocks
from rollguard.config.scalars import (
    VARIABLE_SCHEMA,
    Count,
    Duration,
    DurationOrAuto,
    EnvName,
    Factor,
    Flag,
    Folder,
    InARow,
    Interval,
    InTime,
    Key,
    Label,
    Limit,
    Link,
    Name,
    Number,
    OneIn,
    Percent,
    Points,
    Positive,
    PositiveOrAuto,
    Text,
    UrlOrOff,
)
from rollguard.config.section import Section, doc, need
from rollguard.config.sources import Signal

SIGNALS_MAX = 100
RULES_MAX = 200
BURN_WINDOWS_MAX = 8

ModeName = Annotated[
    Literal["observe", "page", "enforce"],
    WithJsonSchema({"anyOf": [{"enum": ["observe", "page", "enforce"]}, VARIABLE_SCHEMA]}),
]


class On(Section):
    """Who must agree before a rule fires: one sick machine is not a bad release."""

    machines: Percent = doc("Share of the release's machines that must breach together, such as 50%.", default="50%")
    or_: Literal["edge"] | None = doc("Fire as well when the edge alone breaches.", alias="or")


class WorseThanBaseline(Section):
    """How much worse than the proven release is too much: `factor`, `add` (of a ratio), or both. Of a ratio or of
    probes `{}` is enough: by more than the app wanders by itself.
    """

    factor: Factor | None = doc("So many times as much, or as slow: 1.5.")
    add: Points | None = doc("So many percentage points on top: 1pp.")


class QuantileOf(Section):
    """A quantile of a histogram."""

    of: Text = need("Histogram of a scrape or prometheus signal: `signal.histogram`.")
    q: Percent = need("Which quantile, such as 95%.")


class BurnWindow(Section):
    """A long window, the short one in which it must go on, and how fast is too fast."""

    over: Positive = need("The long window: that it matters.")
    and_: Positive = need("The short window: that it goes on.", alias="and")
    rate: Number = need("How many times too fast the budget burns: 14.4 spends 2% of a month's in an hour.")


class Burn(Section):
    """An error budget that burns too fast, in one of several pairs of windows."""

    ratio: Text = need("Two counters: `signal.errors / signal.requests`.")
    objective: Percent = need("The share of requests that must be good, such as 99.9%.")
    windows: tuple[BurnWindow, ...] = doc(
        "Pairs of windows; one of them is enough.",
        default=(
            {"over": "1h", "and": "5m", "rate": 14.4},
            {"over": "6h", "and": "30m", "rate": 6},
        ),
        min_length=1,
        max_length=BURN_WINDOWS_MAX,
    )


class VerifyLimit(Section):
    """A limit that the restored release must keep: `value` or `ratio`, with `above` or `below`."""

    value: Text | None = doc(
        "A number of a json or prometheus signal, `signal.value`, or the time of a journey's step, `signal.step`."
    )
    ratio: Text | None = doc("Two counters: `signal.errors / signal.requests`, over the whole settle time.")
    above: Limit | None = doc("Not restored while above this limit. In the unit of what it limits.")
    below: Limit | None = doc("Not restored while below this limit. In the unit of what it limits.")


class Rule(VerifyLimit):
    """A threshold of the runbook and what it asks for. Exactly one condition: `failing`, `value`, `ratio`,
    `quantile`, `burn`, `crashed` or `report`; or `worse_than_baseline` of a probing `signal`.
    """

    name: Name = need("Name of the rule, unique in the file; pages and metrics carry it.")
    signal: Text | None = doc("Signal that `failing`, `crashed` or `worse_than_baseline` is about.")
    failing: InARow | None = doc("Failed probes of an http, json or journey signal: `3 in a row`, or `3 of 5`.")
    crashed: InTime | None = doc("A machine ended unasked that often: `2 in 5m`. Of a platform signal.")
    quantile: QuantileOf | None = doc("A quantile of a histogram, over the time `over`.")
    burn: Burn | None = doc("An error budget that burns too fast, over a long window and still over a short one.")
    worse_than_baseline: WorseThanBaseline | None = doc(
        "Fires when a ratio, a quantile, a value or the probes of `signal` are so much worse than under the proven "
        "release; instead of above or below."
    )
    report: tuple[Name, ...] | None = doc("Kinds of reports, by people or systems, that fire at once.", min_length=1)
    above: Limit | None = doc("Fires above this limit. In the unit of what it limits: 1%, 3000ms, or a bare number.")
    below: Limit | None = doc("Fires below this limit. In the unit of what it limits: 99%, 3000ms, or a bare number.")
    over: Positive | None = doc("Time over which counts are summed.")
    min_requests: Count | None = doc("No verdict with fewer requests than this within `over`.", ge=1)
    by: Label | None = doc(
        "Judge each part by itself: `region`, or the label that the signal splits its counters by, such as `route`."
    )
    for_: Duration | None = doc("How long the breach must last without a break.", alias="for")
    on: On | None = doc("Who must agree. Default: 50% of the machines, or the edge where the signal asks it.")
    then: Literal["page", "rollback"] = need("What a firing rule asks for.")
    mode: ModeName | None = doc("The most this rule may do; the least of this, the policy's and the guard's counts.")
    cite: Text | None = doc("The line of the runbook that this rule is made from; quoted in pages.")


class Target(Section):
    """The app under guard."""

    name: Name = need("Name of the target: in pages, metrics, and on the command line.")
    platform: Literal["fly"] = need("Where the app runs.")
    app: Name = need("Name of the app on the platform.")
    token_env: EnvName | None = doc("Environment variable that holds the platform's token.")
    token_file: Text | None = doc("File that holds the platform's token; read at each use.")


class First(Section):
    """The machines that go back first, before the rest."""

    machines: Count = doc("How many.", default=1, ge=1, le=100)
    wait: PositiveOrAuto = doc(
        "How long they may take to show that they do better than the rest; `auto`: as long as it takes, 90s to 4m.",
        default="90s",
    )
    on_unclear: Literal["hold", "go_on"] = doc(
        "Where that could not be told: `hold` asks a person, `go_on` goes on.", default="hold"
    )


class Rollback(Section):
    """How to go back: rolling, above a floor of healthy machines."""

    executor: Executor = doc("Whose hands do it.", default="machines")
    first: First = doc("Which machines go first.", default=First())
    max_unavailable: Percent = doc("Most machines of a group in flight at once.", default="25%")
    healthy_floor: Percent = doc("Never take down a healthy machine below this share of a group.", default="75%")
    wait_timeout: Positive = doc("Longest wait for one machine to be healthy.", default="5m")
    stability: Duration = doc("How long a machine must stay healthy to count as updated.", default="15s")
    pause_between: Duration = doc("Pause between a machine going healthy and the next going down.", default="10s")
    deadline: Positive = doc("Longest time for the whole rollback; then people take over.", default="15m")
    not_ready_after: Positive = doc("Page when no rollback could have happened for so long.", default="5m")
    restart_sick: Flag = doc("Restart a machine that fails alone: one an hour, never below the floor.", default=False)


class Verify(Section):
    """How the restored release is judged."""

    settle: Positive = doc("For how long.", default="5m")
    require: tuple[Text, ...] = doc("Probes (http, json or journey signals) that must succeed.", default=())
    limits: tuple[VerifyLimit, ...] = doc('The runbook\'s "check for" list.', default=())
    otherwise: tuple[Literal["restart", "page"], ...] = doc(
        "Where it does no better: `restart` its machines once, then `page`.", default=("restart", "page"), min_length=1
    )


class Heartbeat(Section):
    """A dead man's switch: an address that is asked while the guard is well."""

    url: UrlOrOff = need("Address to ask. Empty: off.")
    every: Interval = doc("How often.", default="60s")


class Artifacts(Section):
    """The record of each rollback."""

    dir: Folder = doc("Folder inside the data folder.", default="artifacts/rollback")
    keep: Positive = doc("How long records are kept.", default="30d")


class Comparison(Section):
    """How the proven release is remembered, for rules with `worse_than_baseline`."""

    block: Positive = doc("Length of one block of its past.", default="5m")
    blocks: Count = doc("How many blocks count.", default=24, ge=1, le=288)
    settle: DurationOrAuto = doc(
        "A machine's first moments on an image, which are not compared; `auto`: as long as earlier releases took.",
        default="30s",
    )
    healthy_rolled_back: OneIn = doc(
        "At most so many healthy releases are ever rolled back by all rules with `worse_than_baseline` together.",
        default="1 in 1000",
    )
    alone: Duration = doc(
        "An app of one machine has nobody to be compared with: for so long what speaks against a release must go on.",
        default="90s",
    )


class Approval(Section):
    """A person's yes to a proposed rollback."""

    expires: Positive = doc("How long the question stays open.", default="15m")


class Reports(Section):
    """Who may report a release over HTTP."""

    token_env: EnvName | None = doc("Environment variable that holds the secret that reports are signed with.")
    token_file: Text | None = doc("File that holds the secret that reports are signed with.")


class PolicyFile(Section):
    """A Rollguard policy: one app under guard, and the runbook of its team as data."""

    version: Literal[1] = need("Version of this format: 1.")
    runbook: Link | None = doc("Address of the runbook that people read.")
    target: Target = need("The app under guard.")
    mode: ModeName = doc(
        "The most this policy may do: observe (record only), page, or enforce (roll back).", default="observe"
    )
    signals: dict[Key, Signal] = need("Sources of readings, by name.", min_length=1, max_length=SIGNALS_MAX)
    rules: tuple[Rule, ...] = need("The thresholds of the runbook.", min_length=1, max_length=RULES_MAX)
    interlocks: Interlocks = doc("Reasons not to act.", default=Interlocks())
    rollback: Rollback = doc("How to go back.", default=Rollback())
    comparison: Comparison = doc("How the proven release is remembered.", default=Comparison())
    approval: Approval = doc("A person's yes.", default=Approval())
    reports: Reports | None = doc("Reports over HTTP. Without it, only the command line reports.")
    verify: Verify = doc("How the restored release is judged.", default=Verify())
    notify: Notify = doc("Whom to tell.", default=Notify())
    heartbeat: Heartbeat | None = doc("A dead man's switch.")
    artifacts: Artifacts = doc("The record of each rollback.", default=Artifacts())


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a policy file, for editors: completion, hover texts, and red lines under unknown keys."""
    found = PolicyFile.model_json_schema(schema_generator=_ForEditors)
    return {"$schema": _ForEditors.schema_dialect, **found, "title": "Rollguard policy"}


class _ForEditors(GenerateJsonSchema):
    """Defaults as they are written in a file, and no ``null``, which a policy never means."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def default_schema(self, schema: core_schema.WithDefaultSchema) -> JsonSchemaValue:
        if isinstance(schema.get("default"), bool | int | str | tuple):
            return super().default_schema(schema)
        return self.generate_inner(schema["schema"])

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        found = super().dict_schema(schema)
        return {**found, "additionalProperties": False} if "patternProperties" in found else found

    def field_title_should_be_set(self, schema: object) -> bool:
        return False
