"""The sections of SNMP: what is taken, and each mistake by its name."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.config import ConfigError, parse_untrusted
from agent.connectors.snmp import SPEC
from agent.connectors.snmp.configuration import SnmpConfig
from agent.connectors.snmp.credential import AuthProtocol, PrivProtocol, SnmpVersion

HEAD = '[agent]\nname = "hill"\n'
PUBLIC = '[snmp-credential.public]\nversion = "2c"\ncommunity = "snmp/public"\n'
V3 = """
[snmp-credential.v3]
version = "3"
user = "noc"
auth = "SHA-256"
auth_secret = "snmp/auth"
priv = "AES"
priv_secret = "snmp/priv"
"""
SWITCH = '[snmp.sw-1]\naddress = "10.0.0.1"\ncredential = "public"\n'


def parsed(text: str, folder: Path = Path("/nowhere")) -> SnmpConfig:
    return parse_untrusted(f"{HEAD}{text}".encode(), folder / "a.toml", {}).of(SPEC)


def problems(text: str, folder: Path = Path("/nowhere")) -> str:
    with pytest.raises(ConfigError) as caught:
        parsed(text, folder)
    return "\n".join(caught.value.problems)


def test_devices_and_credentials() -> None:
    found = parsed(f'[snmp]\nin_flight = 10\n{PUBLIC}{V3}{SWITCH}every_s = 60\nsys_name = "sw-1.hill"\n')
    (device,) = found.devices
    assert (device.id, device.place, device.every_s, device.sys_name) == ("snmp/sw-1", "10.0.0.1:161", 60, "sw-1.hill")
    assert (device.access.version, device.access.community) == (SnmpVersion.V2C, "snmp/public")
    v3 = found.accesses[1]
    assert (v3.auth, v3.priv) == (AuthProtocol.SHA_256, PrivProtocol.AES_128)
    assert SPEC.secrets(found) == {"snmp/public", "snmp/auth", "snmp/priv"}
    assert found.in_flight == 10
    assert parsed("") == SnmpConfig()


def test_another_secret_writes() -> None:
    found = parsed(f'{PUBLIC}{V3}{SWITCH}write_credential = "v3"\n')
    (device,) = found.devices
    assert device.write == found.accesses[1] != device.access
    assert parsed(f"{PUBLIC}{SWITCH}").devices[0].write is None


def test_a_fleet_of_devices(tmp_path: Path) -> None:
    (tmp_path / "sites.csv").write_text("name,host,pace\nsw-1,10.0.0.1,60\nsw-2,2001:db8::2,0\n")
    each = '[snmp."{name}"]\neach = "sites"\naddress = "{host}"\ncredential = "public"\nevery_s = "{pace}"\n'
    found = parsed(f'[fleet.sites]\nfile = "sites.csv"\n{PUBLIC}{each}', tmp_path)
    assert [(d.name, d.place, d.every_s) for d in found.devices] == [
        ("sw-1", "10.0.0.1:161", 60),
        ("sw-2", "[2001:db8::2]:161", 0),
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (SWITCH, "snmp.sw-1.credential: expected one of none, there is no [snmp-credential.NAME], got public"),
        (PUBLIC + SWITCH.replace('"public"', '"pubic"'), "snmp.sw-1.credential: expected one of public, got pubic"),
        (PUBLIC + SWITCH + 'profile = "nothing"\n', "snmp.sw-1.profile: expected one of "),
        (PUBLIC + SWITCH + "every_s = 3\n", "snmp.sw-1.every_s: expected 0, or seconds from 10 to 86,400, got 3"),
        (
            PUBLIC + SWITCH + SWITCH.replace("sw-1", "sw-2"),
            "snmp.sw-2.address: expected another one than that of snmp.sw-1",
        ),
        (PUBLIC + SWITCH.replace("sw-1", '"SW 1"'), "snmp: expected names of 1 to 32 of a-z, 0-9 and -, got 'SW 1'"),
        ("[snmp]\nspeed = 3\n", "snmp.speed: unknown"),
        (PUBLIC.replace('community = "snmp/public"\n', ""), "snmp-credential.public.community: missing"),
        (V3.replace('auth_secret = "snmp/auth"\n', ""), "snmp-credential.v3.auth_secret: missing"),
        (V3.replace('auth = "SHA-256"\nauth_secret = "snmp/auth"\n', ""), "snmp-credential.v3: priv needs auth"),
        (V3.replace('user = "noc"\n', ""), "snmp-credential.v3: user: expected 1 to 32 octets, got 0"),
        (PUBLIC + 'user = "noc"\n', "snmp-credential.public: version 2c has a community only"),
        (V3.replace('"SHA-256"', '"SHA3"'), "snmp-credential.v3.auth: expected one of MD5"),
        (PUBLIC + SWITCH + 'write_credential = "rw"\n', "snmp.sw-1.write_credential: expected one of public, got rw"),
        (
            PUBLIC + SWITCH + 'write_credential = "public"\n',
            "write_credential: expected another secret than that by which",
        ),
        (
            PUBLIC + PUBLIC.replace(".public]", ".rw]") + SWITCH + 'write_credential = "rw"\n',
            "snmp.sw-1.write_credential: expected another secret than that by which it is read: both are the community",
        ),
        (
            V3 + V3.replace(".v3]", ".rw]") + SWITCH.replace('"public"', '"v3"') + 'write_credential = "rw"\n',
            "snmp.sw-1.write_credential: expected another secret than that by which it is read: both are the user noc",
        ),
        ('[snmp]\nprofiles = "there"\n', "snmp.profiles: expected a folder of profiles in UTF-8"),
    ],
)
def test_mistakes(text: str, said: str) -> None:
    assert said in problems(text)


def test_a_mistake_in_an_own_profile(tmp_path: Path) -> None:
    own = tmp_path / "own"
    own.mkdir()
    (own / "mine.toml").write_text('title = "Mine"\nextends = ["nothing"]\n')
    (own / "notes.txt").write_text("not one")
    assert "snmp.profiles: profile mine.toml" in problems('[snmp]\nprofiles = "own"\n', tmp_path)
    (own / "mine.toml").write_text('title = "Mine"\nextends = ["standard"]\n')
    found = parsed(f'[snmp]\nprofiles = "own"\n{PUBLIC}{SWITCH}profile = "mine"\n', tmp_path)
    assert list(found.own_profiles) == ["mine"]
