"""A local platform and guards as real processes, and the command line as a person has it."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from rollguard.adapters.journal.sqlite import read_journal
from rollguard.core.events import Event

DAEMON = Path(__file__).parents[2] / "daemon"
PATIENCE_S = 20.0
GUARD, CI = "guard@example.com", "ci@example.com"
TOKENS = {"guard-token": GUARD, "ci-token": CI}
CHECK = {"type": "http", "path": "/health", "interval": "100ms", "timeout": "1s", "grace_period": "100ms"}
REF = "registry.fly.io/{}:deployment-{}"

POLICY = """\
version: 1
target: {{name: {app}, platform: fly, app: {app}, token_env: FLY_API_TOKEN}}
mode: enforce
signals:
  machines: {{platform: {{}}, every: 200ms}}
rules:
  - {{name: crashes, signal: machines, crashed: 2 in 5m, then: rollback}}
  - {{name: leak, report: [security], then: rollback}}
interlocks:
  {{proven_after: 300ms, control: ["{pager}"],
   migration: {{label: rollguard.migration, allow: [none], unknown: allow}}}}
rollback: {{stability: 200ms, pause_between: 100ms, wait_timeout: 20s, deadline: 60s}}
verify: {{settle: 500ms}}
notify: {{page: [pagerduty: {{routing_key_env: PAGERDUTY_KEY, url: "{pager}"}}]}}
heartbeat: {{url: "{pager}", every: 60s}}
"""


def until(holds: Callable[[], bool], what: str, within_s: float = PATIENCE_S) -> None:
    """Wait for a condition of other processes; fail where it does not come true in time."""
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, f"not within {within_s} s: {what}"
        time.sleep(0.03)


def environment(**extra: str) -> dict[str, str]:
    """This process's own, with the package in reach."""
    return {**os.environ, "PYTHONPATH": str(DAEMON), **extra}


@dataclass
class Fly:
    """A running local platform."""

    url: str
    pager: str

    @property
    def environ(self) -> dict[str, str]:
        """What a guard of this platform is told."""
        addresses = dict.fromkeys(("FLY_FLAPS_BASE_URL", "FLY_API_BASE_URL", "FLY_UIEX_BASE_URL"), self.url)
        return environment(**addresses, FLY_API_TOKEN="guard-token", PAGERDUTY_KEY="key", ROLLGUARD_LOG="text")

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        content = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.url + path, content, method=method)
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
            return json.load(answer)

    def app(self, name: str, machines: int = 1) -> None:
        """An app that runs its first release everywhere."""
        self.push(name, "ONE")
        spec = {"name": name, "image": REF.format(name, "ONE"), "machines": machines, "tokens": TOKENS}
        self.ask("POST", "/local/v1/apps", {**spec, "checks": [CHECK]})

    def push(self, app: str, build: str) -> None:
        self.ask("POST", "/local/v1/images", {"ref": REF.format(app, build), "labels": {"rollguard.migration": "none"}})

    def deploy(self, app: str, build: str) -> None:
        """CI ships another image, start to end."""
        self.push(app, build)
        where = ("--platform", self.url, "--token", "ci-token", "--app", app, "--image", REF.format(app, build))
        command = (sys.executable, "-m", "rollguard.localfly.deployer", *where, "--smoke", "0")
        subprocess.run(command, env=environment(), check=True, capture_output=True, timeout=PATIENCE_S)

    def watch(self, app: str) -> Any:
        return self.ask("GET", f"/local/v1/apps/{app}/watch")

    def writes_of_the_guard(self, app: str) -> dict[str, int]:
        """What the guard changed, by the platform's own record."""
        writes: dict[str, int] = self.watch(app)["writes"].get(GUARD, {})
        return writes

    def changes_of_the_guard(self, app: str) -> dict[str, int]:
        """As ``writes_of_the_guard``, but for machines that were held, or not to be had, to see whether they can be."""
        writes = self.writes_of_the_guard(app)
        return {kind: count for kind, count in writes.items() if kind not in {"lease", "lease_release", "refused"}}

    def digests(self, app: str) -> set[str]:
        return {machine["digest"] for machine in self.watch(app)["machines"]}


