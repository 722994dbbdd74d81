"""HotDash's monitoring numbers as its two endpoints report them, habits included.

All of it lives in one process's memory: a restart starts at zero. Time is an argument; nothing here reads a clock.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

Kind = Literal["route", "api", "database"]
Level = Literal["critical", "error", "warning"]
Check = Literal["up", "degraded", "down"]
Severity = Literal["critical", "warning", "info"]
Status = Literal["healthy", "degraded", "unhealthy"]

RING = 10_000  # newest measurements of all kinds together: under load the "hour" is minutes
DISTINCT_ERRORS_MAX = 1000
TOP_ERRORS = 10
PERIODS_S = {"1h": 3600.0, "24h": 86400.0, "7d": 604800.0}
ROUTE_P95_MS_MAX = 3000
OVERALL_UPTIME_MIN, SERVICE_UPTIME_MIN, UPTIME_FLOOR = 99.0, 95.0, 95.0
MESSAGES: dict[Status, str] = {
    "healthy": "All systems operational",
    "degraded": "System degraded",
    "unhealthy": "System unhealthy",
}


@dataclass(slots=True)
class _Error:
    message: str
    level: Level
    count: int
    seen_at: float


@dataclass(slots=True)
class _Service:
    up: int = 0
    checks: int = 0
    incidents: int = 0
    status: Check = "up"

    @property
    def uptime(self) -> float:
        return 100.0 * self.up / self.checks


@dataclass(frozen=True, slots=True)
class Performance:
    """One kind's durations in a window, in whole milliseconds. No requests yet is count 0 and p95 0."""

    count: int
    avg_ms: int
    p95_ms: int

    @classmethod
    def of(cls, durations_ms: Sequence[int]) -> Performance:
        """Average rounded, p95 by nearest rank."""
        if not durations_ms:
            return cls(0, 0, 0)
        rank = math.ceil(0.95 * len(durations_ms))
        return cls(len(durations_ms), round(sum(durations_ms) / len(durations_ms)), sorted(durations_ms)[rank - 1])

    def to_json(self) -> dict[str, int]:
        """In HotDash's own names."""
        return {"count": self.count, "avgDuration": self.avg_ms, "p95": self.p95_ms}


