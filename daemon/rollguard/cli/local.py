"""``demo`` and ``platform``: everything on this machine."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import rollguard
from rollguard.cli.parser import DONE, Parser, Usage, with_output

TOKEN = "local-token"  # noqa: S105  (it opens nothing but a platform on this machine)
IMAGE = "registry.fly.io/{app}:deployment-GOOD"
CHECK = {"type": "http", "path": "/health", "interval": "2s", "timeout": "1s", "grace_period": "1s"}
HTTP_S = 60.0
STOP_S = 5.0


def demo(argv: Sequence[str], about: str) -> int:
    """Play scenarios and tell the story; 0 only if each ended as it must."""
    from rollguard.demo.main import demo as play
    from rollguard.demo.main import listed
    from rollguard.demo.scenarios import DEFAULT, SCENARIOS

    parser = Parser("demo", about)
    parser.add_argument(
        "scenarios",
        nargs="*",
        default=[DEFAULT],
        metavar="SCENARIO",
        help=f"{', '.join(SCENARIOS)} (default {DEFAULT})",
    )
    parser.add_argument("--all", action="store_true", help="every scenario, one after the other")
    parser.add_argument("--list", action="store_true", help="say what each scenario shows and how it must end")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="keep what each run wrote, as DIR/SCENARIO")
    with_output(parser)
    args = parser.read(argv)
    if args.list:
        return listed(args.output)
    return play(list(SCENARIOS) if args.all else args.scenarios, output=args.output, keep=args.keep)


def platform(argv: Sequence[str], about: str) -> int:
    """Serve until stopped; on stdout what a shell needs to use it (``eval`` the lines)."""
    parser = Parser("platform", about, "In another shell: eval the printed lines; then flyctl and rollguard use it.")
    parser.add_argument("--port", type=_port, default=0, metavar="PORT", help="0: the system chooses")
    parser.add_argument("--app", metavar="APP", help="also set up an app that serves (the bundled sample)")
    parser.add_argument("--machines", type=int, default=4, metavar="N", help="machines of that app (4)")
    args = parser.read(argv)
    if args.machines < 1:
        raise Usage("rollguard platform: --machines needs a number above 0")
    command = [sys.executable, "-m", "rollguard.localfly.platform", "--port", str(args.port), "--watch-stdin"]
    here = str(Path(rollguard.__file__).parents[1])  # it must be found from a bare checkout too
    found = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=found) as process:  # noqa: S603
        try:
            assert process.stdout is not None
            ready = process.stdout.readline()
            if not ready:  # it has said why
                return process.wait(STOP_S)
            url = json.loads(ready)["url"]
            for name in ("FLY_API_BASE_URL", "FLY_FLAPS_BASE_URL", "FLY_UIEX_BASE_URL"):
                print(f"export {name}={url}")
            print(f"export FLY_API_TOKEN={TOKEN}", flush=True)
            if args.app:
                _set_up(url, args.app, args.machines)
            process.wait()
        except KeyboardInterrupt:
            pass
        finally:
            process.terminate()
            try:
                process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
    return DONE


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 6 and int(text) < 1 << 16):
        raise argparse.ArgumentTypeError(f"{text!r} is no port: 0 to 65535")
    return int(text)


def _set_up(url: str, app: str, machines: int) -> None:
    image = IMAGE.format(app=app)
    _post(url, "images", {"ref": image, "labels": {"rollguard.migration": "none"}})
    spec = {"name": app, "image": image, "machines": machines, "tokens": {TOKEN: "you@example.com"}}
    _post(url, "apps", {**spec, "checks": [CHECK]})
    print(f"# {app} runs on {machines} machine{'s' if machines > 1 else ''}", flush=True)


def _post(url: str, what: str, body: dict[str, Any]) -> None:
    request = urllib.request.Request(f"{url}/local/v1/{what}", json.dumps(body).encode(), method="POST")  # noqa: S310
    with urllib.request.urlopen(request, timeout=HTTP_S) as answer:  # noqa: S310
        answer.read()