@contextlib.contextmanager
def platform() -> Iterator[Fly]:
    """A platform process; its machines go with it."""
    command = (sys.executable, "-m", "rollguard.localfly.platform", "--port", "0")
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with subprocess.Popen(command, env=environment(), **pipes) as process:  # type: ignore[call-overload]
        try:
            with pager() as address:
                yield Fly(json.loads(process.stdout.readline())["url"], address)
        finally:
            process.terminate()


class _Pager(BaseHTTPRequestHandler):
    """Takes every page and every heartbeat."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(202)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


@contextlib.contextmanager
def pager() -> Iterator[str]:
    """The address of a pager that is always on."""
    with ThreadingHTTPServer(("127.0.0.1", 0), _Pager) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_address[1]}/v2/enqueue"
        finally:
            server.shutdown()
            thread.join()


class Home:
    """A folder with a policy and the guard's data, and the commands a person gives there."""

    def __init__(self, folder: Path, fly: Fly, app: str) -> None:
        self.folder, self.fly, self.app = folder, fly, app
        self.environ = fly.environ
        self.policy = folder / "policy.yaml"
        self.data = folder / "data"
        self.log = folder / "guard.log"
        self.write_policy(POLICY.format(app=app, pager=fly.pager))

    def write_policy(self, text: str) -> None:
        """In one step, as editors and config management do."""
        draft = self.folder / "draft"
        draft.write_text(text)
        draft.replace(self.policy)

    def run_args(self, *extra: str) -> tuple[str, ...]:
        return ("run", "--config", str(self.policy), "--data", str(self.data), "--listen", "127.0.0.1:0", *extra)

    def rollguard(
        self, *words: str, typed: str = "", environ: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """``rollguard WORDS`` in a process of its own, to its end."""
        data = () if words[0] in {"run", "check", "version"} else ("--data", str(self.data))
        return subprocess.run(
            (sys.executable, "-m", "rollguard", *words, *data),
            env=environ or self.environ,
            input=typed,
            capture_output=True,
            text=True,
            timeout=60.0,
            check=False,
        )

    @contextlib.contextmanager
    def starting(self, *words: str) -> Iterator[None]:
        """``rollguard WORDS`` while the block runs; then it is ended."""
        command = (sys.executable, "-m", "rollguard", *words, "--data", str(self.data))
        with subprocess.Popen(command, env=self.environ, stdout=subprocess.DEVNULL) as process:
            try:
                yield
            finally:
                process.kill()

    @contextlib.contextmanager
    def guard(self, *extra: str, blind: bool = False, **popen: Any) -> Iterator[Guard]:
        """A guard on duty (``blind``: though it sees nothing); ended at the end whatever happens."""
        with (
            self.log.open("w") as log,
            subprocess.Popen(
                (sys.executable, "-m", "rollguard", *self.run_args(*extra)), env=self.environ, stderr=log, **popen
            ) as process,
        ):
            guard = Guard(process, self)
            try:
                until(guard.serves if blind else guard.ready, "the guard is on duty")
                yield guard
            finally:
                if process.poll() is None:
                    process.kill()

    def events(self) -> list[Event]:
        """The journal so far."""
        return [entry.event for entry in read_journal(self.data / f"{self.app}.db", self.app)]

    def names(self) -> list[str]:
        return [type(event).__name__ for event in self.events()]


@dataclass
class Guard:
    """A guard's process."""

    process: subprocess.Popen[bytes]
    home: Home

    @property
    def address(self) -> str | None:
        found = re.search(r"http://(\S+) serves", self.home.log.read_text())
        return found[1] if found else None

    def get(self, path: str) -> tuple[int, str]:
        """Status and body of what it shows."""
        try:
            with urllib.request.urlopen(f"http://{self.address}{path}", timeout=PATIENCE_S) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read().decode()

    def serves(self) -> bool:
        """Whether it has got through its checks."""
        if self.process.poll() is not None:
            raise AssertionError(f"the guard ended with {self.process.returncode}: {self.home.log.read_text()}")
        return self.address is not None

    def ready(self) -> bool:
        """Whether it has seen the platform."""
        return self.serves() and self.get("/-/ready")[0] == 200

    def stop(self, number: int = signal.SIGTERM) -> tuple[int, float]:
        """Its exit code, and how long the end took."""
        began = time.monotonic()
        self.process.send_signal(number)
        return self.process.wait(PATIENCE_S), time.monotonic() - began
