"""What we read of Fly's answers. Unknown keys are ignored; ``null`` for a list or an object counts as empty.

A machine's config is kept as opaque JSON: it is carried through, never understood.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_core import PydanticCustomError

from rollguard.adapters.http import excerpt
from rollguard.errors import BadAnswer

T = TypeVar("T")

EVENTS_MAX = 50
CHECKS_MAX = 100
LABELS_MAX = 100
_YEAR_2100_S = 4_102_444_800

STATES = frozenset(
    {"created", "started", "stopped", "suspended", "failed"}
    | {"creating", "starting", "stopping", "restarting", "suspending", "destroying"}
    | {"launch_failed", "updating", "replacing", "destroyed", "replaced", "migrated"}
)
"""All that a machine can be. Of one in another state nobody knows whether it serves, or may be written to."""


def _known_state(state: str) -> str:
    if state not in STATES:
        raise PydanticCustomError(
            "state", "{state} is no state we know", {"state": excerpt(state, 40) or "an empty text"}
        )
    return state


def _this_century(date: datetime) -> datetime:
    if date.year >= 2100:
        raise PydanticCustomError("date", "the year {year} is far off", {"year": date.year})
    return date


def _short(value: Any) -> Any:
    if value is None:
        return ""
    return excerpt(value, 300) if isinstance(value, str) else value


Text = Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]
Short = Annotated[str, BeforeValidator(_short)]
Object = Annotated[dict[str, Any], BeforeValidator(lambda value: {} if value is None else value)]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
"""An identifier that goes into the path of a request: anything else would be someone's trick."""
State = Annotated[str, AfterValidator(_known_state)]
Seconds = Annotated[float, Field(ge=0, le=_YEAR_2100_S, allow_inf_nan=False)]
Date = Annotated[datetime, AfterValidator(_this_century)]
Milliseconds = Annotated[float, Field(ge=0, le=_YEAR_2100_S * 1000, allow_inf_nan=False)]


class Wire(BaseModel):
    """Frozen, tolerant of what it does not know."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class ImageRef(Wire):
    """What really runs."""

    registry: Short = ""
    repository: Short = ""
    tag: Short = ""
    digest: Text = Field(default="", pattern=r"^(sha256:[0-9a-f]{64})?$")
    labels: Object = Field(default_factory=dict)


class CheckWire(Wire):
    name: Short = ""
    status: Short = ""


class ExitEvent(Wire):
    exit_code: int = 0
    requested_stop: bool = False
    oom_killed: bool = False


class MonitorEvent(Wire):
    exit_event: ExitEvent | None = None


class EventRequest(Wire):
    exit_event: ExitEvent | None = None
    monitor_event: MonitorEvent | None = Field(
        default=None, validation_alias=AliasChoices("MonitorEvent", "monitor_event")
    )

    @property
    def exit(self) -> ExitEvent | None:
        """The exit, wherever it is written."""
        return self.exit_event or (self.monitor_event.exit_event if self.monitor_event else None)


class EventWire(Wire):
    """``timestamp`` None or 0: nobody says when. The type is compared, never shown."""

    type: str | None = None
    timestamp: Milliseconds | None = None
    request: EventRequest | None = None


class MachineWire(Wire):
    """``config`` is missing where the host cannot be asked; then ``incomplete_config`` is all there is."""

    id: Id
    state: State
    instance_id: Text = Field(default="", pattern=r"^[A-Za-z0-9_-]{0,64}$")
    region: Short = ""
    host_status: Short = "ok"
    cordoned: bool | None = False
    image_ref: ImageRef | None = None
    config: dict[str, Any] | None = None
    incomplete_config: dict[str, Any] | None = None
    checks: list[CheckWire] | None = None
    events: list[EventWire] | None = None

    @property
    def config_known(self) -> bool:
        """Whether its host tells all of its config: without that it can be neither judged nor written to."""
        return self.host_status == "ok" and bool(self.config)


class LeaseWire(Wire):
    """``version`` is the machine's instance ID.

    Fly's servers send it inside of ``data``, its specification says without.
    """

    nonce: Text = Field(default="", pattern=r"^[!-~]{0,200}$")
    expires_at: Seconds
    owner: Short = ""
    description: Short = ""
    version: Text = Field(default="", pattern=r"^[A-Za-z0-9_-]{0,64}$")

    @model_validator(mode="before")
    @classmethod
    def _unwrap(cls, document: Any) -> Any:
        return document["data"] if isinstance(document, dict) and isinstance(document.get("data"), dict) else document


class WaitWire(Wire):
    """What the platform says it waited for; older servers say nothing."""

    ok: bool = True
    state: Text = ""
    version: Text = ""


class UserWire(Wire):
    email: Short = ""
    name: Short = ""


class ReleaseWire(Wire):
    """A row over GraphQL or REST: the two name the same things differently."""

    id: Id
    version: int = Field(ge=0, lt=10**9)
    status: Short = ""
    description: Short = ""
    user: UserWire | str | None = None
    image_ref: Short = Field(default="", validation_alias=AliasChoices("imageRef", "image_ref"))
    created_at: Date | None = Field(default=None, validation_alias=AliasChoices("createdAt", "created_at"))

    @property
    def author(self) -> str:
        """Who made it, as far as the answer says."""
        if isinstance(self.user, UserWire):
            return self.user.email or self.user.name
        return excerpt(self.user or "", 300)


class MadeRelease(Wire):
    release: ReleaseWire


class ReleaseNodes(Wire):
    nodes: list[ReleaseWire]


class ReleasesApp(Wire):
    releases: ReleaseNodes


class ReleasesData(Wire):
    app: ReleasesApp


class ReleasesAnswer(Wire):
    data: ReleasesData


class ImageApp(Wire):
    """``image`` null: it is gone."""

    image: ImageRef | None


class ImageData(Wire):
    app: ImageApp


class ImageAnswer(Wire):
    data: ImageData


class OrganizationWire(Wire):
    slug: Short = ""


class AppWire(Wire):
    name: Short
    status: Short = ""
    organization: OrganizationWire | None = None


MACHINE = TypeAdapter(MachineWire)
LEASE = TypeAdapter(LeaseWire)
WAIT = TypeAdapter(WaitWire)
RELEASE = TypeAdapter(ReleaseWire)
MADE_RELEASE = TypeAdapter(MadeRelease)
RELEASES = TypeAdapter(ReleasesAnswer)
APP = TypeAdapter(AppWire)
IMAGE = TypeAdapter(ImageAnswer)


def read(kind: TypeAdapter[T], document: bytes | object, request: str, under: str = "") -> T:
    """``document`` (JSON text, or parsed already) as ``kind``. Raises ``BadAnswer`` naming the field, ``under`` which
    it is in the answer.
    """
    try:
        return kind.validate_json(document) if isinstance(document, bytes) else kind.validate_python(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = (under + ".".join(map(str, first["loc"]))).strip(".") or "the answer"
        raise BadAnswer(f"{excerpt(field, 120)}: {excerpt(first['msg'], 120)}: {request}") from None
