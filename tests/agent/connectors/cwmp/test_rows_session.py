"""Making, changing and deleting rows of the lab CPE's port mappings."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from agent.connectors.base import DriftedError, LostError, NotSentError, Reply
from agent.connectors.cwmp.cpe_session import CpeSession
from agent.cpe import verbs as cpe_verbs
from agent.cpe.verbs import CpePlan, CpeSubject, Wanted
from agent.cpe_model.addresses import TableRow, row_address
from agent.cpe_model.profiles import SHIPPED
from agent.model import ABSENT, Address, Transition, Value
from lab.cpe.quirks import Quirks
from lab.cpe.tr098 import tr098
from tests.builders.acs import PORTS, SSID, AcsRig, acs_rig, ticket
from tests.builders.expect import expect

FIELDS = {"Enable": "true", "Protocol": "TCP", "InternalPort": "443", "InternalClient": "192.168.1.36"}


def at(rig: AcsRig, key: Mapping[str, str], *fields: str) -> Address:
    return row_address(rig.line.target.id, TableRow(rig.ports, key, fields))


async def change(rig: AcsRig, key: Mapping[str, str], after: Value, *fields: str) -> tuple[Transition, ...]:
    names = () if after is ABSENT else tuple(f for f in after if f not in key)
    where = at(rig, key, *(fields or names))
    return (Transition(where, (await rig.line.read([where]))[where], after),)


async def new(rig: AcsRig, **more: str) -> tuple[Transition, ...]:
    return await change(rig, {"ExternalPort": "443"}, {"ExternalPort": "443", **FIELDS, **more})


def numbers(rig: AcsRig) -> list[int]:
    return list(rig.cpe.device.tree.instances(rig.ports))


async def test_a_row_is_made_changed_and_deleted(rig: AcsRig) -> None:
    made = await new(rig)
    assert made[0].before.value is ABSENT
    assert (await rig.line.send(ticket(made))).accepted
    assert numbers(rig) == [1, 2]
    assert (await rig.line.read([made[0].address]))[made[0].address].value == made[0].after
    assert rig.cpe.device.tree.get(f"{PORTS}2.InternalClient") == "192.168.1.36"
    changed = await new(rig, InternalPort="8443")
    assert (await rig.line.send(ticket(changed))).accepted
    assert rig.cpe.executed("SetParameterValues")[-1].names == (f"{PORTS}2.InternalPort",)
    gone = await change(rig, {"ExternalPort": "443"}, ABSENT, *FIELDS)
    assert (await rig.line.send(ticket(gone))).accepted
    assert numbers(rig) == [1]
    assert (await rig.line.read([gone[0].address]))[gone[0].address].value is ABSENT


async def test_a_row_is_told_when_it_drifted(rig: AcsRig) -> None:
    made = await new(rig)
    rig.cpe.device.tree.plug(PORTS, {"ExternalPort": "443"})
    with pytest.raises(DriftedError):
        await rig.line.send(ticket(made))
    assert rig.cpe.executed("AddObject") == []


async def test_a_key_that_several_rows_have_is_refused(rig: AcsRig) -> None:
    for _ in range(2):
        rig.cpe.device.tree.plug(PORTS, {"ExternalPort": "443"})
    with pytest.raises(NotSentError) as caught:
        await rig.line.send(ticket(await new(rig)))
    assert caught.value.reason == "ambiguous"
    assert rig.cpe.executed("SetParameterValues") == []


async def test_a_step_is_one_row_and_nothing_beside_it(rig: AcsRig) -> None:
    [row] = await new(rig)
    other = rig.at("WiFi.SSID.1.SSID")
    beside = Transition(other, (await rig.line.read([other]))[other], {"value": "x"})
    for writes in ((row, beside), (beside, row)):
        with pytest.raises(NotSentError) as caught:
            await rig.line.send(ticket(writes))
        assert caught.value.reason == "unsupported"
    assert rig.cpe.executed("AddObject") == rig.cpe.executed("SetParameterValues") == []


async def test_a_new_row_whose_values_are_refused_is_taken_back(rig: AcsRig) -> None:
    reply = await rig.line.send(ticket(await new(rig, Protocol="SCTP")))
    assert (reply.accepted, reply.reason) == (False, "fault-9003")
    assert reply.detail == f"9003 Invalid arguments: {PORTS}2.Protocol 9007 · the new row was deleted again"
    assert numbers(rig) == [1]


async def test_a_new_row_that_cannot_be_taken_back_is_said_so(tmp_path: Path) -> None:
    async with acs_rig(tmp_path, quirks=Quirks(fails_on=("DeleteObject",))) as rig:
        reply = await rig.line.send(ticket(await new(rig, Protocol="SCTP")))
        assert not reply.accepted
        assert reply.detail.endswith("AND THE NEW ROW COULD NOT BE DELETED AGAIN")
        assert numbers(rig) == [1, 2]


async def test_a_new_row_that_cannot_be_read_is_taken_back(tmp_path: Path) -> None:
    async with acs_rig(tmp_path, quirks=Quirks(fails_on=("GetParameterNames",))) as rig:
        reply = await rig.line.send(ticket(await new(rig)))
        assert (reply.accepted, reply.reason) == (False, "refused")
        assert numbers(rig) == [1]


async def test_a_row_that_the_cpe_refuses_to_make(tmp_path: Path) -> None:
    async with acs_rig(tmp_path, quirks=Quirks(fails_on=("AddObject",))) as rig:
        reply = await rig.line.send(ticket(await new(rig)))
        assert (reply.accepted, reply.reason, reply.detail) == (False, "fault-9002", "9002 Internal error")
        rows = rig.book.rows("cpe_evidence")
        assert [(r["worked"], r["detail"]) for r in rows if r["workflow"] == "add-object"] == [(0, reply.detail)]


async def test_a_row_that_the_cpe_refuses_to_delete(tmp_path: Path) -> None:
    async with acs_rig(tmp_path, quirks=Quirks(fails_on=("DeleteObject",))) as rig:
        reply = await rig.line.send(ticket(await change(rig, {"ExternalPort": "8080"}, ABSENT, "InternalPort")))
        assert (reply.accepted, reply.reason) == (False, "fault-9002")


@pytest.mark.parametrize("method", ["GetParameterNames", f"GetParameterValues:{PORTS}2.", "SetParameterValues"])
@pytest.mark.parametrize("quirk", ["cut_on", "loses_answer_on"])
async def test_a_cpe_that_hangs_up_within_a_row_is_lost_not_unsent(rig: AcsRig, method: str, quirk: str) -> None:
    """The row is there by then: whoever says "nothing was sent" is wrong."""
    made = await new(rig)
    options: dict[str, Any] = {quirk: (method,), "loses": -1}
    rig.cpe.device.quirks = Quirks(**options)
    if "PortMapping" in method:  # the table itself is read before, which it lets pass
        rig.line.below = passing_first(rig, rig.line.below)  # type: ignore[method-assign]  # to count
    rig.cpe.device.add_event("2 PERIODIC")
    with pytest.raises(LostError):
        await rig.line.send(ticket(made))
    assert numbers(rig) == [1, 2]
    rig.cpe.device.quirks = Quirks()
    await rig.line.settle()
    await rig.on_the_line()
    done = method == "SetParameterValues" and quirk == "loses_answer_on"
    assert (await rig.line.read([made[0].address]))[made[0].address].value == (made[0].after if done else ABSENT)


def passing_first(rig: AcsRig, below: Any) -> Any:
    """Read tables without quirks."""

    async def read(call: Any, path: str) -> Any:
        quirks = rig.cpe.device.quirks
        if path == PORTS:
            rig.cpe.device.quirks = Quirks()
        try:
            return await below(call, path)
        finally:
            rig.cpe.device.quirks = quirks

    return read


async def second_try(rig: AcsRig, made: tuple[Transition, ...], **quirk: tuple[str, ...]) -> Reply:
    """Return the reply to the second try of a step whose first one the CPE cut short."""
    options: dict[str, Any] = {**quirk}
    rig.cpe.device.quirks = Quirks(**options)
    rig.cpe.device.add_event("2 PERIODIC")
    with pytest.raises(LostError):
        await rig.line.send(ticket(made))
    rig.cpe.device.quirks = Quirks()
    await rig.line.settle()
    await rig.on_the_line()
    return await rig.line.send(ticket(made, attempt=2))


async def test_a_row_that_was_made_and_not_filled_is_filled_next(rig: AcsRig) -> None:
    made = await new(rig)
    reply = await second_try(rig, made, cut_on=("SetParameterValues",))
    assert (reply.accepted, reply.detail, numbers(rig)) == (True, "", [1, 2])
    assert (await rig.line.read([made[0].address]))[made[0].address].value == made[0].after
    assert rig.line.made == {}


@pytest.mark.parametrize(
    ("quirk", "which"),
    [
        ({"cut_on": ("GetParameterNames",)}, f"{PORTS}2."),
        ({"loses_answer_on": ("AddObject",)}, f"one of {PORTS}"),
    ],
)
async def test_an_empty_row_that_is_not_known_well_is_named(
    rig: AcsRig, quirk: dict[str, tuple[str, ...]], which: str
) -> None:
    reply = await second_try(rig, await new(rig), **quirk)
    assert (reply.accepted, numbers(rig)) == (True, [1, 2, 3])
    assert reply.detail.startswith(f"LOOK: an earlier try may have left a row empty ({which})")


async def test_a_row_that_somebody_else_filled_is_left_alone(rig: AcsRig, monkeypatch: pytest.MonkeyPatch) -> None:
    made, on_the_line = await new(rig), rig.on_the_line

    async def filled() -> CpeSession:
        rig.cpe.device.put(f"{PORTS}2.InternalClient", "192.168.1.99")
        return await on_the_line()

    monkeypatch.setattr(rig, "on_the_line", filled)
    assert (await second_try(rig, made, cut_on=("SetParameterValues",))).accepted
    assert numbers(rig) == [1, 2, 3]
    assert rig.cpe.device.tree.get(f"{PORTS}2.InternalClient") == "192.168.1.99"


@pytest.mark.parametrize("made_one", [True, False])
async def test_after_a_restart_the_key_tells_of_an_empty_row(rig: AcsRig, made_one: bool) -> None:
    made, on_the_line = await new(rig), rig.on_the_line

    async def restarted() -> CpeSession:
        rig.line.made.clear()
        return await on_the_line()

    rig.on_the_line = restarted  # type: ignore[method-assign]  # the agent is started anew in between
    cut = "SetParameterValues" if made_one else "AddObject"
    reply = await second_try(rig, made, cut_on=(cut,))
    assert (reply.accepted, len(numbers(rig))) == (True, 3 if made_one else 2)
    assert reply.detail.startswith("LOOK: an earlier try") is made_one


async def test_a_reset_takes_the_rows_that_were_made(rig: AcsRig) -> None:
    rig.line.made[f"{PORTS}2."] = {}
    await rig.hang_up()
    rig.cpe.device.add_event("0 BOOTSTRAP")
    await rig.on_the_line()
    assert rig.line.made == {}


async def test_cpe_that_hangs_up_before_it_made_row_is_lost_as_well(tmp_path: Path) -> None:
    async with acs_rig(tmp_path, quirks=Quirks(cut_on=("AddObject",))) as rig:
        made = await new(rig)
        rig.cpe.device.add_event("2 PERIODIC")
        with pytest.raises(LostError):
            await rig.line.send(ticket(made))
        assert numbers(rig) == [1]


async def test_a_table_that_cannot_be_read_before_is_not_written(rig: AcsRig) -> None:
    made = await new(rig)
    real, reads = rig.line.below, 0

    async def once(call: Any, path: str) -> Any:  # the drift check reads it, then it fails
        nonlocal reads
        reads += 1
        if reads == 2:
            rig.cpe.device.quirks = Quirks(fails_on=("GetParameterValues",))
        return await real(call, path)

    rig.line.below = once  # type: ignore[method-assign]  # the moment between the two reads
    with pytest.raises(NotSentError, match="could not be read before it was to be written"):
        await rig.line.send(ticket(made))
    assert rig.cpe.executed("AddObject") == []


@pytest.mark.parametrize("root", ["Device.", "InternetGatewayDevice."])
async def test_inverse_of_deletion_makes_row_again_with_its_fields(tmp_path: Path, root: str) -> None:
    options = {} if root == "Device." else {"model": tr098()}
    async with acs_rig(tmp_path, **options) as rig:
        await rig.line.below(await rig.line.wait(), rig.ports)
        before = [v for _, _, v in rig.cpe.device.tree.show(f"{rig.ports}1.")]
        cpe = rig.line.cpe()
        profile = SHIPPED.of(cpe.oui, cpe.product_class, cpe.software, cpe.root)
        wanted = Wanted({f"-{rig.ports}[ExternalPort=8080]": ""})
        plan = expect(
            CpePlan, cpe_verbs.set_values(CpeSubject(cpe, rig.line.target.id, rig.known_values(), profile), wanted, 1)
        )
        do = expect(tuple, plan.steps[0].do)
        assert (await rig.line.send(ticket(do))).accepted
        assert numbers(rig) == []
        now = await rig.line.read([do[0].address])
        back = Transition(do[0].address, now[do[0].address], do[0].before.value)
        assert (await rig.line.send(ticket((back,)))).accepted
        assert (await rig.line.read([back.address]))[back.address].value == do[0].before.value
        assert numbers(rig) == [2]
        again = [v for _, _, v in rig.cpe.device.tree.show(f"{rig.ports}2.")]
        status = {"Enabled", "Disabled"}  # which the CPE sets by itself
        assert [v for v in again if v not in status] == [v for v in before if v not in status]


async def test_rows_and_parameters_are_read_together(rig: AcsRig) -> None:
    row, ssid = at(rig, {"ExternalPort": "8080"}, "InternalPort", "Enable"), rig.at("WiFi.SSID.1.SSID")
    none = at(rig, {"ExternalPort": "1"}, "InternalPort")
    nowhere = row_address(rig.line.target.id, TableRow("Device.NoSuch.Table.", {"Key": "1"}, ("Field",)))
    seen = await rig.line.read([row, ssid, none, nowhere])
    assert {a: s.value for a, s in seen.items()} == {
        row: {"ExternalPort": "8080", "InternalPort": "80", "Enable": "true"},
        ssid: {"value": rig.cpe.device.tree.get(SSID)},
        none: ABSENT,
        nowhere: ABSENT,
    }
