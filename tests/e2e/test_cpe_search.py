"""Looking CPE up, tags, and campaigns whose CPE a query names."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

import pytest

from agent.cpe import desk
from tests.e2e.cpe_site import WHO, CpeSite, accept, acs_site, name
from tests.e2e.router_site import ref
from tests.e2e.site import ApiRefusedError, Json


async def listed(at: CpeSite, *where: str, after: str = "", limit: int = 200) -> list[str]:
    query = urlencode({"where": "\n".join(where), "after": after, "limit": limit})
    found: list[Json] = await at.site.call("GET", f"/v1/cpes?{query}")
    return [str(c["name"]) for c in found]


async def test_d9_cpe_are_looked_up_tagged_and_changed_by_a_query(tmp_path: Path) -> None:
    """By login, tag, firmware and a parameter that was read, a page at a time; a login names a service."""
    async with acs_site(tmp_path) as at:
        for n in (1, 2, 3):
            await at.plug_in(f"LAB000{n}", software=f"1.{n}")
        one, two, three = (name(f"LAB000{n}") for n in (1, 2, 3))
        await accept(at.site, one, WHO)
        assert (await at.site.call("GET", f"/v1/cpes/{one}"))["service"] == ref(WHO)
        with pytest.raises(ApiRefusedError, match="there is no subscriber, service, login or MAC address nobody"):
            await at.site.ask("cpe-accept", two, settings={"service": "nobody"})
        await at.refresh("LAB0001")
        assert (await at.site.call("GET", f"/v1/cpes/{WHO}"))["name"] == one
        assert await listed(at) == [one, two, three]
        assert await listed(at, limit=2) == [one, two]
        assert await listed(at, after=two) == [three]
        assert await listed(at, f"login={WHO}") == [one]
        assert await listed(at, "firmware!=1.2") == [one, three]
        assert await listed(at, "state=quarantined") == [two, three]
        ssid = str(at.cpes["LAB0001"].device.tree.get("Device.WiFi.SSID.1.SSID"))
        assert await listed(at, f"wifi.1.ssid={ssid.upper()}") == [one]
        assert await listed(at, f"Device.WiFi.SSID.1.SSID={ssid}", "firmware=1.2") == []
        tags = await at.site.call("POST", f"/v1/cpes/{one}/tags", {"add": ["fiber", "north"], "remove": []})
        assert tags["tags"] == ["fiber", "north"]
        await at.site.call("POST", f"/v1/cpes/{two}/tags", {"add": ["fiber"], "remove": []})
        await at.site.call("POST", f"/v1/cpes/{one}/tags", {"add": [], "remove": ["north"]})
        assert await listed(at, "tag=fiber") == [one, two]
        assert await listed(at, "any~north") == []
        with pytest.raises(ApiRefusedError, match="tag: expected"):
            await at.site.call("POST", f"/v1/cpes/{one}/tags", {"add": ["Not This"], "remove": []})
        with pytest.raises(ApiRefusedError, match="where: expected"):
            await listed(at, "nonsense")

        asked = await at.site.files.type("cpe", "reboot", "--where", "tag=fiber", "--where", "state=accepted")
        assert (asked.code, one in asked.out, two in asked.out) == (0, True, False), asked
        nobody = await at.site.files.type("cpe", "reboot", "--where", "tag=copper")
        assert (nobody.code, "no CPE fits" in nobody.err) == (1, True)
        page = await at.site.files.type("cpe", "list", "--limit", "2", "-o", "name")
        assert page.out.split() == [one, two]
        assert f"there are more: --after {two}" in page.err
        shown = await at.site.files.type("cpe", "tag", one, "+gpon", "-fiber")
        assert shown.out == f"{one}: gpon\n"
        found = await at.site.files.type("cpe", "find", "lab0003", "-o", "name")
        assert found.out.split() == [three]


async def test_the_values_of_a_cpe_come_in_pages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(desk, "SHOWN", 40)
    async with acs_site(tmp_path) as at:
        await at.plug_in("LAB0001")
        await at.accept("LAB0001")
        paths: list[str] = []
        while True:
            query = f"below=Device.&after={paths[-1] if paths else ''}"
            page = await at.site.call("GET", f"/v1/cpes/{name('LAB0001')}/values?{query}")
            paths += [value["path"] for value in page]
            if len(page) < 40:
                break
        shown = await at.site.call("GET", f"/v1/cpes/{name('LAB0001')}")
        assert len(paths) == len(set(paths)) == shown["parameters"] > 80
