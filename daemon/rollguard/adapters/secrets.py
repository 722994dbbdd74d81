"""Reading secrets at the moment of use, so that a rotated one works without a restart."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rollguard.core.signals import SecretRef
from rollguard.errors import Refused

SECRET_BYTES_MAX = 16 * 1024
_MACAROONS = ("fm1r_", "fm1a_", "fm2_")
_SCHEMES = ("Bearer ", "FlyV1 ")


def read_secret(ref: SecretRef, environ: Mapping[str, str]) -> str:
    """The secret that ``ref`` names, stripped. Never empty, and never more than one line of printable ASCII.

    Raises ``Refused`` naming the place, never the value, when there is nothing usable there.
    """
    if ref.env is not None:
        place, text = f"environment variable {ref.env}", environ.get(ref.env, "")
    elif ref.file is not None:
        place, text = f"file {ref.file}", _read(ref.file)
    else:
        raise Refused("a secret has neither an environment variable nor a file")
    secret = text.strip()
    if not secret:
        raise Refused(f"the secret in {place} is missing or empty")
    if not (secret.isascii() and secret.isprintable()):
        raise Refused(f"the secret in {place} is not one line of printable ASCII")
    return secret


def _read(name: str) -> str:
    try:
        with Path(name).open("rb") as file:
            content = file.read(SECRET_BYTES_MAX + 1)
        if len(content) > SECRET_BYTES_MAX:
            raise Refused(f"the secret in file {name} is longer than {SECRET_BYTES_MAX} bytes")
        return content.decode()
    except (OSError, ValueError) as error:
        raise Refused(f"the secret in file {name} cannot be read: {type(error).__name__}") from None


def token_parts(token: str) -> tuple[list[str], list[str]]:
    """Macaroons and other tokens of a comma list that may carry a scheme (``FlyV1 fm2_…,fo1_…``)."""
    bare = next((token[len(scheme) :] for scheme in _SCHEMES if token.startswith(scheme)), token)
    parts = [part.strip() for part in bare.split(",") if part.strip()]
    macaroons = [part for part in parts if part.startswith(_MACAROONS)]
    return macaroons, [part for part in parts if part not in macaroons]


def authorization(token: str) -> str:
    """The header value for a token of any kind: ``FlyV1`` with everything if there is a macaroon, else ``Bearer``."""
    macaroons, others = token_parts(token)
    scheme = "FlyV1" if macaroons else "Bearer"
    return f"{scheme} {','.join(macaroons + others)}"
