"""What can go wrong with a request, by its kind, and what that means: whether it is carried out, what its sender gets.

Sentences are those that clients look for. Where Fly's status is not known (a disabled host), it is the one that goes
with the sentence's first word, as everywhere else in Fly's answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from rollguard.localfly.messages import ApiResponse, as_json, page_not_found, refusal
from rollguard.localfly.refusal import Refused


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """One way for a request to go wrong. A handler that knows the fault by name sees to the rest."""

    acts: bool = True  # whether the request is carried out
    says: ApiResponse | None = None  # what is answered instead of what came of it
    lost: bool = False  # no answer arrives
    cut: bool = False  # the answer ends early


def _says(status: int, sentence: str, kind: str = "unknown", *, acts: bool = False) -> Fault:
    return Fault(acts=acts, says=refusal(Refused(status, sentence, kind)))


BY_HANDLER = Fault()
CUT = Fault(cut=True)
LOST = Fault(lost=True)
LOST_BEFORE = Fault(lost=True, acts=False)
UNAVAILABLE = _says(503, "unavailable: upstream connect error")
GATEWAY_TIMEOUT = _says(504, "gateway timeout")
HOST_TIMEOUT = _says(408, "deadline_exceeded: timed out talking to the host")
NO_PAGE = Fault(acts=False, says=page_not_found())
GRAPHQL_ERROR = {"message": "Internal server error", "path": ["app"], "extensions": {"code": "INTERNAL"}}


def _after_effect(fault: Fault) -> Fault:
    return replace(fault, acts=True)


TABLE: Mapping[str, Mapping[str, Fault]] = {
    "list_machines": {
        "empty": BY_HANDLER,
        "one missing": BY_HANDLER,
        "truncated": CUT,
        "503": UNAVAILABLE,
        "404-text": NO_PAGE,
        "500": _says(500, "internal: server error"),
    },
    "get_machine": {
        "503": UNAVAILABLE,
        "truncated": CUT,
        "404-text": NO_PAGE,
        "lost": LOST,
        "old": BY_HANDLER,
    },
    "update": {
        "408-after-effect": _after_effect(HOST_TIMEOUT),
        "408": HOST_TIMEOUT,
        "412": _says(412, "insufficient resources available to fulfill request", "insufficient_capacity"),
        "409-concurrent": _says(409, "aborted: machine is replacing: concurrent update in progress"),
        "host-disabled": _says(503, "unavailable: deploys to this host are temporarily disabled, please try again"),
        "stuck": BY_HANDLER,
        "lost": LOST,
        "lost-before": LOST_BEFORE,
        "503-after-effect": _after_effect(UNAVAILABLE),
        "422": _says(422, "invalid_argument: config is not valid"),
    },
    "wait": {
        "408": _says(408, "deadline_exceeded: machine failed to reach desired state, started, currently replacing"),
        "503": UNAVAILABLE,
        "lost": LOST,
    },
    "lease": {
        "503": UNAVAILABLE,
        "408-after-effect": _after_effect(HOST_TIMEOUT),
        "lost": LOST,
        "409": BY_HANDLER,
    },
    "release_create": {
        "504": GATEWAY_TIMEOUT,
        "504-after-effect": _after_effect(GATEWAY_TIMEOUT),
        "lost": LOST,
        "lost-before": LOST_BEFORE,
        "422": _says(422, "definition is not valid"),
    },
    "release_patch": {
        "504": GATEWAY_TIMEOUT,
        "504-after-effect": _after_effect(GATEWAY_TIMEOUT),
        "lost": LOST,
    },
    "graphql": {
        "503": UNAVAILABLE,
        "errors": Fault(acts=False, says=as_json({"data": None, "errors": [GRAPHQL_ERROR]})),
        "null": Fault(acts=False, says=as_json({"data": None})),
        "lost": LOST,
    },
}
