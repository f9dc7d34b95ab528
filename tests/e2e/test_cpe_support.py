"""Support on the phone: tests and a reboot of one CPE under a standing authority, results on the screen that asked."""

from __future__ import annotations

from pathlib import Path

import trio

from tests.e2e.cpe_site import CpeSite, acs_site, at_home, name
from tests.e2e.files import Typed
from trust.policy import Action
from trust.statements import StandingEvidence


async def typed(at: CpeSite, *words: str) -> Typed:
    """Type a command, and have the CPE call in until it is answered."""
    answers: list[Typed] = []

    async def type_it() -> None:
        answers.append(await at.site.files.type(*words))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(type_it)
        with trio.fail_after(60):
            while not answers:
                await at.cpes["LAB0001"].call_in("2 PERIODIC")
                await trio.sleep(0.2)  # a CPE that calls in often
    return answers[0]


async def newest_class(at: CpeSite) -> str:
    return str((await at.site.call("GET", "/v1/changes"))[0]["class"])


async def test_support_tests_and_reboots_one_cpe_and_sees_the_result(tmp_path: Path) -> None:
    """B13: by a standing authority that names the verb and a rate; above the rate, and for the rest, people approve."""
    async with acs_site(tmp_path) as at:
        cpe = await at_home(at)
        cpe.device.diagnostics_s = 0.1
        await at.refresh("LAB0001", "Device.IP.Diagnostics.")
        ping = ("cpe", "diagnose", "ping", name("LAB0001"), "-v", "host=192.0.2.1")
        without = await typed(at, *ping)
        assert (without.code, await newest_class(at)) == (0, "low"), without
        for verb in (Action.CPE_DIAGNOSE, Action.CPE_REBOOT):
            authority = at.site.people.standing(verb=verb, evidence=StandingEvidence.SUPPORT_ASKED, rate_per_hour=1)
            (answer,) = await at.site.hand_in(authority)
            assert answer["accepted"], answer
        done = await typed(at, *ping)
        assert done.code == 0, done
        assert "approved by standing authority" in done.out
        assert "diagnose  ping ran to its end" in done.out
        assert "SuccessCount" in done.out
        again = await typed(at, *ping)
        assert (again.code, "it waits its turn, or for a person" in again.out) == (0, True), again
        boots = cpe.device.boots
        reboot = await typed(at, "cpe", "reboot", "LAB0001")
        assert (reboot.code, "reboot    boot seen" in reboot.out) == (0, True), reboot
        assert cpe.device.boots == boots + 1
        reset = await at.site.files.type("cpe", "factory-reset", "LAB0001")
        assert (reset.code, await newest_class(at)) == (0, "config"), reset


async def test_the_history_of_what_was_read_is_plotted(tmp_path: Path) -> None:
    """B13: a few parameters, by the name that support knows them by, with their unit."""
    async with acs_site(tmp_path) as at:
        await at_home(at)
        every = await at.site.files.type("cpe", "history", "LAB0001")
        assert (every.code, "optical.rx" in every.out) == (0, True), every
        one = await at.site.files.type("cpe", "history", "LAB0001", "optical.rx")
        assert (one.code, "-19.25 dBm · 1 values" in one.out, "-19.25 |*" in one.out) == (0, True, True), one
        none = await at.site.files.type("cpe", "history", "LAB0001", "wifi.1.ssid")
        assert (none.code, "nothing of wifi.1.ssid is kept" in none.err) == (1, True), none
