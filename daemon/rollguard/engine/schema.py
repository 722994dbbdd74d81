"""Which database schema the app sees, asked before it matters: a release that goes bad may not be able to say."""

from __future__ import annotations

from rollguard.core import jsontext, text
from rollguard.core.events import SchemaRead
from rollguard.core.fleet import newest_running
from rollguard.core.jsonpath import lookup
from rollguard.core.policy import SchemaProbe
from rollguard.engine.record import Record
from rollguard.engine.watch import Watch
from rollguard.errors import GuardError
from rollguard.ports import Clock, Transport

BYTES_MAX = 1 << 20
CHARS_MAX = 80


async def read_schema(probe: SchemaProbe, transport: Transport, watch: Watch, record: Record, clock: Clock) -> None:
    """Ask once, and write down what is news. A probe that fails leaves the newest answer standing.

    While somebody deploys nothing is read for a digest that is proven: a migration runs before its release does, and
    would be taken for the old release's schema. Raises ``JournalError``.
    """
    snapshot = watch.snapshot
    digest = newest_running(snapshot, record.state.order) if snapshot else None
    known = record.state.record(digest) if digest else None
    if known is None or (watch.deploy is not None and known.proven_at is not None):
        return
    schema = await _ask(probe, transport)
    seen = record.state.schemas.get(known.digest)
    if schema is not None and (seen is None or seen.newest != schema):
        await record.add(SchemaRead(at=clock.now(), digest=known.digest, schema=schema))


async def _ask(probe: SchemaProbe, transport: Transport) -> str | None:
    try:
        answer = await transport.request("GET", probe.url, timeout_s=probe.timeout_s, max_bytes=BYTES_MAX)
        if answer.status != 200:
            return None
        value = lookup(jsontext.parse(answer.body), probe.path)
    except (GuardError, ValueError, KeyError):
        return None
    return text.one_line(str(value), CHARS_MAX) if isinstance(value, str | int | float) else None
