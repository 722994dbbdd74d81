"""The salt that makes hashes of secret values comparable over time, and useless to anybody who has only the hashes."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
from pathlib import Path

from rollguard.errors import Refused

FILE = "config.salt"
BYTES = 32


def lasting_salt(folder: Path) -> bytes:
    """The folder's salt; made, once, where there is none: a file of 32 bytes, 0600.

    Raises ``Refused`` naming the file when it cannot be had, or is not one.
    """
    path = folder / FILE
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):
            _make(path)
        salt = path.read_bytes()
    except OSError as error:
        raise Refused(f"cannot read or make {path}: {error.strerror}: check --data, its owner and its space") from error
    if len(salt) != BYTES:
        raise Refused(f"{path} has {len(salt)} bytes, not {BYTES}: remove it, and configurations are learnt anew")
    return salt


def known_salt(folder: Path) -> bytes:
    """The folder's salt, or one that nobody keeps where there is none: nothing is written."""
    try:
        salt = (folder / FILE).read_bytes()
    except OSError:
        salt = b""
    return salt if len(salt) == BYTES else secrets.token_bytes(BYTES)


def mark_of(salt: bytes) -> str:
    """The salt's name, which tells nothing of it: hashes made with another one compare with nothing."""
    return hashlib.sha256(b"rollguard mark " + salt).hexdigest()[:16]


def _make(path: Path) -> None:
    """Whole or not at all, whoever else makes it at the same time. Raises ``OSError``."""
    if path.exists():
        return
    draft = path.with_name(f".{FILE}.{secrets.token_hex(8)}")
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(secrets.token_bytes(BYTES))
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)  # fails where there is one
    finally:
        draft.unlink()
