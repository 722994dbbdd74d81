"""Which machine configs the platform takes: enough of a look that nothing later stumbles over one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rollguard.localfly.effects import checks_of
from rollguard.localfly.refusal import Refused

Fits = Callable[[Any], bool]


def _texts(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for text in value.values())


def _objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


SHAPES: Mapping[str, Fits] = {  # keys the platform reads; all others are kept as they are
    "image": lambda value: isinstance(value, str),
    "metadata": _texts,
    "restart": lambda value: isinstance(value, dict) and isinstance(value.get("max_retries"), int | None),
    "stop_config": lambda value: isinstance(value, dict) and isinstance(value.get("signal"), str | None),
    "services": _objects,
    "checks": lambda value: isinstance(value, dict),
    "mounts": _objects,
    "standbys": lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value),
}


def accepted(config: Any) -> dict[str, Any]:
    """The config as it is; 422 for one that no machine could have."""
    if not isinstance(config, dict) or not config.get("image"):
        raise Refused(422, "invalid_argument: config.image is required")
    for name, fits in SHAPES.items():
        if config.get(name) is not None and not fits(config[name]):
            raise Refused(422, f"invalid_argument: config.{name} is not valid")
    try:
        checks_of(config)
    except (AttributeError, TypeError, ValueError) as error:
        raise Refused(422, f"invalid_argument: checks: {error}") from error
    return config
