"""Problems as JSON (RFC 9457): every answer that is not what was asked for."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus

from aiohttp import web

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
log = logging.getLogger(__name__)


def problem(status: HTTPStatus, detail: str, headers: Mapping[str, str] | None = None) -> web.Response:
    """The answer with this sentence."""
    return web.json_response(
        {"title": status.phrase, "status": status.value, "detail": detail},
        status=status,
        content_type="application/problem+json",
        headers={"Cache-Control": "no-store", **(headers or {})},
    )


@web.middleware
async def problems(request: web.Request, handler: Handler) -> web.StreamResponse:
    """What is not served, and what fails by a fault of the guard, is a problem like any other."""
    try:
        return await handler(request)
    except web.HTTPException as refusal:
        allow = {name: refusal.headers[name] for name in ("Allow",) if name in refusal.headers}
        return problem(HTTPStatus(refusal.status), f"{request.method} {request.path[:200]} is not served here", allow)
    except ConnectionError:
        raise  # whoever asked is gone
    except Exception:
        log.exception("a request failed by a fault of the guard")
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "a fault of the guard; its log has it")
