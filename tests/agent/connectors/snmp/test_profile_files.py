"""SnmpProfile files: the shipped ones, an operator's own on top of them, and what is wrong in a file."""

from __future__ import annotations

import pytest

from agent.connectors.snmp import profile_files, values
from agent.connectors.snmp.profile import SnmpProfile
from tests.builders.expect import present


def loaded(**own: str) -> dict[str, SnmpProfile]:
    profiles, problems = profile_files.load(own)
    assert problems == ()
    return {one.name: one for one in profiles}


def problem(text: str) -> str:
    _, problems = profile_files.load({"mine": text})
    assert len(problems) == 1
    return problems[0]


def test_shipped_ones_are_right_and_each_has_a_title() -> None:
    shipped = profile_files.shipped()
    assert [one.name for one in shipped] == sorted(one.name for one in shipped)
    assert all(one.title and not one.own for one in shipped)
    assert profile_files.load() == (shipped, ())


def test_an_own_file_adds_replaces_and_takes_away() -> None:
    text = """
title = "Mine"
extends = ["standard"]
every_s = 60
[table.ports.values]
alias = { column = "1.3.6.1.4.1.1.1", as = "text" }
mac = false
speed_bps = [{ column = "1.3.6.1.4.1.1.2" }, { inherited = true }]
[device]
hardware = "box"
boots = false
"""
    mine = loaded(mine=text)["mine"]
    ports = next(table for table in mine.tables if table.name == "ports")
    base = next(table for table in loaded()["standard"].tables if table.name == "ports")
    assert (mine.own, mine.every_s) == (True, 60)
    assert [way.column for way in ports.values["alias"]] == [values.oid("1.3.6.1.4.1.1.1")]
    assert "mac" not in ports.values
    assert ports.values["speed_bps"][1:] == base.values["speed_bps"]
    assert ports.values["name"] == base.values["name"]
    assert "boots" not in mine.device


def test_own_file_stands_in_place_of_its_shipped_namesake() -> None:
    found = loaded(standard='title = "Mine"\nextends = ["standard"]\nevery_s = 900')
    assert (found["standard"].own, found["standard"].every_s) == (True, 900)
    assert [table.name for table in found["standard"].tables] == [table.name for table in loaded()["standard"].tables]


def test_a_wrong_namesake_leaves_the_shipped_one() -> None:
    profiles, problems = profile_files.load({"standard": "title = 1"})
    assert "title: expected a text, got 1" in problems[0]
    assert [one.own for one in profiles if one.name == "standard"] == [False]


def test_files_that_extend_each_other_are_refused() -> None:
    _, problems = profile_files.load({"a": 'title = "A"\nextends = ["b"]', "b": 'title = "B"\nextends = ["a"]'})
    assert len(problems) == 2
    assert "files that do not extend this one in turn" in problems[0]


