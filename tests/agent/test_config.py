"""The configuration file: what comes out, all mistakes at once, nothing secret in a message, docs that agree."""

from __future__ import annotations

import hashlib
from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config import AgentConfig, ConfigError, HooksConfig, all_keys, documented_keys, load, parse_untrusted
from agent.connectors import cwmp, radius, registry, routeros
from agent.connectors.radius.configuration import nas_profiles
from agent.connectors.radius.schema import Database, TableSet
from agent.connectors.routeros.schema import Use

ROOT = Path(__file__).parents[2]
GOOD = """
[agent]
name = "hill"
[people]
1001 = "maria"
[radius.main]
database = "postgresql"
secret = "radius/main"
[nas.bng-1]
accounting = "10.9.0.11"
secret = "nas/bng-1"
[method.pppoe]
target = "radius/main"
garden4 = ["100.99.0.0/16"]
garden6 = ["2001:db8:99::/48"]
[method.pppoe.suspended_reply]
Mikrotik-Address-List = "suspended"
[method.pppoe.tariffs]
"Home 20M" = "home-20m"
"""


def read(text: str, environ: dict[str, str] | None = None) -> AgentConfig:
    return parse_untrusted(text.encode(), Path("/etc/isp/agent.toml"), environ or {})


def problems(text: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(text)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return [problem.removeprefix("/etc/isp/agent.toml ") for problem in caught.value.problems]


def test_a_good_file_and_its_defaults() -> None:
    config = read(GOOD)
    assert (config.name, config.people, str(config.timezone)) == ("hill", {1001: "maria"}, "UTC")
    assert config.state_dir == Path("/var/lib/ispagent")
    assert config.socket == Path("/run/ispagent/agent.sock")
    assert config.key_file == Path("/var/lib/ispagent/store.key")
    assert config.origin == "ispagents.local/agent/hill"
    assert config.socket_group is None
    assert config.config_sha256 == hashlib.sha256(GOOD.encode()).hexdigest()
    assert (config.policy.ttl_s, config.policy.canary, config.policy.soak_s, config.policy.pace) == (1800, 5, 120, 2)
    assert (config.policy.stop_failed_percent, config.policy.stop_lost_sessions, config.policy.usual) == (2, 10, 0)
    assert (config.billing.file, config.billing.max_age_s) == (None, 7200)
    assert (config.cloud.checkpoint_s, config.cloud.witness_wait_s, config.cloud.uplink) == (60, 30, True)
    found = config.of(radius.SPEC)
    (target,), (nas,), (method,) = found.targets, found.nas, found.methods
    assert (target.id, target.database, target.tables, target.secret, target.path) == (
        "radius/main", Database.POSTGRESQL, TableSet.STOCK, "radius/main", "",
    )  # fmt: skip
    assert (target.marker_group, target.marker_priority, target.timeout_s) == ("suspended", -1, 5.0)
    assert (nas.dynauth_host, nas.dynauth_port, nas.profile, nas.source) == ("10.9.0.11", 3799, "mikrotik", "")
    assert method.suspended_reply == {"Mikrotik-Address-List": "suspended"}
    assert (method.tariffs, method.active_reply) == ({"Home 20M": "home-20m"}, {})
    assert method.garden4 == (ip_network("100.99.0.0/16"),)
    assert method.garden6 == (ip_network("2001:db8:99::/48"),)


def test_the_uplink_can_be_switched_off() -> None:
    assert not read(GOOD + "[cloud]\nuplink = false\n").cloud.uplink


def test_paths_are_relative_to_the_file() -> None:
    text = GOOD.replace('name = "hill"', 'name = "hill"\nstate_dir = "state"\nsocket = "/run/a.sock"\nkey_file = "./k"')
    config = read(text.replace('database = "postgresql"', 'database = "sqlite"\npath = "radius.db"'))
    assert (config.state_dir, config.socket) == (Path("/etc/isp/state"), Path("/run/a.sock"))
    assert config.key_file == Path("/etc/isp/k")
    assert config.of(radius.SPEC).targets[0].path == "/etc/isp/radius.db"


def test_the_key_comes_from_a_credential_if_there_is_one(tmp_path: Path) -> None:
    environ = {"CREDENTIALS_DIRECTORY": str(tmp_path)}
    assert read(GOOD, environ).key_file == Path("/var/lib/ispagent/store.key")
    for name in ("store-key", "mine"):
        (tmp_path / name).write_bytes(bytes(32))
    assert read(GOOD, environ).key_file == tmp_path / "store-key"
    (tmp_path / "ispagent.store-key").write_bytes(bytes(32))  # as our own unit passes it
    assert read(GOOD, environ).key_file == tmp_path / "ispagent.store-key"
    named = GOOD.replace('name = "hill"', 'name = "hill"\nkey_file = "mine"')
    assert read(named, environ).key_file == tmp_path / "mine"
    assert read(named).key_file == Path("/etc/isp/mine")


def test_all_mistakes_at_once() -> None:
    text = (
        GOOD.replace('name = "hill"', 'name = "Hill ISP"\ntimezone = "Mars/Base"\nstat_dir = "x"')
        .replace('accounting = "10.9.0.11"', 'accounting = "10.9.0.999"\ndynauth_port = 99999\nprofile = "huawai"')
        .replace('"100.99.0.0/16"', '"100.99.0.1/16"')
        .replace("2001:db8:99::/48", "10.0.0.0/8")
        .replace('target = "radius/main"', 'target = "radius/mian"')
        .replace('"maria"', "7")
    ) + "[policy]\nttl_s = true\npace = 0\n[polices]\n"
    found = problems(text)
    expected = [
        "polices: unknown; did you mean policy?",
        "agent.stat_dir: unknown; did you mean state_dir?",
        "agent.name: expected a handle: 1 to 32 of a-z, 0-9 and -, got 'Hill ISP'",
        "agent.timezone: expected an IANA time zone, such as Africa/Kampala, got 'Mars/Base'",
        "people.1001: expected a handle: 1 to 32 of a-z, 0-9 and -, got 7",
        "policy.ttl_s: expected a whole number from 60 to 86400, got True",
        "policy.pace: expected a whole number from 1 to 1000, got 0",
        "nas.bng-1.accounting: expected an IP address, got '10.9.0.999'",
        "nas.bng-1.dynauth_port: expected a whole number from 1 to 65535, got 99999",
        f"nas.bng-1.profile: expected one of {', '.join(nas_profiles())}, got 'huawai'",
        (
            "method.pppoe.garden4: expected a list of IPv4 prefixes without host bits, such as 100.99.0.0/16, "
            "got ['100.99.0.1/16']"
        ),
        (
            "method.pppoe.garden6: expected a list of IPv6 prefixes without host bits, such as 2001:db8:99::/48, "
            "got ['10.0.0.0/8']"
        ),
    ]
    assert found == expected


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('name = "hill"', "", "agent.name: missing; expected a handle"),
        ('database = "postgresql"', 'database = "oracle"', "radius.main.database: expected one of postgresql, mariadb"),
        ('database = "postgresql"', "database = 3", "radius.main.database: expected one of"),
        ('database = "postgresql"', 'database = "sqlite"', "radius.main.path: missing; expected the file"),
        ('database = "postgresql"', 'database = "mariadb"\npath = "x"', "radius.main.path: expected only for sqlite"),
        ('database = "postgresql"', 'database = "mariadb"\nhost = ""', "radius.main.host: expected a host name"),
        ('database = "postgresql"', 'database = "mariadb"\ntimeout_s = 0', "timeout_s: expected a number from 0.1"),
        ('target = "radius/main"', 'target = "radius/other"', "method.pppoe.target: expected one of radius/main, got"),
        ('Mikrotik-Address-List = "suspended"', "", "method.pppoe.suspended_reply: missing"),
        ('"home-20m"', '"suspended"', "method.pppoe.tariffs: expected tariffs' groups, got 'suspended'"),
        ("1001 =", "maria =", "people.maria: expected a uid"),
        ("1001 =", '01001 = "m"\n1001 =', "people.1001: expected each uid once"),
        ("[nas.bng-1]", "[nas.BNG_1]", "nas.BNG_1: expected a name of 1 to 32"),
        ("[nas.bng-1]", '[nas]\nbng-2 = 3\n[nas.bng-1]', "nas.bng-2: expected a section [nas.NAME], got 3"),
        ("[people]", "[cloud]\nuplink = 1\n[people]", "cloud.uplink: expected true or false, got 1"),
        ("[people]", "[cloud]\ncheckpoint_s = 0\n[people]", "cloud.checkpoint_s: expected a whole number from 1 to"),
        ("[people]", "[cloud]\nwitness_wait_s = true\n[people]", "cloud.witness_wait_s: expected a whole number"),
        ("[people]", "[policy]\n[people]\n\"a\\u001b\" = 1", "people.'a\\x1b': expected a handle"),
        ('accounting = "10.9.0.11"', "accounting = 168362251", "nas.bng-1.accounting: expected an IP address"),
        ("[method.pppoe.tariffs]", "[method.pppoe.tarifs]", "method.pppoe.tarifs: unknown; did you mean tariffs?"),
        ('secret = "radius/main"', "", "radius.main.secret: missing; expected the name of a secret in"),
        ('database = "postgresql"\nsecret = "radius/main"', 'database = "mariadb"', "radius.main.secret: missing;"),
        ("Mikrotik-Address-List", "Mikrotik-Adress-List", "Mikrotik-Adress-List: unknown; did you mean Mikrotik-Addr"),
        ("Mikrotik-Address-List", "Mikrotik_Address_List", "unknown; did you mean Mikrotik-Address-List?"),
        ("[method.pppoe.tariffs]", '[method.pppoe.active_reply]\nFramed-Pol = "cgnat"\n[method.pppoe.tariffs]',
         "method.pppoe.active_reply.Framed-Pol: unknown; did you mean Framed-Pool?"),
        ("garden4 =", 'coa = ["Mikrotik-RateLimit"]\ngarden4 =', "coa: Mikrotik-RateLimit: unknown; did you mean Mik"),
        ("[method.pppoe.tariffs]", 'Session-Timeout = "5 minutes"\n[method.pppoe.tariffs]',
         "suspended_reply.Session-Timeout: expected a value of type integer, got '5 minutes'"),
        ("[method.pppoe.tariffs]", 'Fall-Through = "Yes"\n[method.pppoe.tariffs]',
         "Fall-Through: expected an attribute that a router gets, got one that FreeRADIUS keeps to itself"),
    ],
)  # fmt: skip
def test_one_mistake(before: str, after: str, says: str) -> None:
    assert before in GOOD
    (found,) = problems(GOOD.replace(before, after, 1))
    assert says in found


