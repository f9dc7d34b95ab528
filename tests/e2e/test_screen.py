"""A change followed on a terminal: colors, one line of progress; and in a pipe, neither."""

from __future__ import annotations

import os
import pty
import re
import subprocess

import pytest
import trio

from tests.e2e.files import ISPAGENT, Files, ordinary, ref_of
from tests.e2e.site import at_work

PROGRESS = re.compile(r"\r\x1b\[K(\w+  \d+ of 3[^\r]*)")


def on_a_terminal(files: Files, *args: str, **environment: str) -> str:
    """Type a command in a terminal of its own; return everything that it showed."""
    ours, theirs = pty.openpty()
    typed = subprocess.Popen(
        [*ISPAGENT, *args], cwd=files.folder, env=files.env(TERM="xterm", **environment), stdout=theirs, stderr=theirs
    )
    os.close(theirs)
    shown = b""
    try:
        while data := os.read(ours, 65536):
            shown += data
    except OSError:
        pass  # the other end is closed
    finally:
        os.close(ours)
        typed.wait(60)
    return shown.decode().replace("\r\n", "\n")


@pytest.mark.slow
async def test_terminal_has_progress_and_colors_and_pipe_has_neither(tmp_path):
    async with at_work(tmp_path) as (isp, site):
        services = ordinary(isp, 3)
        isp.set_fault("silence", services[2].login)
        change = await site.ask("suspend", *map(ref_of, services))
        assert change["finished"] is False
        (listed,) = await site.call("GET", "/v1/changes")
        assert (listed["finished"], listed["exit"]) == (False, 0)

        async def screen(*args: str, **environment: str) -> str:
            return await trio.to_thread.run_sync(lambda: on_a_terminal(site.files, *args, **environment))

        seen: list[str] = []

        async def watch() -> None:
            seen.append(await screen("change", "watch", change["id"]))

        async with trio.open_nursery() as nursery:
            nursery.start_soon(watch)
            await site.approve(change, "joseph")
        lines = PROGRESS.findall(seen[0])
        assert lines[-1].startswith(f"{change['id']}  3 of 3 · 2 ")
        assert "step 1" not in seen[0]
        assert "\x1b[1;31mSET, NOT ENFORCED\x1b[0m" in seen[0]
        assert "step 1" in await screen("change", "watch", change["id"], "--events")
        assert "\x1b" not in (await screen("change", "show", change["id"], NO_COLOR="1"))
        piped = await site.files.type("change", "watch", change["id"])
        assert "SET, NOT ENFORCED" in piped.out
        assert "step 1" in piped.out
        assert "\x1b" not in piped.out
        assert "\r" not in piped.out
        assert (await site.show(change))["finished"] is True
        preview = (await site.files.type("change", "show", change["id"])).out
        assert any(len(line) > 100 for line in preview.splitlines()), "no line is wrapped"
        unknown = await site.files.type("change", "show", "ZZZZZ", "--json")
        assert (unknown.code, unknown.out) == (2, "")
        assert '{"error": {"code": "unknown-change"' in unknown.err
