"""What a connector is made from in tests."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC
from typing import cast

from agent.billing_model.source import LooksUpPayments, RingsBell, TellsAccounts, TellsPayments, TriesSource
from agent.connectors.base import (
    Changes,
    ConnectionRequests,
    DeviceFacts,
    Explores,
    KnowsHolders,
    KnowsPasswords,
    ManagesPorts,
    Polls,
    Prepares,
    Reads,
    SeesNeighbors,
    SharesCredentials,
    TellsDevices,
    TellsEvents,
)
from agent.connectors.spec import ConnectorContext
from agent.cpe_model.known import CpeBook
from agent.cpe_model.manager import CpeManager
from agent.runtime.clock import Clock, SystemClock

ROLES = (
    Changes,
    Reads,
    Polls,
    TellsDevices,
    TellsEvents,
    Explores,
    DeviceFacts,
    Prepares,
    SeesNeighbors,
    ConnectionRequests,
    KnowsHolders,
    KnowsPasswords,
    ManagesPorts,
    SharesCredentials,
    CpeManager,
    TellsAccounts,
    TellsPayments,
    LooksUpPayments,
    RingsBell,
    TriesSource,
)
"""Every role that there is."""


def commit(label: str, value: str) -> str:
    return hashlib.sha256(f"{label}\0{value}".encode()).hexdigest()


NO_BOOK = cast(CpeBook, None)
"""For connectors that know nothing of CPE."""


def context(secrets: Mapping[str, bytes], cpes: CpeBook = NO_BOOK, clock: Clock | None = None) -> ConnectorContext:
    """Return a context with secrets in a mapping and the machine's clocks."""
    return ConnectorContext(secrets.__getitem__, commit, UTC, clock or SystemClock(), cpes)