TABLE = 'title = "T"\n[table.x]\nkind = "port"\nindex = ["i"]\nkey = "port/{i}"\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("title = ", "mine.toml: expected TOML"),
        ("", "title: expected a text, got 'nothing'"),
        ('title = "T"\ncolor = 1', "line 2: color: expected one of device, every_s,"),
        ('title = "T"\nevery_s = 1', "every_s: expected seconds, at least 10, got 1"),
        ('title = "T"\nextends = ["x"]', "extends: expected names of profiles"),
        ('title = "T"\nextends = "x"', "extends: expected a list of texts"),
        ('title = "T"\n[[match]]', "match: expected object_id, description or has"),
        ('title = "T"\nmatch = 1', "match: expected a list of tables"),
        ('title = "T"\n[[match]]\nobject_id = ["1.x"]', "line 3: match.object_id: expected an OID"),
        ('title = "T"\n[[match]]\ndescription = "("', "description: expected a regular expression"),
        (
            'title = "T"\n[[match]]\ndescription = "a{99999999999999999999}"',
            "description: expected a regular expression",
        ),
        ('title = "T"\n[[match]]\ndescription = "^(a+)+$"', "that no text keeps busy, as by (?:…)*+, got '(a+)+'"),
        ("title = " + "[" * 5000, "expected TOML"),
        ('title = "T"\n[device]\ncolor = "x"', "line 3: device.color: expected one of boots"),
        ('title = "T"\n[device]\nserial = 1', "device.serial: expected a text, a table, or a list"),
        ('title = "T"\n[device]\nserial = []', "device.serial: expected a text, a table, or a list"),
        ('title = "T"\n[device]\nserial = {}', "device.serial: expected one of column, oid"),
        ('title = "T"\n[device]\nserial = "{x}"', "device.serial: expected a name of the index or of a value above"),
        ('title = "T"\n[device]\nserial = "{x"', "expected a text with names in braces"),
        ('title = "T"\n[device]\nserial = { oid = "x" }', "device.serial.oid: expected an OID"),
        ('title = "T"\n[table]\nx = 1', "table.x: expected a table, got 1"),
        ('title = "T"\n[table.x]\nindex = ["i"]', "table.x: expected kind"),
        ('title = "T"\n[table.x]\nkind = "door"', "table.x.kind: expected one of client"),
        ('title = "T"\n[table.x]\nkind = "port"', "table.x: expected key, or part"),
        ('title = "T"\n[table.x]\nkind = "mac"\nkey = "mac/1"', "neither key nor part"),
        ('title = "T"\n[table.x]\nkind = "port"\nkey = "door/1"', "table.x.key: expected port/ and a name"),
        ('title = "T"\n[table.x]\nkind = "port"\nkey = "port/{i}"', "table.x: expected one of , got 'i'"),
        ('title = "T"\n[table.x]\nkind = "sensor"\nkey = "x"', "table.x.key: expected QUANTITY/"),
        ('title = "T"\n[table.x]\nkind = "port"\nindex = ["i:time"]', "index: expected NAME or NAME:TYPE"),
        ('title = "T"\n[table.x]\nkind = "port"\nkey = "port/{i}"\nindex = ["i", "i"]', "each name once"),
        ('title = "T"\n[table.x]\nkind = "port"\nkey = "port/{i}"\nindex = ["i:rest", "j"]', "at the end alone"),
        (f"{TABLE}where = {{ x = [1] }}", "table.x: expected one of i, got 'x'"),
        (f"{TABLE}where = {{ i = 1 }}", "where.i: expected a list of texts and whole numbers"),
        (f"{TABLE}part = {{ of = 'x', at = ['i'] }}", "table.x: expected key, or part"),
        (f"{TABLE}[table.x.let]\nX = 'a'", "let.X: expected a name of small letters"),
        (f"{TABLE}[table.x.let]\ni = 'a'", "a name that the index does not have"),
        (f"{TABLE}[table.x.values]\nsignal = 'a'", "table.x.values: expected names of alias, bias_ma"),
        (f"{TABLE}[table.x.values]\nstate = 'on'", "table.x.state: expected words that become disabled, down"),
        (f"{TABLE}[table.x.values]\nstate = {{ column = '1.3.6' }}", "words that become"),
        (f"{TABLE}[table.x.values]\nsince = {{ column = '1.3.6' }}", "table.x.since: expected as = ago"),
        (f"{TABLE}[table.x.values]\nparent = {{ of = 'y', at = [] }}", "one of the tables above"),
        (f"{TABLE}[table.x.values]\nparent = {{ of = 'x' }}", "expected at, named or alone = true, where of stands"),
        (f"{TABLE}[table.x.values]\nname = {{ oid = '1.3', named = 'i' }}", "expected of, where named or alone stands"),
        (f"{TABLE}[table.x.values]\nname = {{ oid = '1.3', index = 'i' }}", "expected one of column, oid"),
        (f"{TABLE}[table.x.values]\nname = {{ oid = '1.3', as = 'time' }}", "name.as: expected one of ago"),
        (f"{TABLE}[table.x.values]\nname = {{ oid = '1.3', bits = [1] }}", "bits: expected [lowest bit"),
        (f"{TABLE}[table.x.values]\nname = {{ oid = '1.3', scale = '1' }}", "scale: expected a number"),
        (f"{TABLE}[table.x.values]\nname = {{ oid = '1.3', scale = nan }}", "scale: expected a number"),
        (f"{TABLE}[table.x.values]\nname = {{ oid = '1.3', to_dbm = 1 }}", "to_dbm: expected true or false"),
        (f"{TABLE}[table.x.values]\nname = {{ oid = '1.3', at = 1 }}", "at: expected a list of names and numbers"),
        (f"{TABLE}[table.x.values]\nname = {{ column = '1.3', at = ['k'] }}", "name of the index or of a value above"),
        (f"{TABLE}[table.x.values]\nname = {{ oid = '1.3', below = ['i'] }}", "column, and no at, where below stands"),
        (
            f"{TABLE}[table.x.values]\nname = {{ oid = '1.3', when = {{ k = [1] }} }}",
            "of the index or of a value above",
        ),
        (f"{TABLE}[table.x.values]\nname = {{ oid = '1.3', words = {{ 1 = [] }} }}", "name.words.1: expected a number"),
        (f"{TABLE}[table.x.values]\nname = {{ index = 'k' }}", "a name of the index or of a value above (i)"),
        (f"{TABLE}[table.x.let]\nk = 'a'\n[table.x.values]\nname = {{ index = 'k' }}", "a name of the index, got 'k'"),
    ],
)
def test_what_is_wrong_is_named(text: str, said: str) -> None:
    assert said in problem(text)


