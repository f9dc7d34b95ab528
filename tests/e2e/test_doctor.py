"""`ispagent doctor`, `status` and the log of a site whose parts fail one after the other."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.files import lab_files, small_isp
from tests.e2e.site import open_site

pytestmark = pytest.mark.slow


async def test_what_fails_is_named_with_what_mends_it(tmp_path: Path) -> None:
    async with small_isp(tmp_path) as isp:
        files = lab_files(tmp_path, isp)
        async with open_site(files):
            well = await files.type("doctor")
            assert well.code == 0, well.out
            assert "FAILS" not in well.out
            assert "answers 503" in well.out
            assert "method pppoe" in well.out
            first = min(isp.nas)
            secret = f"nas/{first}"
            wrong = await files.type("secret", "set", secret, "--stdin", text="not-the-secret")
            assert wrong.code == 4, wrong
            assert wrong.out.startswith(f"secret {secret} is set\n")
            assert "its secret is another one" in wrong.out
            files.billing.path.unlink()
            ill = await files.type("doctor", "--json")
            assert ill.code == 5, ill
            failing = {(c["about"], c["what"]): c for c in json.loads(ill.out)["checks"] if c["result"] == "fails"}
            assert failing.keys() == {(f"nas/{first}", "disconnect"), ("billing", "file")}
            assert f"ispagent secret set {secret}" in failing[f"nas/{first}", "disconnect"]["mend"]
            right = isp.nas[first].options.secret.decode()
            mended = await files.type("secret", "set", secret, "--stdin", text=right)
            assert mended.code == 0, mended
            status = await files.type("status")
            assert status.code == 5, status
            assert "DOWN     billing since " in status.out
            assert "No such file" in status.out
