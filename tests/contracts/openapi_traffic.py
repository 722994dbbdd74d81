"""Traffic of the Machines API held against the vendor's description: every way in which the two differ, by name."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema

from rollguard.localfly.api import Api
from rollguard.localfly.messages import AnswerLost, ApiRequest, ApiResponse

DESCRIPTION = Path(__file__).parents[2].parent / "shared/fly/machines-openapi.json"
JSON = "application/json"
LEASE = {"$ref": "#/components/schemas/Lease"}


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer, if one arrived."""

    request: ApiRequest
    response: ApiResponse | None


@dataclass(slots=True)
class Recorder:
    """Listens in on an `Api`, from when it is made."""

    api: Api
    heard: list[Exchange] = field(default_factory=list)

    def __post_init__(self) -> None:
        inner = self.api.handle

        async def handle(request: ApiRequest) -> ApiResponse:
            try:
                response = await inner(request)
            except AnswerLost:
                self.heard.append(Exchange(request, None))
                raise
            self.heard.append(Exchange(request, response))
            return response

        self.api.handle = handle  # type: ignore[method-assign]


class Description:
    """The OpenAPI document, made strict: what it does not name is a difference too."""

    def __init__(self, path: Path = DESCRIPTION) -> None:
        self._root: dict[str, Any] = json.loads(path.read_text())
        self._names: dict[int, str] = {}
        for name, schema in self._root["components"]["schemas"].items():
            self._make_strict(schema, name)
        self._operations = [
            (method.upper(), re.compile(re.sub(r"\{\w+\}", "[^/]+", template)), template, operation)
            for template, methods in self._root["paths"].items()
            for method, operation in methods.items()
        ]

    @property
    def operations(self) -> set[str]:
        """Everything that can be asked for."""
        return {f"{method} {template}" for method, _, template, _ in self._operations}

    def asked(self, exchange: Exchange) -> str:
        """What this request asks for, "" where it is not described."""
        found = self._operation(exchange.request)
        return found[0] if found else ""

    def differences(self, exchange: Exchange) -> Iterator[str]:
        """How a request and its answer differ from what is described."""
        request, response = exchange.request, exchange.response
        found = self._operation(request)
        if found is None:
            if response is None or response.status != 404:
                yield f"{request.method} {_template(request.path)}: not described"
            return
        where, operation = found
        described = {each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"}
        yield from (f"{where}: query {name} is not described" for name in request.query if name not in described)
        if request.body and response is not None and response.status < 400:
            schema = operation.get("requestBody", {}).get("content", {}).get(JSON, {}).get("schema")
            yield from self._body(f"{where} request", schema, request.body)
        if response is not None:
            yield from self._answer(where, operation["responses"], response)

    def _operation(self, request: ApiRequest) -> tuple[str, dict[str, Any]] | None:
        path = request.path.removeprefix("/v1")
        for method, pattern, template, operation in self._operations:
            if method == request.method and pattern.fullmatch(path):
                return f"{method} {template}", operation
        return None

    def _answer(self, where: str, described: Mapping[str, Any], response: ApiResponse) -> Iterator[str]:
        if response.status >= 400:
            schema = {"$ref": "#/components/schemas/ErrorResponse"}
            yield from self._body("an error", schema, response.body)
            return
        if str(response.status) not in described:
            yield f"{where}: status {response.status} is not described"
        answers = [each for code, each in described.items() if code.startswith("2")]
        schema = next((each.get("content", {}).get(JSON, {}).get("schema") for each in answers), None)
        if schema is not None:
            yield from self._body(f"{where} answer", schema, response.body)

    def _body(self, where: str, schema: Mapping[str, Any] | None, body: bytes) -> Iterator[str]:
        try:
            document = json.loads(body)
        except ValueError:
            yield f"{where}: not JSON"
            return
        if schema is None:
            if document != {}:
                yield f"{where}: a body is not described"
            return
        if schema == LEASE and isinstance(document, dict) and "data" in document:
            yield f"{where}: wrapped in status and data"
            document = document["data"]
        validator = jsonschema.Draft4Validator({**schema, "components": self._root["components"]})
        for error in validator.iter_errors(document):
            yield from self._named(where, error)

    def _named(self, where: str, error: jsonschema.ValidationError) -> Iterator[str]:
        place = self._names.get(id(error.schema)) or where
        if error.validator == "additionalProperties":
            known = error.schema["properties"]
            yield from (f"{place}.{name}: not described" for name in error.instance if name not in known)
        else:
            kind = type(error.instance).__name__
            yield f"{place}: {kind} is not of {error.validator} {json.dumps(error.validator_value)}"

    def _make_strict(self, schema: dict[str, Any], name: str) -> None:
        """Name every part, let no object have more than its properties, and let null be where it is allowed."""
        self._names[id(schema)] = name
        if schema.get("nullable") and "type" in schema:
            schema["type"] = [schema["type"], "null"]
        if "properties" in schema:
            schema.setdefault("additionalProperties", False)
        for key, part in schema.get("properties", {}).items():
            self._make_strict(part, f"{name}.{key}")
        for key, suffix in (("items", "[]"), ("additionalProperties", ".*")):
            if isinstance(schema.get(key), dict):
                self._make_strict(schema[key], name + suffix)


def of_the_machines_api(exchange: Exchange) -> bool:
    """Whether the description is about this one."""
    return exchange.request.path.startswith("/v1/") and exchange.request.path != "/v1/incidents"


def _template(path: str) -> str:
    """A path with its variable parts left out."""
    path = re.sub(r"(?<=/apps/)[^/]+", "{app_name}", path.removeprefix("/v1"))
    return re.sub(r"(?<=/machines/)[^/]+", "{machine_id}", path)