def test_a_database_that_asks_for_no_password() -> None:
    config = read(GOOD.replace('secret = "radius/main"', 'secret = ""'))
    assert config.of(radius.SPEC).targets[0].secret == ""


@pytest.mark.parametrize(
    "name", ["mikrotik-address-list", "Cisco-AVPair", "Login-IPv6-Host", "Tunnel-Private-Group-Id:1"]
)
def test_attributes_in_any_case_and_of_other_vendors(name: str) -> None:
    assert read(GOOD.replace("Mikrotik-Address-List", f'"{name}"'))


FINGERPRINT = "94" * 32
ROUTER = f"""
[agent]
name = "hill"
[routeros.edge-1]
host = "10.9.0.21"
user = "ispagents"
secret = "routeros/edge-1"
fingerprint = "{FINGERPRINT}"
[ppp.pppoe]
target = "routeros/edge-1"
suspended_profile = "suspended"
[ppp.pppoe.tariffs]
"Home 20M" = "home20"
"""


def test_a_router_and_its_defaults() -> None:
    config = read(ROUTER)
    (target,), (method,) = config.of(routeros.SPEC).targets, config.of(routeros.SPEC).methods
    assert (target.id, target.port, target.fingerprint) == ("routeros/edge-1", 8729, bytes.fromhex(FINGERPRINT))
    assert (target.insecure, target.serial, target.timeout_s) == (False, "", 10.0)
    assert (method.name, method.suspended_profile, method.tariffs) == ("pppoe", "suspended", {"Home 20M": "home20"})
    assert (method.disconnect_within_s, method.redial_within_s) == (20, 60)
    assert [(m.name, m.target, m.tariffs) for m in config.access] == [("pppoe", "routeros/edge-1", {"Home 20M"})]
    colons = ":".join(["94"] * 32)
    assert read(ROUTER.replace(FINGERPRINT, colons)).of(routeros.SPEC).targets == (target,)
    plain = read(ROUTER.replace(f'fingerprint = "{FINGERPRINT}"', "insecure = true")).of(routeros.SPEC).targets[0]
    assert (plain.insecure, plain.fingerprint) == (True, b"")
    assert (target.cpu_limit, set(target.credentials), target.secrets) == (80, {Use.SERVICE}, {"routeros/edge-1"})


