"""What Fly answers, and a script of answers by method and path."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from rollguard.adapters.fly.client import FlyClient
from rollguard.adapters.fly.driver import FlyPlatform
from rollguard.core.signals import SecretRef
from rollguard.errors import GuardError
from rollguard.ports import HttpAnswer
from tests.adapters.scripted_transport import Asked, ScriptedTransport, says
from tests.adapters.signals_of import HandClock

OLD = "sha256:" + "a" * 64
NEW = "sha256:" + "b" * 64
ULID = "01J9ZK0V5W9M2T3X4Y5Z6A7B8C"
NEXT_ULID = "01J9ZZZZZZZZZZZZZZZZZZZZZZ"
M1 = "e2865541b5d338"

MACHINE: dict[str, Any] = {
    "id": M1,
    "name": "cold-fog-1",
    "state": "started",
    "region": "iad",
    "instance_id": ULID,
    "private_ip": "fdaa:0:1:a7b::2",
    "host_status": "ok",
    "cordoned": False,
    "created_at": "2026-08-01T10:00:00Z",
    "updated_at": "2026-08-21T10:00:12Z",
    "image_ref": {
        "registry": "registry.fly.io",
        "repository": "my-app",
        "tag": "deployment-01J9Z",
        "digest": NEW,
        "labels": {"rollguard.migration": "none"},
    },
    "config": {
        "image": "registry.fly.io/my-app:deployment-01J9Z",
        "env": {"PRIMARY_REGION": "iad", "FLY_PROCESS_GROUP": "app"},
        "init": {},
        "guest": {"cpu_kind": "shared", "cpus": 1, "memory_mb": 256},
        "metadata": {
            "fly_platform_version": "v2",
            "fly_process_group": "app",
            "fly_release_id": "rel_1",
            "fly_release_version": "42",
            "fly_flyctl_version": "0.4.87",
        },
        "services": [
            {
                "protocol": "tcp",
                "internal_port": 8080,
                "autostop": False,
                "force_instance_key": None,
                "checks": [{"type": "http", "path": "/healthz", "interval": "10s"}],
            }
        ],
        "restart": {"policy": "on-failure", "max_retries": 10},
    },
    "checks": [
        {
            "name": "servicecheck-00-http-8080",
            "status": "passing",
            "output": "ok",
            "updated_at": "2026-08-21T10:00:20Z",
        },
        {"name": "bg_deployments_compat_http", "status": "critical"},
    ],
    "events": [
        {"id": "01J2", "type": "start", "status": "started", "source": "flyd", "timestamp": 1787306410000},
        {
            "id": "01J1",
            "type": "exit",
            "status": "stopped",
            "source": "flyd",
            "timestamp": 1787306409500,
            "request": {
                "restart_count": 2,
                "exit_event": {
                    "exit_code": 1,
                    "guest_exit_code": 1,
                    "guest_signal": -1,
                    "oom_killed": True,
                    "requested_stop": False,
                    "restarting": True,
                    "signal": -1,
                    "exited_at": "2026-08-21T10:00:09.5Z",
                },
            },
        },
        {"id": "01J0", "type": "launch", "status": "created", "source": "user", "timestamp": 1787306400000},
    ],
}

RELEASES = [
    {
        "id": "rel_1",
        "version": 41,
        "description": "",
        "reason": "",
        "status": "complete",
        "imageRef": "registry.fly.io/my-app:deployment-A",
        "stable": True,
        "user": {"id": "u1", "email": "dev@example.com", "name": "Dev"},
        "createdAt": "2026-08-20T10:00:00Z",
    },
    {
        "id": "rel_2",
        "version": 42,
        "description": "Release v42",
        "status": "running",
        "imageRef": None,
        "user": None,
        "createdAt": "2026-08-21T10:00:00Z",
    },
]

LEASE = {"nonce": "5c35f65c9f95", "expires_at": 1787306413, "owner": "a@b.c", "description": "deploy", "version": ULID}


def machine(config: Mapping[str, Any] | None = None, **but: Any) -> dict[str, Any]:
    """The documented machine, but for these keys; ``config`` is merged into its config."""
    made = copy.deepcopy(MACHINE) | but
    if config is not None:
        made["config"] |= config
    return made


def releases(*rows: Any) -> dict[str, Any]:
    return {"data": {"app": {"releases": {"nodes": list(rows)}}}}


Answers = Mapping[str, HttpAnswer | GuardError | Any]


class Fly:
    """A driver whose platform answers by table: ``"GET /v1/…"`` → answer, error, or a document for a 200."""

    def __init__(self, answers: Answers | None = None, token: str = "fo1_test", **environ: str) -> None:
        self.answers: dict[str, Any] = {
            "GET /v1/apps/my-app/machines": [MACHINE],
            f"GET /v1/apps/my-app/machines/{M1}": MACHINE,
            "POST /graphql": releases(*RELEASES),
        } | dict(answers or {})
        self.transport = ScriptedTransport(self._answer)
        self.clock = HandClock()
        client = FlyClient(self.transport, SecretRef(env="FLY_API_TOKEN"), {"FLY_API_TOKEN": token} | environ)
        self.platform = FlyPlatform("my-app", client, self.clock)

    def _answer(self, asked: Asked) -> HttpAnswer | GuardError:
        answer = self.answers.get(f"{asked.method} {asked.path}")
        if answer is None:
            return says(b"404 page not found\n", 404)
        return answer if isinstance(answer, HttpAnswer | GuardError) else says(answer)

    @property
    def asked(self) -> list[Asked]:
        return self.transport.asked

    @property
    def wrote(self) -> list[Asked]:
        """Requests that may change something."""
        return [asked for asked in self.asked if asked.method != "GET" and asked.path != "/graphql"]
