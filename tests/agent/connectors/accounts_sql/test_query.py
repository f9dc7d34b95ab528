"""Queries as an operator writes them."""

from __future__ import annotations

import pytest

from agent.connectors.accounts_sql import query


@pytest.mark.parametrize("text", ["SELECT 1", " select a\nFROM b ;\n", "WITH x AS (SELECT 1) SELECT * FROM x"])
def test_one_statement_is_taken(text: str) -> None:
    assert query.query_text(text) == text.strip().removesuffix(";").rstrip()


@pytest.mark.parametrize(
    "text",
    ["", "DELETE FROM a", "SELECT 1; DELETE FROM a", "SELECT 1;;", "SELECTED", "SELECT '\x00'", 7, "SELECT " * 9000],
)
def test_others_are_refused(text: object) -> None:
    with pytest.raises(ValueError):
        query.query_text(text)


def test_a_percent_sign_is_itself() -> None:
    assert query.all_accounts("SELECT a FROM b WHERE c LIKE '%x'") == ("SELECT a FROM b WHERE c LIKE '%%x'", ())


def test_the_moment_is_a_parameter() -> None:
    found = query.payments_since("SELECT id FROM p WHERE at > :since_s OR upd > :since_s AND x LIKE '%'", 17.9)
    assert found == ("SELECT id FROM p WHERE at > %s OR upd > %s AND x LIKE '%%'", (17, 17))
    assert query.payments_since("SELECT 1", 17.9) == ("SELECT 1", ())


def test_keys_are_parameters() -> None:
    for columns, column in [(("subscriber", "account"), "account"), (("subscriber",), "subscriber")]:
        sql, parameters = query.some_accounts("SELECT 1", columns, ["a'", "b"])
        assert sql.endswith(f"WHERE CAST(wanted.{column} AS CHAR(200)) IN (%s, %s)")
        assert parameters == ("a'", "b")