THREE = """read_user = "viewer"
read_secret = "routeros/edge-1/read"
config_user = "changer"
config_secret = "routeros/edge-1/config"
cpu_limit = 0
"""


def test_three_users_of_a_router() -> None:
    (target,) = read(ROUTER.replace("[ppp.pppoe]", f"{THREE}[ppp.pppoe]", 1)).of(routeros.SPEC).targets
    assert {use: (found.user, found.secret) for use, found in target.credentials.items()} == {
        Use.SERVICE: ("ispagents", "routeros/edge-1"),
        Use.READ: ("viewer", "routeros/edge-1/read"),
        Use.CONFIG: ("changer", "routeros/edge-1/config"),
    }
    assert target.cpu_limit == 0
    config = read(ROUTER.replace("[ppp.pppoe]", f"{THREE}[ppp.pppoe]", 1))
    assert config.secrets == {"routeros/edge-1", "routeros/edge-1/read", "routeros/edge-1/config"}


def test_access_methods_of_both_kinds() -> None:
    database = GOOD.replace("[method.pppoe", "[method.dialin").replace("postgresql", "mariadb")
    config = read(database + ROUTER.replace('[agent]\nname = "hill"', ""))
    assert [(m.name, m.same("Amina")) for m in config.access] == [("dialin", "amina"), ("pppoe", "Amina")]


