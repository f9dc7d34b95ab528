"""Real database servers, one after the other."""

from __future__ import annotations

import pytest

from tests.agent.connectors.radius.own_user import Server


@pytest.fixture(params=["postgresql", "mariadb"])
def server(request: pytest.FixtureRequest) -> Server:
    """Return each kind of server."""
    found: Server = request.getfixturevalue(request.param)
    return found
