"""HotDash's numbers keep their habits: a guard that is right about these is right about the real app."""

from __future__ import annotations

import pytest

from rollguard.localfly.monitoring import RING, Monitor, Performance, dashboard_failure, health_failure

NOON = 1_761_220_800.0


def test_a_fresh_process_is_healthy_without_having_served_anyone() -> None:
    status, body = Monitor().health(NOON)
    assert status == 200
    assert body == {
        "status": "healthy",
        "message": "All systems operational",
        "timestamp": "2025-10-23T12:00:00.000Z",
        "metrics": {
            "errors": {"total": 0, "critical": 0},
            "performance": {"routeP95": 0, "apiP95": 0},
            "uptime": {"overall": 100},
            "alerts": {"unacknowledged": 0, "critical": 0},
        },
    }


@pytest.mark.parametrize(
    ("durations_ms", "p95_ms"),
    [([], 0), ([7], 7), (range(1, 21), 19), (range(1, 101), 95), (range(1, 102), 96)],
)
def test_p95_is_the_nearest_rank_value(durations_ms: list[int], p95_ms: int) -> None:
    assert Performance.of(list(durations_ms)).p95_ms == p95_ms


def test_durations_are_whole_milliseconds() -> None:
    monitor = Monitor()
    monitor.measured(NOON, "route", 0.12345)
    assert monitor.performance(NOON, 60)["route"] == Performance(1, 123, 123)


def test_errors_only_grow_and_critical_ones_count_once_each() -> None:
    monitor = Monitor()
    for _ in range(3):
        monitor.failed(NOON, "boom", "/")
        monitor.failed(NOON, "no database", "/products", "critical")
    monitor.failed(NOON, "no database", "/dashboard", "critical")
    errors = monitor.dashboard(NOON, "1h")["data"]["errors"]
    assert (errors["total"], errors["unique"], errors["critical"]) == (7, 3, 2)
    assert errors["byLevel"] == {"critical": 2, "error": 1, "warning": 0}


def test_many_errors_of_level_error_leave_the_process_healthy() -> None:
    monitor = Monitor()
    for _ in range(1000):
        monitor.failed(NOON, "boom", "/")
    status, body = monitor.health(NOON)
    assert (status, body["status"], body["metrics"]["errors"]) == (200, "healthy", {"total": 1000, "critical": 0})


def test_one_critical_error_makes_the_rest_of_the_life_unhealthy() -> None:
    monitor = Monitor()
    monitor.failed(NOON, "boom", "/", "critical")
    status, body = monitor.health(NOON + 86_400)
    assert (status, body["status"]) == (503, "unhealthy")


def test_the_hour_is_a_ring_of_ten_thousand_measurements_of_all_kinds_together() -> None:
    monitor = Monitor()
    monitor.measured(NOON, "route", 9.0)
    for _ in range(RING):
        monitor.measured(NOON, "database", 0.001)
    assert monitor.performance(NOON, 3600)["route"] == Performance(0, 0, 0)
    assert monitor.performance(NOON, 3600)["database"].count == RING


def test_health_covers_the_last_hour_and_the_dashboard_the_asked_period() -> None:
    monitor = Monitor()
    monitor.measured(NOON, "route", 2.0)
    later = NOON + 3601
    assert monitor.health(later)[1]["metrics"]["performance"]["routeP95"] == 0
    assert monitor.dashboard(later, "24h")["data"]["performance"]["routes"]["p95"] == 2000


def test_an_unknown_period_means_an_hour() -> None:
    monitor = Monitor()
    monitor.measured(NOON - 3601, "api", 0.1)
    for period in ("1h", "5m", ""):
        assert monitor.dashboard(NOON, period)["data"]["performance"]["apis"]["count"] == 0


def test_uptime_is_the_mean_over_services_and_degraded_is_not_up() -> None:
    monitor = Monitor()
    for status in ("up", "degraded"):
        monitor.checked("database", status)
    for _ in range(4):
        monitor.checked("shopify", "up")
    assert monitor.uptime == 75.0


def test_one_degraded_check_among_few_makes_a_fresh_process_unhealthy() -> None:
    monitor = Monitor()
    monitor.checked("database", "degraded")
    monitor.checked("database", "up")
    status, body = monitor.health(NOON)
    assert (status, body["status"], body["metrics"]["uptime"]) == (503, "unhealthy", {"overall": 50})


@pytest.mark.parametrize(("p95_s", "status"), [(3.0, "healthy"), (3.001, "degraded")])  # above 3000 ms, not at it
def test_slow_routes_degrade_but_still_answer_200(p95_s: float, status: str) -> None:
    monitor = Monitor()
    monitor.measured(NOON, "route", p95_s)
    assert (monitor.health(NOON)[0], monitor.health(NOON)[1]["status"]) == (200, status)


def test_an_unacknowledged_critical_alert_degrades_and_a_warning_does_not() -> None:
    monitor = Monitor()
    monitor.alerted("warning")
    assert monitor.health(NOON)[1]["status"] == "healthy"
    monitor.alerted("critical")
    assert monitor.health(NOON)[1]["status"] == "degraded"
    assert monitor.health(NOON)[1]["metrics"]["alerts"] == {"unacknowledged": 2, "critical": 1}


def test_a_failing_health_handler_reports_every_metric_as_zero_uptime_included() -> None:
    status, body = health_failure(NOON, "oops")
    assert (status, body["status"], body["message"]) == (503, "unhealthy", "Health check failed: oops")
    assert body["metrics"] == {
        "errors": {"total": 0, "critical": 0},
        "performance": {"routeP95": 0, "apiP95": 0},
        "uptime": {"overall": 0},
        "alerts": {"unacknowledged": 0, "critical": 0},
    }


def test_a_failing_dashboard_handler_answers_500_with_a_shape_of_its_own() -> None:
    expected = {"success": False, "error": "oops", "timestamp": "2025-10-23T12:00:00.000Z"}
    assert dashboard_failure(NOON, "oops") == (500, expected)
