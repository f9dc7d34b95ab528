"""The section of a meter in the configuration file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from agent.config_reader import ConfigReader
from agent.config_schema import PATH, REQUIRED, SECRET_OR_EMPTY, Key, number


@dataclass(frozen=True, slots=True)
class Meter:
    """`[meter.NAME]`: one meter. `secret` names its password in the vault."""

    name: str
    file: Path
    secret: str
    every_s: float


@dataclass(frozen=True, slots=True)
class MeterConfig:
    """Everything that the connector is configured with."""

    meters: tuple[Meter, ...]


KEYS: Final = (
    Key("meter.NAME", "file", PATH, REQUIRED, "The file that the meter writes."),
    Key("meter.NAME", "secret", SECRET_OR_EMPTY, "", "The name of its password in the vault; empty: none."),
    Key("meter.NAME", "every_s", number(0.01, 86_400), 300.0, "How often it is polled, seconds."),
)


def parse(reader: ConfigReader) -> MeterConfig:
    """Return the meters; those with problems are left out."""
    found = []
    for name, table in reader.named("meter"):
        before = len(reader.problems)
        values = reader.section("meter.NAME", f"meter.{name}", table)
        if len(reader.problems) == before:
            found.append(Meter(name, reader.path_of(values["file"]), values["secret"], values["every_s"]))
    return MeterConfig(tuple(found))


def secrets(config: MeterConfig) -> frozenset[str]:
    """Return the names of the meters' passwords."""
    return frozenset(meter.secret for meter in config.meters) - {""}
