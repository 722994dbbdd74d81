"""Rules of a policy file as core values: one condition each, with the keys that belong to it, and who must agree."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from rollguard.config import schema
from rollguard.config.asked import Asked
from rollguard.config.complaints import Complaints
from rollguard.config.conditions import BUILD, threshold_of
from rollguard.config.counting import ratio_of
from rollguard.config.problems import listed, shown
from rollguard.config.signals import Directory, asks_edge
from rollguard.config.yamltext import Path
from rollguard.core.model import Mode
from rollguard.core.policy import Action, Quorum, Ratio, Rule, Threshold
from rollguard.core.signals import ProbeSignal, Scope, Signal

VERIFY_REQUESTS_MIN = 20
_COMPARED = "worse_than_baseline"


@dataclass(frozen=True, slots=True)
class Form:
    """Which keys stand beside the one that names the condition: ``needs`` are ``may`` in a comparison."""

    needs: tuple[str, ...] = ()
    may: tuple[str, ...] = ()
    limited: bool = False
    compared: bool = False


FORMS: Mapping[str, Form] = {
    "failing": Form(needs=("signal",), may=("on",)),
    "value": Form(needs=("for",), may=("on",), limited=True, compared=True),
    "ratio": Form(needs=("over", "min_requests"), may=("for", "by"), limited=True, compared=True),
    "quantile": Form(needs=("over", "min_requests"), may=("for", "by"), limited=True, compared=True),
    "burn": Form(may=("min_requests",)),
    "crashed": Form(needs=("signal",), may=("on",)),
    "report": Form(),
    _COMPARED: Form(needs=("signal",), may=("over", "min_requests", "for")),
}
VERIFY_FORMS: Mapping[str, Form] = {"value": Form(limited=True), "ratio": Form(limited=True)}
_ALWAYS = {"name", "then", "mode", "cite"}
_LIMITS = ("above", "below")


def to_rule(index: int, written: schema.Rule, directory: Directory, complaints: Complaints) -> Rule | None:
    """The core rule, or None with its mistakes among the complaints."""
    path: Path = ("rules", index)
    form = _form(path, written, FORMS, complaints)
    if form is None:
        return None
    asked = Asked(path, written, directory, complaints)
    made = BUILD[form](asked, written)
    if made is None:
        return None
    condition, signal = made
    return Rule(
        name=written.name,
        condition=condition,
        then=Action(written.then),
        quorum=_quorum(asked, written.on, signal),
        mode=Mode[written.mode.upper()] if written.mode else Mode.ENFORCE,
        cite=written.cite or "",
        origin=f"{complaints.document.file}:{complaints.line(path)}",
    )


def to_verify_limit(
    index: int, written: schema.VerifyLimit, settle_s: float, directory: Directory, complaints: Complaints
) -> Threshold | Ratio | None:
    """A limit for the restored release: a threshold without ``for``, or a ratio over the whole settle time."""
    path: Path = ("verify", "limits", index)
    form = _form(path, written, VERIFY_FORMS, complaints)
    asked = Asked(path, written, directory, complaints)
    if form == "value":
        return threshold_of(asked, 0.0)[0]
    if form == "ratio":
        return ratio_of(asked, settle_s, VERIFY_REQUESTS_MIN, 0.0)[0]
    return None


def _form(path: Path, written: schema.VerifyLimit, forms: Mapping[str, Form], complaints: Complaints) -> str | None:
    """The one condition of a rule whose keys all belong to it, or None."""
    given = {written.__class__.model_fields[name].alias or name for name in written.model_fields_set}
    named = _named(given, forms)
    if len(named) != 1:
        kinds = listed(name for name in forms if name != _COMPARED)
        say = f"a {'rule' if 'report' in forms else 'limit'} has one condition: {kinds}"
        if named:
            complaints.key((*path, named[1]), f"{say}; this one has {listed(named, 'and')}")
        else:
            complaints.value(path, say)
        return None
    form = forms[named[0]]
    problems = len(complaints.problems)
    able = (*_LIMITS, *((_COMPARED,) if form.compared else ()))
    limits = [key for key in able if key in given]
    if form.limited and len(limits) != 1:
        complaints.value(path, f"a {named[0]} needs exactly one of {listed(shown(key) for key in able)}")
    for key in () if form.compared and _COMPARED in given else form.needs:
        if key not in given:
            complaints.value((*path, key), f"a {named[0]} rule needs {shown(key)}")
    belong = {named[0], *form.needs, *form.may, *(able if form.limited else ()), *_ALWAYS}
    for key in sorted(given - belong):
        complaints.key((*path, key), f"{shown(key)} does not belong to a {named[0]} rule")
    return named[0] if len(complaints.problems) == problems else None


def _named(given: set[str], forms: Mapping[str, Form]) -> list[str]:
    """The keys that name a condition. A comparison is one by itself only where it is about probes."""
    named = [name for name in forms if name in given and name != _COMPARED]
    return named or ([_COMPARED] if _COMPARED in forms and {_COMPARED, "signal"} <= given else [])


def _quorum(asked: Asked, on: schema.On | None, signal: Signal | None) -> Quorum:
    """As written; else half of the machines, or the edge where the signal asks it."""
    edge = signal is None or asks_edge(signal)
    if on is None:
        return Quorum(or_edge=edge)
    path = (*asked.path, "on")
    if on.machines == 0:
        asked.complaints.value((*path, "machines"), "must be more than 0%")
    if on.or_ and not edge:
        message = "the signal does not ask the edge; add edge to its scope"
        asked.complaints.value((*path, "or"), message)
    edge_only = isinstance(signal, ProbeSignal) and Scope.MACHINE not in signal.scopes
    if edge_only and "machines" in on.model_fields_set:
        asked.complaints.value((*path, "machines"), "the signal asks only the edge, so no machine can agree")
    return Quorum(machines=on.machines, or_edge=on.or_ is not None)
