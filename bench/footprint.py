"""What one guard costs: CPU share and memory while it watches one healthy app of four machines.

    .venv/bin/python bench/footprint.py --seconds 600 [--policy config/hotdash-production.yaml]

Starts the local platform, its edge and a guard as separate processes, lets the guard settle, then reads its CPU time
and its resident memory from ``/proc``. Prints one JSON line; ends with 1 when a limit is exceeded.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
APP, TOKEN = "hotdash-production", "bench-token"
IMAGE = f"registry.fly.io/{APP}:deployment-BENCH"
CPU_PERCENT_MAX, RSS_MB_MAX = 1.0, 100.0


@contextlib.contextmanager
def process(*command: str, env: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """A child that is ended in every case."""
    child = subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.PIPE, text=True, env=env, cwd=ROOT)
    try:
        yield child
    finally:
        child.send_signal(signal.SIGTERM)
        try:
            child.wait(10)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        assert child.stdout is not None
        child.stdout.close()


def ready(child: subprocess.Popen[str]) -> str:
    """The URL that a local process says it listens on."""
    assert child.stdout is not None
    return str(json.loads(child.stdout.readline())["url"])


def post(url: str, body: Any) -> None:
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=90) as answer:
        answer.read()


def cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def rss_mb(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:"))


def measure(seconds: float, warmup_s: float, policy: Path) -> dict[str, Any]:
    with contextlib.ExitStack() as stack:
        data = stack.enter_context(tempfile.TemporaryDirectory())
        platform = ready(stack.enter_context(process("rollguard.localfly.platform", "--port", "0")))
        behaviour = {"latency_s": 0.02}
        post(
            f"{platform}/local/v1/images",
            {"ref": IMAGE, "labels": {"rollguard.migration": "none"}, "behaviour": behaviour},
        )
        check = {"type": "http", "path": "/health", "interval": "15s", "timeout": "5s", "grace_period": "1s"}
        app = {"name": APP, "image": IMAGE, "machines": 4, "tokens": {TOKEN: "guard@example.com"}, "checks": [check]}
        post(f"{platform}/local/v1/apps", app)
        edge = ready(stack.enter_context(process("rollguard.localfly.edge", "--platform", platform, "--app", APP)))
        env = os.environ | {
            "FLY_API_TOKEN": TOKEN,
            "FLY_METRICS_TOKEN": "none",
            "PAGERDUTY_KEY": "0" * 32,
            "FLY_API_BASE_URL": platform,
            "FLY_FLAPS_BASE_URL": platform,
            "FLY_UIEX_BASE_URL": platform,
            "HOTDASH_URL": edge,
            "FLY_PROMETHEUS_URL": f"{edge}/prometheus/personal",
            "PAGERDUTY_URL": f"{platform}/nowhere",
            "CONTROL_URL": f"{edge}/health",
            "CONTROL_URL_2": f"{edge}/",
            "HOTDASH_DEPENDENCY": f"{edge}/health",
            "FLY_STATUSPAGE_UNRESOLVED_INCIDENTS_URL": f"{platform}/nowhere",
        }
        run = ("rollguard.cli.main", "run", "--config", str(policy), "--data", data, "--listen", "127.0.0.1:0")
        guard = stack.enter_context(process(*run, env=env))
        time.sleep(warmup_s)
        before, began = cpu_s(guard.pid), time.monotonic()
        time.sleep(seconds)
        assert guard.poll() is None, "the guard ended by itself"
        spent, took = cpu_s(guard.pid) - before, time.monotonic() - began
        return {
            "policy": policy.name,
            "seconds": round(took, 1),
            "cpu_s": round(spent, 2),
            "cpu_percent": round(100 * spent / took, 3),
            "rss_max_mb": round(rss_mb(guard.pid), 1),
            "load_1m": os.getloadavg()[0],
        }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--warmup", type=float, default=30.0)
    parser.add_argument("--policy", type=Path, default=ROOT / "config" / "hotdash-production.yaml")
    options = parser.parse_args()
    figures = measure(options.seconds, options.warmup, options.policy)
    ok = figures["cpu_percent"] < CPU_PERCENT_MAX and figures["rss_max_mb"] < RSS_MB_MAX
    print(json.dumps({**figures, "cpu_percent_max": CPU_PERCENT_MAX, "rss_mb_max": RSS_MB_MAX, "ok": ok}))
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
