"""One section for many devices: what comes of a fleet's file, and how its mistakes are told."""

from __future__ import annotations

import contextlib
import hashlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config import AgentConfig, ConfigError, parse_untrusted
from agent.config_fleet import LINES_MAX, MalformedFleetError, parse_fleet_untrusted
from agent.connectors import routeros

FILE = Path("/etc/isp/bng.csv")
FINGERPRINT = "ab" * 32
CONFIG = """
[agent]
name = "hill"
[fleet.bng]
file = "bng.csv"
[routeros.core]
host = "10.0.0.1"
user = "ispagents"
secret = "routeros/core"
fingerprint = "cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc"
[routeros."{name}"]
each = "bng"
host = "{host}"
port = "{port}"
user = "ispagents"
secret = "routeros/{name}"
fingerprint = "{fingerprint}"
serial = "{serial}"
[ppp."ppp-{name}"]
each = "bng"
target = "routeros/{name}"
suspended_profile = "suspended"
[ppp."ppp-{name}".tariffs]
"Home 20M" = "home20"
"""
CSV = f"""name,host,port,fingerprint,serial
edge-1,10.0.1.1,8729,{FINGERPRINT},123456
edge-2,10.0.2.1,8730,{FINGERPRINT},HFG09

"""


def read(config: str = CONFIG, fleet: str = CSV) -> AgentConfig:
    def file(path: Path) -> bytes:
        if path != FILE:
            raise FileNotFoundError(2, "No such file or directory")
        return fleet.encode()

    return parse_untrusted(config.encode(), FILE.with_name("agent.toml"), {}, read=file)


def problems(config: str = CONFIG, fleet: str = CSV) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read(config, fleet)
    return [problem.removeprefix("/etc/isp/agent.toml ") for problem in caught.value.problems]


def test_a_section_for_each_line() -> None:
    config = read().of(routeros.SPEC)
    found = {t.name: (t.host, t.port, t.secret, t.serial) for t in config.targets}
    assert found == {
        "core": ("10.0.0.1", 8729, "routeros/core", ""),
        "edge-1": ("10.0.1.1", 8729, "routeros/edge-1", "123456"),  # of digits only, and a text all the same
        "edge-2": ("10.0.2.1", 8730, "routeros/edge-2", "HFG09"),
    }
    assert [(m.name, m.target, dict(m.tariffs)) for m in config.methods] == [
        ("ppp-edge-1", "routeros/edge-1", {"Home 20M": "home20"}),
        ("ppp-edge-2", "routeros/edge-2", {"Home 20M": "home20"}),
    ]


def test_the_hash_of_the_configuration_is_of_the_fleet_too() -> None:
    expected = hashlib.sha256(CONFIG.encode() + hashlib.sha256(CSV.encode()).digest()).hexdigest()
    assert read().config_sha256 == expected
    assert read(fleet=CSV.replace("10.0.2.1", "10.0.2.9")).config_sha256 != expected


def test_a_templates_mistake_is_told_once_a_lines_by_its_name() -> None:
    (told,) = problems(CONFIG.replace('user = "ispagents"\nsecret = "routeros/{name}"', 'secret = "routeros/{name}"'))
    assert told == "routeros.edge-1.user: missing; expected 1 to 64 printable characters (and 1 more like it)"
    (told,) = problems(fleet=CSV.replace(f"8730,{FINGERPRINT}", "8730,abc"))
    assert told.startswith("routeros.edge-2.fingerprint: expected the SHA-256 of the router's certificate")


@pytest.mark.parametrize(
    ("config", "fleet", "told"),
    [
        (CONFIG.replace('each = "bng"\nhost', 'each = "bgn"\nhost'), CSV, "routeros.{name}.each: expected one of bng"),
        (
            CONFIG.replace("{serial}", "{sn}"),
            CSV,
            "routeros.{name}: /etc/isp/bng.csv has no column sn; its columns are",
        ),
        (CONFIG.replace('"{name}"]\neach = "bng"\nhost', 'edge]\neach = "bng"\nhost'), CSV, "routeros.edge: expected"),
        (CONFIG.replace('file = "bng.csv"', 'file = "b.csv"'), CSV, "fleet.bng.file: cannot be read: /etc/isp/b.csv"),
        (CONFIG, CSV.replace("edge-1", "core"), "routeros.{name}: /etc/isp/bng.csv line 2 makes a second"),
        (CONFIG, CSV.replace("edge-2", "edge-1"), "/etc/isp/bng.csv line 3: expected each name once, edge-1 stands in"),
        (CONFIG, CSV.replace("edge-2", "Edge 2"), "/etc/isp/bng.csv line 3: expected a name of 1 to 32 of a-z, 0-9"),
        (CONFIG, CSV.replace(",HFG09", ""), "/etc/isp/bng.csv line 3: expected 5 cells as in the header, got 4"),
        (CONFIG, CSV.replace("name,", "Name,"), "/etc/isp/bng.csv line 1: expected a header of different columns"),
        (CONFIG, "", "/etc/isp/bng.csv line 1: expected a header"),
    ],
)
def test_mistakes(config: str, fleet: str, told: str) -> None:
    assert problems(config, fleet)[0].startswith(told)


def test_a_fleet_has_a_limit() -> None:
    lines = "".join(f"r{n}\n" for n in range(LINES_MAX + 1))
    with pytest.raises(MalformedFleetError, match=f"expected at most {LINES_MAX} devices"):
        parse_fleet_untrusted(f"name\n{lines}".encode(), FILE)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: f"name,host\n{text}".encode()))
def test_any_bytes_are_a_fleet_or_none(data: bytes) -> None:
    fleet = None
    with contextlib.suppress(MalformedFleetError):
        fleet = parse_fleet_untrusted(data, FILE)
    if fleet is not None:
        assert len({row["name"] for row in fleet.rows}) == len(fleet.rows) == len(fleet.numbers)
