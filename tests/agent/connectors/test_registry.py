"""The specs of the registry: what each says of itself holds."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from agent.config import all_keys
from agent.config_reader import ConfigReader
from agent.connectors import registry
from agent.connectors.base import DeviceFacts
from agent.connectors.spec import ConnectorSpec, configured, has_no_sources
from tests.builders.connector import ROLES, context

ROOT = Path(__file__).parents[3]
SPECS = registry.specs()


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.name)
def test_its_page_is_there(spec: ConnectorSpec[object]) -> None:
    assert (ROOT / spec.docs).is_file()


def test_names_and_sections_are_of_one_connector_only() -> None:
    sections = [section for spec in SPECS for section in {key.section for key in spec.keys}]
    for found in (Counter(spec.name for spec in SPECS), Counter(sections)):
        assert [name for name, times in found.items() if times > 1] == []


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.name)
def test_sections_of_methods_have_keys(spec: ConnectorSpec[object]) -> None:
    assert {f"{section}.NAME" for section in spec.method_sections} <= {key.section for key in spec.keys}


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: s.name)
def test_it_plays_the_roles_that_it_declares_and_no_other(spec: ConnectorSpec[object]) -> None:
    unconfigured = configured(spec, ConfigReader(Path("/a.toml"), {}, all_keys(SPECS)))
    made = unconfigured.make(context({}))
    assert tuple(role for role in ROLES if isinstance(made, role)) == spec.roles
    assert unconfigured.secrets == set()


def test_a_role_that_a_connector_does_not_play_is_no_start() -> None:
    (radius, *_) = SPECS
    boasting = replace(radius, roles=(*radius.roles, DeviceFacts))
    with pytest.raises(TypeError, match="radius: expected it to play DeviceFacts"):
        configured(boasting, ConfigReader(Path("/a.toml"), {}, all_keys(SPECS))).make(context({}))


def test_what_has_nothing_to_do_is_not_made() -> None:
    """Web clients, database drivers and protocols cost 0.1 s of a start and 12 MB: only who uses them pays."""
    code = (
        "import sys; from pathlib import Path; from agent.config import all_keys; from agent.connectors import roles\n"
        "from agent.config_reader import ConfigReader; from agent.connectors import registry\n"
        "from agent.connectors.spec import configured; from tests.builders.connector import context\n"
        "specs = registry.specs(); reader = ConfigReader(Path('/a.toml'), {}, all_keys(specs))\n"
        "made = roles.build([configured(spec, reader) for spec in specs], context({}))\n"
        "print(*made.by_name, '|', *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=True, text=True)
    made, loaded = (part.split() for part in done.stdout.split("|"))
    assert made == ["radius", "cwmp"]
    assert {"httpx", "h2", "agent.connectors.routeros.connector", "agent.connectors.snmp.connector"}.isdisjoint(loaded)
    assert {spec.name for spec in SPECS if spec.idle is has_no_sources} < {spec.name for spec in SPECS} - {*made}


def test_specs_import_no_connector() -> None:
    """Whoever reads the configuration pays for no connection, protocol or server."""
    code = "import sys; from agent.connectors import registry; registry.specs(); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout.split()
    assert [n for n in loaded if n.startswith("agent.connectors.") and n.endswith((".connector", "_session"))] == []
    assert {"h11", "psycopg", "pymysql", "librouteros", "pyrad"}.isdisjoint(loaded)
