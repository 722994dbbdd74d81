"""What a support bundle says: everything that helps somebody else to understand, and nothing that lets them in."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from rollguard.core import events as ev
from rollguard.core import text
from rollguard.core.event import Event, Recorded
from rollguard.core.event_json import to_json
from rollguard.core.incident_json import Json, Salt, incident_json, machine_object, without_labels
from rollguard.core.model import Snapshot
from rollguard.core.policy import Policy
from rollguard.core.report import releases_json
from rollguard.core.signals import JourneySignal, LogsSignal, SecretRef
from rollguard.core.window import Windows

LEFT_OUT = "[left out]"
SECRET_CHARS_MIN = 6
"""Shorter values are not looked for: they would be found in every other word."""
LINES_MAX = 200
EVENTS_MAX = 20_000

_REQUEST_ID = re.compile(r"fly-request-id ([\w.:-]{1,80})")
_SECRET_KEY = re.compile(r"secret|token|passw|key|authori[sz]ation|credential|cookie", re.IGNORECASE)
_USER_INFO = re.compile(r"(https?://)[^\s/?#@]*@")
_WHOLE_PATH = re.compile(r"(https?://[^\s/?#\"']+)/[^\s\"']*")
_OPEN_IN_STEPS = frozenset({"name", "get", "post", "put", "patch", "delete", "expect", "capture"})
_CLOSED = frozenset({"headers", "header", "form", "body", "cookies"})
_ADDRESSES_OF_PEOPLE = frozenset({"notify", "heartbeat", "reports"})
"""Where a URL's path is as good as a password."""

README = """\
A support bundle of Rollguard: what a guard knew of one target, for somebody who was not there.

incident.json   the incident: decisions with their numbers, what held them, machines, times, every event
events.jsonl    its events as the journal has them, one a line
status.json     the target as the guard saw it when the bundle was made
explain.txt     every rule, value, age and limit, and every interlock, at that moment
machines.json   the platform's machines as last seen; of their configuration only a hash
releases.json   the platform's release list as last seen
guard.json      the guard itself: versions, clock, mode, failed calls with their request IDs
log-lines.txt   the app's newest log lines that matched, where the policy has such a signal
policy.json     the policy as it is written, variables not filled in, secrets left out

No token, no environment value, no file and no label value is in here; "#..." is a salted hash, so that equal values of
one bundle can be told. Files that nothing was known for are missing.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What a bundle is made of; None and empty where nobody knows. ``policy_data`` is the policy file as plain data."""

    entries: Sequence[Recorded] = ()
    incident: Json | None = None
    status: Json | None = None
    explained: Sequence[str] = ()
    snapshot: Snapshot | None = None
    guard: Json = field(default_factory=dict)
    log_lines: Sequence[str] = ()
    policy_data: object = None
    secrets: Sequence[str] = ()


def bundle_files(policy: Policy, known: Known, salt: Salt) -> dict[str, str]:
    """The files of a bundle by name, the most telling ones first; none has a secret in it that is known as one."""
    hide = Hider(known.secrets)
    files = {"README.txt": README}
    if known.incident is not None:
        files["incident.json"] = incident_json(hide.data(known.incident))
    events = (to_json(without_labels(policy, e.event, salt)) | {"seq": e.seq} for e in known.entries[-EVENTS_MAX:])
    files["events.jsonl"] = "".join(f"{json.dumps(hide.data(event))}\n" for event in events)
    calls = request_ids([e.event for e in known.entries])
    files["guard.json"] = _pretty(hide.data({**known.guard, "failedCalls": calls}))
    if known.status is not None:
        files["status.json"] = _pretty(hide.data(known.status))
    if known.explained:
        files["explain.txt"] = hide.text("\n".join(known.explained)) + "\n"
    if known.snapshot is not None:
        machines = [machine_object(m, policy, salt) for m in known.snapshot.machines]
        files["machines.json"] = _pretty(hide.data({"at": text.stamp(known.snapshot.at), "machines": machines}))
        files["releases.json"] = _pretty(hide.data(json.loads(releases_json(known.snapshot))))
    if known.policy_data is not None:
        files["policy.json"] = _pretty(hide.data(policy_without_secrets(known.policy_data)))
    if known.log_lines:
        files["log-lines.txt"] = hide.text("\n".join(known.log_lines)) + "\n"
    return files


class Hider:
    """Takes known secrets out of texts, whoever quoted them."""

    def __init__(self, secrets: Iterable[str]) -> None:
        usable = sorted({s for s in secrets if len(s) >= SECRET_CHARS_MIN}, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, usable))) if usable else None

    def text(self, words: str) -> str:
        """The words without them."""
        return self._pattern.sub(LEFT_OUT, words) if self._pattern else words

    def data(self, value: Any) -> Any:
        """Plain JSON data, the texts in it without them."""
        if isinstance(value, str):
            return self.text(value)
        if isinstance(value, Mapping):
            return {self.text(str(key)): self.data(item) for key, item in value.items()}
        return [self.data(item) for item in value] if isinstance(value, list | tuple) else value


