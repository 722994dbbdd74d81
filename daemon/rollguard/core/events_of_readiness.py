"""Whether a rollback could happen, and what had changed beside the image: part of ``events``."""

from __future__ import annotations

from dataclasses import dataclass

from rollguard.core.event import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadinessChanged(Event):
    """Whether a rollback could happen now is not what it was.

    ``reasons`` are the names of the checks that say no, ``told`` those that people were paged for in this alert; with
    no reasons it is over, and not ``ready`` means that nobody would go back any more.
    """

    ready: bool
    sentence: str
    reasons: tuple[str, ...] = ()
    told: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfigCompared(Event):
    """How the app is configured after a rollback, beside what its image was proven with. Never a value of a secret.

    ``known`` is false where nobody knows what it was proven with. ``omitted`` lines were too many.
    """

    incident: str
    digest: str
    known: bool
    sentence: str
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    omitted: int = 0
