"""The team's own script, told what to go back to by its words and its environment."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from rollguard.adapters.executors.process import Call, ProcessDelegate, environ_for
from rollguard.core.executors import PLACEHOLDERS, Command, filled, placeholders
from rollguard.core.order import Order
from rollguard.errors import Refused


def command(settings: Command, environ: Mapping[str, str], root: Path) -> ProcessDelegate:
    """The delegate of a policy's command. It runs in the guard's own working directory."""

    def call_of(order: Order, folder: Path) -> Call:
        values = order.values()
        if not values["version"] and any(n == "version" for word in settings.run for _, n in placeholders(word)):
            raise Refused("it takes a release number, and none is known of the image to go back to")
        told = {f"ROLLGUARD_{name.upper()}": values[name] for name in PLACEHOLDERS}
        return Call(
            words=tuple(filled(word, values) for word in settings.run),
            environ={**environ_for(environ, *settings.env), "HOME": environ.get("HOME", str(folder.resolve())), **told},
        )

    return ProcessDelegate(
        name=settings.name,
        timeout_s=settings.timeout_s,
        root=root,
        call_of=call_of,
        reading=lambda code, output: "",
        hidden=lambda: {name: environ.get(name, "").strip() for name in settings.env},
        program=settings.run[0],
        environ=environ,
    )
