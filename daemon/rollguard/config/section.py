"""What every mapping of a policy file has in common."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field


def doc(description: str, **more: Any) -> Any:
    """An optional key and its hover text; ``default`` as one would write it in the file."""
    return Field(**{"default": None, "description": description, **more})


def need(description: str, **more: Any) -> Any:
    """A required key and its hover text."""
    return Field(description=description, **more)


class Section(BaseModel):
    """A mapping whose every key is known."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
