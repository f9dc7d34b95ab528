"""One agent of net-snmp for the whole folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.agent.connectors.snmp.net_snmp import Snmpd, snmpd
from tests.servers import ServerMissingError, missing


@pytest.fixture(scope="session")
def real_agent() -> Iterator[Snmpd]:
    try:
        with snmpd() as agent:
            yield agent
    except ServerMissingError as err:
        missing(str(err))
