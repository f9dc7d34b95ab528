"""A port of a switch asked for at a desk, approved at another one, switched by the agent, read back and taken back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from lab.isp import Isp
from lab.snmp.links import IF_ADMIN
from lab.snmp.network import CORE, build_network
from lab.snmp.server import Layout, open_snmp_lab
from tests.e2e.cloud_site import CloudProgram, Company, Found, company, plan_sha256
from tests.e2e.files import Files
from tests.e2e.ports_site import CUSTOMERS, Ground, all_read, configuration, result, row_of, step_text
from tests.e2e.site import Json, Site
from trust.policy import Action
from trust.statements import EffectKind, OutcomeState, Plan, ReceiptResult

SECRETS = {"snmp/read": "look", "snmp/write": "touch"}
pytestmark = pytest.mark.slow


@dataclass
class Desks:
    """An operator whose agent watches a network, and its people at their desks."""

    here: Company
    site: Site
    net: Ground

    async def planned(self, action: Action) -> Plan:
        """Return the newest plan of an action, once it is on the shared feed."""

        def newest(board: Found) -> Plan | None:
            return next((plan for plan in reversed(board.plans) if plan.action is action), None)

        return await self.here.joseph.wait(f"a plan of {action.value}", newest)

    async def approved(self, plan: Plan, end: OutcomeState) -> Json:
        """Have joseph look at a plan and approve it at his desk; return the change once it is over."""
        said = await self.here.joseph.do("changes", "approve", plan.plan_id[:8], "--yes-i-read-it", "1")
        assert "RECEIPT noc-1: approve accepted" in said
        change = next(one for one in await self.site.call("GET", "/v1/changes") if one["plan_id"] == plan.plan_id)
        done = await self.site.wait_end(change)
        assert (await self.here.joseph.outcome(plan_sha256(done))).state is end
        return done


@asynccontextmanager
async def desks(folder: Path, cloud: CloudProgram) -> AsyncIterator[Desks]:
    network = build_network(CUSTOMERS)
    for device in network.devices:
        device.community, device.write_community = "look", "touch"
    async with open_snmp_lab(network.devices, layout=Layout.ADDRESSES) as lab:

        def with_switches(_isp: Isp, files: Files) -> None:
            text = configuration(lab, f'roots = ["{CORE}"]\n', 'write_credential = "write"\n')
            files.config.write_text(f"{files.config.read_text(encoding='utf-8')}\n{text}", encoding="utf-8")
            files.secrets.update(SECRETS)
            files.billing.rows.update({f"C-{c.login}/home": row_of(c.login, c.mac.upper()) for c in CUSTOMERS})

        async with (
            company(folder, cloud, desks=("maria", "joseph"), prepare_files=with_switches) as here,
            here.at_work() as site,
        ):
            await all_read(site)
            await here.joseph.wait("a sealing key", lambda board: board.sealkeys)
            yield Desks(here, site, Ground(network, here.files))


async def test_a_port_is_switched_off_from_a_desk_and_back(tmp_path: Path, cloud: CloudProgram) -> None:
    async with desks(tmp_path, cloud) as at:
        here, net = at.here, at.net
        said = await here.desks["maria"].do("changes", "port-down", CORE, f"0/{net.house}", "--agent", "noc-1")
        assert "RECEIPT noc-1: intent accepted" in said
        plan = await at.planned(Action.PORT_SET)
        assert (plan.requester, plan.risk_class.value, plan.effect_kinds) == ("maria", "low", ())
        shown = " ".join((await here.joseph.do("changes", "show", plan.plan_id[:8])).split())
        assert f"~ snmp/{CORE}/if/0-{net.house}/admin admin down (was: up)" in shown
        assert "1 subscriber hangs on it and is cut off: C-customer4/home" in shown
        assert net.admin == 1

        done = await at.approved(plan, OutcomeState.DONE)
        assert result(done)[0] == "applied", done
        assert step_text(done) == "applied read-back ifOperStatus reads down"
        assert net.admin == 2

        asked = await here.files.type("change", "revert", done["plan_id"])
        assert asked.code == 0, asked
        back = await at.planned(Action.REVERT)
        shown = " ".join((await here.joseph.do("changes", "show", back.plan_id[:8])).split())
        assert f"~ snmp/{CORE}/if/0-{net.house}/admin admin up (was: down)" in shown
        assert net.admin == 2
        taken_back = await at.approved(back, OutcomeState.DONE)
        assert (result(taken_back)[0], net.admin) == ("applied", 1)

        held = b"".join(path.read_bytes() for path in here.cloud.folder.rglob("*.db*") if path.is_file())
        for word in (b"customer4", CORE.encode(), f"0-{net.house}/admin".encode(), *map(str.encode, SECRETS.values())):
            assert word not in held, word


async def test_what_may_not_be_switched_off_is_refused_at_a_desk_too(tmp_path: Path, cloud: CloudProgram) -> None:
    async with desks(tmp_path, cloud) as at:
        maria = at.here.desks["maria"]
        typed = await maria.type("changes", "port-down", CORE, "0/48", "--agent", "noc-1")
        assert typed.code == 3, typed
        assert "Do the same on the agent's own host: there it says why" in typed.err
        assert not [plan for plan in (await at.here.joseph.feed()).plans if plan.action is Action.PORT_SET]
        (receipt,) = (await at.here.joseph.feed()).receipts
        assert receipt.result is ReceiptResult.REFUSED
        assert at.net.number(IF_ADMIN, "48") == 1


async def test_a_power_cycle_asked_at_a_desk_is_named_irreversible(tmp_path: Path, cloud: CloudProgram) -> None:
    async with desks(tmp_path, cloud) as at:
        said = await at.here.desks["maria"].do(
            "changes", "port-power-cycle", CORE, f"0/{at.net.house}", "--off", "1", "--agent", "noc-1"
        )
        assert "RECEIPT noc-1: intent accepted" in said
        plan = await at.planned(Action.PORT_CYCLE)
        assert plan.effect_kinds == (EffectKind.REBOOT,)
        assert "irreversible" in await at.here.joseph.do("changes", "show", plan.plan_id[:8])
        done = await at.approved(plan, OutcomeState.DONE)
        assert (result(done)[0], at.net.power) == ("applied", 1), done
        assert "seen off, then on again: deliveringPower" in step_text(done)


async def test_the_rest_of_a_change_of_ports_is_asked_for_at_a_desk(tmp_path: Path, cloud: CloudProgram) -> None:
    """The desk names the change alone: which ports it is about, and what was wanted of them, the agent knows."""
    async with desks(tmp_path, cloud) as at:
        maria = at.here.desks["maria"]
        await maria.do("changes", "port-alias", CORE, f"0/{at.net.house}", "Amina", "--agent", "noc-1")
        first = await at.planned(Action.PORT_SET)
        await at.here.joseph.do("changes", "cancel", first.plan_id[:8], "--yes")
        said = await maria.do("changes", "again", first.plan_id[:8])
        assert "RECEIPT noc-1: intent accepted" in said
        again = await at.planned(Action.PORT_SET)
        assert again.plan_id != first.plan_id
        shown = " ".join((await at.here.joseph.do("changes", "show", again.plan_id[:8])).split())
        assert "alias Amina (was: customer4)" in shown
        done = await at.approved(again, OutcomeState.DONE)
        assert (result(done)[0], at.net.alias) == ("applied", "Amina")
