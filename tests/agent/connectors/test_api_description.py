"""The check of requests against a published description sees what is wrong with one."""

from __future__ import annotations

from typing import Any

import pytest

from tests.agent.connectors.api_description import described

KEY = {"x-auth-app-key": "k"}


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "says"),
    [
        ("GET", "/clients", [("limit", "10"), ("order", "client.id")], KEY, None),
        ("GET", "/invoices", [("statuses[]", "1"), ("statuses[]", "2")], KEY, None),
        ("GET", "/clients/7", [], KEY, None),
        ("GET", "/clients/services/7", [], KEY, None),
        ("GET", "/clients", [], {}, "header parameter x-auth-app-key is missing"),
        ("GET", "/clients/seven", [], KEY, "id: expected a number"),
        ("GET", "/clients", [("limit", "ten")], KEY, "limit: expected a number"),
        ("GET", "/clients", [("order", "name")], KEY, "order: expected one of"),
        ("GET", "/clients", [("since", "1")], KEY, "since is not described"),
        ("GET", "/customers", [], KEY, "is not described"),
        ("PUT", "/clients", [], KEY, "PUT /clients is not described"),
    ],
)
def test_requests(method: str, path: str, query: list[tuple[str, str]], headers: dict[str, str], says: str) -> None:
    api = described("uisp-crm-swagger2-from-apib.json")
    found = api.problems(method, "/crm/api/v1.0" + path, query, headers)
    assert [text for text in found if says not in text] == [] if says else found == []
    assert bool(found) == bool(says)


PAID = {"id": 1, "amount": 5, "paid_at": None, "metadata": {}}


@pytest.mark.parametrize(
    ("file", "path", "status", "value", "says"),
    [
        ("uisp", "/clients", 200, [{"id": 1, "accountBalance": -3.5, "userIdent": None}], None),
        ("uisp", "/clients", 200, [{"id": "1"}], "/clients[].id: expected a number, got str"),
        ("uisp", "/clients", 200, [{"id": True}], "/clients[].id: expected a number, got bool"),
        ("uisp", "/clients", 200, [{"nick": "A"}], "/clients[].nick is not described"),
        ("uisp", "/clients", 200, {"id": 1}, "/clients: expected a array, got dict"),
        ("uisp", "/invoices/7", 200, {"status": 3}, None),
        ("uisp", "/invoices/7", 200, {"status": 9}, "/invoices/{id}.status: expected one of [0, 1, 2, 3, 4, 5], got 9"),
        ("uisp", "/clients", 302, [], "status 302 is not described for /clients"),
        ("uisp", "/customers", 200, [], "/customers is not described"),
        ("paystack", "/transaction", 200, {"status": True, "data": [PAID]}, None),
        (
            "paystack",
            "/transaction",
            200,
            {"data": [{"amount": None}]},
            "/transaction.data[].amount: null is not described",
        ),
        (
            "paystack",
            "/transaction",
            200,
            {"data": [{"amount": 1.5}]},
            "/transaction.data[].amount: expected a integer, got float",
        ),
        ("paystack", "/transaction/verify/r-1", 200, {"data": {"metadata": "x"}}, None),
        (
            "paystack",
            "/transaction/verify/r-1",
            200,
            {"data": {"metadata": 5}},
            ".metadata: expected a string, got int",
        ),
    ],
)
def test_answers(file: str, path: str, status: int, value: Any, says: str | None) -> None:
    if file == "uisp":
        api, path = described("uisp-crm-swagger2-from-apib.json"), "/crm/api/v1.0" + path
    else:
        api = described("paystack-openapi.yaml")
    found = api.answer_problems("GET", path, status, value)
    assert [text for text in found if says not in text] == [] if says else found == []
    assert bool(found) == bool(says)


@pytest.mark.parametrize(
    ("path", "query", "headers", "body", "says"),
    [
        ("/refund", [("perPage", "10"), ("from", "2026-11-01T00:00:00.000Z")], {}, b"", None),
        ("/refund", [("per_page", "10")], {}, b"", "query parameter per_page is not described"),
        ("/refund", [("from", "2026-11-01")], {}, b"", "from: expected a date-time"),
        ("/transaction", [("status", "lost")], {}, b"", "status: expected one of"),
        ("/refund", [], {}, b"{}", "GET /refund takes no body, got 2 bytes"),
        ("/refund", [], {"authorization": "Basic x"}, b"", "header authorization: expected Bearer"),
    ],
)
def test_requests_by_openapi_3(
    path: str, query: list[tuple[str, str]], headers: dict[str, str], body: bytes, says: str | None
) -> None:
    sent = {"authorization": "Bearer sk_1", **headers}
    found = described("paystack-openapi.yaml").problems("GET", path, query, sent, body)
    assert [text for text in found if says not in text] == [] if says else found == []
    assert bool(found) == bool(says)


def test_another_base() -> None:
    api = described("uisp-crm-swagger2-from-apib.json")
    assert api.problems("GET", "/api/clients", [], KEY) == ["/api/clients is not below /crm/api/v1.0"]
