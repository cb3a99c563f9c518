"""The application's OpenAPI description, as tests ask it: what there is, and whether an answer is as described."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from jsonschema_rs import Draft202012Validator

ADDRESS = "/openapi/openapi.json"
_REFERENCE = "#/components/schemas/"


@dataclass(frozen=True)
class Operation:
    """parameters: of path, query, header, form and JSON body. responses: by status."""

    method: str
    path: str
    parameters: frozenset[str]
    responses: dict[str, Any]

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def json_schema(self, status: str) -> Any:
        """None where that answer has no JSON."""
        content: dict[str, Any] = self.responses[status].get("content", {})
        return content.get("application/json", {}).get("schema")


class ApiDescription:
    """document: what the server answers at ADDRESS."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._paths: dict[str, dict[str, Any]] = document["paths"]
        self._schemas: dict[str, Any] = document["components"]["schemas"]

    def operations(self) -> list[Operation]:
        return [
            Operation(method.upper(), path, frozenset(self._parameters(operation)), operation["responses"])
            for path, operations in self._paths.items()
            for method, operation in operations.items()
        ]

    def schema(self, name: str) -> Any:
        return self._schemas[name]

    def answer_schemas(self) -> set[str]:
        """Names of the objects that answers are made of."""
        found: set[str] = set()
        for operation in self.operations():
            self._collect(operation.responses, found)
        return {name for name in found if "properties" in self._schemas[name]}

    def faults(self, schema: Any, body: Any) -> list[str]:
        """Where `body` is not as the schema says; a field that the schema does not name is a fault too."""
        strict = {name: {**each, **_closed(each)} for name, each in self._schemas.items()}
        validator = Draft202012Validator({**schema, "components": {"schemas": strict}})
        return [
            f"{'.'.join(map(str, error.instance_path))}: {error.message[:200]}" for error in validator.iter_errors(body)
        ]

    def _parameters(self, operation: dict[str, Any]) -> Iterator[str]:
        yield from (parameter["name"] for parameter in operation.get("parameters", []))
        for content in operation.get("requestBody", {}).get("content", {}).values():
            schema = content["schema"]
            yield from (
                self._schemas[schema["$ref"].removeprefix(_REFERENCE)]["properties"]
                if "$ref" in schema
                else (schema["properties"])
            )

    def _collect(self, part: Any, found: set[str]) -> None:
        for value in part.values() if isinstance(part, dict) else part if isinstance(part, list) else ():
            if isinstance(value, str) and value.startswith(_REFERENCE):
                name = value.removeprefix(_REFERENCE)
                if name not in found:
                    found.add(name)
                    self._collect(self._schemas[name], found)
            else:
                self._collect(value, found)


def _closed(schema: Any) -> dict[str, Any]:
    return {"additionalProperties": False} if "properties" in schema else {}