def test_a_mac_address_is_one_login_however_it_is_written() -> None:
    dhcp = '[dhcp.hill]\ntarget = "routeros/edge-1"\n[dhcp.hill.tariffs]\n"Home 20M" = "20M/20M"\n'
    found = {m.name: m.same for m in read(ROUTER + dhcp).access}
    spellings = ["02:00:00:00:aa:01", "02-00-00-00-AA-01", "0200.0000.aa01"]
    assert {found["hill"](text) for text in spellings} == {"02:00:00:00:AA:01"}
    assert {found["pppoe"](text) for text in spellings} == set(spellings)
    assert found["hill"]("amina.h") == "amina.h"


def test_logins_that_are_addresses_are_compared_as_such() -> None:
    static = '[static.shop]\ntarget = "routeros/edge-1"\nsuspended_list = "s"\n[static.shop.tariffs]\n"Home 20M" = ""\n'
    assert {m.name: m.addressed for m in read(ROUTER + static).access} == {"pppoe": False, "shop": True}


def test_the_inventory_knows_every_router_of_a_method() -> None:
    text = ROUTER + ROUTER[ROUTER.index("[routeros.") : ROUTER.index("[ppp.")].replace("edge-1", "edge-2")
    text = text.replace("[ppp.pppoe]", '[ppp.pppoe]\nalso_on = ["routeros/edge-2"]', 1)
    assert [(m.target, m.also_on) for m in read(text).access] == [("routeros/edge-1", ("routeros/edge-2",))]


