"""A control plane that does as a test says."""

from __future__ import annotations

import pytest

from tests.builders.cloud import Authority, Cloud


@pytest.fixture(scope="module")
def authority() -> Authority:
    """Return a certificate authority: a key takes long to make."""
    return Authority()


@pytest.fixture
def cloud(authority: Authority) -> Cloud:
    """Return a control plane that is not served yet."""
    return Cloud(authority)
