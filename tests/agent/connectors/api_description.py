"""Checks requests and answers against a published description: Swagger 2, or OpenAPI 3."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from tests.agent.connectors.block_yaml import block_yaml
from tests.shared_data import shared_file


def described(name: str, base: str | None = None) -> Described:
    """Return the API of a published description of a billing system; where it is not there, the test is skipped."""
    text = shared_file(f"billing/{name}").read_text()
    return Described(block_yaml(text) if name.endswith(".yaml") else json.loads(text), base)


class Described:
    """An API as its description has it: Swagger 2, or OpenAPI 3.

    `base`: of its paths; None: as the document says.
    """

    def __init__(self, document: Mapping[str, Any], base: str | None = None) -> None:
        self._document = document
        self._base = document.get("basePath", "") if base is None else base
        self._paths = {
            path: re.compile(re.sub(r"\{[^}]+\}", "[^/]+", re.escape(path).replace(r"\{", "{").replace(r"\}", "}")))
            for path in document["paths"]
        }

    def problems(
        self, method: str, path: str, query: Iterable[tuple[str, str]], headers: Mapping[str, str], body: bytes = b""
    ) -> list[str]:
        """Return everything that is wrong with a request; headers: names in small letters."""
        found = self._operation(method, path)
        if isinstance(found, str):
            return [found]
        template, operation = found
        wrong = list(self._wrong(operation, template, path.removeprefix(self._base), query, headers))
        takes_body = "requestBody" in operation or any(p["in"] == "body" for p in operation.get("parameters", ()))
        return wrong + (
            [f"{method} {template} takes no body, got {len(body)} bytes"] if body and not takes_body else []
        )

    def answer_problems(self, method: str, path: str, status: int, value: Any) -> list[str]:
        """Return everything in an answer that is described otherwise, or not at all. What it leaves out is no fault.

        An item of a list that is described as anything is compared with the answer to the path of one.
        """
        found = self._operation(method, path)
        if isinstance(found, str):
            return [found]
        template, operation = found
        schema = self._schema(operation, status)
        if schema is None:
            return [f"status {status} is not described for {template}"]
        one = self._document["paths"].get(f"{template}/{{id}}", {}).get("get")
        if schema.get("type") == "array" and not schema["items"] and one is not None:
            schema = {"type": "array", "items": self._schema(one, 200) or {}}
        return list(self._unlike(schema, value, template))

    def _operation(self, method: str, path: str) -> tuple[str, Mapping[str, Any]] | str:
        if not path.startswith(self._base):
            return f"{path} is not below {self._base}"
        short = path.removeprefix(self._base)
        # the literal path comes before one with a parameter
        fits = sorted((p for p, r in self._paths.items() if r.fullmatch(short)), key=lambda p: p.count("{"))
        if not fits:
            return f"{short} is not described"
        if method.lower() not in self._document["paths"][fits[0]]:
            return f"{method} {fits[0]} is not described"
        return fits[0], self._document["paths"][fits[0]][method.lower()]

    def _wrong(
        self,
        operation: Mapping[str, Any],
        template: str,
        path: str,
        query: Iterable[tuple[str, str]],
        headers: Mapping[str, str],
    ) -> Iterable[str]:
        parameters = {(p["in"], unquote(p["name"]).lower()): p for p in operation.get("parameters", ())}
        given = [
            *(("query", name, value) for name, value in query),
            *(("path", name, value) for name, value in zip(*_parts(template, path), strict=True)),
        ]
        for place, name, value in given:
            parameter = parameters.get((place, name.lower()))
            if parameter is None:
                yield f"{place} parameter {name} is not described for {template}"
                continue
            schema = parameter.get("schema", parameter)
            kind = schema.get("format") if schema.get("format") in _FORMS else schema.get("type")
            if kind in _FORMS and not re.fullmatch(_FORMS[kind], value):
                yield f"{name}: expected a {kind}, got {value}"
            elif "enum" in schema and value not in schema["enum"]:
                yield f"{name}: expected one of {schema['enum']}, got {value}"
        names = {(place, name.lower()) for place, name, _ in given} | {("header", name) for name in headers}
        for place, name in parameters:
            wanted = parameters[place, name].get("required") or place == "header"
            if wanted and place != "body" and (place, name) not in names:
                yield f"{place} parameter {name} is missing for {template}"
        bearer = any("bearerAuth" in each for each in operation.get("security", self._document.get("security", ())))
        if bearer and not re.fullmatch(r"Bearer \S+", headers.get("authorization", "")):
            yield f"header authorization: expected Bearer for {template}"

    # --- answers ---

    def _schema(self, operation: Mapping[str, Any], status: int) -> Mapping[str, Any] | None:
        answer = self._meant(operation["responses"].get(str(status), {}))
        if "content" in answer:
            answer = answer["content"]["application/json"]
        return answer.get("schema")

    def _meant(self, found: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return what a reference within the document stands for."""
        while "$ref" in found:
            target: Any = self._document
            for name in found["$ref"].removeprefix("#/").split("/"):
                target = target[name]
            found = target
        return found

    def _unlike(self, schema: Mapping[str, Any], value: Any, at: str) -> Iterable[str]:
        schema = self._meant(schema)
        if value is None:  # Swagger 2 has no word for it
            if "swagger" not in self._document and schema and not schema.get("nullable"):
                yield f"{at}: null is not described"
            return
        if "anyOf" in schema:
            tried = [list(self._unlike(each, value, at)) for each in schema["anyOf"]]
            yield from () if [] in tried else tried[0]
            return
        kind = schema.get("type")
        if kind is not None and not _is(kind, value):
            yield f"{at}: expected a {kind}, got {type(value).__name__}"
        elif "enum" in schema and value not in schema["enum"]:
            yield f"{at}: expected one of {schema['enum']}, got {value!r}"
        elif kind == "array":
            for one in value:
                yield from self._unlike(schema["items"], one, f"{at}[]")
        elif kind == "object" and "properties" in schema:
            for name, one in value.items():
                if name in schema["properties"]:
                    yield from self._unlike(schema["properties"][name], one, f"{at}.{name}")
                else:
                    yield f"{at}.{name} is not described"


_FORMS: Mapping[str, str] = {
    "number": r"-?[0-9]+(\.[0-9]+)?",
    "integer": r"-?[0-9]+",
    "boolean": r"true|false",
    "date-time": r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)",
}
_TYPES: Mapping[str, tuple[type, ...]] = {
    "number": (int, float),
    "integer": (int,),
    "string": (str,),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
}


def _is(kind: str, value: Any) -> bool:
    return isinstance(value, _TYPES[kind]) and (kind == "boolean" or not isinstance(value, bool))


def _parts(template: str, path: str) -> tuple[list[str], list[str]]:
    pairs = [(t[1:-1], p) for t, p in zip(template.split("/"), path.split("/"), strict=True) if t.startswith("{")]
    return [t for t, _ in pairs], [p for _, p in pairs]
