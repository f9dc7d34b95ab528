"""An agent with switches of the lab."""

from __future__ import annotations

from dataclasses import dataclass

import trio

from lab.snmp.device import POE_ADMIN, Device
from lab.snmp.links import IF_ADMIN, IF_ALIAS
from lab.snmp.network import CORE, Access, Customer, Network
from lab.snmp.server import SnmpLab
from tests.e2e.files import COLUMNS, Files
from tests.e2e.site import Json, Office

CUSTOMERS = [Customer(f"customer{n}", f"02:1a:00:00:00:{n:02x}") for n in range(5)]
WITHIN_S = 60.0


@dataclass
class Ground:
    """A network, and an agent's files for it."""

    network: Network
    files: Files

    @property
    def core(self) -> Device:
        return self.network[CORE]

    @property
    def house(self) -> int:
        """The ifIndex of the port of the only subscriber by Ethernet."""
        (line,) = self.network.lines_by(Access.ETHERNET)
        return line.port

    @property
    def port(self) -> str:
        return f"{CORE}/0/{self.house}"

    def number(self, column: str, row: str) -> int:
        value = self.core.get(f"{column}.{row}")
        assert value is not None
        return value.number()

    @property
    def admin(self) -> int:
        return self.number(IF_ADMIN, str(self.house))

    @property
    def power(self) -> int:
        return self.number(POE_ADMIN, f"1.{self.house}")

    @property
    def alias(self) -> str:
        value = self.core.get(f"{IF_ALIAS}.{self.house}")
        assert value is not None
        return value.text()


def configuration(lab: SnmpLab, roots: str, write: str) -> str:
    text = '[snmp-credential.read]\nversion = "2c"\ncommunity = "snmp/read"\n\n'
    text += '[snmp-credential.write]\nversion = "2c"\ncommunity = "snmp/write"\n\n'
    for name in lab.devices:
        host, port = lab.where(name)
        text += f'[snmp.{name}]\naddress = "{host}"\nport = {port}\ncredential = "read"\n{write}'
        text += "timeout_s = 3\nretries = 3\n\n"
    return f"{text}[lines]\n{roots}"


def row_of(login: str, mac: str) -> dict[str, str]:
    values = {"subscriber": f"C-{login}", "name": login, "service": "home", "login": login, "method": "none"}
    return {
        **dict.fromkeys(COLUMNS, ""),
        **values,
        "tariff": "Home 20M",
        "balance": "0.00",
        "as_of": "2026-01-01",
        "mac": mac,
    }


async def all_read(office: Office) -> None:
    """Return once each device was read since the agent started."""
    with trio.fail_after(WITHIN_S):
        while {one["state"] for one in await office.call("GET", "/v1/devices")} != {"reachable"}:  # noqa: ASYNC110  it is asked as a person does
            await trio.sleep(0.05)


def result(change: Json) -> tuple[str, str, str]:
    """Return state, reason and detail of the change's only item."""
    (item,) = change["items"]
    return item["state"], item["reason"], item["detail"]


def step_text(change: Json) -> str:
    return " · ".join(f"{step['verdict']} {step['reason']} {step['detail']}" for step in change["steps"])