def secret_refs(value: object) -> list[SecretRef]:
    """Every reference to a secret in a policy, or in a part of one."""
    if isinstance(value, SecretRef):
        return [value]
    if isinstance(value, Mapping):
        return [ref for item in value.values() for ref in secret_refs(item)]
    if isinstance(value, tuple):
        return [ref for item in value for ref in secret_refs(item)]
    slots = getattr(type(value), "__dataclass_fields__", {})
    return [ref for name in slots for ref in secret_refs(getattr(value, name))]


def typed_in(policy: Policy) -> list[str]:
    """What the journeys of a policy type into forms and headers: test users have passwords too."""
    steps = [step for signal in policy.signals if isinstance(signal, JourneySignal) for step in signal.steps]
    return [value for step in steps for value in (*step.form.values(), *step.headers.values(), step.body) if value]


def request_ids(events: Sequence[Event]) -> list[Json]:
    """The platform's own names for calls that failed: what its support asks for."""
    failed = [e for e in events if isinstance(e, ev.StepFailed | ev.TickFailed | ev.GoalEnded)]
    return [
        {"at": text.stamp(e.at), "id": found, "error": words}
        for e in failed
        for words in (e.sentence if isinstance(e, ev.GoalEnded) else e.error,)
        for found in _REQUEST_ID.findall(words)
    ]


def log_lines(policy: Policy, windows: Windows, snapshot: Snapshot | None) -> list[str]:
    """The newest matching lines of the app's log that the guard still knows, oldest first."""
    machines = [m.id for m in snapshot.machines] if snapshot else []
    found = [
        (reading.to, f"{text.stamp(reading.to)}  {machine}  {signal.name} x{reading.value:.0f}  {reading.detail}")
        for signal in policy.signals
        if isinstance(signal, LogsSignal)
        for machine in machines
        for reading in windows.newest_first(f"{signal.name}.lines", machine)
        if reading.value
    ]
    return [text.one_line(line, 400) for _, line in sorted(found)[-LINES_MAX:]]


def policy_without_secrets(data: object, path: tuple[str, ...] = ()) -> object:
    """A policy file's data with what must not leave the team replaced; names of variables and files stay."""
    if isinstance(data, Mapping):
        return {key: policy_without_secrets(value, (*path, str(key))) for key, value in data.items()}
    if isinstance(data, list):
        return [policy_without_secrets(item, path) for item in data]
    if _is_closed(path):
        return data if data is None or isinstance(data, bool) else LEFT_OUT
    return _without_credentials(data, path) if isinstance(data, str) else data


def written_secrets(data: object, path: tuple[str, ...] = ()) -> tuple[list[str], list[SecretRef]]:
    """What ``policy_without_secrets`` leaves out of a policy file, and the references that it keeps."""
    inner: list[tuple[object, tuple[str, ...]]] = []
    if isinstance(data, Mapping):
        inner = [(value, (*path, str(key))) for key, value in data.items()]
    elif isinstance(data, list):
        inner = [(item, path) for item in data]
    elif isinstance(data, str) and path and path[-1].endswith(("_env", "_file")):
        return [], [SecretRef(env=data) if path[-1].endswith("_env") else SecretRef(file=data)]
    elif isinstance(data, str) and _is_closed(path):
        return [data], []
    found = [written_secrets(value, place) for value, place in inner]
    return [value for values, _ in found for value in values], [ref for _, refs in found for ref in refs]


def _is_closed(path: tuple[str, ...]) -> bool:
    """Whether what stands there may be a secret: by its name, or because it is typed into the app."""
    if any(key in _CLOSED for key in path):
        return True
    last = path[-1] if path else ""
    if _SECRET_KEY.search(last) and not last.endswith(("_env", "_file")):
        return True
    inside = path[path.index("journey") + 1 :] if "journey" in path else ()
    return "steps" in inside and not any(key in _OPEN_IN_STEPS for key in inside[inside.index("steps") + 1 :])


def _without_credentials(words: str, path: tuple[str, ...]) -> str:
    """An address without user, password and query; of one that reaches people, only its host."""
    bare = _USER_INFO.sub(r"\1", words)
    if "://" in bare or bare.startswith(("${", "/")):
        bare = re.sub(r"\?.+", "?…", bare, count=1, flags=re.DOTALL)
    return _WHOLE_PATH.sub(r"\1/…", bare) if any(key in _ADDRESSES_OF_PEOPLE for key in path) else bare


def _pretty(value: Any) -> str:
    return json.dumps(value, indent=2) + "\n"
