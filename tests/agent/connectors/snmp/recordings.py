"""Recordings of real devices (../shared/data/snmp): what a device would answer, read by the profile that is for it."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from agent.connectors.snmp import conversions, profile_choice, profile_files, profile_reading, values
from agent.connectors.snmp.profile import SnmpProfile
from agent.connectors.snmp.recording import read_recording_untrusted, scalars_and_columns
from agent.connectors.snmp.values import Oid, Value
from agent.line_model.reading import DeviceReading
from tests.shared_data import FOLDER, shared_file

RECORDINGS = FOLDER / "snmp" / "recordings"
NAMES = tuple(sorted(path.stem for path in RECORDINGS.glob("*.snmprec")))
DESCRIPTION, OBJECT_ID = values.oid("1.3.6.1.2.1.1.1.0"), values.oid("1.3.6.1.2.1.1.2.0")
READ_S = 1_790_000_000


@cache
def recorded(name: str) -> dict[Oid, Value]:
    """Return the values of a recording; skip the test where it is not there."""
    return read_recording_untrusted(Path(shared_file(f"snmp/recordings/{name}.snmprec")).read_text("utf-8"))


def profile_of(found: dict[Oid, Value]) -> SnmpProfile:
    """Return the profile that the agent would choose."""
    profiles = profile_files.shipped()
    content = found.get(OBJECT_ID, (values.NULL, b""))[1]
    object_id = Oid(content if isinstance(content, bytes) else b"")
    description = str(conversions.plain(found.get(DESCRIPTION, (values.NULL, b""))) or "")
    answers = {oid: found[oid] for oid in profile_choice.probes(profiles, object_id, description) if oid in found}
    return profile_choice.choose(profiles, object_id, description, answers)


@cache
def reading_of(name: str) -> DeviceReading:
    """Return the reading of a recording."""
    found = recorded(name)
    return read_by(profile_of(found), found)


def read_by(profile: SnmpProfile, found: dict[Oid, Value]) -> DeviceReading:
    """Return the reading of a device that answers these values."""
    wanted = profile_choice.wanted(profile)
    scalars, columns = scalars_and_columns(found, wanted.scalars, wanted.columns)
    return profile_reading.read(profile, "t", READ_S, scalars, columns)
