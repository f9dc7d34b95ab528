"""The check of requests against a published description sees what is wrong with one."""

from __future__ import annotations

import pytest

from tests.agent.connectors.api_description import Described, data

KEY = {"x-auth-app-key": "k"}


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "says"),
    [
        ("GET", "/clients", [("limit", "10"), ("order", "client.id")], KEY, None),
        ("GET", "/invoices", [("statuses[]", "1"), ("statuses[]", "2")], KEY, None),
        ("GET", "/clients/7", [], KEY, None),
        ("GET", "/clients/services/7", [], KEY, None),
        ("GET", "/clients", [], {}, "header parameter x-auth-app-key is missing"),
        ("GET", "/clients/seven", [], KEY, "id: a number expected"),
        ("GET", "/clients", [("limit", "ten")], KEY, "limit: a number expected"),
        ("GET", "/clients", [("order", "name")], KEY, "order: one of"),
        ("GET", "/clients", [("since", "1")], KEY, "since is not described"),
        ("GET", "/customers", [], KEY, "is not described"),
        ("PUT", "/clients", [], KEY, "PUT /clients is not described"),
    ],
)
def test_requests(method: str, path: str, query: list[tuple[str, str]], headers: dict[str, str], says: str) -> None:
    described = Described(data("uisp-crm-swagger2-from-apib.json"))
    found = described.problems(method, "/crm/api/v1.0" + path, query, headers)
    assert [text for text in found if says not in text] == [] if says else found == []
    assert bool(found) == bool(says)


def test_another_base() -> None:
    described = Described(data("uisp-crm-swagger2-from-apib.json"))
    assert described.problems("GET", "/api/clients", [], KEY) == ["/api/clients is not below /crm/api/v1.0"]
