"""Recordings of our own (`assumed_devices/`), of families without one of a real device: written from their MIBs."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from agent.connectors.snmp.recording import read_recording_untrusted
from agent.line_model.reading import DeviceReading, Part, PartKind, Sensor
from tests.agent.connectors.snmp.recordings import profile_of, read_by

FOLDER = Path(__file__).parent / "assumed_devices"
NAMES = tuple(sorted(path.stem for path in FOLDER.glob("*.snmprec")))


def text_of(name: str) -> str:
    return (FOLDER / f"{name}.snmprec").read_text("utf-8")


@cache
def assumed(name: str) -> DeviceReading:
    """Return the reading of an assumed device."""
    found = read_recording_untrusted(text_of(name))
    return read_by(profile_of(found), found)


def parts(reading: DeviceReading, kind: PartKind) -> dict[str, Part]:
    return {part.key: part for part in reading.parts if part.kind is kind}


def sensors(reading: DeviceReading) -> dict[str, Sensor]:
    return {sensor.key: sensor for sensor in reading.sensors}


def values(reading: DeviceReading) -> dict[str, float | str]:
    """Return the value of each sensor, or its text."""
    return {one.key: one.text if one.value is None else one.value for one in reading.sensors}
