"""The line to a CPE, against the lab's with its quirks: what is read, what is set, what is told of lost answers."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

from agent.connectors.base import DriftedError, LostError, NotSentError, Reply, UnreadableError
from agent.connectors.cwmp import limits
from agent.connectors.cwmp import messages as m
from agent.connectors.cwmp.cpe_session import step_key
from agent.connectors.cwmp.fields import Value as Typed
from agent.connectors.cwmp.line_session import known, paths_of, signature_of
from agent.connectors.cwmp.structs import ParameterValue
from agent.cpe_model import limits as model_limits
from agent.cpe_model.known import Acceptance, CachedParameter, Pending
from agent.cpe_model.vocabulary import BooleanStyle, CpeProfile, Unsafe
from agent.model import ABSENT, Address, Direction, Effect, ProofKind, Replay, SecretRef, Seen, Transition, Value
from lab.cpe.quirks import Quirks
from lab.cpe.tr098 import tr098
from tests.builders.acs import KEY, SSID, AcsRig, acs_rig, called, changes, reads, text, ticket, until
from tests.builders.expect import present

CHANNEL = "Device.WiFi.Radio.1.Channel"
AUTO = "Device.WiFi.Radio.1.AutoChannelEnable"
PARAMETER_KEY = "Device.ManagementServer.ParameterKey"


def evidence(rig: AcsRig, workflow: str) -> list[tuple[int, str]]:
    rows = rig.book.rows("cpe_evidence")
    return [(row["worked"], row["detail"]) for row in rows if row["workflow"] == workflow]


# --- reading ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", [0, 3, 7])
async def test_one_missing_parameter_of_many_is_found_by_halves(rig: AcsRig, missing: int) -> None:
    names = [f"Device.WiFi.SSID.{n}.{leaf}" for n in (1, 2) for leaf in ("SSID", "Enable", "BSSID", "Name")]
    names[missing] = "Device.WiFi.SSID.1.NoSuch"
    where = [rig.at(name.removeprefix("Device.")) for name in names]
    seen = await rig.line.read(where)
    assert [seen[a].value is ABSENT for a in where] == [n == missing for n in range(8)]
    assert len(rig.cpe.executed("GetParameterValues")) == 7  # 8, 4, 4, 2, 2, 1, 1
    assert set(names) - set(rig.known_values()) == {"Device.WiFi.SSID.1.NoSuch"}


async def test_a_parameter_that_is_gone_is_forgotten(rig: AcsRig) -> None:
    await rig.book.cpes.learned(rig.name(), {"Device.Old.Name": CachedParameter("x", "string", 1)})
    assert await reads(rig, "Device.Old.Name") is ABSENT
    assert "Device.Old.Name" not in rig.known_values()


async def test_too_many_at_once_are_asked_for_in_halves(tmp_path: Path) -> None:
    async with acs_rig(tmp_path, quirks=Quirks(names_max=3)) as rig:
        where = [rig.at(f"WiFi.SSID.{n}.{leaf}") for n in (1, 2) for leaf in ("SSID", "Enable", "BSSID", "Name")]
        seen = await rig.line.read(where)
        assert all(s.value is not ABSENT for s in seen.values())


async def test_a_request_that_fails_is_not_absent(tmp_path: Path) -> None:
    async with acs_rig(tmp_path, quirks=Quirks(fails_on=("GetParameterValues:Device.WiFi.",))) as rig:
        with pytest.raises(UnreadableError, match="9002") as caught:
            await rig.line.read([rig.at("WiFi.SSID.1.SSID"), rig.at("WiFi.SSID.2.SSID")])
        assert caught.value.reason == "refused"
        assert await reads(rig, "Device.DeviceInfo.HardwareVersion") == text("A1")


async def test_what_cannot_be_halved_is_told(rig: AcsRig) -> None:
    answer = m.Fault(9001, "no", soap_code="Server")

    class Denies:
        over = trio.Event()

        async def ask(self, request: object) -> m.Fault:
            return answer

    with pytest.raises(UnreadableError, match="2 parameters: 9001"):
        await rig.line.values(Denies(), [SSID, CHANNEL])  # type: ignore[arg-type]  # all of it that is used
    with pytest.raises(UnreadableError, match=r"Device\.WiFi\.: 9001"):
        await rig.line.below(Denies(), "Device.WiFi.")  # type: ignore[arg-type]  # as above
    with pytest.raises(UnreadableError, match=r"Device\.WiFi\.: 9001"):
        await rig.line.names(Denies(), "Device.WiFi.")  # type: ignore[arg-type]  # as above


async def test_a_session_that_ends_while_it_is_read_is_unreadable(tmp_path: Path) -> None:
    quirks = Quirks(cut_on=("GetParameterValues:Device.WiFi.",))
    async with acs_rig(tmp_path, quirks=quirks) as rig:
        rig.cpe.device.add_event("2 PERIODIC")  # it calls again at once
        with pytest.raises(UnreadableError) as caught:
            await reads(rig, SSID)
        assert caught.value.reason == "session-ended"
        rig.cpe.device.quirks = Quirks()
        await rig.on_the_line()
        assert await reads(rig, SSID) == text("home")


async def test_who_is_not_on_the_line_is_waited_for(rig: AcsRig) -> None:
    await rig.hang_up()
    with pytest.raises(UnreadableError) as caught:
        await rig.line.wait(0.01)
    assert caught.value.reason == "not-on-the-line"
    busy = present(await rig.line.busy())
    assert busy.reason == "not-on-the-line"
    found: list[Value] = []

    async def read() -> None:
        found.append(await reads(rig, SSID))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        rig.cpe.device.add_event("2 PERIODIC")
    assert found == [text("home")]
    assert await rig.line.busy() is None


async def test_a_session_that_comes_ends_the_one_before(rig: AcsRig) -> None:
    """A CPE that lost power is back before its old connection is known to be dead."""
    before = rig.line.live
    rig.cpe.power_cut()
    await until(lambda: rig.line.live not in (None, before))
    assert before is not None
    assert before.over.is_set()
    rig.line.detach(before)
    assert rig.line.live is not None


async def test_addresses_of_others_cannot_be_read(rig: AcsRig) -> None:
    others = ("radius/main/user/x", "cwmp/02AC5F-Other-S1/Device.DeviceInfo.UpTime", f"cwmp/{rig.name()}/no path")
    for bad in map(Address, others):
        with pytest.raises(UnreadableError) as caught:
            await rig.line.read([bad])
        assert caught.value.reason == "unknown-target"
        with pytest.raises(NotSentError):
            await rig.line.send(ticket((Transition(bad, Seen(ABSENT, 0), text("x")),)))


async def test_a_cpe_forgotten_is_not_read_and_not_told_anything(rig: AcsRig) -> None:
    writes = await changes(rig, {SSID: text("x")})
    await rig.book.decide(rig.name(), None, forget=True)
    with pytest.raises(UnreadableError) as caught:
        await rig.line.read([rig.at("@boots")])
    assert caught.value.reason == "unknown-target"
    for do in (writes, Effect(rig.at("@boots"), "reboot", {}, "k", Replay.NEVER, ProofKind.CHANGED, 1)):
        with pytest.raises(NotSentError) as unsent:
            await rig.line.send(ticket(do))
        assert unsent.value.reason == "unknown-target"
    assert rig.cpe.executed("SetParameterValues") == []


async def test_a_cpe_with_another_root_is_not_guessed_at(rig: AcsRig) -> None:
    await rig.book.cpes.called(called(rig.serial, root="Gateway."))
    with pytest.raises(UnreadableError) as caught:
        rig.line.profile()
    assert caught.value.reason == "unknown-model"


# --- types and spellings ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("truth", [("1", "0"), ("true", "false")])
async def test_a_boolean_reads_the_same_in_both_styles(tmp_path: Path, truth: tuple[str, str]) -> None:
    async with acs_rig(tmp_path, quirks=Quirks(truth=truth)) as rig:
        writes = await changes(rig, {AUTO: text("false")})
        assert writes[0].before.value == text("true")
        rig.cpe.device.quirks = Quirks(truth=(truth[1] == "0" and ("true", "false")) or ("1", "0"))  # the other style
        assert (await rig.line.send(ticket(writes))).accepted  # which is no drift
        assert await reads(rig, AUTO) == text("false")
        assert rig.cpe.device.tree.get(AUTO) == "0"


@pytest.mark.parametrize(("style", "sent"), [("WORDS", "false"), ("DIGITS", "0")])
async def test_a_boolean_is_written_in_the_profiles_style(
    rig: AcsRig, style: str, sent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    profile = replace(rig.line.profile(), boolean=BooleanStyle[style])
    monkeypatch.setattr(rig.line, "profile", lambda: profile)
    await reads(rig, AUTO)
    assert rig.line.typed(AUTO, "false").value == Typed(sent, "boolean")


async def test_a_value_is_written_with_the_type_that_it_was_read_with(rig: AcsRig) -> None:
    writes = await changes(rig, {CHANNEL: text("11"), SSID: text("x")})
    assert (await rig.line.send(ticket(writes))).accepted  # the lab's CPE refuses other types
    await rig.book.cpes.learned(
        rig.name(),
        {
            SSID: CachedParameter("x", "", 1),
            CHANNEL: CachedParameter("1", "X_int", 1),
            "Device.WiFi.SSID.1.LowerLayers": CachedParameter("Device.WiFi.Radio.1.", "string", 1),
        },
    )
    assert rig.line.typed(SSID, "y").value.type == "string"  # it said none, or one of its own: the vocabulary's
    assert rig.line.typed(CHANNEL, "2").value.type == "unsignedInt"
    assert rig.line.typed("Device.X_Vendor.Thing", "2").value.type == "string"


async def test_a_number_with_leading_zeros_is_no_drift(rig: AcsRig) -> None:
    before = Seen(text("6"), 1, live=False)
    rig.cpe.device.tree._values[CHANNEL] = "06"
    assert (await rig.line.send(ticket((Transition(rig.at("WiFi.Radio.1.Channel"), before, text("11")),)))).accepted


def test_what_is_kept_of_a_parameter() -> None:
    def kept(name: str, value: str) -> CachedParameter:
        return known(ParameterValue(name, Typed(value, "string")), 7)

    assert kept(SSID, "home") == CachedParameter("home", "string", 7)
    assert kept(KEY, "in clear, as some do") == CachedParameter(None, "string", 7)
    assert (
        kept("Device.X.Config", "x" * (model_limits.VALUE_CHARS + 1)).value
        == f"({model_limits.VALUE_CHARS + 1} characters)"
    )


# --- setting ----------------------------------------------------------------------------------------------------------


async def test_parameters_are_set_in_one_request_under_the_steps_key(rig: AcsRig) -> None:
    writes = await changes(rig, {SSID: text("Amina"), CHANNEL: text("11")})
    assert await rig.line.send(ticket(writes)) == Reply(True, "ok")
    assert [done.names for done in rig.cpe.executed("SetParameterValues")] == [(SSID, CHANNEL)]
    assert rig.cpe.device.server("ParameterKey") == step_key(ticket(writes)) == "0f0f0f0f0f0f-1-1f1"
    assert await reads(rig, SSID) == text("Amina")


async def test_what_drifted_is_told_and_nothing_is_sent(rig: AcsRig) -> None:
    writes = await changes(rig, {SSID: text("Amina"), CHANNEL: text("11")})
    rig.cpe.device.put(CHANNEL, "1")
    with pytest.raises(DriftedError, match=CHANNEL) as caught:
        await rig.line.send(ticket(writes))
    assert {a: s.value for a, s in caught.value.observed.items()} == {rig.at("WiFi.Radio.1.Channel"): text("1")}
    assert rig.cpe.executed("SetParameterValues") == []


async def test_a_refusal_names_the_parameters_and_no_value(rig: AcsRig) -> None:
    writes = await changes(rig, {SSID: text("Zanzibar" * 5), CHANNEL: text("999"), AUTO: text("false")})
    reply = await rig.line.send(ticket(writes))
    assert (reply.accepted, reply.reason) == (False, "fault-9003")
    assert reply.detail == f"9003 Invalid arguments: {SSID} 9007, {CHANNEL} 9007"
    assert await reads(rig, AUTO) == text("true")  # all or none
    assert evidence(rig, "set-parameters") == [(0, "9003 Invalid arguments")]


async def test_a_name_that_is_not_in_the_tree_is_refused_by_the_cpe(rig: AcsRig) -> None:
    where = rig.at("WiFi.SSID.1.NoSuch")
    reply = await rig.line.send(ticket((Transition(where, Seen(ABSENT, 0), text("x")),)))
    assert reply == Reply(False, "fault-9003", "9003 Invalid arguments: Device.WiFi.SSID.1.NoSuch 9005")


async def test_a_text_that_is_not_of_its_type_is_not_sent(rig: AcsRig) -> None:
    writes = await changes(rig, {CHANNEL: text("eleven")})
    with pytest.raises(NotSentError) as caught:
        await rig.line.send(ticket(writes))
    assert caught.value.reason == "unsupported"
    assert "eleven" not in str(caught.value)
    assert rig.cpe.executed("SetParameterValues") == []


async def test_an_ok_without_effect_is_no_evidence_that_it_works(tmp_path: Path) -> None:
    async with acs_rig(tmp_path, quirks=Quirks(writes_ignored=("Device.WiFi.",))) as rig:
        assert (await rig.line.send(ticket(await changes(rig, {SSID: text("Amina")})))).accepted
        assert await reads(rig, SSID) == text("home")
        assert evidence(rig, "set-parameters") == []
        await rig.line.settle()
        assert await reads(rig, SSID) == text("home")
        assert evidence(rig, "set-parameters") == [(0, "it said OK, and reads otherwise")]


async def test_a_coerced_value_reads_back_as_what_it_became(tmp_path: Path) -> None:
    async with acs_rig(tmp_path, quirks=Quirks(writes_coerced=((CHANNEL, "1"),))) as rig:
        assert (await rig.line.send(ticket(await changes(rig, {CHANNEL: text("11")})))).accepted
        assert await reads(rig, CHANNEL) == text("1")


async def test_what_reads_back_equal_is_evidence(rig: AcsRig) -> None:
    await rig.line.send(ticket(await changes(rig, {SSID: text("Amina"), CHANNEL: text("11")})))
    await reads(rig, SSID)
    assert evidence(rig, "set-parameters") == []  # not all of it was read
    await rig.line.read([rig.at("WiFi.SSID.1.SSID"), rig.at("WiFi.Radio.1.Channel")])
    assert evidence(rig, "set-parameters") == [(1, "")]


async def test_what_is_applied_later_is_there_once_it_settled(tmp_path: Path) -> None:
    """Status 1: the session must end before anybody may say that it had no effect."""
    async with acs_rig(tmp_path, quirks=Quirks(status_1=True)) as rig:
        reply = await rig.line.send(ticket(await changes(rig, {SSID: text("Amina")})))
        assert reply == Reply(True, "ok-later", "the CPE applies it later")
        assert await reads(rig, SSID) == text("home")
        await rig.line.settle()
        assert rig.line.live is None
        assert rig.cpe.device.tree.get(SSID) == "Amina"
        await rig.on_the_line()
        assert await reads(rig, SSID) == text("Amina")
        assert evidence(rig, "set-parameters") == [(1, "")]


async def test_a_lost_answer_is_lost_and_reads_what_became_of_it(tmp_path: Path) -> None:
    async with acs_rig(tmp_path, quirks=Quirks(loses_answer_on=("SetParameterValues",))) as rig:
        writes = await changes(rig, {SSID: text("Amina")})
        rig.cpe.device.add_event("2 PERIODIC")
        with pytest.raises(LostError) as caught:
            await rig.line.send(ticket(writes))
        assert caught.value.reason == "session-ended"
        await rig.line.settle()
        await rig.on_the_line()
        assert await reads(rig, SSID) == text("Amina")
        with pytest.raises(DriftedError):
            await rig.line.send(ticket(writes, attempt=2))


async def test_a_session_ended_between_read_and_set_sent_nothing(rig: AcsRig) -> None:
    writes = await changes(rig, {SSID: text("Amina")})
    live = present(rig.line.live)
    real = rig.line._unchanged

    async def then_gone(found: Any) -> None:
        await real(found)
        live.hang_up()

    rig.line._unchanged = then_gone  # type: ignore[method-assign]  # the moment between the two requests
    sent = [str(row) for row in rig.line.breaker.rows()]
    with pytest.raises(NotSentError) as caught:
        await rig.line.send(ticket(writes))
    assert caught.value.reason == "session-ended"
    assert rig.cpe.executed("SetParameterValues") == []
    assert not any("SetParameterValues" in row for row in map(str, rig.line.breaker.rows())), sent


async def test_nothing_is_sent_to_who_is_not_on_the_line(rig: AcsRig) -> None:
    writes = await changes(rig, {SSID: text("Amina")})
    await rig.hang_up()
    with pytest.raises(NotSentError) as caught:
        await rig.line.send(ticket(writes))
    assert caught.value.reason == "session-ended"
    rig.cpe.device.quirks = Quirks(fails_on=("GetParameterValues:Device.WiFi.",))
    await rig.on_the_line()
    with pytest.raises(NotSentError, match="could not be read before it was to be written") as caught:
        await rig.line.send(ticket(writes))
    assert caught.value.reason == "refused"


async def test_settling_leaves_a_session_that_is_not_in_doubt_alone(tmp_path: Path) -> None:
    async with acs_rig(tmp_path, quirks=Quirks(loses_answer_on=("SetParameterValues",))) as rig:
        writes = await changes(rig, {SSID: text("Amina")})
        rig.cpe.device.add_event("2 PERIODIC")
        with pytest.raises(LostError):
            await rig.line.send(ticket(writes))
        await rig.on_the_line()  # it called again before anybody settled
        live = rig.line.live
        await rig.line.settle()
        assert rig.line.live is live is not None


# --- secrets ----------------------------------------------------------------------------------------------------------

OLD, NEW = "correct horse battery", "another passphrase"


async def keyed(rig: AcsRig) -> tuple[Transition, ...]:
    """Return what sets the Wi-Fi key, which was set by us before."""
    await rig.keep({"old": OLD, "new": NEW})
    return await changes(rig, {KEY: {"value": SecretRef(rig.commits["new"])}})


async def test_a_secret_that_the_cpe_took_reads_as_its_reference(rig: AcsRig) -> None:
    writes = await keyed(rig)
    assert writes[0].before.value == {"value": SecretRef(rig.commits["old"])}
    assert (await rig.line.send(ticket(writes))).accepted
    assert rig.cpe.device.tree.get(KEY) == NEW
    assert await reads(rig, KEY) == writes[0].after
    assert rig.book.cpes.pending(rig.name()) == []
    assert evidence(rig, "set-parameters") == []  # that it reads so proves nothing
    assert NEW.encode() not in rig.book.bytes_on_disk()


async def test_a_secret_nobody_set_reads_empty(rig: AcsRig) -> None:
    assert await reads(rig, KEY) == text("")


async def test_a_secret_with_a_lost_answer_is_proven_by_parameter_key(tmp_path: Path) -> None:
    async with acs_rig(tmp_path, quirks=Quirks(loses_answer_on=("SetParameterValues",))) as rig:
        writes = await keyed(rig)
        rig.cpe.device.add_event("2 PERIODIC")
        with pytest.raises(LostError):
            await rig.line.send(ticket(writes))
        assert [p.key for p in rig.book.cpes.pending(rig.name())] == [step_key(ticket(writes))]
        await rig.on_the_line()
        assert await reads(rig, KEY) == writes[0].after
        assert rig.book.cpes.pending(rig.name()) == []


async def test_a_secret_that_was_lost_on_the_way_is_not_taken_for_set(tmp_path: Path) -> None:
    async with acs_rig(tmp_path, quirks=Quirks(cut_on=("SetParameterValues",))) as rig:
        writes = await keyed(rig)
        rig.cpe.device.add_event("2 PERIODIC")
        with pytest.raises(LostError):
            await rig.line.send(ticket(writes))
        await rig.on_the_line()
        assert await reads(rig, KEY) == writes[0].before.value
        rig.cpe.device.quirks = Quirks()
        assert (await rig.line.send(ticket(writes, attempt=2))).accepted
        assert rig.cpe.device.tree.get(KEY) == NEW


async def test_a_refused_secret_is_not_taken_for_set(rig: AcsRig) -> None:
    await rig.keep({"old": OLD, "short": "short"})
    writes = await changes(rig, {KEY: {"value": SecretRef(rig.commits["short"])}})
    reply = await rig.line.send(ticket(writes))
    assert reply == Reply(False, "fault-9003", f"9003 Invalid arguments: {KEY} 9007")
    assert await reads(rig, KEY) == writes[0].before.value


async def test_a_secret_that_is_no_longer_kept_is_not_sent(rig: AcsRig) -> None:
    writes = await changes(rig, {KEY: {"value": SecretRef("0" * 64)}})
    with pytest.raises(NotSentError) as caught:
        await rig.line.send(ticket(writes))
    assert caught.value.reason == "secret-gone"


async def test_secret_is_not_sent_to_cpe_not_accepted_for_it_any_more(rig: AcsRig) -> None:
    """Its acceptance ended after the "about to", which is durable before a CPE is read once more."""
    writes = await keyed(rig)
    await rig.book.decide(rig.name(), Acceptance.QUARANTINED)
    with pytest.raises(NotSentError) as caught:
        await rig.line.send(ticket(writes))
    assert caught.value.reason == "not-assured"
    assert rig.cpe.executed("SetParameterValues") == []
    assert rig.book.cpes.pending(rig.name()) == []


async def test_a_never_known_secret_is_not_emptied_by_taking_back(rig: AcsRig) -> None:
    """The inverse of a first key is "what it was", which nobody knows: not a network without a key."""
    await rig.keep({"new": NEW})
    writes = await changes(rig, {KEY: text(""), SSID: text("back")})
    with pytest.raises(NotSentError) as caught:
        await rig.line.send(ticket(writes))
    assert caught.value.reason == "secret-unknown"
    assert rig.cpe.executed("SetParameterValues") == []


async def test_a_user_of_another_cpe_is_not_given_away(rig: AcsRig) -> None:
    """A serial number may hold a dot: the users of `…-1.x` begin as those of `…-1` do."""
    password, user = (f"Device.ManagementServer.{last}" for last in ("Password", "Username"))
    await rig.keep({"old": OLD, "new": NEW}, password)
    theirs = f"{rig.name()}.x"
    await rig.book.cpes.setting("another", Pending("k", {password: rig.commits["old"]}), theirs)
    writes = await changes(rig, {user: text(theirs), password: {"value": SecretRef(rig.commits["new"])}})
    with pytest.raises(NotSentError) as caught:
        await rig.line.send(ticket(writes))
    assert caught.value.reason == "login-taken"
    assert rig.book.cpes.owner(theirs) == "another"


async def test_secrets_are_in_no_text(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with acs_rig(tmp_path) as rig:
        writes = await keyed(rig)
        await rig.line.send(ticket(writes))
        said = [repr(x) for x in (rig.line, writes, rig.line.breaker.rows(), await rig.line.read([writes[0].address]))]
        rows = [str(rig.book.rows(t)) for t in ("cpe", "cpe_value", "cpe_evidence", "cpe_pending", "cpe_secret_set")]
    for secret in (OLD, NEW):
        assert not any(secret in text_ for text_ in (*said, *rows, caplog.text))


# --- the breaker ------------------------------------------------------------------------------------------------------


async def test_a_cpe_that_boots_after_each_read_is_not_asked_again(tmp_path: Path) -> None:
    quirks = Quirks(reboots_on=("GetParameterValues:Device.Hosts.",))
    async with acs_rig(tmp_path, quirks=quirks) as rig:
        for boots in (2, 3):
            await rig.line.below(await rig.line.wait(), "Device.Hosts.")
            await rig.hang_up()
            await until(lambda boots=boots: rig.cpe.device.boots == boots)  # type: ignore[misc]  # a default binds it
            await rig.on_the_line()
        with pytest.raises(UnreadableError, match=r"Device\.Hosts\.: followed by a boot 2 times") as caught:
            await rig.line.below(await rig.line.wait(), "Device.Hosts.")
        assert caught.value.reason == "tripped"
        assert len([e for e in rig.cpe.executed("GetParameterValues") if e.names == ("Device.Hosts.",)]) == 2
        assert await reads(rig, SSID) == text("home")  # everything else is
        again = AcsRig(rig.book)  # and it is remembered
        assert [str(t.signature) for t in again.line.breaker.tripped()] == ["GetParameterValues Device.Hosts."]


async def test_a_reboot_that_was_asked_for_trips_nothing(rig: AcsRig) -> None:
    for n in (1, 2, 3):
        reboot = Effect(rig.at("@boots"), "reboot", {}, f"k{n}", Replay.IF_UNPROVEN, ProofKind.CHANGED, 60)
        assert (await rig.line.send(ticket(reboot))).accepted
        await until(lambda n=n: rig.cpe.device.boots == n + 1)  # type: ignore[misc]  # a default binds it
        await rig.on_the_line()
    assert rig.line.breaker.tripped() == ()


# --- calls that a profile calls unsafe --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("unsafe", "asks"),
    [
        (("GetParameterValues", "Device.Hosts."), "below"),
        (("GetParameterNames", "Device.Hosts."), "names"),
        (("GetParameterValues", SSID), "values"),
        (("SetParameterValues", None), "send"),
    ],
)
async def test_what_a_profile_calls_unsafe_is_not_asked(
    rig: AcsRig, unsafe: tuple[str, str | None], asks: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    call, line = await rig.line.wait(), rig.line
    writes = await changes(rig, {CHANNEL: text("1")})
    with_unsafe(rig, monkeypatch, *unsafe)
    before = len(rig.cpe.executed())
    ask = {
        "below": lambda: line.below(call, "Device."),
        "names": lambda: line.names(call, "Device.Hosts."),
        "values": lambda: line.values(call, [SSID]),
        "send": lambda: line.send(ticket(writes)),
    }[asks]
    with pytest.raises((UnreadableError, NotSentError), match="it dies of it") as caught:
        await ask()
    assert caught.value.reason == "unsafe"
    asked = [done.method for done in rig.cpe.executed()][before:]
    assert asked == (["GetParameterValues"] if asks == "send" else [])


def with_unsafe(rig: AcsRig, monkeypatch: pytest.MonkeyPatch, method: str, path: str | None) -> CpeProfile:
    profile = replace(rig.line.profile(), unsafe=(Unsafe(method, path, "it dies of it"),))
    monkeypatch.setattr(rig.line, "profile", lambda: profile)
    return profile


async def test_a_model_that_is_not_read_by_path_is_read_by_its_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with acs_rig(tmp_path, model=tr098()) as rig:
        profile = replace(rig.line.profile(), get_by_path=False, names_batch=4)
        monkeypatch.setattr(rig.line, "profile", lambda: profile)
        hosts = "InternetGatewayDevice.LANDevice.1.Hosts.Host."
        await rig.book.cpes.learned(rig.name(), {f"{hosts}9.HostName": CachedParameter("gone", "string", 1)})
        found = await rig.line.below(await rig.line.wait(), hosts)
        assert {p.rpartition(".")[2] for p in found} >= {"HostName", "IPAddress", "Active"}
        asked = rig.cpe.executed("GetParameterValues")
        assert all(1 <= len(done.names) <= 4 and not done.names[0].endswith(".") for done in asked)
        assert f"{hosts}9.HostName" not in rig.known_values()
        assert await rig.line.below(await rig.line.wait(), "InternetGatewayDevice.NoSuch.") == {}


# --- small things -----------------------------------------------------------------------------------------------------


def test_requests_are_same_to_breaker_by_what_they_are_for() -> None:
    def value(name: str) -> ParameterValue:
        return ParameterValue(name, Typed("x", "string"))

    assert [(str(signature_of(r)), list(paths_of(r))) for r in (
        m.GetParameterValues((SSID,)),
        m.GetParameterValues((SSID, KEY)),
        m.GetParameterNames("Device.", next_level=False),
        m.SetParameterValues((value(SSID),), "k"),
        m.SetParameterValues((value(SSID), value(KEY)), "k"),
        m.AddObject("Device.NAT.PortMapping.", "k"),
        m.DeleteObject("Device.NAT.PortMapping.1.", "k"),
        m.Reboot("k"),
    )] == [
        (f"GetParameterValues {SSID}", [SSID]),
        (f"GetParameterValues {SSID} and 1 more", [SSID, KEY]),
        ("GetParameterNames Device.", ["Device."]),
        (f"SetParameterValues {SSID}", [SSID]),
        (f"SetParameterValues {SSID} and 1 more", [SSID, KEY]),
        ("AddObject Device.NAT.PortMapping.", ["Device.NAT.PortMapping."]),
        ("DeleteObject Device.NAT.PortMapping.1.", ["Device.NAT.PortMapping.1."]),
        ("Reboot", [""]),
    ]  # fmt: skip


def test_steps_key_fits_and_tells_attempts_and_directions_apart() -> None:
    first = ticket(())
    keys = {
        step_key(first),
        step_key(replace(first, attempt=2)),
        step_key(replace(first, step=2)),
        step_key(replace(first, item=2)),
        step_key(replace(first, direction=Direction.REVERT)),
    }
    assert len(keys) == 5
    assert max(map(len, keys)) <= 32


async def test_d6_what_a_cpe_tells_by_itself_holds_it_on_no_line(rig: AcsRig) -> None:
    """Its version and its boots stand in each Inform: also one that hung up at once has told them."""
    for verb, told in (("firmware", True), ("reboot", True), ("factory-reset", True), ("diagnose", False)):
        do = Effect(rig.at(f"@{verb}"), verb, {}, "key", Replay.NEVER, ProofKind.EQUAL, 60)
        assert rig.line.tells(do) is told
    await rig.hang_up()
    assert await rig.line.read([rig.at("@firmware")])  # its last Inform counts once
    found: list[Value] = []

    async def read() -> None:
        found.extend(s.value for s in (await rig.line.read([rig.at("@firmware")])).values())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked(0.05)
        assert (found, rig.line.live) == ([], None)
        rig.line.told()  # an Inform was taken in, and the CPE is gone
    assert (found, rig.line.live) == ([{"version": "1.0.0"}], None)


async def test_what_a_cpe_tells_later_is_remembered_by_its_key(rig: AcsRig) -> None:
    firmware = Effect(rig.at("@firmware"), "firmware", {}, "key", Replay.NEVER, ProofKind.EQUAL, 60)
    assert rig.line.late_result(ticket(firmware)) is None
    assert rig.line.late_result(ticket(())) is None
    rig.line.tell("key", Reply(False, "fault-9018"))
    assert rig.line.late_result(ticket(firmware)) == Reply(False, "fault-9018")
    for n in range(limits.TOLD):
        rig.line.tell(f"other {n}", Reply(True, "transferred"))
    assert rig.line.late_result(ticket(firmware)) is None
    assert rig.line.notes() == ()
