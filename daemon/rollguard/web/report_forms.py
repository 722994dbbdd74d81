"""What a report looks like on the wire: our own form, and Alertmanager's webhook. Pure: bytes in, values out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NoReturn

from rollguard.errors import Refused

ALERTS_MAX = 64
VERSION_MAX = (1 << 31) - 1

_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
_VERSION = re.compile(r"v?([0-9]{1,10})")
_FINGERPRINT = re.compile(r"[0-9A-Za-z]{1,64}")
_STARTED = re.compile(r"[0-9TZ:.+-]{10,40}")
_SUMMARIES = ("summary", "description", "message")


class NotJson(Refused):
    """The body cannot be read at all."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Somebody blames a release, by its ``version`` or its ``digest``. ``id`` counts once.

    ``sent_at`` is the time that was signed; None where nothing was.
    """

    id: str
    kind: str
    by: str
    reason: str
    version: int | None = None
    digest: str = ""
    sent_at: float | None = None


@dataclass(frozen=True, slots=True)
class Alerts:
    """The firing alerts that name a kind and a release, how many others came along, and what is wrong with the rest."""

    reports: tuple[Report, ...]
    ignored: int
    refused: tuple[str, ...]


def read_report(body: bytes, report_id: str, sent_at: float) -> Report:
    """Our own form. Raises ``NotJson``, ``Refused``."""
    form = _object(body)
    version, digest = form.get("version"), form.get("digest")
    if (version is None) == (digest is None):
        raise Refused("a report names the release it blames: version, a number, or digest, sha256:…, not both")
    return Report(
        id=report_id,
        kind=_text(form, "kind"),
        by=_text(form, "by", "somebody"),
        reason=_text(form, "reason"),
        version=None if version is None else _number(version),
        digest="" if digest is None else _digest(digest),
        sent_at=sent_at,
    )


def read_alerts(body: bytes) -> Alerts:
    """Alertmanager's form. Raises ``NotJson``, ``Refused`` for what is none, or for too many at once."""
    form = _object(body)
    alerts = form.get("alerts")
    if form.get("version") != "4" or not isinstance(alerts, list):
        raise Refused('this is not Alertmanager\'s webhook of version "4"')
    firing = [alert for alert in alerts if _blames(alert)]
    if len(firing) > ALERTS_MAX:
        raise Refused(f"{len(firing)} alerts blame a release, at most {ALERTS_MAX} may at once: set max_alerts")
    reports, refused = [], []
    for alert in firing:
        try:
            reports.append(_report_of(alert))
        except Refused as error:
            refused.append(str(error))
    return Alerts(tuple(reports), len(alerts) - len(firing), tuple(refused))


def _blames(alert: Any) -> bool:
    match alert:
        case {"status": "firing", "labels": {"rollguard_kind": _, "version": _} | {"rollguard_kind": _, "digest": _}}:
            return True
    return False


def _report_of(alert: Mapping[str, Any]) -> Report:
    labels, fingerprint, started = alert["labels"], alert.get("fingerprint"), alert.get("startsAt")
    if not (isinstance(fingerprint, str) and _FINGERPRINT.fullmatch(fingerprint)):
        raise Refused("an alert has no fingerprint")
    if not (isinstance(started, str) and _STARTED.fullmatch(started)):
        raise Refused(f"alert {fingerprint} has no startsAt")
    digest = labels.get("digest")
    return Report(
        id=f"{fingerprint}@{started}",  # no ID of a signed report has an @
        kind=_text(labels, "rollguard_kind"),
        by="alertmanager",
        reason=_reason(labels, alert.get("annotations")),
        version=_numbered(labels["version"]) if digest is None else None,
        digest="" if digest is None else _digest(digest),
    )


def _reason(labels: Mapping[str, Any], annotations: Any) -> str:
    notes = annotations if isinstance(annotations, dict) else {}
    words = [labels.get("alertname"), next((notes[name] for name in _SUMMARIES if notes.get(name)), None)]
    return ": ".join(word for word in words if isinstance(word, str) and word.strip()) or "an alert fires"


def _object(body: bytes) -> dict[str, Any]:
    try:
        form = json.loads(body.decode(), parse_constant=_no_number)
    except (ValueError, RecursionError):
        raise NotJson("the body is not JSON") from None
    if not isinstance(form, dict):
        raise Refused("a report is an object")
    return form


def _no_number(word: str) -> NoReturn:
    raise ValueError(word)


def _text(form: Mapping[str, Any], name: str, default: str = "") -> str:
    value = form.get(name, default)
    if not isinstance(value, str) or not value.strip():
        raise Refused(f"{name} is missing, or no text")
    return value


def _number(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value <= VERSION_MAX:
        raise Refused("version is the number of a release, such as 42")
    return value


def _numbered(value: Any) -> int:
    found = _VERSION.fullmatch(value) if isinstance(value, str) else None
    return _number(int(found[1]) if found else None)


def _digest(value: Any) -> str:
    if not (isinstance(value, str) and _DIGEST.fullmatch(value)):
        raise Refused("digest is the image's: sha256: and 64 hexadecimal digits")
    return value