def test_a_file_name_must_be_one() -> None:
    _, problems = profile_files.load({"No Name": 'title = "T"'})
    assert "expected a name of small letters" in problems[0]


def test_part_must_be_of_a_table() -> None:
    text = 'title = "T"\n[table.x]\nkind = "port"\npart = "port/1"'
    assert "table.x.part: expected of = TABLE" in problem(text)


WRITES = """
title = "Mine"
extends = ["standard"]
[table.ports.write]
alias = false
[table.ports.write.admin]
column = "1.3.6.1.4.1.1.1"
words = { 7 = "up", 8 = "down" }
told = { column = "1.3.6.1.4.1.1.2", words = { 1 = "up" } }
"""


def test_what_may_be_written_is_added_replaced_and_taken_away() -> None:
    mine = loaded(mine=WRITES)["mine"]
    ports = next(table for table in mine.tables if table.name == "ports")
    power = next(table for table in mine.tables if table.name == "poe_ports").write["power"]
    assert ports.write.keys() == {"admin"}
    assert ports.write["admin"].of.column == values.oid("1.3.6.1.4.1.1.1")
    assert (ports.write["admin"].number("down"), power.number("off")) == (8, 2)
    told = present(ports.write["admin"].told)
    assert told.words == {1: "up"}


@pytest.mark.parametrize(
    ("write", "said"),
    [
        ('vlan = { column = "1.3.6.1" }', "expected one of admin, alias, power, got 'vlan'"),
        ('admin = { column = "1.3.6.1", words = { 1 = "up" } }', "expected a number for each of down, up"),
        ('power = { column = "1.3.6.1", words = { 1 = "on", 2 = "off", 3 = "on" } }', "a number for each of off, on"),
        ('alias = { column = "1.3.6.1", words = { 1 = "up" } }', "no words: a text"),
        ('alias = { column = "1.3.6.1", most = 256 }', "expected octets, 1 to 255"),
        ('alias = { column = "1.3.6.x" }', "expected an OID"),
        ('admin = { column = "1.3.6.1", words = { one = "up" } }', "expected numbers, each with its word"),
        ('alias = { column = "1.3.6.1", told = { words = {} } }', "expected a text"),
    ],
)
def test_what_is_wrong_with_a_write_is_named(write: str, said: str) -> None:
    assert said in problem(f'title = "Mine"\nextends = ["standard"]\n[table.ports.write]\n{write}\n')


def test_only_parts_are_written() -> None:
    text = 'title = "Mine"\nextends = ["standard"]\n[table.poe_supply.write]\nalias = { column = "1.3.6.1" }\n'
    assert "it in a table of port" in problem(text)
