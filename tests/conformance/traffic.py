"""What goes over the wire between a deployer and the platform, in the order in which it was asked for."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from rollguard.localfly.local_api import PREFIX
from rollguard.localfly.messages import ApiRequest, ApiResponse
from rollguard.localfly.platform import Platform

QUERIES = (  # what a GraphQL text is about, by the first needle found in it
    ("FlyctlConfigCurrentRelease", "config"),
    ("image(ref:", "image"),
    ("egressIpAddresses", "egress"),
    ("viewer", "viewer"),
    ("releasesUnprocessed", "releases"),
)


@dataclass(slots=True)
class Asked:
    """One request; its answer's status and body once it came."""

    request: ApiRequest
    response: ApiResponse | None = None

    @property
    def body(self) -> dict[str, Any]:
        return dict(json.loads(self.request.body)) if self.request.body else {}

    @property
    def kind(self) -> str:
        """The request in words that do not depend on the run: ``POST m/lease``, ``GET app``, ``graphql image``."""
        path, method = self.request.path, self.request.method
        if path == "/graphql":
            text = "".join(str(self.body.get("query")).split())
            return "graphql " + next((name for needle, name in QUERIES if needle in text), text[:60])
        for pattern, name in NAMES:
            if found := re.fullmatch(pattern, path):
                what = name.format(*found.groups())
                break
        else:
            what = path
        if what == "m/lease" and method == "POST" and "fly-machine-lease-nonce" in self.request.headers:
            return "refresh m/lease"
        if "/wait" in what:
            what += f" {self.request.first('state')}"
        if what == "release":
            what += f" {self.body.get('status')}"
        return f"{method} {what}"

    @property
    def machine(self) -> str:
        """The machine that it is about, "" for none."""
        found = re.match(r"/v1/apps/[^/]+/machines/([^/]+)", self.request.path)
        return found.group(1) if found else ""


NAMES = (
    (r"/v1/apps/[^/]+", "app"),
    (r"/v1/apps/[^/]+/machines", "machines"),
    (r"/v1/apps/[^/]+/machines/[^/]+", "m"),
    (r"/v1/apps/[^/]+/machines/[^/]+/(\w+)", "m/{}"),
    (r"/api/v1/releases", "releases"),
    (r"/api/v1/releases/[^/]+", "release"),
    (r"/api/v1/organizations/[^/]+", "organization"),
    (r"/api/v1/builds", "builds"),
    (r"/api/v1/builds/finish", "builds/finish"),
)


@dataclass(slots=True)
class Wire:
    """The requests so far."""

    asked: list[Asked] = field(default_factory=list)

    def kinds(self, without: Sequence[str] = ()) -> list[str]:
        return [each.kind for each in self.asked if each.kind not in without]

    def of(self, kind: str) -> list[Asked]:
        return [each for each in self.asked if each.kind == kind]

    def by_machine(self, without: Sequence[str] = ()) -> Mapping[str, list[str]]:
        """What was asked about each machine, in order; the same question again and again counts once."""
        found: dict[str, list[str]] = {}
        for each in self.asked:
            if each.machine and each.kind not in without:
                kinds = found.setdefault(each.machine, [])
                if kinds[-1:] != [each.kind]:
                    kinds.append(each.kind)
        return found


class Overheard(Platform):
    """A platform that notes what it is asked on Fly's interfaces."""

    def __init__(self) -> None:
        super().__init__(seed=7, rate_limits=False)
        self.wire = Wire()

    async def answer(self, request: web.Request) -> web.Response:
        """The platform's answer, overheard."""
        asked = Asked(ApiRequest.of(request.method, request.raw_path, request.headers, await request.read()))
        if not asked.request.path.startswith(PREFIX):
            self.wire.asked.append(asked)
        response = await super().answer(request)
        body = response.body
        if isinstance(body, bytes):
            asked.response = ApiResponse(response.status, dict(response.headers), body)
        return response


@asynccontextmanager
async def overheard() -> AsyncIterator[tuple[str, Wire]]:
    """A platform in this process on a free port, and what it is asked."""
    platform = Overheard()
    runner = platform.runner()
    await runner.setup()
    try:
        async with platform.host:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            yield f"http://127.0.0.1:{runner.addresses[0][1]}", platform.wire
    finally:
        await runner.cleanup()
