"""A machine where no systemd can be booted: what is in the way is named."""

from __future__ import annotations

import shutil

import pytest

from tests.servers import missing
from tests.systemd.booted import forbidden, why_not

pytestmark = pytest.mark.slow


def test_what_the_kernel_forbids_is_named() -> None:
    if problem := why_not():
        missing(f"no systemd can be booted here: {problem}")
    assert forbidden() == ""
    setpriv = shutil.which("setpriv") or ""
    told = forbidden(setpriv, "--bounding-set=-sys_admin", "--inh-caps=-sys_admin")
    assert told == "the kernel forbids unshare: unshare failed: Operation not permitted"
