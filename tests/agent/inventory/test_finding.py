"""Finding services by what a person says, among names in two alphabets and MAC addresses in five spellings."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from agent.inventory.book import ImportServices
from agent.inventory.finding import HITS_MAX, TEXT_CHARS, Found, find, named, of_serial, suggested
from agent.inventory.merge import MergeResult
from agent.inventory.resolve import Index
from agent.model import Service
from agent.store.db import Tx
from agent.store.log_store import Sealed
from tests.builders.store import Agent


def service(ref: str, name: str, login: str, **extra: str) -> Service:
    subscriber, _, what = ref.partition("/")
    return Service(ref, subscriber, name, what, login, "pppoe", "20M", extra=extra or None)


ALL = (
    service("C-1/home", "Амина Хасан", "amina.h", phone="+254 712 345 678", address="ул. Ленина 5, кв. 12"),
    service("C-1/shop", "Амина Хасан", "4c:5e:0c:aa:bb:01"),
    service("C-2/home", "AMINATA Diallo", "4C-5E-0C-AA-BB-02", phone="0712 999 000"),
    service("C-3/home", "João Silva", "joao@isp.example", cpe="4c5e.0caa.bb03"),
    service("C-10/home", "Иван Петров", "4C5E0CAABB04", address="Hill Road 12"),
    service("C-11/home", "Ivan Petrov", "4c5e0c-aabb05"),
    service("C-12/home", "100% fibre_max", "u12"),
    service("T-7/home", "imported wrongly", "amina.h"),
)


def _import(found: Sequence[Service], sealed: Sealed) -> ImportServices:
    return ImportServices(MergeResult(tuple(found), (), (), (), ()), (), sealed, "maria")


class Put:
    """Run statements by hand, as somebody with a database shell does."""

    def __init__(self, *statements: str) -> None:
        self.statements = statements

    def run(self, tx: Tx) -> None:
        for statement in self.statements:
            tx.run(statement)


@pytest.fixture
async def agent(tmp_path: Path) -> AsyncIterator[Agent]:
    agent = Agent(tmp_path)
    await agent.store.run(_import(ALL, agent.recorder.record(None, {"what": "import"})))
    yield agent
    agent.close()


async def test_a_cpe_is_found_by_its_serial_number(agent: Agent) -> None:
    columns = [r["name"] for r in agent.store.query("SELECT name FROM pragma_table_info('cpe')")]
    for serial, trust, ref in (("ab12CD", "accepted", "C-2/home"), ("48575443", "quarantined", "C-3/home")):
        row = dict.fromkeys(columns, "") | {
            "name": f"00259E-X-{serial}",
            "serial": serial,
            "trust": trust,
            "service": ref,
        }
        values = ", ".join(f"'{row[name]}'" for name in columns)
        await agent.store.run(Put(f"INSERT INTO cpe ({', '.join(columns)}) VALUES ({values})"))
    assert [s.ref for s in of_serial(agent.store, " ab12CD ")] == ["C-2/home"]
    assert of_serial(agent.store, "48575443") == (), "nobody has accepted that CPE"
    assert of_serial(agent.store, "") == ()


def refs(found: Found) -> list[str]:
    return [s.ref for s in found.services]


SAID = {
    "amina.h": ["C-1/home", "T-7/home"],  # two services claim that login: both are shown
    "АМИНА": ["C-1/home", "C-1/shop"],
    "амина хас": ["C-1/home", "C-1/shop"],
    "хасан амина": ["C-1/home", "C-1/shop"],
    "c-1": ["C-1/home", "C-1/shop", "C-10/home", "C-11/home", "C-12/home"],  # C-1 itself leads
    "с-10": ["C-10/home"],  # typed with a Cyrillic letter
    "joao": ["C-3/home"],
    "JOÃO SILVA": ["C-3/home"],
    "isp.example": ["C-3/home"],
    "4c5e.0caa.bb01": ["C-1/shop"],
    "4C5E0CAABB02": ["C-2/home"],
    "4c-5e-0c-aa-bb-03": ["C-3/home"],  # a column that the import keeps
    "4c:5e:0c:aa:bb:04": ["C-10/home"],
    "4C5E.0CAA.BB05": ["C-11/home"],
    "4c:5e:0c:aa:bb": ["C-1/shop", "C-10/home", "C-11/home", "C-2/home", "C-3/home"],
    "0712 345 678": ["C-1/home"],
    "+254712345678": ["C-1/home"],
    "712-345-678": ["C-1/home"],
    "ленина 5": ["C-1/home"],
    "hill road": ["C-10/home"],
    "100%": ["C-12/home"],  # nothing in a text is a pattern
    "%": ["C-12/home"],
    "fibre_m": ["C-12/home"],
}
NEAR = {"petrof": ["C-11/home"], "Хосан": ["C-1/home", "C-1/shop"], "joao@isp.exanple": ["C-3/home"]}
NONE = ("", "   ", "zzzzzz", "q9", "x" * (TEXT_CHARS + 1), "'; DROP TABLE service; --")


async def test_found(agent: Agent) -> None:
    assert {text: refs(await find(agent.store, text)) for text in SAID} == SAID


async def test_near_ones_are_said_to_be_near(agent: Agent) -> None:
    assert {text: refs(await find(agent.store, text)) for text in NEAR} == NEAR
    assert [(await find(agent.store, text)).near for text in (*NEAR, "joao")] == [True, True, True, False]


async def test_nothing_fits(agent: Agent) -> None:
    assert [refs(await find(agent.store, text)) for text in NONE] == [[]] * len(NONE)


async def test_a_reference_means_the_same_as_among_all_services(agent: Agent) -> None:
    index = Index({s.ref: s for s in ALL})
    said = [
        *("C-1", "c-1/HOME", " C-1/shop ", "amina.h", "AMINA.H", "4C5E.0CAA.BB02", "4c:5e:0c:aa:bb:03", "C-10", "C"),
        *("home", "С-1", "joao@isp.example", "JOAO@isp.example", "", "  ", "/", "Амина Хасан", "u12", "T-7", "c-12"),
    ]
    found = {text: sorted(s.ref for s in await named(agent.store, text)) for text in said}
    assert found == {text: sorted(s.ref for s in index.named(text)) for text in said}
    assert found["C-1"] == ["C-1/home", "C-1/shop"]
    assert found["4C5E.0CAA.BB02"] == ["C-2/home"]
    assert found["С-1"] == [], "a look-alike is found, and never acted on"
    assert await suggested(agent.store, "C-1/hone") == ("C-1/home", "C-1/shop", "C-10/home", "C-11/home", "C-12/home")


async def test_more_than_asked_for_are_counted(agent: Agent) -> None:
    found = await find(agent.store, "home", limit=2)
    assert (len(found.services), found.total, found.more) == (2, 7, False)
    many = tuple(service(f"D-{n}/home", "Many", f"m{n}") for n in range(HITS_MAX + 5))
    await agent.store.run(_import(many, agent.recorder.record(None, {"what": "import"})))
    found = await find(agent.store, "many", limit=2)
    assert (len(found.services), found.total, found.more) == (2, HITS_MAX, True)


async def test_a_service_that_is_gone_leaves_no_key(agent: Agent) -> None:
    await agent.store.run(Put("DELETE FROM service WHERE subscriber = 'C-1'"))
    assert refs(await find(agent.store, "Хасан")) == []
    kept = agent.store.query("SELECT count(*) FROM service_key WHERE ref LIKE 'C-1/%'")[0][0]
    assert kept == 0


async def test_services_of_an_older_database_are_found(agent: Agent) -> None:
    await agent.store.run(Put("DELETE FROM service_key", "UPDATE service SET name = 'Ольга' WHERE ref = 'C-11/home'"))
    assert refs(await find(agent.store, "ольга")) == ["C-11/home"]


async def test_an_import_changes_the_keys(agent: Agent) -> None:
    changed = service("C-3/home", "Maria Silva", "maria.s")
    await agent.store.run(_import((changed,), agent.recorder.record(None, {"what": "import"})))
    assert refs(await find(agent.store, "joao")) == []
    assert refs(await find(agent.store, "maria")) == ["C-3/home"]
