"""GraphQL, by recognising the queries that real clients send; answers HTTP 200 always, as Fly does."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rollguard.localfly.access import Access
from rollguard.localfly.apps import App
from rollguard.localfly.refusal import Refused
from rollguard.localfly.releases import Release
from rollguard.localfly.world import World

LIMIT_DEFAULT = 25

Variables = Mapping[str, Any]
Resolver = Callable[["Query"], dict[str, Any]]


class Query:
    """One query: its text without white space, its variables, and what its sender may see."""

    def __init__(self, world: World, text: str, variables: Variables, access: Access, now: float) -> None:
        self.world, self.text, self.variables, self.now = world, text, variables, now
        self.owner, self.apps = access.owner, access.apps

    @property
    def app(self) -> App:
        """The app asked for; NOT_FOUND for one that does not exist or is none of the sender's business."""
        name = self.variables.get("appName") or self.variables.get("name") or self.input.get("appId")
        if not isinstance(name, str) or name not in self.apps:
            raise Refused(404, "Could not find App", "NOT_FOUND")
        return self.world.app(name)

    @property
    def input(self) -> Variables:
        """A mutation's argument."""
        given = self.variables.get("input")
        return given if isinstance(given, dict) else {}

    def release(self, release: Release) -> dict[str, Any]:
        """The fields that the query's text names."""
        return {name: value for name, value in release.graphql().items() if name in self.text}

    def newest(self) -> dict[str, Any] | None:
        releases = self.app.releases
        return self.release(releases[-1]) if releases else None


def answer(world: World, body: Mapping[str, Any], access: Access, now: float) -> dict[str, Any]:
    """The whole answer, errors included."""
    text = "".join(str(body.get("query") or "").split())
    variables = body.get("variables")
    try:
        if not access.owner:
            return _errors(Refused(401, "You must be authenticated to view this.", "UNAUTHORIZED"))
        if access.read_only and text.startswith("mutation"):
            return _errors(Refused(403, "Not authorized to access this", "FORBIDDEN"))
        query = Query(world, text, variables if isinstance(variables, dict) else {}, access, now)
        return {"data": _resolver(text)(query)}
    except Refused as refused:
        return _errors(refused)


def _errors(refused: Refused) -> dict[str, Any]:
    error = {"message": refused.sentence, "path": ["app"], "extensions": {"code": refused.kind}}
    return {"data": None, "errors": [error]}


def _resolver(text: str) -> Resolver:
    for needle, resolver in RESOLVERS:
        if needle in text:
            return resolver
    raise Refused(422, "query not known to the local platform", "UNKNOWN_QUERY")


def _viewer(query: Query) -> dict[str, Any]:
    return {"viewer": {"id": f"user-{query.owner}", "email": query.owner, "enablePaidHobby": False}}


def _releases(query: Query) -> dict[str, Any]:
    limit = query.variables.get("limit")
    count = limit if isinstance(limit, int) and limit > 0 else LIMIT_DEFAULT
    status = query.variables.get("status")
    newest_first = [r for r in reversed(query.app.releases) if not status or r.status == status]
    return {"app": {"releases": {"nodes": [query.release(release) for release in newest_first[:count]]}}}


def _image(query: Query) -> dict[str, Any]:
    app, ref = query.app, str(query.variables.get("imageRef") or "")
    image = query.world.images.resolve(ref)
    found = image and {
        "id": f"img_{image.digest[7:19]}",
        "digest": image.digest,
        "ref": image.ref if "@" in ref else ref,  # a moved tag is still the tag that was asked for
        "compressedSize": "12345678",
        "manifest": None,
    }
    return {"app": {"id": app.name, "image": found}}


def _latest_image_details(query: Query) -> dict[str, Any]:
    raise Refused(404, "Unknown repository", "NOT_FOUND")


def _app_basic(query: Query) -> dict[str, Any]:
    app = query.app
    organization = {
        "id": f"org_{app.org}",
        "internalNumericId": "7",
        "slug": app.org,
        "rawSlug": app.org,
        "paidPlan": False,
    }
    return {"id": app.name, "name": app.name, "platformVersion": "machines", "organization": organization}


def _app_compact(query: Query) -> dict[str, Any]:
    basic = _app_basic(query)
    name = basic["name"]
    more = {
        "internalNumericId": query.app.number,
        "hostname": f"{name}.fly.dev",
        "cnameTarget": "",
        "deployed": True,
        "network": "",
        "status": "deployed",
        "appUrl": f"https://{name}.fly.dev",
        "postgresAppRole": None,
    }
    return {"appcompact": basic | more}


def _machine(query: Query) -> dict[str, Any]:
    wanted = str(query.variables.get("machineId"))
    for name in query.apps:
        app = query.world.app(name)
        if machine := app.machines.get(wanted):
            organization = {"id": f"org_{app.org}", "slug": app.org}
            owner = {"name": app.name, "organization": organization}
            return {"gqlmachine": {"id": machine.id, "name": machine.name, "app": owner}}
    raise Refused(404, "Could not find Machine", "NOT_FOUND")


def _create_release(query: Query) -> dict[str, Any]:
    """As flyctl up to 0.3.226 began a release."""
    image, definition = query.input.get("image"), query.input.get("definition")
    if not isinstance(image, str) or not isinstance(definition, dict | None):
        raise Refused(422, "image is required", "UNPROCESSABLE")
    strategy = str(query.input.get("strategy") or "ROLLING").upper()
    world, app = query.world, query.app
    release = world.create_release(app.name, image, definition or {}, strategy, query.owner, query.now)
    return {"createRelease": {"release": {"id": release.id, "version": release.version}}}


def _update_release(query: Query) -> dict[str, Any]:
    """As flyctl up to 0.3.226 marked one."""
    row, status = query.input.get("releaseId"), str(query.input.get("status"))
    release = query.world.releases.get(str(row))
    metadata = query.input.get("metadata")
    if release is None or release.app not in query.apps or not isinstance(metadata, dict | None):
        raise Refused(404, "Could not find Release", "NOT_FOUND")
    query.world.patch_release(release.id, status, metadata, query.owner, query.now)
    return {"updateRelease": {"release": {"id": release.id}}}


def _no_wireguard(query: Query) -> dict[str, Any]:
    """Then flyctl polls the log instead of building a tunnel."""
    raise Refused(422, "WireGuard is not offered by the local platform", "UNPROCESSABLE")


RESOLVERS: tuple[tuple[str, Resolver], ...] = (  # the first needle found in the text decides
    ("validateWireGuardPeers", _no_wireguard),
    ("createRelease(", _create_release),
    ("updateRelease(", _update_release),
    ("viewer{", _viewer),
    ("releasesUnprocessed", _releases),
    ("currentRelease:currentRelease", lambda query: {"app": {"currentRelease": query.newest()}}),
    ("currentReleaseUnprocessed", lambda query: {"app": {"currentReleaseUnprocessed": query.newest()}}),
    ("appcompact:app", _app_compact),
    ("appbasic:app", lambda query: {"appbasic": _app_basic(query)}),
    ("image(ref:", _image),
    ("latestImageDetails", _latest_image_details),
    ("gqlmachine:machine", _machine),
    ("egressIpAddresses", lambda query: {"app": {"egressIpAddresses": {"nodes": []}}}),
    ("canPerformBluegreenDeployment", lambda query: {"canPerformBluegreenDeployment": True}),
)
