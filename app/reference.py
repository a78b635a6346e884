"""The API's reference as a page: every call of the OpenAPI description, with its fields and an example to copy."""

import json
from typing import Any, NamedTuple

from fastapi import APIRouter, Request
from fastapi.responses import Response

from app.accounts.access import Person
from app.templating import page

pages = APIRouter()
METHODS = ("get", "post", "put", "patch", "delete")


class Field(NamedTuple):
    """A parameter or a field of a body."""

    name: str
    type: str
    place: str
    """`path`, `query`, `header` or `body`."""
    required: bool
    default: str
    says: str


class Call(NamedTuple):
    method: str
    path: str
    name: str
    says: str
    fields: list[Field]
    status: str
    curl: str

    @property
    def anchor(self) -> str:
        return f"{self.method}-{self.path}".replace("/", "-").replace("{", "").replace("}", "")


@pages.get("/api")
def reference_page(request: Request, person: Person) -> Response:
    """Every call that programs can make, by what it is about."""
    return page(request, "reference.html", {"rooms": calls(request.app.openapi())})


def calls(description: dict[str, Any]) -> dict[str, list[Call]]:
    """The calls of an OpenAPI description by their tag, in its order."""
    rooms: dict[str, list[Call]] = {}
    for path, operations in description["paths"].items():
        for method in METHODS:
            if method in operations:
                room = next(iter(operations[method].get("tags", [])), "health")
                rooms.setdefault(room, []).append(_call(description, method.upper(), path, operations[method]))
    return rooms


def _call(description: dict[str, Any], method: str, path: str, operation: dict[str, Any]) -> Call:
    fields = [_parameter(description, one) for one in operation.get("parameters", [])]
    body = _body(description, operation)
    return Call(
        method=method,
        path=path,
        name=operation.get("summary", ""),
        says=operation.get("description", ""),
        fields=fields + _body_fields(description, body),
        status=", ".join(sorted(status for status in operation["responses"] if status.startswith("2"))),
        curl=_curl(description, method, path, fields, body),
    )


def _parameter(description: dict[str, Any], one: dict[str, Any]) -> Field:
    schema = one.get("schema", {})
    return Field(
        name=one["name"],
        type=_type(description, schema),
        place=one["in"],
        required=one.get("required", False),
        default=_default(schema),
        says=one.get("description", schema.get("description", "")),
    )


def _body(description: dict[str, Any], operation: dict[str, Any]) -> dict[str, Any] | None:
    """The schema of what is sent, {} where it is something else than JSON, None where nothing is."""
    if "requestBody" not in operation:
        return None
    content = operation["requestBody"].get("content", {})
    return _resolved(description, content.get("application/json", {}).get("schema", {}))


def _body_fields(description: dict[str, Any], body: dict[str, Any] | None) -> list[Field]:
    required = (body or {}).get("required", [])
    return [
        Field(
            name=name,
            type=_type(description, schema),
            place="body",
            required=name in required,
            default=_default(schema),
            says=schema.get("description", ""),
        )
        for name, schema in (body or {}).get("properties", {}).items()
    ]


def _resolved(description: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    while "$ref" in schema:
        schema = description["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
    return schema


def _type(description: dict[str, Any], schema: dict[str, Any]) -> str:
    schema = _resolved(description, schema)
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return " | ".join(dict.fromkeys(_type(description, one) for one in schema[choice]))
    if schema.get("type") == "array":
        return f"list of {_type(description, schema.get('items', {}))}"
    if "enum" in schema:
        return " | ".join(str(value) for value in schema["enum"])
    kind = schema.get("type", "anything")
    return {"null": "null", "integer": "whole number"}.get(str(kind), str(kind))


def _default(schema: dict[str, Any]) -> str:
    return json.dumps(schema["default"], ensure_ascii=False) if schema.get("default") is not None else ""


def _example(description: dict[str, Any], schema: dict[str, Any]) -> Any:
    schema = _resolved(description, schema)
    if schema.get("examples"):
        return schema["examples"][0]
    if schema.get("default") is not None:
        return schema["default"]
    if "anyOf" in schema:
        return _example(description, schema["anyOf"][0])
    if "properties" in schema:
        return {name: _example(description, one) for name, one in schema["properties"].items()}
    plain: dict[str, Any] = {"string": "…", "integer": 1, "number": 0.5, "boolean": True, "array": [], "object": {}}
    return plain.get(schema.get("type", ""), "…")


def _curl(description: dict[str, Any], method: str, path: str, fields: list[Field], body: dict[str, Any] | None) -> str:
    """The call as a line for a shell that has the variables of the page's first example."""
    command = 'curl -H "Authorization: Bearer $TOKEN"'
    if body is None and method != "GET":
        command += f" -X {method}"
    elif body is not None:
        if method not in ("GET", "POST"):
            command += f" -X {method}"
        needed = set(body.get("required", [])) or set(list(body.get("properties", {}))[:3])
        sent = {name: _example(description, one) for name, one in body.get("properties", {}).items() if name in needed}
        text = json.dumps(sent, ensure_ascii=False).replace("'", "'\\''")
        command += f" --json '{text}'" if body.get("properties") else " --json @file.json"
    query = "&".join(f"{one.name}=…" for one in fields if one.place == "query" and one.required)
    return f'{command} "$URL{path}{"?" + query if query else ""}"'
