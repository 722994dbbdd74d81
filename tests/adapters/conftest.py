"""aioresponses 0.7 makes its answers without an argument that aiohttp 3.14 asks for; this hands it in."""

from __future__ import annotations

import inspect
from types import SimpleNamespace
from typing import Any

import aioresponses.core
from aiohttp import ClientResponse

if "stream_writer" in inspect.signature(ClientResponse.__init__).parameters:

    class PatchedResponse(ClientResponse):
        """A ``ClientResponse`` that can do without its request's stream."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            kwargs.setdefault("stream_writer", SimpleNamespace(output_size=0))
            super().__init__(*args, **kwargs)

    setattr(aioresponses.core, "ClientResponse", PatchedResponse)  # noqa: B010 (not an exported name)
