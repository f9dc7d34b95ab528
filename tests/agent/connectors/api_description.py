"""Checks requests against a published description (Swagger 2): path, method, parameters, header."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest

DATA = Path(__file__).parents[4] / "shared" / "data" / "billing"


def data(name: str) -> Path:
    """Return a file of published knowledge about billing systems; where it is not there, the test is skipped."""
    if not (DATA / name).exists():
        if os.environ.get("CI") == "true":
            pytest.fail("CI needs ../shared/data/billing")
        pytest.skip("no ../shared/data/billing here: requests are not compared with the published description")
    return DATA / name


class Described:
    """An API as its description has it."""

    def __init__(self, file: Path) -> None:
        self.document: Mapping[str, Any] = json.loads(file.read_text())
        self._paths = {
            path: re.compile(re.sub(r"\{[^}]+\}", "[^/]+", re.escape(path).replace(r"\{", "{").replace(r"\}", "}")))
            for path in self.document["paths"]
        }

    def problems(
        self, method: str, path: str, query: Iterable[tuple[str, str]], headers: Mapping[str, str]
    ) -> list[str]:
        """Return everything that is wrong with a request; headers: names in small letters."""
        base = self.document["basePath"]
        if not path.startswith(base):
            return [f"{path} is not below {base}"]
        short = path.removeprefix(base)
        # the literal path comes before one with a parameter
        fits = sorted((p for p, r in self._paths.items() if r.fullmatch(short)), key=lambda p: p.count("{"))
        if not fits:
            return [f"{short} is not described"]
        if method.lower() not in self.document["paths"][fits[0]]:
            return [f"{method} {fits[0]} is not described"]
        return list(self._wrong(self.document["paths"][fits[0]][method.lower()], fits[0], short, query, headers))

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
            elif parameter.get("type") == "number" and not re.fullmatch(r"-?[0-9]+(\.[0-9]+)?", value):
                yield f"{name}: a number expected, got {value}"
            elif "enum" in parameter and value not in parameter["enum"]:
                yield f"{name}: one of {parameter['enum']} expected, got {value}"
        names = {(place, name.lower()) for place, name, _ in given} | {("header", name) for name in headers}
        for place, name in parameters:
            wanted = parameters[place, name].get("required") or place == "header"
            if wanted and (place, name) not in names:
                yield f"{place} parameter {name} is missing for {template}"


def _parts(template: str, path: str) -> tuple[list[str], list[str]]:
    pairs = [(t[1:-1], p) for t, p in zip(template.split("/"), path.split("/"), strict=True) if t.startswith("{")]
    return [t for t, _ in pairs], [p for _, p in pairs]
