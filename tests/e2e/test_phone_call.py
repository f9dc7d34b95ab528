"""A phone call at a whole lab ISP: who has this address, and what is with him; the page against the BNG's own state."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.files import ordinary, ref_of
from tests.e2e.site import at_work


@pytest.mark.slow
@pytest.mark.parametrize("routers", [False, True], ids=["plain BNG", "routers"])
async def test_the_page_is_what_the_network_has(tmp_path: Path, routers: bool) -> None:
    async with at_work(tmp_path, isp={"routers": routers}) as (isp, site):
        one, other = ordinary(isp, 2)
        path = f"/v1/subscribers/{ref_of(one).replace('/', '%2F')}"
        (session,) = isp.sessions(one.login)
        found = await site.call("GET", f"/v1/subscriber-search?text={session.lease.address4}")
        assert {s["ref"] for h in found["holders"] for s in h["services"]} == {ref_of(one)}
        assert found["not_checked"] == {}

        before = (await site.call("GET", path))["services"][0]["network"]
        assert (before["checked"], before["access"], before["refused"]) == (True, "active", "")
        assert {s["address"].partition(" ")[0].rstrip(",") for s in before["sessions"]} == {str(session.lease.address4)}

        await site.do("suspend", ref_of(one))
        page = await site.call("GET", path)
        network = page["services"][0]["network"]
        (now,) = isp.sessions(one.login)
        assert now.walled
        assert network["access"] == "suspended"
        assert [s["carries"] for s in network["sessions"]] == ["suspended"]
        assert [r["asked_by"] for r in page["reasons"]] == ["maria"]
        assert page["changes"][0]["items"][0]["state"] == "applied"
        untouched = await site.call("GET", f"/v1/subscribers/{ref_of(other).replace('/', '%2F')}")
        assert (untouched["reasons"], untouched["changes"]) == ([], [])

        # staff takes the mark away by hand, in another tool
        await isp.database.execute(
            "DELETE FROM radusergroup WHERE username = ? AND groupname = 'suspended'", (one.login,)
        )
        by_hand = (await site.call("GET", path))["services"][0]
        assert by_hand["suspended_for"] == ["debt"]
        assert by_hand["network"]["access"] == "active", "the record is no answer for the network"
        assert [s["carries"] for s in by_hand["network"]["sessions"]] == ["suspended"]