@pytest.mark.parametrize(
    ("before", "after", "says"),
    [
        ('host = "10.9.0.21"', "", "routeros.edge-1.host: missing"),
        (f'fingerprint = "{FINGERPRINT}"', "", "fingerprint: expected the certificate's fingerprint, or insecure"),
        (f'"{FINGERPRINT}"', f'"{FINGERPRINT}"\ninsecure = true', "fingerprint, not both"),
        (FINGERPRINT, "94" * 31, "routeros.edge-1.fingerprint: expected the SHA-256 of the router's certificate"),
        (FINGERPRINT, "é4" * 32, "routeros.edge-1.fingerprint: expected the SHA-256 of the router's certificate"),
        ('secret = "routeros/edge-1"', 'password = "x"', "secrets do not stand here"),
        ('target = "routeros/edge-1"', 'target = "routeros/edge-2"', "expected one of routeros/edge-1, got"),
        ('target = "routeros/edge-1"', 'target = "radius/main"', "expected a target such as routeros/edge-1, got"),
        ('"home20"', '"suspended"', "ppp.pppoe.tariffs: expected tariffs' profiles, got 'suspended'"),
        ('suspended_profile = "suspended"', "", "ppp.pppoe.suspended_profile: missing"),
        ("[ppp.pppoe.tariffs]", "[ppp.pppoe.tarifs]", "ppp.pppoe.tarifs: unknown; did you mean tariffs?"),
        ("[ppp.pppoe]", 'read_user = "v"\n[ppp.pppoe]', "edge-1.read_secret: missing; read_user and read_secret"),
        ("[ppp.pppoe]", 'config_secret = "v"\n[ppp.pppoe]', "edge-1.config_user: missing; config_user and"),
        ("[ppp.pppoe]", THREE.replace("viewer", "ispagents") + "[ppp.pppoe]", "read_user: expected a user of its own"),
        ("[ppp.pppoe]", THREE.replace("viewer", "changer") + "[ppp.pppoe]", "config_user: expected a user of its own"),
        ("[ppp.pppoe]", "cpu_limit = 101\n[ppp.pppoe]", "cpu_limit: expected a whole number from 0 to 100"),
    ],
)
def test_one_mistake_about_a_router(before: str, after: str, says: str) -> None:
    assert before in ROUTER
    found = problems(ROUTER.replace(before, after, 1))
    assert any(says in problem for problem in found), found


STATIC = (
    ROUTER
    + """
[static.office]
target = "routeros/edge-1"
suspended_limit = "64k/64k"
[static.office.tariffs]
"Office 20M" = "20M/20M"
"Radio" = ""
"""
)


def test_fixed_addresses() -> None:
    method = read(STATIC).of(routeros.SPEC).methods[1]
    assert method.tariffs == {"Office 20M": "20M/20M", "Radio": ""}
    for before, after, says in (
        ('"64k/64k"', '"64k/64k"\nsuspended_list = "suspended"', "expected either suspended_list or suspended_limit"),
        ('suspended_limit = "64k/64k"', "", "expected either suspended_list or suspended_limit"),
        ('"64k/64k"', '"64k/0k"', "static.office.suspended_limit: expected limits above 0"),
        ('"64k/64k"', '"20000k/20M"', "static.office.tariffs: expected tariffs' limits, got '20000k/20M'"),
    ):
        found = problems(STATIC.replace(before, after, 1))
        assert any(says in problem for problem in found), found


def test_one_name_for_two_methods() -> None:
    found = problems(GOOD + ROUTER.replace('[agent]\nname = "hill"', ""))
    assert found == ["ppp.pppoe: expected each method once, there is a [method.pppoe] too"]


def test_two_routers_with_one_accounting_address() -> None:
    text = GOOD + '[nas.bng-2]\naccounting = "10.9.0.11"\nsecret = "nas/bng-2"\n'
    assert problems(text) == ["nas.bng-2.accounting: expected each address once, 10.9.0.11 is nas.bng-1's too"]