class Monitor:
    """Everything one HotDash process remembers about itself."""

    def __init__(self) -> None:
        self._ring: deque[tuple[float, Kind, int]] = deque(maxlen=RING)
        self._errors: dict[tuple[str, str], _Error] = {}
        self._services: dict[str, _Service] = {}
        self._alerts: dict[Severity, int] = {"critical": 0, "warning": 0, "info": 0}

    def measured(self, now: float, kind: Kind, duration_s: float) -> None:
        """Remember how long something took, in whole milliseconds."""
        self._ring.append((now, kind, round(duration_s * 1000)))

    def failed(self, now: float, message: str, route: str, level: Level = "error") -> None:
        """Count an error. The same message on the same route is one distinct error, counted again."""
        known = self._errors.get((message, route))
        if known is not None:
            known.count += 1
            known.seen_at = now
            return
        self._errors[message, route] = _Error(message, level, 1, now)
        if len(self._errors) > DISTINCT_ERRORS_MAX:
            del self._errors[next(iter(self._errors))]

    def checked(self, service: str, status: Check) -> None:
        """Count an uptime check; only ``up`` counts as up."""
        known = self._services.setdefault(service, _Service())
        known.incidents += known.status == "up" and status != "up"
        known.up += status == "up"
        known.checks += 1
        known.status = status

    def alerted(self, severity: Severity) -> None:
        """Count an alert that nobody has acknowledged."""
        self._alerts[severity] += 1

    def performance(self, now: float, period_s: float) -> dict[Kind, Performance]:
        """Each kind's durations not older than ``period_s``."""
        durations: dict[Kind, list[int]] = {"route": [], "api": [], "database": []}
        for at, kind, duration_ms in self._ring:
            if at >= now - period_s:
                durations[kind].append(duration_ms)
        return {kind: Performance.of(values) for kind, values in durations.items()}

    @property
    def errors_total(self) -> int:
        """All errors of this life: it only grows."""
        return sum(error.count for error in self._errors.values())

    @property
    def errors_critical(self) -> int:
        """How many distinct critical errors this life has seen."""
        return self._distinct("critical")

    @property
    def uptime(self) -> float:
        """Per cent: the mean over services of up checks / all checks; 100 without any check."""
        services = self._services.values()
        return sum(service.uptime for service in services) / len(services) if services else 100.0

    def _distinct(self, level: Level) -> int:
        return sum(error.level == level for error in self._errors.values())

    def issues(self, route_p95_ms: int) -> list[str]:
        """What is wrong, in words; any of it makes the process ``degraded``."""
        weak = [name for name, service in self._services.items() if service.uptime < SERVICE_UPTIME_MIN]
        checks = (
            (self.errors_critical > 0, f"{self.errors_critical} critical errors"),
            (route_p95_ms > ROUTE_P95_MS_MAX, f"Route P95 {route_p95_ms} ms exceeds {ROUTE_P95_MS_MAX} ms"),
            (self.uptime < OVERALL_UPTIME_MIN, f"Uptime {self.uptime:.2f}% below {OVERALL_UPTIME_MIN:g}%"),
            (bool(weak), f"Services below {SERVICE_UPTIME_MIN:g}%: {', '.join(weak)}"),
            (self._alerts["critical"] > 0, f"{self._alerts['critical']} unacknowledged critical alerts"),
        )
        return [words for wrong, words in checks if wrong]

    def status(self, issues: Sequence[str]) -> Status:
        """One critical error, or an uptime under 95 %, is ``unhealthy`` for the rest of this life."""
        if self.errors_critical > 0 or self.uptime < UPTIME_FLOOR:
            return "unhealthy"
        return "degraded" if issues else "healthy"

    def health(self, now: float) -> tuple[int, dict[str, Any]]:
        """The HTTP status and body of ``/api/monitoring/health``; performance covers the last hour."""
        performance = self.performance(now, PERIODS_S["1h"])
        issues = self.issues(performance["route"].p95_ms)
        status = self.status(issues)
        message = "; ".join([MESSAGES[status], *issues])
        metrics = _health_metrics(
            errors=(self.errors_total, self.errors_critical),
            p95_ms=(performance["route"].p95_ms, performance["api"].p95_ms),
            uptime=_number(self.uptime),
            alerts=(sum(self._alerts.values()), self._alerts["critical"]),
        )
        body = {"status": status, "message": message, "timestamp": timestamp(now), "metrics": metrics}
        return (503 if status == "unhealthy" else 200), body

    def dashboard(self, now: float, period: str) -> dict[str, Any]:
        """The body of ``/api/monitoring/dashboard``; an unknown period means ``1h``."""
        performance = self.performance(now, PERIODS_S.get(period, PERIODS_S["1h"]))
        issues = self.issues(performance["route"].p95_ms)
        data = {
            "timestamp": timestamp(now),
            "errors": self._errors_json(),
            "performance": {
                "routes": performance["route"].to_json(),
                "apis": performance["api"].to_json(),
                "database": performance["database"].to_json(),
            },
            "uptime": self._uptime_json(),
            "alerts": {
                "total": sum(self._alerts.values()),
                "unacknowledged": sum(self._alerts.values()),
                "critical": self._alerts["critical"],
                "bySeverity": dict(self._alerts),
            },
            "health": {"status": self.status(issues), "issues": issues},
        }
        return {"success": True, "timestamp": timestamp(now), "data": data}

    def _errors_json(self) -> dict[str, Any]:
        newest = sorted(self._errors.values(), key=lambda error: error.seen_at, reverse=True)[:TOP_ERRORS]
        levels: tuple[Level, ...] = ("critical", "error", "warning")
        return {
            "total": self.errors_total,
            "unique": len(self._errors),
            "critical": self.errors_critical,
            "byLevel": {level: self._distinct(level) for level in levels},
            "topErrors": [{"message": e.message, "count": e.count, "level": e.level} for e in newest],
        }

    def _uptime_json(self) -> dict[str, Any]:
        return {
            "overall": _number(self.uptime),
            "incidents": sum(service.incidents for service in self._services.values()),
            "services": [
                {"service": name, "uptime": _number(service.uptime), "status": service.status}
                for name, service in self._services.items()
            ],
        }


def health_failure(now: float, why: str) -> tuple[int, dict[str, Any]]:
    """What ``/api/monitoring/health`` answers when its handler itself fails: every metric 0, uptime included."""
    metrics = _health_metrics(errors=(0, 0), p95_ms=(0, 0), uptime=0, alerts=(0, 0))
    body = {
        "status": "unhealthy",
        "message": f"Health check failed: {why}",
        "timestamp": timestamp(now),
        "metrics": metrics,
    }
    return 503, body


def dashboard_failure(now: float, why: str) -> tuple[int, dict[str, Any]]:
    """What ``/api/monitoring/dashboard`` answers when its handler itself fails."""
    return 500, {"success": False, "error": why, "timestamp": timestamp(now)}


def _health_metrics(
    *, errors: tuple[int, int], p95_ms: tuple[int, int], uptime: float, alerts: tuple[int, int]
) -> dict[str, Any]:
    return {
        "errors": {"total": errors[0], "critical": errors[1]},
        "performance": {"routeP95": p95_ms[0], "apiP95": p95_ms[1]},
        "uptime": {"overall": uptime},
        "alerts": {"unacknowledged": alerts[0], "critical": alerts[1]},
    }


def _number(value: float) -> float | int:
    """JavaScript knows one number type: 100.0 is written 100."""
    return int(value) if value == int(value) else value


def timestamp(now: float) -> str:
    """``now`` (epoch seconds) as JavaScript's ``toISOString`` writes it."""
    return datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
