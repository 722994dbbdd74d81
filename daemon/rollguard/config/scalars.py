"""The kinds of values a policy holds, as pydantic types: each reads itself and knows its JSON Schema."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema

from rollguard.config import quantity
from rollguard.config.problems import Wrong, did_you_mean, shown
from rollguard.config.selector import selector
from rollguard.core.signals import Selector

NAME_PATTERN = r"^[a-z][a-z0-9_-]{0,62}$"
CAPTURED_PATTERN = r"^[a-z][a-z0-9_]{0,62}$"
HEADER_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9-]{0,63}$"
LABEL_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]{0,62}$"
ENV_PATTERN = r"^[A-Za-z_][A-Za-z0-9_]{0,127}$"
TEXT_CHARS_MAX = 500
URL_CHARS_MAX = 2048
INTERVAL_S_MIN = 0.1
RUN_MAX = 100
ONE_IN_MIN, ONE_IN_MAX = 10, 1_000_000

VARIABLE_SCHEMA = {"type": "string", "pattern": r"\$\{"}


def as_written(**schema: object) -> WithJsonSchema:
    """The JSON Schema of a value, which may also stand in a ``${VARIABLE}``."""
    return WithJsonSchema({"anyOf": [schema, VARIABLE_SCHEMA]})


@dataclass(frozen=True, slots=True)
class Run:
    """``3 in a row`` (``of`` None) or ``3 of 5``."""

    k: int
    of: int | None


@dataclass(frozen=True, slots=True)
class Times:
    """``2 in 5m``."""

    k: int
    within_s: float


def _matching(pattern: str, wanted: str, *, secret: bool = False) -> Callable[[object], str]:
    def read(value: object) -> str:
        if isinstance(value, str) and re.fullmatch(pattern.strip("^$"), value, re.ASCII):
            return value
        said = "must be" if secret or not isinstance(value, str) else f"{shown(value)} is not"
        raise Wrong(f"{said} {wanted}", wanted=wanted, secret=secret)

    return read


def _interval(value: object) -> float:
    seconds = quantity.duration_s(value)
    if seconds < INTERVAL_S_MIN:
        least = quantity.duration_text(INTERVAL_S_MIN)
        raise Wrong(f"{value} is shorter than {least}", wanted=f"at least {least}")
    return seconds


def _positive(value: object) -> float:
    seconds = quantity.duration_s(value)
    if seconds == 0:
        raise Wrong("must be longer than 0s", wanted="longer than 0s")
    return seconds


def _number(value: object) -> float:
    wanted = "a bare number such as 3"
    try:
        return quantity.in_dimension(quantity.quantity(value), quantity.Dimension.NUMBER)
    except Wrong as wrong:
        raise Wrong(f"must be {wanted}", wanted=wanted) from wrong


def _count(value: object) -> int:
    wanted = "a whole number"
    if isinstance(value, str) and re.fullmatch(r"\d{1,9}", value, re.ASCII):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 10**9:
        raise Wrong(f"must be {wanted}", wanted=wanted)
    return value


def _flag(value: object) -> bool:
    if value in ("true", "false") or isinstance(value, bool):
        return value in (True, "true")
    raise Wrong("must be true or false", wanted="true or false")


def _text(value: object) -> str:
    wanted = f"one line of text, up to {TEXT_CHARS_MAX} characters"
    if not isinstance(value, str):
        raise Wrong("must be text; put it in quotes", wanted=wanted)
    if not value.strip() or len(value) > TEXT_CHARS_MAX or not value.isprintable():
        raise Wrong(f"must be {wanted}", wanted=wanted)
    return value


def _text_or_nothing(value: object) -> str:
    return "" if value == "" else _text(value)


def _dotted(value: object) -> str:
    text = _text(value)
    if not all(text.split(".")):
        raise Wrong("a path is keys joined by single dots: metrics.uptime", wanted="keys joined by single dots")
    return text


def _url(value: object) -> str:
    link = _link(value)
    if "#" in link:
        raise Wrong("an address to ask has no # part", wanted="an address without a # part")
    return link


def _link(value: object) -> str:
    wanted = "an address such as https://app.example.com/health"
    if not isinstance(value, str) or len(value) > URL_CHARS_MAX or not value.isprintable() or " " in value:
        raise Wrong(f"must be {wanted}", wanted=wanted)
    if re.match(r"[^/]*//[^/?#]*@", value):
        raise Wrong("an address must not hold a user or a password", wanted="an address without a user", secret=True)
    try:
        parts = urlsplit(value)
        sound = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        sound = False
    if not sound:
        raise Wrong(f"{shown(value)} is not {wanted}", wanted=wanted)
    return value


def _url_or_off(value: object) -> str:
    return "" if value == "" else _url(value)


def _points(value: object) -> float:
    """Percentage points as a difference of ratios."""
    points = quantity.in_dimension(quantity.quantity(value), quantity.Dimension.POINTS, unit="pp")
    if not 0 < points < 1:
        raise Wrong("must be more than 0pp and less than 100pp", wanted="percentage points such as 1pp")
    return points


def _factor(value: object) -> float:
    wanted = "a factor above 1, such as 1.5"
    try:
        factor = _number(value)
    except Wrong as wrong:
        raise Wrong(f"must be {wanted}", wanted=wanted) from wrong
    if not 1 < factor <= 100:
        raise Wrong(f"must be {wanted}", wanted=wanted)
    return factor


def _instant(value: object) -> float:
    wanted = "an instant such as 2026-11-27T00:00Z"
    try:
        at = datetime.fromisoformat(value) if isinstance(value, str) and "T" in value else None
    except ValueError:
        at = None
    if at is None:
        raise Wrong(f"must be {wanted}", wanted=wanted)
    if at.tzinfo is None:
        raise Wrong("has no time zone; write Z or +01:00 behind it", wanted=wanted)
    return at.timestamp()


def _time_of_day(value: object) -> float:
    found = isinstance(value, str) and re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)", value, re.ASCII)
    if not found:
        raise Wrong('must be a time of day such as "18:00", in quotes', wanted="a time of day")
    return int(found[1]) * 3600.0 + int(found[2]) * 60.0


def _zone(value: object) -> str:
    wanted = "a time zone such as Europe/Berlin or UTC"
    try:
        ZoneInfo(value if isinstance(value, str) else "")
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        hint = did_you_mean(value, available_timezones()) if isinstance(value, str) else ""
        raise Wrong(f"must be {wanted}{hint}", wanted=wanted) from error
    return str(value)


def _repo_or_off(value: object) -> str:
    if value == "" or (isinstance(value, str) and re.fullmatch(r"[A-Za-z0-9-]{1,39}/[A-Za-z0-9._-]{1,100}", value)):
        return value
    raise Wrong("must be a repository such as owner/name", wanted="a repository such as owner/name")


def _channel_or_off(value: object) -> str:
    if isinstance(value, str) and re.fullmatch(r"(#?[A-Za-z0-9_-]{1,80})?", value, re.ASCII):
        return value
    raise Wrong('must be a channel such as "#engineering", in quotes', wanted="a channel")


def _run(value: object) -> Run:
    wanted = "a run such as 3 in a row, or 3 of 5"
    found = isinstance(value, str) and re.fullmatch(r"(\d{1,3}) +(?:in a row|of +(\d{1,3}))", value, re.ASCII)
    if not found:
        raise Wrong(f"must be {wanted}", wanted=wanted)
    k, of = int(found[1]), int(found[2]) if found[2] else None
    if not 1 <= k <= (of or RUN_MAX) <= RUN_MAX:
        raise Wrong(f"must be {wanted}, from 1 and up to {RUN_MAX}", wanted=wanted)
    return Run(k, of)


def _times(value: object) -> Times:
    wanted = "a count in a time such as 2 in 5m"
    found = isinstance(value, str) and re.fullmatch(r"(\d{1,3}) +in +(\S+)", value, re.ASCII)
    if not found or not 1 <= int(found[1]) <= RUN_MAX:
        raise Wrong(f"must be {wanted}", wanted=wanted)
    return Times(int(found[1]), _positive(found[2]))


def _folder(value: object) -> str:
    text = _text(value)
    if text.startswith(("/", "~")) or ".." in text.split("/") or "\\" in text:
        raise Wrong("must be a folder inside the data folder, such as artifacts/rollback", wanted="a relative folder")
    return text


def _duration_or_auto(value: object) -> float | None:
    """Seconds; None where the guard is to find out by itself."""
    if value == "auto":
        return None
    try:
        return quantity.duration_s(value)
    except Wrong as wrong:
        raise Wrong(f"{wrong.message}, or auto", wanted=f"{wrong.wanted}, or auto") from wrong


def _positive_or_auto(value: object) -> float | None:
    """Seconds, not none of them; None where the guard is to find out by itself."""
    return None if value == "auto" else _positive(value)


def _one_in(value: object) -> float:
    """``1 in 1000`` as a share."""
    wanted = "a share such as 1 in 1000"
    found = isinstance(value, str) and re.fullmatch(r"1 +in +(\d{1,7})", value, re.ASCII)
    if not found:
        raise Wrong(f"must be {wanted}", wanted=wanted)
    if not ONE_IN_MIN <= int(found[1]) <= ONE_IN_MAX:
        bounds = f"from 1 in {ONE_IN_MIN} to 1 in {ONE_IN_MAX}"
        raise Wrong(f"must be {bounds}", wanted=bounds)
    return 1 / int(found[1])


_env_name = _matching(ENV_PATTERN, "the name of an environment variable, not the secret itself", secret=True)
_name = _matching(NAME_PATTERN, "a name of a-z, 0-9, - and _ that begins with a letter")
_captured_name = _matching(CAPTURED_PATTERN, "a name of a-z, 0-9 and _ that begins with a letter")
_label = _matching(LABEL_PATTERN, "the name of a label, such as route")
_header_name = _matching(HEADER_PATTERN, "the name of a header")
_duration: dict[str, Any] = {"type": "string", "pattern": quantity.DURATION_PATTERN}

Duration = Annotated[float, BeforeValidator(quantity.duration_s), as_written(**_duration)]
Positive = Annotated[float, BeforeValidator(_positive), as_written(**_duration)]
PositiveOrAuto = Annotated[
    float | None,
    BeforeValidator(_positive_or_auto),
    WithJsonSchema({"anyOf": [_duration, {"const": "auto"}, VARIABLE_SCHEMA]}),
]
DurationOrAuto = Annotated[
    float | None,
    BeforeValidator(_duration_or_auto),
    WithJsonSchema({"anyOf": [_duration, {"const": "auto"}, VARIABLE_SCHEMA]}),
]
Interval = Annotated[float, BeforeValidator(_interval), as_written(**_duration)]
Percent = Annotated[float, BeforeValidator(quantity.ratio), as_written(type="string", pattern=quantity.PERCENT_PATTERN)]
Limit = Annotated[quantity.Quantity, PlainValidator(quantity.quantity), WithJsonSchema({"type": ["string", "number"]})]
Number = Annotated[float, BeforeValidator(_number), as_written(type="number")]
Count = Annotated[int, BeforeValidator(_count), as_written(type="integer", minimum=0)]
StatusCode = Annotated[Count, Field(ge=100, le=599)]
Flag = Annotated[bool, BeforeValidator(_flag), as_written(type="boolean")]
Name = Annotated[str, BeforeValidator(_name), as_written(type="string", pattern=NAME_PATTERN)]
Key = Annotated[str, BeforeValidator(_name), WithJsonSchema({"type": "string", "pattern": NAME_PATTERN})]
Label = Annotated[str, BeforeValidator(_label), WithJsonSchema({"type": "string", "pattern": LABEL_PATTERN})]
EnvName = Annotated[str, BeforeValidator(_env_name), WithJsonSchema({"type": "string", "pattern": ENV_PATTERN})]
Text = Annotated[str, BeforeValidator(_text), WithJsonSchema({"type": "string", "maxLength": TEXT_CHARS_MAX})]
TextOrNothing = Annotated[
    str, BeforeValidator(_text_or_nothing), WithJsonSchema({"type": "string", "maxLength": TEXT_CHARS_MAX})
]
Dotted = Annotated[str, BeforeValidator(_dotted), WithJsonSchema({"type": "string", "pattern": r"^[^.]+(\.[^.]+)*$"})]
HeaderName = Annotated[
    str, BeforeValidator(_header_name), WithJsonSchema({"type": "string", "pattern": HEADER_PATTERN})
]
CapturedName = Annotated[
    str, BeforeValidator(_captured_name), WithJsonSchema({"type": "string", "pattern": CAPTURED_PATTERN})
]
Url = Annotated[str, BeforeValidator(_url), as_written(type="string", pattern="^https?://")]
Link = Annotated[str, BeforeValidator(_link), as_written(type="string", pattern="^https?://")]
UrlOrOff = Annotated[str, BeforeValidator(_url_or_off), as_written(type="string", pattern="^(https?://.*)?$")]
Folder = Annotated[str, BeforeValidator(_folder), WithJsonSchema({"type": "string"})]
Series = Annotated[Selector, PlainValidator(selector), WithJsonSchema({"type": "string"})]
InARow = Annotated[Run, PlainValidator(_run), as_written(type="string", pattern=r"^\d+ +(in a row|of +\d+)$")]
Points = Annotated[float, BeforeValidator(_points), as_written(type="string", pattern=r"^\d+(\.\d+)?pp$")]
Factor = Annotated[float, BeforeValidator(_factor), as_written(type="number", exclusiveMinimum=1)]
Instant = Annotated[float, BeforeValidator(_instant), as_written(type="string", pattern=r"^\d{4}-\d\d-\d\dT")]
TimeOfDay = Annotated[float, BeforeValidator(_time_of_day), as_written(type="string", pattern=r"^\d\d:\d\d$")]
Zone = Annotated[str, BeforeValidator(_zone), as_written(type="string")]
RepoOrOff = Annotated[str, BeforeValidator(_repo_or_off), as_written(type="string", pattern="^([^/]+/[^/]+)?$")]
ChannelOrOff = Annotated[str, BeforeValidator(_channel_or_off), as_written(type="string")]
OneIn = Annotated[float, BeforeValidator(_one_in), as_written(type="string", pattern=r"^1 +in +\d+$")]
InTime = Annotated[Times, PlainValidator(_times), as_written(type="string", pattern=r"^\d+ +in +\S+$")]
