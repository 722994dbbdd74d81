"""What a channel's answer, or its missing secret, means for the page: taken, try again, or never."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from rollguard.adapters.http import status_error
from rollguard.adapters.secrets import read_secret
from rollguard.core.signals import SecretRef
from rollguard.errors import Conflict, Refused, Unavailable
from rollguard.ports import HttpAnswer


def must_be_taken(answer: HttpAnswer, channel: str, taken: Collection[int]) -> None:
    """Return if the status is one of ``taken``. Raises ``Unavailable`` for what may pass, ``Refused`` for the rest."""
    if answer.status in taken:
        return
    error = status_error(answer, channel, answer.body[:1000].decode(errors="replace"))
    raise Refused(str(error)) if isinstance(error, Conflict) else error


def secret_of(ref: SecretRef, environ: Mapping[str, str]) -> str:
    """The channel's secret as it is now. Raises ``Unavailable``: a person can mend it while the page waits."""
    try:
        return read_secret(ref, environ)
    except Refused as missing:
        raise Unavailable(str(missing)) from missing
