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
)

from rollguard.adapters.http import excerpt
from rollguard.errors import BadAnswer

T = TypeVar("T")

EVENTS_MAX = 50
CHECKS_MAX = 100
LABELS_MAX = 100

Text = Annotated[str, BeforeValidator(lambda value: "" if value is None else value)]
Short = Annotated[Text, AfterValidator(lambda value: excerpt(value, 300))]
Object = Annotated[dict[str, Any], BeforeValidator(lambda value: {} if value is None else value)]
Id = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
"""An identifier that goes into the path of a request: anything else would be someone's trick."""


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
    """``timestamp`` in milliseconds."""

    type: Short = ""
    timestamp: float = 0
    request: EventRequest | None = None


class MachineWire(Wire):
    """``config`` is missing where the host cannot be asked; then ``incomplete_config`` is all there is."""

    id: Id
    state: Short
    instance_id: Text = Field(default="", pattern=r"^[A-Za-z0-9_-]{0,64}$")
    region: Short = ""
    host_status: Short = "ok"
    cordoned: bool | None = False
    image_ref: ImageRef | None = None
    config: dict[str, Any] | None = None
    incomplete_config: dict[str, Any] | None = None
    checks: list[CheckWire] | None = None
    events: list[EventWire] | None = None


class LeaseWire(Wire):
    """``version`` is the machine's instance ID."""

    nonce: Text = Field(default="", pattern=r"^[!-~]{0,200}$")
    expires_at: float = 0
    owner: Short = ""
    description: Short = ""
    version: Text = ""


class UserWire(Wire):
    email: Short = ""
    name: Short = ""


class ReleaseWire(Wire):
    """A row over GraphQL or REST: the two name the same things differently."""

    id: Id
    version: int
    status: Short = ""
    description: Short = ""
    user: UserWire | str | None = None
    image_ref: Short = Field(default="", validation_alias=AliasChoices("imageRef", "image_ref"))
    created_at: datetime | None = Field(default=None, validation_alias=AliasChoices("createdAt", "created_at"))

    @property
    def author(self) -> str:
        """Who made it, as far as the answer says."""
        if isinstance(self.user, UserWire):
            return self.user.email or self.user.name
        return excerpt(self.user or "", 300)


class OrganizationWire(Wire):
    slug: Short = ""


class AppWire(Wire):
    name: Short
    status: Short = ""
    organization: OrganizationWire | None = None


MACHINE = TypeAdapter(MachineWire)
MACHINES = TypeAdapter(list[MachineWire])
LEASE = TypeAdapter(LeaseWire)
RELEASE = TypeAdapter(ReleaseWire)
RELEASES = TypeAdapter(list[ReleaseWire])
APP = TypeAdapter(AppWire)
IMAGE = TypeAdapter(ImageRef)


def read(kind: TypeAdapter[T], document: bytes | object, request: str) -> T:
    """``document`` (JSON text, or parsed already) as ``kind``. Raises ``BadAnswer`` naming the field."""
    try:
        return kind.validate_json(document) if isinstance(document, bytes) else kind.validate_python(document)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        field = ".".join(map(str, first["loc"])) or "the answer"
        raise BadAnswer(f"{excerpt(field, 120)}: {excerpt(first['msg'], 120)}: {request}") from None
