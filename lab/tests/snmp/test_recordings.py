"""Every recording is served as it stands: Net-SNMP's walks see each value, by v1, v2c and v3."""

from __future__ import annotations

import ast

import pytest

from lab.snmp.errors import RecordingError
from lab.snmp.recording import SUFFIX, read_recording
from lab.snmp.server import Layout, open_snmp_lab
from lab.snmp.values import string
from lab.tests.snmp import netsnmp
from lab.tests.snmp.netsnmp import V3_AUTH, V3_PRIV, Told, walk
from tests.marks import slow_unless
from tests.shared_data import FOLDER, shared_file

RECORDINGS = "snmp/recordings"
NAMES = sorted(f.name.removesuffix(SUFFIX) for f in (FOLDER / RECORDINGS).glob(f"*{SUFFIX}")) or ["none"]
QUICK = ("airos", "epmp", "siklu", "zxa10_c320")


def written(name: str) -> dict[str, Told]:
    """Return the values of a recording, read apart from the lab's reader."""
    found = {}
    for line in shared_file(f"{RECORDINGS}/{name}{SUFFIX}").read_text("ascii").splitlines():
        oid, tag, value = line.strip().split("|", 2)
        number, form = (int(tag[:-1]), tag[-1]) if tag[-1] in "xe" else (int(tag), "")
        if number == 4:
            octets = bytes.fromhex(value) if form == "x" else value.encode()
            if form == "e":
                octets = ast.literal_eval(f"b'{value}'")
            found[oid] = (4, octets.hex())
        elif number == 0x40 and form:
            found[oid] = (number, ".".join(map(str, bytes.fromhex(value))))
        else:
            found[oid] = (number, value if number in (6, 0x40) else str(int(value)))
    return found


@pytest.mark.parametrize("name", slow_unless(lambda n: n in QUICK, NAMES))
async def test_walks_see_every_value(name):
    want = written(name)
    async with open_snmp_lab(shared_file(RECORDINGS)) as lab:
        at = (lab.address, lab.port)
        for secret in (["-v2c", "-c", name], [*V3_PRIV, "-n", name], [*V3_AUTH, "-n", name]):
            seen = await walk(secret, at)
            assert list(seen) == list(want)
            assert seen == want


@pytest.mark.parametrize("name", ["epmp", "swos"])
async def test_a_walk_of_v1_sees_all_but_64_bits(name):
    want = {oid: told for oid, told in written(name).items() if told[0] != 0x46}
    async with open_snmp_lab(shared_file(RECORDINGS)) as lab:
        seen = await walk(["-v1", "-c", name], (lab.address, lab.port), tool="snmpwalk")
    assert seen == want


@pytest.mark.parametrize("layout", [Layout.PORTS, Layout.ADDRESSES])
async def test_devices_on_a_port_or_an_address_of_their_own(layout, tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}{SUFFIX}").write_text(f"1.3.6.1.2.1.1.5.0|4|{name}\n")
    async with open_snmp_lab(tmp_path, layout=layout) as lab:
        assert len({lab.where(name) for name in lab.devices}) == 2
        for name in lab.devices:
            want = {"1.3.6.1.2.1.1.5.0": (4, name.encode().hex())}
            assert await walk(["-v2c", "-c", name], lab.where(name)) == want
            assert await walk(V3_PRIV, lab.where(name)) == want


async def test_a_wrong_community_is_met_with_silence(tmp_path):
    (tmp_path / f"one{SUFFIX}").write_text("1.3.6.1.2.1.1.5.0|4|x\n")
    async with open_snmp_lab(tmp_path) as lab:
        done = await netsnmp.run("snmpget", "-v2c", "-c", "two", "-t0.2", "-r0", f"127.0.0.1:{lab.port}", "1.3")
    assert b"Timeout" in done.stderr


@pytest.mark.parametrize(
    ("line", "want"),
    [
        ("1.3.6.1.1|4x|00ff", string(b"\0\xff")),
        (r"1.3.6.1.1|4e|a\x07\\b\'", string(b"a\x07\\b'")),
        ("1.3.6.1.1|4|a|b", string("a|b")),
        ("1.3.6.1.1|4|", string("")),
    ],
)
def test_a_line(line, want):
    assert list(read_recording(line.encode(), "x").values()) == [want]


@pytest.mark.parametrize(
    "line", ["1.3.6.1", "1.3.x|4|a", "1.3.6.1|4z|a", "1.3.6.1|2|ten", "1.3.6.1|65|-1", "1.3.6.1|64|1.2.3", "1.3|9|1"]
)
def test_a_line_that_is_none_is_named(line):
    with pytest.raises(RecordingError, match="x line 2: expected OID"):
        read_recording(f"1.3.6.1|4|fine\n{line}\n".encode(), "x")


async def test_a_folder_without_recordings_is_refused(tmp_path):
    with pytest.raises(RecordingError, match="expected files"):
        async with open_snmp_lab(tmp_path):
            pass
