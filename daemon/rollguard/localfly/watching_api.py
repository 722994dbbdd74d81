"""What the platform tells those who watch: an app's log lines, and its own incidents."""

from __future__ import annotations

from rollguard.localfly.machines_api import Call
from rollguard.localfly.messages import ApiRequest, ApiResponse, as_json
from rollguard.localfly.refusal import Refused
from rollguard.localfly.world import World

TOKEN_DIGITS_MAX = 20


class WatchingApi:
    """Handlers by route, as in `MachinesApi`."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def logs(self, call: Call) -> ApiResponse:
        """A page of the app's log: the newest lines, or with `next_token` the first that came behind it."""
        asked, book = call.request, self._world.app(call.path["app"]).logs
        lines, token = book.page(_token(asked), instance=asked.first("instance"), region=asked.first("region"))
        return as_json({"data": [line.to_json() for line in lines], "meta": {"next_token": str(token)}})

    async def incidents(self, call: Call) -> ApiResponse:
        """Public, like every status page."""
        return as_json({"incidents": [incident.to_json() for incident in self._world.incidents]})


def _token(request: ApiRequest) -> int | None:
    text = request.first("next_token")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= TOKEN_DIGITS_MAX):
        raise Refused(400, "invalid_argument: next_token is none of ours")
    return int(text)