def test_one_nas_is_not_asked_for_another() -> None:
    """It denies the sessions of the other one: they were taken to be over."""
    text = GOOD + '[nas.bng-2]\naccounting = "10.9.0.12"\ndynauth_host = "10.9.0.11"\nsecret = "nas/bng-2"\n'
    told = "nas.bng-1 is asked at 10.9.0.11:3799 too, and profile mikrotik does not name the NAS in a request"
    assert problems(text) == [f"nas.bng-2.dynauth_host: expected a place of its own, {told}"]
    read(f"{text}dynauth_port = 1700\n")
    assert problems(f'{text}profile = "generic"\n') != [], "requests to bng-1 do not name it"
    both = text.replace("[nas.bng-1]", '[nas.bng-1]\nprofile = "generic"') + 'profile = "generic"\n'
    read(both)  # a proxy is before both


def test_no_radius_section() -> None:
    text = GOOD[: GOOD.index("[radius.main]")] + GOOD[GOOD.index("[nas.bng-1]") :]
    assert problems(text) == [
        "method.pppoe.target: expected one of none, there is no [radius.NAME], got 'radius/main'",
    ]


@pytest.mark.parametrize("line", ['password = "hunter22"', 'secret = "Hunter 22"', "secret = ['hunter22']"])
def test_a_secret_in_the_file_is_not_repeated(line: str) -> None:
    text = GOOD.replace('secret = "nas/bng-1"', line)
    found = problems(text)
    assert "unter" not in "".join(found)
    assert found[0].startswith("nas.bng-1.")


