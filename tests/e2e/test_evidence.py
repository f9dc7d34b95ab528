"""What an auditor gets: proofs and exports, verified by a program that has `trust` and PyNaCl and nothing else."""

from __future__ import annotations

import base64
import binascii
import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from lab.isp import Isp
from tests.e2e.files import ROOT, ordinary, ref_of
from tests.e2e.site import ApiRefusedError, Json, Site, at_work, items_of, state_of
from trust import chain
from trust import envelope as envelopes

NOT_THERE = ("agent", "control_plane", "lab", "trio", "h11", "typer", "pyrad")
ABSENT = f"import importlib.util as u; print([n for n in {NOT_THERE!r} if u.find_spec(n)])"


class Auditor:
    """Somebody with a copy of `trust/`, PyNaCl, and Python without its site-packages."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "auditor"
        self.folder.mkdir()
        shutil.copytree(ROOT / "trust", self.folder / "trust", ignore=shutil.ignore_patterns("__pycache__"))
        for name in ("nacl", "cffi", "_cffi_backend"):
            spec = importlib.util.find_spec(name)
            assert spec is not None
            assert spec.origin is not None
            where = Path(spec.origin)
            found = where.parent if where.name == "__init__.py" else where
            (self.folder / found.name).symlink_to(found)
        assert self._python("-c", ABSENT).stdout.strip() == "[]"

    def _python(self, *args: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-E", "-S", *args]
        return subprocess.run(command, cwd=self.folder, env={}, capture_output=True, text=True, check=False, timeout=60)

    def verify(self, file: str | bytes, *args: str) -> tuple[int, str]:
        """Return the exit code of `python -m trust verify` and what it says."""
        path = self.folder / "evidence"
        path.write_bytes(file if isinstance(file, bytes) else file.encode())
        done = self._python("-m", "trust", "verify", "evidence", *args)
        assert "Traceback" not in done.stderr, done.stderr
        return done.returncode, done.stdout + done.stderr


async def suspended_and_back(isp: Isp, site: Site) -> tuple[Json, Json]:
    (service,) = ordinary(isp, 1)
    done = await site.do("suspend", ref_of(service))
    back = await site.do("revert", change=done["id"])
    assert state_of(done)[0] == state_of(back)[0] == "applied"
    return done, back


async def test_an_auditor_verifies_proof_and_export(tmp_path: Path) -> None:
    auditor = Auditor(tmp_path)
    async with at_work(tmp_path) as (isp, site):
        done, back = await suspended_and_back(isp, site)
        vkey = (await site.call("GET", "/v1/status"))["log"]["vkey"]
        words = chain.head_words(envelopes.decode_untrusted(site.files.signed_trust()[0]))
        events = await site.call("GET", f"/v1/audit?change={done['id']}")
        for event in events:
            proof = (await site.call("GET", f"/v1/audit/proof/{event['seq']}"))["file"]
            if event["kind"] in ("consumed", "about-to", "step-outcome"):
                code, said = auditor.verify(proof, "--vkey", vkey)
                assert (code, said.splitlines()[-1]) == (0, "VERIFIED"), said
        for change in (done, back):
            for query in ("", "?open=1"):
                export = (await site.call("POST", f"/v1/audit/export/{change['id']}{query}", {}))["file"]
                code, said = auditor.verify(export, "--vkey", vkey, "--words", words)
                assert (code, said.splitlines()[-1]) == (0, "VERIFIED"), said
                assert "FAIL" not in said


async def test_what_was_changed_or_is_somebody_elses_does_not_verify(tmp_path: Path) -> None:
    auditor = Auditor(tmp_path)
    async with at_work(tmp_path) as (isp, site):
        done, _ = await suspended_and_back(isp, site)
        vkey = (await site.call("GET", "/v1/status"))["log"]["vkey"]
        events = await site.call("GET", f"/v1/audit?change={done['id']}")
        seq = next(e["seq"] for e in events if e["kind"] == "step-outcome")
        proof: str = (await site.call("GET", f"/v1/audit/proof/{seq}"))["file"]
        export: str = (await site.call("POST", f"/v1/audit/export/{done['id']}?open=1", {}))["file"]

    assert auditor.verify(proof)[0] == 1, "without a key of the auditor's own nothing is proven"
    stranger = vkey.split("+")[0] + "+" + "+".join(vkey.split("+")[1:])[::-1]
    assert auditor.verify(proof, "--vkey", stranger)[0] in (1, 2)
    for n in range(0, len(proof), max(1, len(proof) // 25)):
        changed = proof[:n] + ("A" if proof[n] != "A" else "B") + proof[n + 1 :]
        code, said = auditor.verify(changed, "--vkey", vkey)
        assert code in (1, 2), (n, said)
    lines = export.splitlines(keepends=True)
    ended = (
        max(n for n, line in enumerate(lines) if '"leaf"' in line) - 1
    )  # after its outcome the export has its own leaf
    for n in (1, ended // 2, ended):
        code, said = auditor.verify("".join([*lines[:n], *lines[n + 1 :]]), "--vkey", vkey)
        assert code == 1, (n, said)
        assert re.search(r"^FAIL  [a-z-]+: (plan|leaf|outcome)", said, re.MULTILINE), (n, said)
    for n, line in enumerate(lines):
        middle = len(line) // 2
        other = line[:middle] + ("A" if line[middle] != "A" else "B") + line[middle + 1 :]
        code, said = auditor.verify("".join([*lines[:n], other, *lines[n + 1 :]]), "--vkey", vkey)
        assert code in (1, 2), (line[:80], said)
    assert auditor.verify("garbage", "--vkey", vkey)[0] == 2


async def test_opened_export_names_subscriber_and_closed_one_does_not(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (isp, site):
        done, _ = await suspended_and_back(isp, site)
        service = ordinary(isp, 1)[0]
        (item,) = items_of(done)
        closed = (await site.call("POST", f"/v1/audit/export/{done['id']}", {}))["file"]
        opened = (await site.call("POST", f"/v1/audit/export/{done['id']}?open=1", {}))["file"]
        names = [service.login, service.subscriber, json.dumps(service.name, ensure_ascii=False)[1:-1], item.salt]
        plain = {n: n in closed for n in names}
        assert not any(plain.values()), plain
        assert service.login in decoded(opened)
        with pytest.raises(ApiRefusedError) as refused:
            await site.call("GET", "/v1/audit/proof/999999")
        assert refused.value.status >= 400


def decoded(text: str) -> str:
    """Return a text with its base64 strings and hex strings opened beside it."""
    found = [text]
    for piece in re.findall(r"[A-Za-z0-9+/=]{16,}", text):
        for open_ in (lambda p: base64.b64decode(p, validate=True), bytes.fromhex):
            try:
                found.append(open_(piece).decode("utf-8", "replace"))
            except (binascii.Error, ValueError):
                continue
    return "\n".join(found)
