"""What the token may do is told by trying it, in sentences; what is tried is given back at once."""

from __future__ import annotations

from typing import Any

import pytest

from rollguard.core.model import Lease
from rollguard.core.plan import is_own
from rollguard.errors import Unavailable
from tests.adapters.fly_answers import LEASE, M1, MACHINE, RELEASES, Fly, machine, releases
from tests.adapters.scripted_transport import Asked, says

APP = "/v1/apps/my-app"
LIST, TAKE, GIVE_BACK = f"GET {APP}/machines", f"POST {APP}/machines/{M1}/lease", f"DELETE {APP}/machines/{M1}/lease"
ALL = {"app": "", "machines": "", "releases": "", "images": "", "lease": ""}
DENIED = {"errors": [{"message": "You must be authenticated to view this.", "extensions": {"code": "UNAUTHORIZED"}}]}


class Allowed(Fly):
    """A platform that allows all, but for ``answers``; GraphQL is told apart by what is asked."""

    def __init__(self, answers: Any = None, *, rows: Any = None, image: Any = None, token: str = "fo1_test") -> None:
        usual = {
            f"GET {APP}": {"name": "my-app"},
            TAKE: says({"status": "success", "data": LEASE}, 201),
            GIVE_BACK: {"status": "success", "data": {"ok": True}},
        }
        super().__init__(usual | dict(answers or {}), token=token)
        self._rows = rows or releases(*RELEASES)
        self._image = image or {"data": {"app": {"id": "my-app", "image": None}}}

    def _answer(self, asked: Asked) -> Any:
        if asked.path == "/graphql" and "POST /graphql" in self.answers:
            self.answers["POST /graphql"] = self._rows if "releasesUnprocessed" in asked.json["query"] else self._image
        return super()._answer(asked)


async def test_a_token_that_may_do_all_lacks_nothing_and_the_lease_is_given_back() -> None:
    fly = Allowed()
    assert await fly.platform.rights(M1) == ALL
    taken, given_back = fly.wrote
    assert (taken.method, given_back.method) == ("POST", "DELETE")
    assert 1 <= taken.json["ttl"] <= 5
    assert given_back.headers["fly-machine-lease-nonce"] == LEASE["nonce"]
    assert is_own(Lease("guard", taken.json["description"], 0.0)), "nobody takes it for a deploy"


async def test_without_a_machine_nothing_is_written() -> None:
    fly = Allowed()
    assert await fly.platform.rights(None) == {need: "" for need in ALL if need != "lease"}
    assert not fly.wrote


DENIALS = [
    (need, where, status)
    for need, where in (("app", f"GET {APP}"), ("machines", LIST), ("lease", TAKE), ("lease", GIVE_BACK))
    for status in (401, 403, 404)
    if (where, status) != (GIVE_BACK, 404)  # a lease that is gone is given back
]


@pytest.mark.parametrize("need, where, status", DENIALS)
async def test_what_is_denied_is_named_and_the_rest_is_asked_all_the_same(need: str, where: str, status: int) -> None:
    fly = Allowed({where: says({"error": "unauthorized"}, status, fly_request_id="01J-ord")})
    found = await fly.platform.rights(M1)
    assert {name for name, why in found.items() if why} == {need}
    assert found[need].startswith("the token may not ")
    assert need == "app" or (f"HTTP {status}" in found[need] and "01J-ord" in found[need])


@pytest.mark.parametrize("code", ["UNAUTHORIZED", "FORBIDDEN", "NOT_FOUND"])
async def test_what_graphql_denies_inside_of_a_200_is_named(code: str) -> None:
    denied = {"data": None, "errors": [{"message": "no", "extensions": {"code": code}}]}
    rows, image = await Allowed(rows=denied).platform.rights(M1), await Allowed(image=denied).platform.rights(M1)
    assert {name for name, why in rows.items() if why} == {"releases"}
    assert {name for name, why in image.items() if why} == {"images"}
    assert f"the token may not list its releases: no ({code})" in rows["releases"]


async def test_a_token_that_is_not_there_may_do_nothing_and_each_sentence_says_so() -> None:
    found = await Allowed(token="").platform.rights(M1)
    assert set(found) == set(ALL)
    assert all("FLY_API_TOKEN is missing" in why for why in found.values())


async def test_a_machine_that_somebody_else_holds_does_not_mean_that_the_guard_may_not() -> None:
    held = says({"error": "aborted: machine ID x lease currently held by ci@example.com, expires at …"}, 409)
    fly = Allowed({TAKE: held})
    assert await fly.platform.rights(M1) == ALL
    assert len(fly.wrote) == 1, "nothing to give back"


USELESS = [Unavailable("timeout after 15s: x"), says({}, 503), says({}, 429), says(b"404 page not found\n", 404)]
NO_JSON: list[tuple[str, object]] = [(where, says(b"<html>")) for where in (f"GET {APP}", LIST, "POST /graphql", TAKE)]


@pytest.mark.parametrize(
    "where, answer",
    [(where, answer) for where in (f"GET {APP}", LIST, "POST /graphql", TAKE, GIVE_BACK) for answer in USELESS]
    + NO_JSON,
)
async def test_what_cannot_be_told_now_is_not_taken_for_missing(where: str, answer: Any) -> None:
    fly = Allowed({where: answer})
    if where == "POST /graphql":
        fly._rows = answer
    with pytest.raises(Unavailable):
        await fly.platform.rights(M1)


async def test_a_machine_that_is_gone_says_nothing_about_the_token() -> None:
    fly = Allowed({LIST: [machine(id="e0000000000000")]})
    with pytest.raises(Unavailable, match="is not there any more"):
        await fly.platform.rights(M1)
    assert not fly.wrote


async def test_the_image_asked_for_is_one_that_runs() -> None:
    fly = Allowed()
    await fly.platform.rights(None)
    assert fly.asked[-1].json["variables"]["imageRef"] == MACHINE["config"]["image"]