def test_files_that_are_none(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    with pytest.raises(ConfigError, match=r"cannot be read: No such file"):
        load(path)
    for data in (b"[agent\n", b"\xff\xfe", b"a = " + b"[" * 50_000):
        path.write_bytes(data)
        with pytest.raises(ConfigError, match=r"expected TOML in UTF-8"):
            load(path)
    path.write_bytes(b"#" * (4 * 1024 * 1024 + 1))
    with pytest.raises(ConfigError, match=r"at most 4194304 bytes"):
        load(path)
    path.write_text(GOOD)
    assert load(path).path == path


def test_a_secret_of_a_baseline_stands_alone() -> None:
    good = GOOD + '\n[baseline.a.values]\n"wan.ppp.password" = "{password}"\n"wifi.1.key" = "{secret:cpe/wifi}"\n'
    (baseline,) = read(good).of(cwmp.SPEC).baselines
    assert baseline.secrets == {"cpe/wifi"}
    expected = "expected {password} or {secret:NAME} alone, NAME as in `ispagent secret set`, for no row"
    assert problems(good.replace("{password}", "p{password}")) == [f"baseline.a.values.wan.ppp.password: {expected}"]
    row = "+Device.NAT.PortMapping.[ExternalPort=81]"
    assert problems(good.replace("wan.ppp.password", row)) == [f"baseline.a.values.{row}: {expected}"]
    assert problems(good.replace("cpe/wifi", "CPE wifi")) == [f"baseline.a.values.wifi.1.key: {expected}"]


TOML_VALUES = st.sampled_from(['"x"', "1", "-1", "true", "1.5", "nan", "[]", "[1]", "{}", "{a=1}", "2026-01-01", '""'])
SECTIONS = st.sampled_from(
    ["agent", "people", "policy", "billing", "radius.a", "nas.a", "method.a", "method.a.tariffs"]
)


@given(
    st.dictionaries(
        SECTIONS,
        st.dictionaries(st.sampled_from([k.name for k in all_keys(registry.specs())]), TOML_VALUES, max_size=4),
    )
)
def test_any_toml_gives_a_config_or_problems(sections: dict[str, dict[str, str]]) -> None:
    text = "".join(f"[{name}]\n" + "".join(f"{k} = {v}\n" for k, v in keys.items()) for name, keys in sections.items())
    found: tuple[str, ...] | None = None
    try:
        assert read(text).config_sha256 == hashlib.sha256(text.encode()).hexdigest()
    except ConfigError as err:
        found = err.problems
    assert found is None or all(problem.startswith("/etc/isp/agent.toml ") for problem in found)


@pytest.mark.parametrize(
    "section", ["agent", "people", "policy", "billing", "radius", "nas", "method", "routeros", "ppp"]
)
@pytest.mark.parametrize("value", ["1", '"x"', "[]", "[{}]"])
def test_sections_that_are_none(section: str, value: str) -> None:
    assert any(f"{section}: expected a section [{section}]" in found for found in problems(f"{section} = {value}"))


def test_the_mark_file_stands_outside_of_what_is_put_back() -> None:
    def made(more: str) -> Path | None:
        return parse_untrusted(
            f'[agent]\nname = "noc-1"\nstate_dir = "/s/agent"\n{more}'.encode(), Path("/c"), {}
        ).mark_file

    assert made("") == Path("/s/agent-mark/mark")
    assert made('mark_file = "/other/mark"') == Path("/other/mark")
    assert made('mark_file = "off"') is None
    with pytest.raises(ConfigError, match=r"agent\.mark_file: expected a path outside state_dir"):
        made('mark_file = "/s/agent/mark"')


def test_every_key_is_documented() -> None:
    lines = (ROOT / "docs" / "config.md").read_text(encoding="utf-8").splitlines()
    section, shown = "", []
    for line in lines:
        if line.startswith("## "):
            section = line.removeprefix("## `[").removesuffix("]`")
        elif line.startswith("| `"):
            key, default, doc = (cell.strip() for cell in line.strip("|").split(" | "))
            shown.append((section, key.strip("`"), default, doc))
    assert shown == documented_keys()


def test_the_example_in_the_documentation_is_valid() -> None:
    text = (ROOT / "docs" / "config.md").read_text(encoding="utf-8")
    assert read(text.partition("```toml\n")[2].partition("```")[0]).people == {1001: "maria", 1002: "joseph"}


@pytest.mark.parametrize(
    ("text", "hooks"),
    [
        ('listen = "127.0.0.1:0"', ("127.0.0.1", 0, "", "", "", "", 0)),
        ('listen = "[::1]:8443"\nturn = 3', ("::1", 8443, "", "", "", "", 3)),
        ('listen = "0.0.0.0:80"\nproxy = "10.0.0.2"', ("0.0.0.0", 80, "", "", "10.0.0.2", "", 0)),
        (
            'listen = "192.0.2.1:443"\ncertificate = "a.pem"\nkey = "/k"\nurl = "https://h.example/x"',
            ("192.0.2.1", 443, "/etc/isp/a.pem", "/k", "", "https://h.example/x", 0),
        ),
    ],
)
def test_hooks(text: str, hooks: tuple[object, ...]) -> None:
    found = read(f"{GOOD}[hooks]\n{text}\n").hooks
    assert found == HooksConfig(*hooks)  # type: ignore[arg-type]  # the table holds them in this order
    assert read(GOOD).hooks is None


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('listen = "0.0.0.0:80"', "hooks.certificate: missing; expected a certificate, a `proxy` that has one"),
        ('listen = "0.0.0.0:80"\ncertificate = "a"', "hooks.key: missing; expected certificate and key"),
        ('listen = "0.0.0.0:80"\nkey = "a"\nproxy = "10.0.0.1"', "hooks.certificate: missing; expected certificate"),
        ('listen = "isp.example:80"', "hooks.listen: expected an IP address and a port"),
        ('listen = "127.0.0.1:0"\nproxy = "10.0.0.0/8"', "hooks.proxy: expected an IP address"),
        ('listen = "127.0.0.1:0"\nurl = "ftp://a"', "hooks.url: expected the beginning of a URL"),
    ],
)
def test_mistakes_in_hooks(text: str, problem: str) -> None:
    (told,) = problems(f"{GOOD}[hooks]\n{text}\n")
    assert told.startswith(problem)
