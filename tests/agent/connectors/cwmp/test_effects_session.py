"""What cannot be taken back: reboot, factory reset, firmware, diagnostics; how each is sent, and proven."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from agent.connectors.base import LostError, NotSentError, Reply, UnreadableError
from agent.cpe_model.vocabulary import Unsafe
from agent.model import Address, Effect, ProofKind, Replay, Seen, Value
from lab.cpe.quirks import Quirks
from lab.cpe.transfers import firmware
from tests.builders.acs import AcsRig, acs_rig, ticket, until
from tests.builders.expect import present

PING = "Device.IP.Diagnostics.IPPing."


def effect(rig: AcsRig, verb: str, what: str, args: Mapping[str, str] | None = None, key: str = "key") -> Effect:
    proof = ProofKind.CHANGED if what in ("@boots", "@resets") else ProofKind.EQUAL
    return Effect(rig.at(what), verb, args or {}, key, Replay.NEVER, proof, 60)


async def send(rig: AcsRig, do: Effect) -> tuple[Reply, Mapping[Address, Seen]]:
    bound = await rig.line.bind(do)
    return await rig.line.send(ticket(do, bound)), bound


async def reads(rig: AcsRig, what: str) -> Value:
    return (await rig.line.read([rig.at(what)]))[rig.at(what)].value


def evidence(rig: AcsRig) -> dict[str, list[tuple[int, str]]]:
    found: dict[str, list[tuple[int, str]]] = {}
    for row in rig.book.rows("cpe_evidence"):
        found.setdefault(row["workflow"], []).append((row["worked"], row["detail"]))
    return found


# --- reboot -----------------------------------------------------------------------------------------------------------


async def test_a_reboot_is_proven_by_what_it_says_when_it_is_back(rig: AcsRig) -> None:
    reply, bound = await send(rig, effect(rig, "reboot", "@boots"))
    assert reply == Reply(True, "accepted")
    assert {a: s.value for a, s in bound.items()} == {rig.at("@boots"): {"count": "1"}}
    assert rig.cpe.device.boots == 1  # it does so once the session is over
    await until(lambda: rig.book.rows("cpe")[0]["boots"] == 2)
    assert await reads(rig, "@boots") == {"count": "2"}
    await until(lambda: evidence(rig).get("reboot") == [(1, "")])


async def test_a_reboot_that_is_refused_boots_nothing(tmp_path: Path) -> None:
    async with acs_rig(tmp_path, quirks=Quirks(fails_on=("Reboot",))) as rig:
        reply, _ = await send(rig, effect(rig, "reboot", "@boots"))
        assert reply == Reply(False, "fault-9002", "9002 Internal error")
        assert evidence(rig)["reboot"] == [(0, "9002 Internal error")]
        assert rig.line.live is not None


# --- factory reset ----------------------------------------------------------------------------------------------------


def window(rig: AcsRig) -> int:
    until_s: int = rig.book.rows("cpe")[0]["reset_until_s"]
    return until_s


async def test_a_factory_reset_is_proven_by_its_bootstrap(rig: AcsRig) -> None:
    rig.cpe.device.put("Device.WiFi.SSID.1.SSID", "Amina")
    reply, bound = await send(rig, effect(rig, "factory-reset", "@resets"))
    assert reply == Reply(True, "accepted")
    assert window(rig) > rig.book.clock.wall_s()
    await until(lambda: rig.book.rows("cpe")[0]["resets"] == 2)
    assert await reads(rig, "@resets") != bound[rig.at("@resets")].value
    assert rig.cpe.device.tree.get("Device.WiFi.SSID.1.SSID") == "home"


async def test_a_factory_reset_that_is_refused_opens_no_door(tmp_path: Path) -> None:
    """Only what was told to forget its password may come without it."""
    async with acs_rig(tmp_path, quirks=Quirks(fails_on=("FactoryReset",))) as rig:
        reply, _ = await send(rig, effect(rig, "factory-reset", "@resets"))
        assert (reply.accepted, reply.reason) == (False, "fault-9002")
        assert window(rig) == 0


async def test_a_factory_reset_that_was_not_sent_opens_no_door(rig: AcsRig) -> None:
    real = rig.line.expect_reset

    async def then_gone() -> None:
        await real()
        assert rig.line.live is not None
        rig.line.live.hang_up()

    rig.line.expect_reset = then_gone  # type: ignore[method-assign]  # the moment before it is asked
    with pytest.raises(NotSentError):
        await send(rig, effect(rig, "factory-reset", "@resets"))
    assert window(rig) == 0


async def test_factory_reset_whose_answer_was_lost_may_have_been_done(tmp_path: Path) -> None:
    async with acs_rig(tmp_path, quirks=Quirks(loses_answer_on=("FactoryReset",))) as rig:
        with pytest.raises(LostError):
            await send(rig, effect(rig, "factory-reset", "@resets"))
        assert window(rig) > 0
        await until(lambda: rig.book.rows("cpe")[0]["resets"] == 2)


# --- firmware ---------------------------------------------------------------------------------------------------------


def image(folder: Path, content: bytes) -> dict[str, str]:
    (folder / "lab-2.0.bin").write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    return {
        "file": "lab-2.0.bin",
        "sha256": digest,
        "type": "1 Firmware Upgrade Image",
        "version": "2.0",
        "from": "1.0.0",
    }


def upgrade(rig: AcsRig, args: Mapping[str, str]) -> Effect:
    return effect(rig, "firmware", "@firmware", args, key="fw-key")


async def test_firmware_is_done_when_its_version_reads_back(tmp_path: Path) -> None:
    async with acs_rig(tmp_path, files=tmp_path) as rig:
        args = image(tmp_path, firmware("2.0", 200_000))
        reply, bound = await send(rig, upgrade(rig, args))
        assert reply == Reply(True, "accepted")
        assert bound[rig.at("@firmware")].value == {"version": "2.0"} != await reads(rig, "@firmware")
        await until(lambda: rig.line.cpe().software == "2.0")
        await until(lambda: "firmware" in evidence(rig))
        assert await reads(rig, "@firmware") == {"version": "2.0"}
        assert evidence(rig)["firmware"] == [(1, "")]
        assert [r["software"] for r in rig.book.rows("cpe_evidence") if r["workflow"] == "firmware"] == ["1.0.0"]
        await until(lambda: rig.line.late_result(ticket(upgrade(rig, args))) is not None)
        told = rig.line.late_result(ticket(upgrade(rig, args)))
        assert told == Reply(True, "transferred", "TransferComplete without a fault")


async def test_firmware_that_fails_silently_proves_nothing(tmp_path: Path) -> None:
    async with acs_rig(tmp_path, files=tmp_path, quirks=Quirks(firmware="silent")) as rig:
        do = upgrade(rig, image(tmp_path, firmware("2.0")))
        await send(rig, do)
        await until(lambda: rig.line.late_result(ticket(do)) is not None)
        told = present(rig.line.late_result(ticket(do)))
        assert told.accepted
        assert rig.cpe.device.boots == 2
        assert await reads(rig, "@firmware") == {"version": "1.0.0"}
        assert evidence(rig).get("firmware") is None


async def test_firmware_that_stalls_says_nothing_and_proves_nothing(tmp_path: Path) -> None:
    async with acs_rig(tmp_path, files=tmp_path, quirks=Quirks(firmware="stall")) as rig:
        do = upgrade(rig, image(tmp_path, firmware("2.0")))
        await send(rig, do)
        await until(lambda: any("Transferred" in type(record).__name__ for record in rig.cpe.log))
        await rig.on_the_line()
        assert rig.line.late_result(ticket(do)) is None
        assert await reads(rig, "@firmware") == {"version": "1.0.0"}


async def test_a_fault_in_transfer_complete_ends_the_waiting(tmp_path: Path) -> None:
    async with acs_rig(tmp_path, files=tmp_path, quirks=Quirks(firmware="faults")) as rig:
        do = upgrade(rig, image(tmp_path, firmware("2.0")))
        await send(rig, do)
        await until(lambda: rig.line.late_result(ticket(do)) is not None)
        told = present(rig.line.late_result(ticket(do)))
        assert (told.accepted, told.reason) == (False, "fault-9018")
        await until(lambda: "firmware" in evidence(rig))
        assert [worked for worked, _ in evidence(rig)["firmware"]] == [0]
        assert (await rig.line.send(ticket(do, attempt=2))).accepted  # what it told of the one before is over
        assert rig.line.late_result(ticket(do)) is None


async def test_file_that_is_another_since_preview_is_not_offered(tmp_path: Path) -> None:
    async with acs_rig(tmp_path, files=tmp_path) as rig:
        args = image(tmp_path, firmware("2.0"))
        image(tmp_path, firmware("3.0"))
        with pytest.raises(NotSentError) as caught:
            await send(rig, upgrade(rig, args))
        assert caught.value.reason == "drifted"
        (tmp_path / "lab-2.0.bin").unlink()
        with pytest.raises(NotSentError) as caught:
            await send(rig, upgrade(rig, args))
        assert caught.value.reason == "no-file"
        assert rig.cpe.executed("Download") == []


# --- diagnostics ------------------------------------------------------------------------------------------------------


def ping(rig: AcsRig, host: str = "192.0.2.1", key: str = "run-1") -> Effect:
    args = {"object": PING, "workflow": "ping", "Host": host, "NumberOfRepetitions": "4"}
    return effect(rig, "diagnose", f"@run:{PING}", args, key)


async def ran(rig: AcsRig, do: Effect) -> tuple[Value, Mapping[Address, Seen]]:
    call = await rig.line.wait()
    reply, bound = await send(rig, do)
    assert reply == Reply(True, "ok")
    await until(call.over.is_set)  # some begin only then
    await until(lambda: rig.cpe.device.tree.get(f"{PING}DiagnosticsState") not in ("None", "Requested"))
    await rig.on_the_line()
    return await reads(rig, f"@run:{PING}"), bound


async def test_a_test_is_over_under_its_runs_key_and_results_are_kept(rig: AcsRig) -> None:
    await rig.line.below(await rig.line.wait(), PING)
    assert await reads(rig, f"@run:{PING}") == {"key": "", "over": "no"}
    now, bound = await ran(rig, ping(rig))
    assert now == {"key": "run-1", "over": "yes"} == bound[rig.at(f"@run:{PING}")].value
    assert rig.known_values()[f"{PING}SuccessCount"].value == "4"
    assert evidence(rig)["ping"] == [(1, "")]


async def test_a_run_that_somebody_else_began_is_not_ours(rig: AcsRig) -> None:
    await ran(rig, ping(rig, key="theirs"))
    assert (await reads(rig, f"@run:{PING}")) != {"key": "ours", "over": "yes"}


async def test_a_host_without_an_address_is_nothing_about_the_model(rig: AcsRig) -> None:
    now, _ = await ran(rig, ping(rig, host="no.invalid"))
    assert now == {"key": "run-1", "over": "yes"}
    assert rig.known_values()[f"{PING}DiagnosticsState"].value == "Error_CannotResolveHostName"
    assert "ping" not in evidence(rig)


async def test_a_test_that_the_cpe_refuses(rig: AcsRig) -> None:
    do = ping(rig)
    reply, _ = await send(rig, replace(do, args={**do.args, "NumberOfRepetitions": "0"}))
    assert (reply.accepted, reply.reason) == (False, "fault-9003")
    assert rig.line.live is not None


async def test_a_run_is_read_beside_other_things(rig: AcsRig) -> None:
    asked = [rig.at(f"@run:{PING}"), rig.at("@boots"), rig.at("WiFi.SSID.1.SSID"), rig.at("@run:Device.NoSuch.")]
    seen = await rig.line.read(asked)
    assert {a: s.value for a, s in seen.items()} == {
        asked[0]: {"key": "", "over": "no"},
        asked[1]: {"count": "1"},
        asked[2]: {"value": "home"},
        asked[3]: {"key": "", "over": "no"},
    }


# --- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("verb", "method"), [("reboot", "Reboot"), ("diagnose", "Diagnose")])
async def test_what_a_profile_calls_unsafe_is_not_sent(
    rig: AcsRig, verb: str, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = replace(rig.line.profile(), unsafe=(Unsafe(method, None, "it loses its settings"),))
    monkeypatch.setattr(rig.line, "profile", lambda: profile)
    do = ping(rig) if verb == "diagnose" else effect(rig, verb, "@boots")
    with pytest.raises(NotSentError, match="it loses its settings") as caught:
        await send(rig, do)
    assert caught.value.reason == "unsafe"
    assert not rig.cpe.executed(method)
    assert rig.cpe.executed("SetParameterValues") == []


async def test_a_verb_that_no_cpe_has(rig: AcsRig) -> None:
    with pytest.raises(NotSentError) as caught:
        await send(rig, effect(rig, "explode", "@boots"))
    assert caught.value.reason == "unsupported"


async def test_a_cpe_of_an_unknown_model_is_told_nothing(rig: AcsRig, monkeypatch: pytest.MonkeyPatch) -> None:

    def unknown() -> None:
        raise UnreadableError("no such root", reason="unknown-model")

    monkeypatch.setattr(rig.line, "profile", unknown)
    with pytest.raises(NotSentError) as caught:
        await rig.line.send(ticket(effect(rig, "reboot", "@boots")))
    assert caught.value.reason == "unknown-model"
